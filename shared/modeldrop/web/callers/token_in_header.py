"""The token in a request's header."""

import re

from modeldrop.errors import Refused
from modeldrop.http.messages import RequestHeaders

AUTHORIZATION = "Authorization"
LONGEST_TOKEN = 16_384
"""Signs; Google's have one or two thousand."""
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,16384}(\.[A-Za-z0-9_-]{1,16384}){2}")


def token_in(headers: RequestHeaders, header: str) -> str:
    """The token, three parts in base64url; in ``Authorization`` after ``Bearer``, in other headers by itself.

    Raises Refused if there is none, or something that can be none: also two of them, which servers join by a comma.
    """
    text = headers.get(header, "").strip()
    if header.lower() == AUTHORIZATION.lower() or text[:7].lower() == "bearer ":
        scheme, _, text = text.partition(" ")
        if scheme.lower() != "bearer":
            raise Refused(f"no Bearer token in {header}" if scheme else f"no {header}")
    text = text.strip()
    if not text:
        raise Refused(f"no {header}")
    if len(text) > LONGEST_TOKEN or _TOKEN.fullmatch(text) is None:
        raise Refused(f"what is in {header} is no token")
    return text
