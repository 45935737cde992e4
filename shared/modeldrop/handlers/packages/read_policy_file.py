"""The policy in force: the file in the bucket if it is good, else the last good one, else the defaults."""

import hashlib

import msgspec

from modeldrop.domain.packages import REJECTION_NAME, PolicyLocation
from modeldrop.domain.policy import Policy
from modeldrop.errors import Conflict, FieldProblem, InvalidInput, TooLarge
from modeldrop.handlers.packages.decision_records import put_record, rejection
from modeldrop.ports import BucketObject
from modeldrop.records.registry import PolicyRecord
from modeldrop.records.stored import Stored
from modeldrop.wiring import Services


def policy_in_force(services: Services, model: str) -> PolicyRecord:
    """Look at ``policies/{model}.yaml`` as it is now, whether its own event has come or not.

    It holds for what is judged from now on; whatever was judged before keeps the policy it was judged by. A bad
    file changes nothing but the record's ``problems``; a removed file leaves the last policy in force.
    """
    name = f"policies/{model}.yaml"
    record = services.registry.policy(model)
    found = services.bucket.stat(name)
    if found is None or found.generation == record.value.seen_generation:
        return record.value
    new = _read(services, found, record)
    try:
        services.registry.commit([record.write(new)])
    except InvalidInput as error:  # values no document can hold, such as lists of lists in a target
        rejected = _rejected(record, found, list(error.problems))
        services.registry.commit([record.write(rejected)])
        return rejected
    except Conflict:
        return services.registry.policy(model).value  # another instance has just read the same file
    return new


def register_policy(services: Services, location: PolicyLocation) -> str:
    """Take a policy file into force, or say beside it why not."""
    problems = list(location.problems) or policy_in_force(services, location.model).problems
    record = rejection({"policy": location.name}, problems) if problems else None
    put_record(services.bucket, f"{location.name.removesuffix('.yaml')}.{REJECTION_NAME}", record)
    return "rejected" if problems else "in force"


def _read(services: Services, found: BucketObject, record: Stored[PolicyRecord]) -> PolicyRecord:
    # Only a file that is new needs the YAML parser: at the top it would be a third of our part of every cold start.
    from modeldrop.events.policy_file import POLICY_LIMIT_BYTES, read_policy  # noqa: PLC0415

    try:
        content = services.bucket.read(found.name, limit_bytes=POLICY_LIMIT_BYTES)
        if content is None:
            return record.value
        policy: Policy = read_policy(content[1])
    except InvalidInput as error:
        problems = list(error.problems)
    except TooLarge as error:
        problems = [FieldProblem("$", str(error))]
    else:
        return PolicyRecord(policy, hashlib.sha256(content[1]).hexdigest(), content[0].generation)
    return _rejected(record, found, problems)


def _rejected(record: Stored[PolicyRecord], found: BucketObject, problems: list[FieldProblem]) -> PolicyRecord:
    return msgspec.structs.replace(record.value, seen_generation=found.generation, problems=problems)
