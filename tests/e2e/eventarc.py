"""Eventarc as it may behave: every event several times, in every wrapping, until it is acknowledged."""

import base64
import json
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from urllib.parse import quote

import httpx

from tests.servers.storage import StoredObject

RETRY_SECONDS = 30.0
_PAUSE_SECONDS = 0.05
_FINALIZED = "google.cloud.storage.object.v1.finalized"
Request = tuple[dict[str, str], bytes]
Event = tuple[str, int]
"""Name and generation of the object."""


def binary(bucket: str, name: str, generation: int) -> Request:
    """As Eventarc calls a function: a CloudEvent whose attributes are headers."""
    headers = {f"ce-{key}": value for key, value in _attributes(bucket, name).items()}
    return headers | {"content-type": "application/json"}, json.dumps(_data(bucket, name, generation)).encode()


def structured(bucket: str, name: str, generation: int) -> Request:
    """As ``gcloud functions call --cloud-event`` does: the whole CloudEvent in the body."""
    event = _attributes(bucket, name) | {"datacontenttype": "application/json", "data": _data(bucket, name, generation)}
    return {"content-type": "application/cloudevents+json"}, json.dumps(event).encode()


def pushed(bucket: str, name: str, generation: int) -> Request:
    """As a Pub/Sub subscription to the bucket's own notifications pushes it."""
    attributes = {
        "eventType": "OBJECT_FINALIZE",
        "bucketId": bucket,
        "objectId": name,
        "objectGeneration": str(generation),
        "payloadFormat": "JSON_API_V1",
    }
    data = base64.b64encode(json.dumps(_data(bucket, name, generation)).encode()).decode()
    message = {"attributes": attributes, "data": data, "messageId": "1", "publishTime": "2026-01-05T09:00:00Z"}
    push = {"message": message, "subscription": "projects/p/subscriptions/uploads"}
    return {"content-type": "application/json"}, json.dumps(push).encode()


WRAPPINGS: tuple[Callable[[str, str, int], Request], ...] = (binary, structured, pushed)


class Eventarc:
    """Delivers each event once in every wrapping, to the instances in turn, several at a time."""

    def __init__(self, bucket: str, targets: Sequence[str]) -> None:
        self._bucket = bucket
        self._targets = targets
        self._turn = count()
        self._http = httpx.Client(trust_env=False, timeout=RETRY_SECONDS)
        self._pool = ThreadPoolExecutor(4)
        self._guard = threading.RLock()
        self._closing = threading.Event()
        self._seen: set[Event] = set()
        self._held: list[Event] | None = None
        self._under_way = 0
        self._failures: list[Exception] = []
        self.answers: list[tuple[str, str]] = []
        """Object name and what the function said of it, for each acknowledged event."""
        self.refusals: list[tuple[str, str]] = []
        """Object name and what happened instead, for each delivery that was not acknowledged."""

    def finalized(self, name: str, generation: int) -> None:
        """The bucket tells of a new object."""
        with self._guard:
            self._seen.add((name, generation))
            if self._held is not None:
                self._held.append((name, generation))
            else:
                self.deliver([(name, generation)])

    def hold(self) -> None:
        """Keep events from now on, until ``release``."""
        with self._guard:
            self._held = []

    def held(self) -> list[Event]:
        """The events kept since ``hold``."""
        with self._guard:
            return list(self._held or [])

    def release(self, *, shuffled: bool = False) -> None:
        """Deliver the events kept, and all later ones at once."""
        with self._guard:
            events, self._held = self._held or [], None
        self.deliver(events, shuffled=shuffled)

    def deliver(self, events: Sequence[Event], *, shuffled: bool = False) -> None:
        """Deliver each event once in every wrapping, again if need be."""
        deliveries = [(*event, wrap) for event in events for wrap in WRAPPINGS]
        if shuffled:
            random.shuffle(deliveries)
        with self._guard:
            self._under_way += len(deliveries)
        for delivery in deliveries:
            self._pool.submit(self._deliver, *delivery)

    def call(self, target: str, request: Request) -> httpx.Response:
        """One request to one instance, and no other if that fails."""
        headers, body = request
        return self._http.post(target, headers=headers, content=body)

    def is_idle(self, objects: Callable[[], Iterable[StoredObject]]) -> bool:
        """Whether nothing is under way, and no object is still to be told of. Raises what went wrong on the way."""
        with self._guard:
            if self._failures:
                raise self._failures[0]
            # Only looked at when no function is at work on an event: then nothing is being written.
            return not self._under_way and {(one.name, one.generation) for one in objects()} <= self._seen

    def answers_for(self, name: str) -> list[str]:
        """What the function said of one object, once for each delivery."""
        with self._guard:
            return [answer for told, answer in self.answers if told == name]

    def close(self) -> None:
        """Give up what is under way."""
        self._closing.set()
        self._pool.shutdown()
        self._http.close()

    def _deliver(self, name: str, generation: int, wrap: Callable[[str, str, int], Request]) -> None:
        try:
            answer = self._until_acknowledged(name, wrap(self._bucket, name, generation))
            with self._guard:
                self.answers.append((name, answer))
        except Exception as error:
            with self._guard:
                self._failures.append(error)
        finally:
            with self._guard:
                self._under_way -= 1

    def _until_acknowledged(self, name: str, request: Request) -> str:
        deadline = time.monotonic() + RETRY_SECONDS
        while True:
            target = self._targets[next(self._turn) % len(self._targets)]
            try:
                answer = self.call(target, request)
                if answer.status_code == 200:
                    return str(answer.json()["status"])
                said = f"{answer.status_code} {answer.text[:500]}"
            except httpx.TransportError as error:  # the instance is gone, or went while it answered
                said = repr(error)
            with self._guard:
                self.refusals.append((name, said))
            if self._closing.wait(_PAUSE_SECONDS) or time.monotonic() > deadline:
                raise AssertionError(f"the event of {name!a} was never acknowledged: {said}")


def _attributes(bucket: str, name: str) -> dict[str, str]:
    return {
        "specversion": "1.0",
        "id": uuid.uuid4().hex,
        "source": f"//storage.googleapis.com/projects/_/buckets/{bucket}",
        "type": _FINALIZED,
        "subject": quote(f"objects/{name}"),
        "time": "2026-01-05T09:00:00Z",
    }


def _data(bucket: str, name: str, generation: int) -> dict[str, str]:
    return {"kind": "storage#object", "bucket": bucket, "name": name, "generation": str(generation)}
