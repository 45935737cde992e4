"""Asking the control plane: requests, answers, pages, and what a refusal means for whoever typed the command."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from modeldrop.cli.control_plane import DEFAULT_URL, MOST_BYTES, ControlPlane
from modeldrop.cli.ending import BAD_INPUT, NO_ANSWER, NOT_DONE, fail, fail_with
from modeldrop.cli.options import DEFAULT_DATA, AsJson, Data, Keys, Url
from modeldrop.errors import InvalidInput, Unavailable
from modeldrop.events import strict_json

if TYPE_CHECKING:
    import httpx

__all__ = [
    "BAD_INPUT",
    "DEFAULT_DATA",
    "DEFAULT_URL",
    "NOT_DONE",
    "NO_ANSWER",
    "AsJson",
    "Data",
    "Keys",
    "Url",
    "address_of",
    "answer",
    "fail",
    "fail_with",
    "get",
    "pages",
    "request",
]

FOREIGN = "does not answer as modeldrop does. Is it its address?"
MOST_SIGNS = 2_000
NOT_FOUND = 404
NAMES = re.compile(r" no (model|version) ")
"""What was not found is a name: others can be looked up. Else it is no report, no rollout, no path."""
CODES = {400: BAD_INPUT, 413: BAD_INPUT, 422: BAD_INPUT, 429: NO_ANSWER}
HINTS = {
    401: "log in with gcloud auth login, or set MODELDROP_TOKEN to a token that has not expired",
    403: "your account lacks the role: those who may are named in MODELDROP_OPERATORS and MODELDROP_APPROVERS, "
    "and who may call the API at all needs roles/run.invoker",
    404: "modeldrop status lists the models, modeldrop versions MODEL their versions",
    409: "somebody was faster: look at modeldrop status, then ask again",
    429: "too many requests: ask again later",
    503: "it cannot do it now: ask again later",
}


def get(url: ControlPlane, *path: str, code: int | None = None, **query: str | int) -> dict[str, Any]:
    """What the API answers; ends with ``code`` where it refuses."""
    return answer(url, request("GET", url, path, params=query), code)


def pages(url: ControlPlane, rows: str, *path: str, everything: bool, **query: Any) -> dict[str, Any]:
    """The first page of a list, or all of them as one; ``rows`` names the field that holds the list."""
    found = get(url, *path, **query)
    while everything and found.get("next") is not None:
        page = get(url, *path, **{**query, "before": found["next"]})
        if not page.get(rows) or page.get("next") == found["next"]:
            raise Unavailable(f"{url} {FOREIGN}")
        found = found | {rows: [*(found.get(rows) or []), *page[rows]], "next": page.get("next")}
    return found


def answer(url: ControlPlane, response: "httpx.Response", code: int | None = None) -> dict[str, Any]:
    """The answer's JSON object. Raises Unavailable if it is none; ends with ``code`` if it is a problem.

    Without ``code``: 2 for a bad request, 3 for "not now", else 1.
    """
    try:
        content = strict_json.decode(response.content, limit_bytes=MOST_BYTES)
    except InvalidInput:
        content = None
    if response.is_redirect:
        fail(f"{url} sends on to another address: name that one, if it is meant", code or BAD_INPUT)
    if response.is_error:
        _refused(url, response, content if isinstance(content, dict) else None, code)
    if not isinstance(content, dict):
        raise Unavailable(f"{url} {FOREIGN}")
    return content


def _refused(url: ControlPlane, response: "httpx.Response", content: dict[str, Any] | None, code: int | None) -> None:
    """One line on what the server did not do, and what helps."""
    status, after = response.status_code, response.headers.get("retry-after", "")
    said = str(content["detail"])[:MOST_SIGNS] if content and "detail" in content else f"{url} answers {status}"
    hint = "" if status == NOT_FOUND and content and not NAMES.search(said) else HINTS.get(status, "")
    if hint and after.isascii() and after.isdigit():
        hint = hint.replace("later", f"in {after} s")
    if content is None and status not in HINTS:
        raise Unavailable(f"{url} {FOREIGN} ({status})")
    default = NO_ANSWER if status >= 500 else CODES.get(status, NOT_DONE)
    problem = content or {"title": response.reason_phrase, "status": status, "detail": said}
    fail(" ".join(f"{said} ({hint})".split()) if hint else said, default if code is None else code, problem)


def request(method: str, url: ControlPlane, path: Iterable[str], **content: Any) -> "httpx.Response":
    """The answer to a request for the path of these segments. Raises Unavailable where there is none."""
    with url.connected() as client:
        return client.request(method, address_of(url, *path), **content)


def address_of(url: ControlPlane, *path: str) -> str:
    """The address of the path of these segments."""
    return "/".join([url.url, *(quote(segment, safe="", errors="surrogateescape") for segment in path)])
