"""Which models and versions are registered, and how their events are to be sampled: looked up, and kept for a while."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from modeldrop.domain.policy import DriftPolicy
from modeldrop.domain.sampling.kept_values import KeepRule
from modeldrop.domain.sampling.windows import WindowRule
from modeldrop.domain.versions import ModelVersion
from modeldrop.errors import ConfigurationError
from modeldrop.ports import Document
from modeldrop.records.registry import PolicyRecord, Registry
from modeldrop.records.stored import stored
from modeldrop.records.windows import RETENTION
from modeldrop.wiring import Services

log = logging.getLogger(__name__)

KEPT = timedelta(seconds=30)
KEPT_UNKNOWN = timedelta(seconds=5)  # a version may be registered just after its first events
MOST_KNOWN = 10_000
FUTURE_TOLERANCE = timedelta(minutes=5)  # so far ahead of ours an app's clock may be
SHORTEST_KEY_BYTES = 16
PATHS_AT_ONCE = 500

Subject = tuple[str, str | None]
"""A model with a version, or for labels without one."""


class Sampling(msgspec.Struct, frozen=True):
    """How the events of a registered version, or the labels of a model, are sampled. ``length``: of a window."""

    policy: DriftPolicy
    keep: KeepRule
    rule: WindowRule
    length: timedelta


class _Known(msgspec.Struct, frozen=True):
    sampling: Sampling | None  # None: it is not registered
    until: datetime


class KnownVersions:
    """What was looked up last; safe from many threads."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._known: OrderedDict[Subject, _Known] = OrderedDict()
        self._guard = threading.Lock()
        self._looking = threading.Lock()
        self._key = read_redaction_key(services.settings.redaction_key)
        self._said = False

    def recall(self, subjects: Collection[Subject]) -> dict[Subject, Sampling | None]:
        """What is known of these without asking anybody; those not in the answer must be looked up."""
        now = self._services.clock()
        recalled = {}
        with self._guard:
            for subject in subjects:
                known = self._known.get(subject)
                if known is not None and now < known.until:
                    self._known.move_to_end(subject)
                    recalled[subject] = known.sampling
        return recalled

    def look_up(self, subjects: Collection[Subject]) -> dict[Subject, Sampling | None]:
        """The same for all of them. None: not registered."""
        with self._looking:  # when an instance starts, many ask for the same
            known = self.recall(subjects)
            missing = [subject for subject in subjects if subject not in known]
            return known | self._look_up(missing)

    def _look_up(self, subjects: Collection[Subject]) -> dict[Subject, Sampling | None]:
        """Four round trips at most, for up to 500 of them."""
        now = self._services.clock()
        found = self._registered(subjects)
        policies = self._policies({model for (model, _), declared in found.items() if declared is not None})
        looked_up = {
            (model, version): None if declared is None else self._sampling(policies[model], declared)
            for (model, version), declared in found.items()
        }
        with self._guard:
            for subject, sampling in looked_up.items():
                self._known[subject] = _Known(sampling, now + (KEPT if sampling else KEPT_UNKNOWN))
                self._known.move_to_end(subject)
            while len(self._known) > MOST_KNOWN:
                self._known.popitem(last=False)
        return looked_up

    def _registered(self, subjects: Collection[Subject]) -> dict[Subject, dict[str, str] | None]:
        """The features each declares (a model's labels: none); None for those that are not registered."""
        heads = self._read({subject: f"models/{subject[0]}" for subject in subjects if subject[1] is None})
        names = self._read({(m, v): Registry.name_path(m, v) for m, v in subjects if v is not None})
        keys = {s: Registry.version_path(s[0], str(n.data["key"])) for s, n in names.items() if n is not None}
        versions = self._read(keys)
        registered: dict[Subject, dict[str, str] | None]
        registered = {subject: _declared(document) for subject, document in versions.items() if document is not None}
        registered |= {subject: {} for subject, head in heads.items() if head is not None}
        return {subject: registered.get(subject) for subject in subjects}

    def _policies(self, models: Collection[str]) -> dict[str, DriftPolicy]:
        documents = self._read({(model, None): f"policies/{model}" for model in models})
        return {
            model: PolicyRecord().policy.drift
            if document is None
            else stored(document, PolicyRecord).value.policy.drift
            for (model, _), document in documents.items()
        }

    def _sampling(self, policy: DriftPolicy, declared: dict[str, str]) -> Sampling:
        if self._key is None and "hash" in policy.redact.values() and not self._said:
            self._said = True
            log.error("a policy wants features hashed, but MODELDROP_REDACTION_KEY is not set: they are left out")
        rule = WindowRule(policy.window_seconds, FUTURE_TOLERANCE.total_seconds(), RETENTION.total_seconds())
        keep = KeepRule(declared, dict(policy.redact), self._key)
        return Sampling(policy, keep, rule, timedelta(seconds=policy.window_seconds))

    def _read(self, paths: Mapping[Subject, str]) -> dict[Subject, Document | None]:
        subjects, wanted = list(paths), list(paths.values())
        found: list[Document | None] = []
        for first in range(0, len(wanted), PATHS_AT_ONCE):
            found += self._services.documents.get_many(wanted[first : first + PATHS_AT_ONCE])
        return dict(zip(subjects, found, strict=True))


def read_redaction_key(path: Path | None) -> bytes | None:
    """The key that features are hashed with: the file's bytes without white space around them; None without a file.

    Raises ConfigurationError if the file cannot be read, or holds fewer than 16 bytes.
    """
    if path is None:
        return None
    try:
        key = path.read_bytes().strip()
    except OSError as error:
        raise ConfigurationError(f"MODELDROP_REDACTION_KEY: {path} cannot be read: {error.strerror}") from None
    if len(key) < SHORTEST_KEY_BYTES:
        raise ConfigurationError(f"MODELDROP_REDACTION_KEY: {path} has fewer than {SHORTEST_KEY_BYTES} bytes")
    return key


def _declared(document: Document) -> dict[str, str] | None:
    """None where metadata could not be read: what such a version declares is not known, and nothing of it is stored."""
    metadata = stored(document, ModelVersion).value.metadata
    return None if metadata is None else dict(metadata.features)
