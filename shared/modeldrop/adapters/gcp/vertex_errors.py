"""What Vertex AI and its client say went wrong, as errors of ours."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import requests
from google.api_core.exceptions import GoogleAPICallError, GoogleAPIError
from google.auth.exceptions import GoogleAuthError
from google.protobuf.json_format import ParseError
from google.rpc.code_pb2 import Code

from modeldrop.errors import Conflict, ModeldropError, NotFound, Refused, Unavailable

# FAILED_PRECONDITION says both "never" and "not now"; only the words tell them apart. An old etag is ABORTED in the
# API guidelines since 2021 and FAILED_PRECONDITION in services older than that.
_NOT_NOW = re.compile(r"etag|other operations? |in progress|under way|concurrent", re.IGNORECASE)


@contextmanager
def vertex_errors() -> Iterator[None]:
    """Raise what the Google client raises as an error of ours. Wrap nothing but the client's call in it."""
    try:
        yield
    except GoogleAPICallError as error:
        raise _translated(error) from error
    except (GoogleAPIError, GoogleAuthError, requests.RequestException) as error:
        raise Unavailable(f"no answer from Vertex AI: {error}") from error
    except (ParseError, AttributeError) as error:
        # The client reads an error answer without looking at its shape first: ``{"error": "text"}``, as proxies
        # write it, ends in an AttributeError.
        raise Unavailable(f"an answer that is not Vertex AI's: {error}") from error


def code_name(code: int) -> str:
    """``RESOURCE_EXHAUSTED`` and the like, for the number in an operation's error."""
    return str(Code.Name(code)) if code in Code.values() else f"code {code}"


def _translated(error: GoogleAPICallError) -> ModeldropError:
    code = int(error.code or 500)
    status = _canonical_status(error)
    text = f"Vertex AI says {status or code}: {str(error.message)[:1000]}"
    if code == 404:
        return NotFound(text)
    if code in (409, 412) or (status == "FAILED_PRECONDITION" and _NOT_NOW.search(str(error.message))):
        return Conflict(text)
    # 403 may pass as well: an administrator mends the account's roles, and no version should have failed for them.
    if 400 <= code < 500 and code not in (401, 403, 408, 429, 499):
        return Refused(text)
    return Unavailable(text)


def _canonical_status(error: GoogleAPICallError) -> str:
    """``FAILED_PRECONDITION`` and the like. Over REST the client keeps the HTTP code only; the name is in the body."""
    try:
        return str(error.response.json()["error"]["status"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return ""
