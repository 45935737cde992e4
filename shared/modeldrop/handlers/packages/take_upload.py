"""An upload to the bucket: find out what it is, and hand it to the use case that looks at it."""

import logging
from collections.abc import Mapping

from modeldrop.domain.packages import PackageLocation, PolicyLocation, locate
from modeldrop.errors import FieldProblem, InvalidInput, PermanentError
from modeldrop.events.storage_event import read_storage_event
from modeldrop.handlers.packages.read_policy_file import register_policy
from modeldrop.handlers.packages.register_package import register_package
from modeldrop.handlers.quarantine import quarantine_event, quarantine_upload
from modeldrop.wiring import Services

log = logging.getLogger(__name__)


def take_upload(services: Services, headers: Mapping[str, str], body: bytes) -> str:
    """What came of the event; returning acknowledges it, raising has it delivered again.

    What can never succeed is quarantined with its reason and acknowledged.
    """
    try:
        event = read_storage_event(headers, body)
    except InvalidInput as error:
        return quarantine_event(services, body, error.problems)
    expected = services.settings.bucket
    if not event.is_upload or (expected is not None and event.bucket != expected):
        log.info("no upload to our bucket: %r in %r", event.name, event.bucket)
        return "ignored"
    location = locate(event.name, services.settings.default_model)
    if location is None:
        return "ignored"
    try:
        if isinstance(location, PolicyLocation):
            return register_policy(services, location)
        return register_package(services, location)
    except PermanentError as error:
        log.exception("%r cannot be taken", event.name)
        problems = error.problems if isinstance(error, InvalidInput) else (FieldProblem("$", str(error)),)
        prefix = location.prefix if isinstance(location, PackageLocation) else None
        return quarantine_upload(services, event.name, prefix, problems)
