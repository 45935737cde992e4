"""Who sends a request, by ``MODELDROP_AUTH``."""

import logging
import threading
import time
from functools import lru_cache
from typing import TYPE_CHECKING

from modeldrop.errors import ConfigurationError, Refused, Unavailable
from modeldrop.http.messages import Asked, Reply, problem
from modeldrop.settings import Settings
from modeldrop.web.callers.caller import Caller
from modeldrop.web.callers.claims import Claims, name_of
from modeldrop.web.callers.platform_token import platform_claims
from modeldrop.web.callers.token_in_header import token_in
from modeldrop.web.roles import ALL_ROLES, roles_of

if TYPE_CHECKING:
    from modeldrop.adapters.http.signed_tokens import SignedTokens

log = logging.getLogger(__name__)

LOCAL_OPERATOR = "local operator"
_LOCK = threading.Lock()


def identify(settings: Settings, asked: Asked) -> Caller | Reply:
    """The caller; a 401 if they are not known, 503 if that cannot be told now.

    The answer never says why: the log does, without the token.
    """
    try:
        match settings.auth:
            case None | "none" if settings.backend == "local":
                return Caller(LOCAL_OPERATOR, ALL_ROLES)
            case "iam":
                claims = platform_claims(asked.headers, time.time())
            case "jwt":
                claims = _signed(settings, asked)
            case _:
                raise Refused(f"nobody is known with MODELDROP_AUTH={settings.auth}")
        name = name_of(claims)
    except Refused as error:
        log.info("a caller is not known: %s", error)
        return problem(401, "the caller's identity is not known", headers={"WWW-Authenticate": "Bearer"})
    except (Unavailable, ConfigurationError) as error:
        log.error("callers cannot be identified: %s", error)
        return problem(503, "callers cannot be identified at the moment", headers={"Retry-After": "30"})
    return Caller(name, roles_of(settings, name))


def _signed(settings: Settings, asked: Asked) -> Claims:
    token = token_in(asked.headers, settings.jwt_header)
    with _LOCK:  # one set of keys, however many threads come first
        tokens = _tokens(settings)
    return Claims.read(tokens.claims(token))


@lru_cache(maxsize=8)
def _tokens(settings: Settings) -> "SignedTokens":
    """One by settings, as it keeps the issuer's keys."""
    from modeldrop.adapters.http import signed_tokens  # noqa: PLC0415 - cryptography is not for those who do without

    return signed_tokens.connect(settings)
