"""Vertex AI's ``endpoints.list``: pages of at most a hundred, behind opaque tokens, and its filter on labels."""

import base64
import json
import re
from collections.abc import Mapping

from tests.servers.vertex_state import ApiError, Json, VertexState

MOST_A_PAGE = 100
_DEFAULT_PAGE = 100
# labels.key=value, labels.key="value", labels.key:* and labels:key, as the API's reference has them.
_FILTER = re.compile(
    r"""labels(?:\.(?P<key>[a-z][a-z0-9_-]*)(?:=(?P<quote>"?)(?P<value>[a-z0-9_-]*)(?P=quote)|:\*)"""
    r"""|:(?P<present>[a-z][a-z0-9_-]*))"""
)


def list_endpoints(state: VertexState, query: Mapping[str, str]) -> Json:
    """One page, in the order the endpoints were made."""
    wanted = query.get("filter", "")
    found = [endpoint for endpoint in state.endpoints.values() if _matches(endpoint.get("labels", {}), wanted)]
    begin = _begin(query.get("pageToken", ""), wanted)
    end = begin + _size(query.get("pageSize", "0"))
    page = found[begin:end]
    state.pages_read.append(len(page))
    answer: Json = {"endpoints": page} if page else {}  # the REST API leaves out what is empty
    return answer | ({"nextPageToken": _token(end, wanted)} if end < len(found) else {})


def _matches(labels: Mapping[str, str], wanted: str) -> bool:
    if not wanted:
        return True
    matched = _FILTER.fullmatch(wanted)
    if matched is None:
        raise ApiError("INVALID_ARGUMENT", f"Invalid filter: {wanted}")
    key, value = matched["key"] or matched["present"], matched["value"]
    return key in labels and value in (None, labels[key])


def _size(text: str) -> int:
    size = int(text)
    if size < 0:
        raise ApiError("INVALID_ARGUMENT", "pageSize must not be negative.")
    return min(size or _DEFAULT_PAGE, MOST_A_PAGE)


def _token(begin: int, wanted: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([begin, wanted]).encode()).decode()


def _begin(token: str, wanted: str) -> int:
    """Where the page begins; a token belongs to the filter it was given for."""
    if not token:
        return 0
    try:
        begin, of = json.loads(base64.urlsafe_b64decode(token))
    except ValueError:
        begin, of = 0, None
    if of != wanted:
        raise ApiError("INVALID_ARGUMENT", "The page token is not valid for this request.")
    return int(begin)
