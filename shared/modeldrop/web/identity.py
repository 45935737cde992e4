"""Who calls the API."""

import base64
import binascii

import msgspec

LOCAL_OPERATOR = "local operator"
_LONGEST_TOKEN = 16_384


class _Claims(msgspec.Struct, frozen=True):
    email: str | None = None
    sub: str | None = None


def caller(auth: str | None, authorization: str) -> str | None:
    """The caller's e-mail or subject; None if it is not known.

    With ``iam`` Cloud Run has checked the token before the request comes here, and takes its signature off: the claims
    are read, not checked again. With ``none`` everybody on this machine is the operator.

    >>> caller("none", "")
    'local operator'
    >>> caller("iam", "Bearer nonsense") is None
    True
    """
    if auth != "iam":
        return LOCAL_OPERATOR
    parts = authorization.removeprefix("Bearer ").split(".")
    if len(authorization) > _LONGEST_TOKEN or len(parts) != 3:
        return None
    try:
        payload = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        claims = msgspec.json.decode(payload, type=_Claims)
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        return None
    return claims.email or claims.sub
