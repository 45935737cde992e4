"""A Cloud Storage server for tests: the part of the JSON API that Google's own client uses, over real HTTP.

    with StorageServer(buckets=["models"]) as server:
        os.environ["STORAGE_EMULATOR_HOST"] = server.url

It enforces what a client must not get wrong: preconditions are checked in one step with the effect; generations are
unique and deliberately *not* ordered; checksums sent along are compared. ``fail_next`` and its siblings script
faults, which take the next requests of one kind in the order scripted. ``on_finalize`` tells of each new object, as
the bucket's notifications would: on a thread of its own, so the callback may call back and be as slow as it likes.

Left out: delimiters, object versions, metadata updates, ACLs, authentication.
"""

import base64
import hashlib
import json
import queue
import random
import re
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from socket import SHUT_RDWR, socket
from typing import Any, Literal, Self
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import google_crc32c

from tests.servers.http_listener import HttpListener

MAX_PAGE = 1000
MAX_NAME_BYTES = 1024
COPIED_PER_CALL = 1024 * 1024  # a larger copy needs another call, as between locations of the real one
_COPY_PATH = re.compile(r"/storage/v1/b/([^/]+)/o/([^/]+)/rewriteTo/b/([^/]+)/o/([^/]+)")
Finalized = Callable[[str, int], None]
Kind = Literal["stat", "download", "list", "upload", "chunk", "delete", "copy"]


class ErrorAnswer(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Dropped(Exception):
    """Close the connection without an answer."""


@dataclass(frozen=True)
class StoredObject:
    """One live object of one bucket."""

    bucket: str
    name: str
    data: bytes
    content_type: str
    generation: int
    created: datetime

    @property
    def md5(self) -> str:
        return base64.b64encode(hashlib.md5(self.data).digest()).decode()

    @property
    def crc32c(self) -> str:
        return base64.b64encode(google_crc32c.value(self.data).to_bytes(4)).decode()

    def resource(self, url: str) -> dict[str, str]:
        """The object as the API shows it; 64-bit numbers are strings there."""
        path = f"b/{self.bucket}/o/{quote(self.name, safe='')}"
        created = self.created.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {
            "kind": "storage#object",
            "id": f"{self.bucket}/{self.name}/{self.generation}",
            "name": self.name,
            "bucket": self.bucket,
            "generation": str(self.generation),
            "metageneration": "1",
            "contentType": self.content_type,
            "size": str(len(self.data)),
            "md5Hash": self.md5,
            "crc32c": self.crc32c,
            "etag": base64.b64encode(str(self.generation).encode()).decode(),
            "timeCreated": created,
            "updated": created,
            "selfLink": f"{url}/storage/v1/{path}",
            "mediaLink": f"{url}/download/storage/v1/{path}?generation={self.generation}&alt=media",
        }


@dataclass(frozen=True)
class Fault:
    """What happens to one request of a kind (None: of any). Status None: the connection is dropped."""

    kind: Kind | None
    status: int | None
    after_effect: bool

    def strike(self) -> None:
        if self.status is None:
            raise Dropped
        raise ErrorAnswer(self.status, "scripted fault")


@dataclass
class Upload:
    """A resumable session: the object to be, and the bytes so far."""

    bucket: str
    resource: dict[str, Any]
    content_type: str
    query: dict[str, str]
    data: bytearray = field(default_factory=bytearray)


@dataclass(frozen=True)
class Answer:
    """A response. ``cut``: send half the body, then drop the connection."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False


Route = tuple[Kind | None, Callable[[], Answer]]
Routes = dict[tuple[str, str, bool, bool], Route]


class StorageServer:
    """The server, its buckets and its script. Use it as a context manager; ``url`` is set from the start."""

    def __init__(self, buckets: Sequence[str]) -> None:
        self.callback_failures: list[Exception] = []
        self._objects: dict[str, dict[str, StoredObject]] = {bucket: {} for bucket in buckets}
        self._lock = threading.RLock()
        self._random = random.Random()
        self._used_generations: set[int] = set()
        self._uploads: dict[str, Upload] = {}
        self._faults: list[Fault] = []
        self._damages: list[Literal["cut", "corrupt"]] = []
        self._interventions: list[tuple[Kind, Callable[[], object]]] = []
        self._callbacks: list[Finalized] = []
        self._finalized: queue.SimpleQueue[tuple[str, int] | None] = queue.SimpleQueue()
        self._http = _Listener(self)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._notifications = threading.Thread(target=self._notify)
        self._listening = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Self:
        self._notifications.start()
        self._listening.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._finalized.put(None)  # what is still to be told is told while the server is there
        self._notifications.join()
        self._http.shutdown()
        self._http.end_connections()
        self._http.server_close()
        self._listening.join()
        if self.callback_failures:
            raise self.callback_failures[0]

    # --- for tests -------------------------------------------------------------------------------------------------

    def on_finalize(self, callback: Finalized) -> None:
        """Call ``callback(name, generation)`` for each object written from now on, one after the other."""
        self._callbacks.append(callback)

    def fail_next(self, status: int, *, kind: Kind | None = None, times: int = 1, after_effect: bool = False) -> None:
        """Answer the next requests with an error; ``after_effect``: do what they ask for first."""
        self._script([Fault(kind, status, after_effect)] * times)

    def drop_next(self, *, kind: Kind | None = None, times: int = 1, after_effect: bool = False) -> None:
        """Close the connection instead of answering the next requests."""
        self._script([Fault(kind, None, after_effect)] * times)

    def damage_next_download(self, damage: Literal["cut", "corrupt"], *, times: int = 1) -> None:
        """End the next downloads after half the body, or change one byte in them."""
        with self._lock:
            self._damages += [damage] * times

    def before_next(self, kind: Kind, action: Callable[[], object], *, times: int = 1) -> None:
        """Run ``action`` just before the next requests of a kind are served: somebody else was faster."""
        with self._lock:
            self._interventions += [(kind, action)] * times

    def unused_faults(self) -> int:
        """How much of the script has not happened yet."""
        with self._lock:
            return len(self._faults) + len(self._damages) + len(self._interventions)

    def objects(self, bucket: str) -> dict[str, StoredObject]:
        """What is in a bucket now, by name."""
        with self._lock:
            return dict(self._objects[bucket])

    def put(self, bucket: str, name: str, data: bytes, content_type: str = "application/octet-stream") -> StoredObject:
        """Write an object as somebody else would, past all preconditions."""
        return self.store(bucket, {"name": name}, data, content_type, {})

    def delete(self, bucket: str, name: str) -> None:
        """Delete an object as somebody else would."""
        with self._lock:
            del self._objects[bucket][name]

    # --- the API ---------------------------------------------------------------------------------------------------

    def answer(self, method: str, target: str, headers: Any, body: bytes) -> Answer:
        """Serve one request. Raises ErrorAnswer or Dropped."""
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        if method == "POST" and (names := _COPY_PATH.fullmatch(parts.path)):
            source = [unquote(name, errors="strict") for name in names.groups()]
            return self._serve("copy", lambda: self._copy(*source, query))
        path = re.fullmatch(r"(/upload|/download)?/storage/v1/b/([^/]+)(/o(?:/([^/]+))?)?", parts.path)
        if path is None:
            raise ErrorAnswer(400, f"this server does not know {parts.path}")
        service, bucket = path[1] or "", unquote(path[2], errors="strict")
        name = unquote(path[4], errors="strict") if path[4] else None
        with self._lock:
            if bucket not in self._objects:
                raise ErrorAnswer(404, "The specified bucket does not exist.")
            route = (method, service, bool(path[3]), name is not None)
            routes = self._routes(bucket, name or "", query, headers, body)
            if route not in routes:
                raise ErrorAnswer(400, f"this server does not do {method} {parts.path}")
            return self._serve(*routes[route])

    def _serve(self, kind: Kind | None, serve: Callable[[], Answer]) -> Answer:
        """Serve a request of a kind, with what the script has for it."""
        with self._lock:
            self._intervene(kind)
            fault = self._next_fault(kind)
            if fault and not fault.after_effect:
                fault.strike()
            answer = serve()
            if fault:
                fault.strike()
            return answer

    def store(
        self, bucket: str, resource: dict[str, Any], data: bytes, content_type: str, query: dict[str, str]
    ) -> StoredObject:
        """Write one object, if the preconditions hold and the checksums are right."""
        name = resource.get("name") or query.get("name", "")
        if not 0 < len(name.encode()) <= MAX_NAME_BYTES or any(c in name for c in "\r\n") or name in (".", ".."):
            raise ErrorAnswer(400, f"Invalid object name {name!r}")
        with self._lock:
            live = self._objects[bucket].get(name)
            _check_preconditions(live, query, unmet_not_match=412)
            new = StoredObject(bucket, name, data, content_type, self._new_generation(), datetime.now(UTC))
            for key, right in (("crc32c", new.crc32c), ("md5Hash", new.md5)):
                if resource.get(key, right) != right:
                    raise ErrorAnswer(400, f"Provided {key} does not match the data")
            self._objects[bucket][name] = new
        self._finalized.put((name, new.generation))
        return new

    def _routes(self, bucket: str, name: str, query: dict[str, str], headers: Any, body: bytes) -> Routes:
        """(method, service, objects?, one object?) → (kind, what to do)."""
        media = query.get("alt") == "media"
        read: Route = ("download", lambda: self._download(bucket, name, query, headers))
        stat: Route = ("stat", lambda: self._json(self._live(bucket, name, query).resource(self.url)))
        return {
            ("GET", "", False, False): (None, lambda: self._json({"kind": "storage#bucket", "name": bucket})),
            ("GET", "", True, False): ("list", lambda: self._list(bucket, query)),
            ("GET", "", True, True): read if media else stat,
            ("GET", "/download", True, True): read,
            ("DELETE", "", True, True): ("delete", lambda: self._delete(bucket, name, query)),
            ("POST", "/upload", True, False): ("upload", lambda: self._upload(bucket, query, headers, body)),
            ("PUT", "/upload", True, False): ("chunk", lambda: self._resume(query, headers, body)),
        }

    def _live(self, bucket: str, name: str, query: dict[str, str]) -> StoredObject:
        live = self._objects[bucket].get(name)
        if live is None or query.get("generation", str(live.generation)) != str(live.generation):
            raise ErrorAnswer(404, f"No such object: {bucket}/{name}")
        _check_preconditions(live, query, unmet_not_match=304)
        return live

    def _download(self, bucket: str, name: str, query: dict[str, str], headers: Any) -> Answer:
        found = self._live(bucket, name, query)
        data, status = found.data, 200
        answer_headers = {
            "Content-Type": found.content_type,
            "X-Goog-Generation": str(found.generation),
            "X-Goog-Metageneration": "1",
            "X-Goog-Hash": f"crc32c={found.crc32c},md5={found.md5}",
            "X-Goog-Stored-Content-Length": str(len(found.data)),
            "X-Goog-Stored-Content-Encoding": "identity",
        }
        if part := re.fullmatch(r"bytes=(\d+)-(\d*)", headers.get("Range", "")):
            first, last = int(part[1]), min(int(part[2] or len(data)), len(data) - 1)
            if first > last:
                raise ErrorAnswer(416, "Requested range not satisfiable")
            data, status = data[first : last + 1], 206
            answer_headers["Content-Range"] = f"bytes {first}-{last}/{len(found.data)}"
        damage = self._damages.pop(0) if self._damages else None
        if damage == "corrupt":
            data = bytes([data[0] ^ 1]) + data[1:]
        return Answer(data, status, answer_headers, cut=damage == "cut")

    def _list(self, bucket: str, query: dict[str, str]) -> Answer:
        if "delimiter" in query or query.get("versions") == "true":
            raise ErrorAnswer(400, "this server lists without delimiter and versions")
        after = base64.urlsafe_b64decode(query.get("pageToken", ""))
        names = sorted(n.encode() for n in self._objects[bucket] if n.startswith(query.get("prefix", "")))
        names = [name for name in names if name > after]
        size = min(int(query.get("maxResults", MAX_PAGE)), MAX_PAGE)
        page: dict[str, Any] = {"kind": "storage#objects"}
        page["items"] = [self._objects[bucket][name.decode()].resource(self.url) for name in names[:size]]
        if len(names) > size:
            page["nextPageToken"] = base64.urlsafe_b64encode(names[size - 1]).decode()
        return self._json(page)

    def _delete(self, bucket: str, name: str, query: dict[str, str]) -> Answer:
        self._live(bucket, name, query)
        del self._objects[bucket][name]
        return Answer(b"", 204)

    def _copy(self, from_bucket: str, source: str, bucket: str, target: str, query: dict[str, str]) -> Answer:
        """One call of a copy. The token of an unfinished one says how far it is."""
        for name in (from_bucket, bucket):
            if name not in self._objects:
                raise ErrorAnswer(404, "The specified bucket does not exist.")
        generation = {"generation": query["sourceGeneration"]} if "sourceGeneration" in query else {}
        found = self._live(from_bucket, source, generation)
        copied = int(query.get("rewriteToken", 0)) + COPIED_PER_CALL
        progress = {"kind": "storage#rewriteResponse", "objectSize": str(len(found.data))}
        if copied < len(found.data):
            _check_preconditions(self._objects[bucket].get(target), query, unmet_not_match=412)
            more = {"totalBytesRewritten": str(copied), "done": False, "rewriteToken": str(copied)}
            return self._json(progress | more)
        new = self.store(bucket, {"name": target}, found.data, found.content_type, query)
        done = {"totalBytesRewritten": progress["objectSize"], "done": True, "resource": new.resource(self.url)}
        return self._json(progress | done)

    def _upload(self, bucket: str, query: dict[str, str], headers: Any, body: bytes) -> Answer:
        if query.get("uploadType") == "multipart":
            resource, content_type, data = _split_multipart(headers["Content-Type"], body)
            return self._json(self.store(bucket, resource, data, content_type, query).resource(self.url))
        if query.get("uploadType") == "media":
            content_type = headers.get("Content-Type", "application/octet-stream")
            return self._json(self.store(bucket, {}, body, content_type, query).resource(self.url))
        if query.get("uploadType") != "resumable":
            raise ErrorAnswer(400, "this server takes media, multipart and resumable uploads")
        resource = json.loads(body)
        _check_preconditions(self._objects[bucket].get(resource["name"]), query, unmet_not_match=412)
        upload_id = f"{self._random.getrandbits(128):x}"
        self._uploads[upload_id] = Upload(bucket, resource, headers["X-Upload-Content-Type"], query)
        location = f"{self.url}/upload/storage/v1/b/{quote(bucket)}/o?uploadType=resumable&upload_id={upload_id}"
        return Answer(b"", headers={"Location": location})

    def _resume(self, query: dict[str, str], headers: Any, body: bytes) -> Answer:
        """Take one chunk; with the last one, write the object (the preconditions count at that moment too)."""
        upload = self._uploads.get(query.get("upload_id", ""))
        part = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", headers.get("Content-Range", ""))
        if upload is None or part is None:
            raise ErrorAnswer(404 if upload is None else 400, "no such upload, or no range")
        if part[1] and int(part[1]) != len(upload.data):
            raise ErrorAnswer(400, "the chunk does not start where the last one ended")
        upload.data += body
        if part[2] != str(len(upload.data)):
            so_far = {"Range": f"bytes=0-{len(upload.data) - 1}"} if upload.data else {}
            return Answer(b"", 308, so_far)
        hashes = dict(one.split("=", 1) for one in headers.get("X-Goog-Hash", "").split(",") if one)
        resource = {**upload.resource, **{"md5Hash" if k == "md5" else k: v for k, v in hashes.items()}}
        new = self.store(upload.bucket, resource, bytes(upload.data), upload.content_type, upload.query)
        del self._uploads[query["upload_id"]]
        return self._json(new.resource(self.url))

    # --- inside ----------------------------------------------------------------------------------------------------

    def _json(self, value: dict[str, Any]) -> Answer:
        return Answer(json.dumps(value).encode(), headers={"Content-Type": "application/json; charset=UTF-8"})

    def _new_generation(self) -> int:
        while (generation := self._random.randrange(1, 2**63)) in self._used_generations:
            pass
        self._used_generations.add(generation)
        return generation

    def _script(self, faults: list[Fault]) -> None:
        with self._lock:
            self._faults += faults

    def _intervene(self, kind: Kind | None) -> None:
        due = next((one for one in self._interventions if one[0] == kind), None)
        if due:
            self._interventions.remove(due)
            due[1]()

    def _next_fault(self, kind: Kind | None) -> Fault | None:
        fault = next((one for one in self._faults if one.kind in (None, kind)), None)
        if fault:
            self._faults.remove(fault)
        return fault

    def _notify(self) -> None:
        while (finalized := self._finalized.get()) is not None:
            for callback in list(self._callbacks):
                try:
                    callback(*finalized)
                except Exception as error:
                    self.callback_failures.append(error)


def _check_preconditions(live: StoredObject | None, query: dict[str, str], *, unmet_not_match: int) -> None:
    generation = str(live.generation) if live else "0"
    if query.get("ifGenerationMatch", generation) != generation:
        raise ErrorAnswer(412, "At least one of the pre-conditions you specified did not hold.")
    if query.get("ifGenerationNotMatch") == generation:
        raise ErrorAnswer(unmet_not_match, "At least one of the pre-conditions you specified did not hold.")


def _split_multipart(content_type: str, body: bytes) -> tuple[dict[str, Any], str, bytes]:
    """(resource, content type, data) of a multipart/related body; the data may hold anything."""
    boundary = re.search(r'boundary="?([^";]+)', content_type)
    if boundary is None:
        raise ErrorAnswer(400, "no boundary")
    line = b"--" + boundary[1].encode()
    first, _, second = body.removeprefix(line + b"\r\n").partition(b"\r\n" + line + b"\r\n")
    head, _, data = second.partition(b"\r\n\r\n")
    data_type = re.search(rb"content-type:\s*([^\r\n]+)", head, re.IGNORECASE)
    resource = json.loads(first.partition(b"\r\n\r\n")[2])
    stop = data.rindex(b"\r\n" + line + b"--")
    return resource, data_type[1].decode() if data_type else "application/octet-stream", data[:stop]


class _Listener(HttpListener):
    def __init__(self, storage: StorageServer) -> None:
        self.storage = storage
        super().__init__(("127.0.0.1", 0), _Connection)


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # one packet an answer
    server: _Listener

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:
            self.close_connection = True  # the client hung up

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            answer = self.server.storage.answer(self.command, self.path, self.headers, body)
        except Dropped:
            self.close_connection = True
            _hang_up(self.connection)
            return
        except ErrorAnswer as error:
            answer = _as_answer(error)
        self._send(answer)

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - names the library looks for

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for key, value in answer.headers.items():
            self.send_header(key, value)
        if answer.status not in (204, 304):
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body[: len(answer.body) // 2] if answer.cut else answer.body)
        self.wfile.flush()
        if answer.cut:
            self.close_connection = True
            _hang_up(self.connection)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing on stderr."""


def _as_answer(error: ErrorAnswer) -> Answer:
    reasons = {404: "notFound", 412: "conditionNotMet", 429: "rateLimitExceeded", 503: "backendError"}
    reason = {"domain": "global", "reason": reasons.get(error.status, "invalid"), "message": str(error)}
    content = {"error": {"code": error.status, "message": str(error), "errors": [reason]}}
    body = b"" if error.status == 304 else json.dumps(content).encode()
    return Answer(body, error.status, {"Content-Type": "application/json; charset=UTF-8"})


def _hang_up(connection: socket) -> None:
    with suppress(OSError):  # the client may have hung up itself
        connection.shutdown(SHUT_RDWR)
