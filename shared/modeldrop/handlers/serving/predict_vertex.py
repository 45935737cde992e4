"""``{"instances": […]}`` → ``{"predictions": […]}``: the contract of a container on Vertex AI."""

from dataclasses import replace

import msgspec

from modeldrop.errors import InvalidInput
from modeldrop.events import strict_json
from modeldrop.handlers.serving.answering import afterwards, answer_instances, version_headers
from modeldrop.handlers.serving.limits import BODY_LIMIT_BYTES
from modeldrop.handlers.serving.service import Service
from modeldrop.handlers.serving.streaming import stream_answer
from modeldrop.http.messages import Reply, json_reply, problem
from modeldrop.serving.served_version import Serving

MOST_INSTANCES = 1_000


class _Counted(msgspec.Struct):
    """The instances, told apart and not looked into."""

    instances: list[msgspec.Raw]


def count_instances(body: bytes) -> int:
    """How many instances there seem to be, at most ``MOST_INSTANCES``: at a fraction of what it takes to read them.

    0 for what cannot be counted: nothing is done for that but to say what is wrong with it.

    >>> count_instances(b'{"instances": [1, {"a": []}]}'), count_instances(b'{"instances": 3}'), count_instances(b"[")
    (2, 0, 0)
    """
    try:
        counted = msgspec.json.decode(strict_json.without_mark(body), type=_Counted)
        return min(len(counted.instances), MOST_INSTANCES)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return 0


def read_instances(body: bytes) -> list[object]:
    """The instances; one that is JSON but not acceptable stands as the InvalidInput that says why.

    Raises InvalidInput for a request that is wrong as a whole.
    """
    return strict_json.decode_list_field(body, "instances", limit_bytes=BODY_LIMIT_BYTES, limit_count=MOST_INSTANCES)


def answer_vertex(service: Service, serving: Serving, instances: list[object], *, stream: bool) -> Reply:
    """200 with a prediction for each instance, whatever became of each; 400 for a stream of several."""
    if stream:
        if len(instances) != 1 or isinstance(instances[0], InvalidInput):
            return problem(400, "a stream answers one instance, which must be acceptable")
        return stream_answer(service, serving, instances[0])
    found = answer_instances(service, serving, instances)
    reply = json_reply(200, {"predictions": found.answers}, version_headers(serving, found))
    return replace(reply, afterwards=afterwards(service, serving, found.told))
