"""Tokens that Cloud Run has checked before the request came here (``MODELDROP_AUTH=iam``).

Cloud Run takes the signature off a token it has checked and puts ``SIGNATURE_REMOVED_BY_GOOGLE`` in its place, so there
is nothing left to check: the claims are read. What it does not hand on so was not checked, and counts for nothing.

Of ``X-Serverless-Authorization`` and ``Authorization`` in one request Cloud Run checks the first alone and hands the
second on as it came. So the second is not looked at then: otherwise everybody who may call the service at all could
write whatever name they like into it.
"""

import base64
import binascii

import msgspec

from modeldrop.errors import Refused
from modeldrop.http.messages import RequestHeaders
from modeldrop.web.callers.claims import LEEWAY_SECONDS, Claims
from modeldrop.web.callers.token_in_header import AUTHORIZATION, token_in

SERVERLESS = "X-Serverless-Authorization"
REMOVED = "SIGNATURE_REMOVED_BY_GOOGLE"
ISSUERS = frozenset({"accounts.google.com", "https://accounts.google.com"})


def platform_claims(headers: RequestHeaders, now: float) -> Claims:
    """The claims of the token that Cloud Run checked; ``now`` in seconds since 1970. Raises Refused."""
    header = SERVERLESS if headers.get(SERVERLESS, "").strip() else AUTHORIZATION
    _, payload, signature = token_in(headers, header).split(".")
    if signature != REMOVED:
        raise Refused("the platform has not checked the token: is the service public?")
    try:
        content = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
        claims = msgspec.json.decode(content, type=Claims)
    except (binascii.Error, ValueError, RecursionError, msgspec.MsgspecError):
        raise Refused("the token's claims cannot be read") from None
    if claims.iss not in ISSUERS:
        raise Refused("the token is not of Google's issuer")
    if claims.exp is None or now > claims.exp + LEEWAY_SECONDS:
        raise Refused("the token has expired")
    if max(claims.nbf or 0.0, claims.iat or 0.0) > now + LEEWAY_SECONDS:
        raise Refused("the token is not valid yet")
    return claims
