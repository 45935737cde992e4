"""An upload to the bucket: find out what it is, and hand it to the use case that looks at it."""

import hashlib
import logging
from collections.abc import Mapping
from contextlib import suppress

from modeldrop.domain.packages import PackageLocation, PolicyLocation, locate
from modeldrop.errors import Conflict, InvalidInput, PermanentError
from modeldrop.events.storage_event import read_storage_event
from modeldrop.handlers.read_policy_file import register_policy
from modeldrop.handlers.register_package import quarantine_upload, register_package
from modeldrop.records.registry import Quarantined
from modeldrop.records.stored import Stored
from modeldrop.wiring import Services

log = logging.getLogger(__name__)


def take_upload(services: Services, headers: Mapping[str, str], body: bytes) -> str:
    """What came of the event; returning acknowledges it, raising has it delivered again.

    What can never succeed is quarantined with its reason and acknowledged.
    """
    try:
        event = read_storage_event(headers, body)
    except InvalidInput as error:
        return _quarantine_event(services, body, error)
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
        problems = list(error.problems) if isinstance(error, InvalidInput) else []
        log.exception("%r cannot be taken", event.name)
        package = location if isinstance(location, PackageLocation) else None
        return quarantine_upload(services, event.name, package, problems)


def _quarantine_event(services: Services, body: bytes, error: InvalidInput) -> str:
    digest = hashlib.sha256(body).hexdigest()
    log.warning("an event that is none was quarantined as %s: %s", digest, error)
    record = Quarantined("event", list(error.problems), services.clock())
    with suppress(Conflict):  # the same bytes have been here before
        services.registry.commit([Stored(services.registry.quarantine_path(digest), record).write(record)])
    return "quarantined"
