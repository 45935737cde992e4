"""Poison into the quarantine, so much of it and no more: the rest is counted by what is wrong.

A flood would else fill the store, and hide among its like what somebody ought to see. An instance keeps a hundred
a minute; all of them together what there is room for (``quarantined_events.Room``).
"""

import hashlib
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence

from modeldrop.events.prediction_events import Poison
from modeldrop.handlers.predictions.known_versions import KnownVersions
from modeldrop.handlers.predictions.masked_poison import document_of, masked, subject_of
from modeldrop.handlers.quarantine import quarantine_poison
from modeldrop.records.passed_over import Passed
from modeldrop.wiring import Services

MOST_A_MINUTE = 100
MOST_REMEMBERED = 10_000
LONGEST_REASON = 80
_VARYING = re.compile(r"'.*'|\d[\d,]*")  # names and figures: without them there are a few dozen reasons


class PoisonKeeper:
    """What an instance quarantines; safe from many threads."""

    def __init__(
        self, services: Services, versions: KnownVersions, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._services = services
        self._versions = versions
        self._monotonic = monotonic
        self._room = float(MOST_A_MINUTE)
        self._at = monotonic()
        self._known: set[bytes] = set()
        self._guard = threading.Lock()

    def keep(self, poison: Sequence[Poison]) -> Counter[Passed]:
        """Quarantine some, without what must not be stored; the others are to be counted. Raises TransientError."""
        new = {each: one for one in poison if (each := _digest(one)) not in self._known}
        admitted = dict(list(new.items())[: self._admit(len(new))])
        left = [one for each, one in new.items() if each not in admitted]
        if admitted:
            without_room = quarantine_poison(self._services, self._masked(list(admitted.values())))
            left += without_room
            if not without_room:
                self._remember(admitted.keys())
        return Counter(("", "", _reason(one)) for one in left)

    def _admit(self, wanted: int) -> int:
        """How many of them are for the quarantine: it has filled up since the last time."""
        with self._guard:
            now = self._monotonic()
            self._room = min(MOST_A_MINUTE, self._room + (now - self._at) * MOST_A_MINUTE / 60)
            self._at = now
            admitted = min(wanted, int(self._room))
            self._room -= admitted
            return admitted

    def _remember(self, digests: Collection[bytes]) -> None:
        with self._guard:
            few_enough = len(self._known) + len(digests) <= MOST_REMEMBERED
            self._known = (self._known if few_enough else set[bytes]()).union(digests)

    def _masked(self, poison: Sequence[Poison]) -> list[Poison]:
        documents = [document_of(one) for one in poison]
        subjects = [None if document is None else subject_of(document) for document in documents]
        rules = self._versions.look_up({subject for subject in subjects if subject is not None})
        some = []
        for one, document, subject in zip(poison, documents, subjects, strict=True):
            sampling = None if subject is None else rules[subject]
            some.append(one if sampling is None or document is None else masked(one, document, sampling.keep))
        return some


def _digest(one: Poison) -> bytes:
    return hashlib.sha256(b"%b %b" % (str(one.problems).encode(), one.raw)).digest()


def _reason(one: Poison) -> str:
    return f"not_kept: {_VARYING.sub('…', one.problems[0].message)[:LONGEST_REASON]}"
