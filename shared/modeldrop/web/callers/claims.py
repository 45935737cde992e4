"""What a token says of its caller, and the name that follows from it."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from modeldrop.errors import Refused

LEEWAY_SECONDS = 30
"""Between the issuer's clock and ours."""
IAP_ISSUER = "https://cloud.google.com/iap"
"""Identity-Aware Proxy: it lets in nobody whose e-mail Google has not verified, and its tokens do not say so again."""

# Where people log in elsewhere the proxy puts a prefix before the e-mail (securetoken.google.com/project:e-mail): what
# has one is not verified by Google, and is no e-mail here.
_EMAIL = re.compile(r"[!-~]{1,64}@[a-z0-9.-]{1,189}")
_NOT_IN_EMAILS = frozenset(',*:/|"\\<>()[];@')
_SUBJECT = re.compile(r"[A-Za-z0-9._:|/-]{1,255}")


class Claims(msgspec.Struct, frozen=True):
    """Those of a token's claims that are looked at."""

    iss: str | None = None
    sub: str | None = None
    email: str | None = None
    email_verified: bool = False
    exp: float | None = None
    nbf: float | None = None
    iat: float | None = None

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> "Claims":
        """From a token's content that was checked. Raises Refused where a claim is of a wrong type."""
        try:
            return msgspec.convert(content, cls)
        except msgspec.ValidationError as error:
            raise Refused(f"the token's claims are none: {error}") from None


def name_of(claims: Claims) -> str:
    """The caller's name: the e-mail in lower case, if the issuer has verified it, else the subject. Raises Refused.

    A subject with an ``@`` is no name: whoever may choose theirs could be called as somebody's e-mail.

    >>> name_of(Claims(email="Ada@Example.com", email_verified=True, sub="1"))
    'ada@example.com'
    >>> name_of(Claims(email="ada@example.com", sub="1"))
    '1'
    """
    if claims.email is not None and (claims.email_verified or claims.iss == IAP_ISSUER):
        email = claims.email.lower() if claims.email.isascii() else ""
        local = email.rpartition("@")[0]
        if _EMAIL.fullmatch(email) and not _NOT_IN_EMAILS & set(local):
            return email
    if claims.sub is not None and _SUBJECT.fullmatch(claims.sub):
        return claims.sub
    raise Refused("the token names nobody: no e-mail that is verified, and no subject")
