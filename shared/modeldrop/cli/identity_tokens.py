"""The token that says who asks: from MODELDROP_TOKEN, else from ``gcloud auth print-identity-token``.

A token is kept in memory only, until shortly before it expires, and is never printed.
"""

import base64
import binascii
import json
import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass, field

from modeldrop.cli.ending import BAD_INPUT, NOT_DONE, fail

TOKEN_VARIABLE = "MODELDROP_TOKEN"  # noqa: S105 - where it is, not what it is
GCLOUD_SECONDS = 60.0
SPARE_SECONDS = 60.0
UNDATED_SECONDS = 300.0
"""How long a token is kept that does not say when it expires."""
MOST_WORDS = 600
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{1,16384}")


@dataclass
class IdentityTokens:
    """Tokens of one run. ``account``: the service account to act as; ``audience``: whom the token is for.

    People's accounts have no audience to choose. A service account's token is for one address: without ``audience``
    that of the control plane, where it is acted as.
    """

    account: str | None = None
    audience: str | None = None
    gcloud_seconds: float = GCLOUD_SECONDS
    _kept: dict[str, tuple[str, float]] = field(default_factory=dict, repr=False)

    def token(self, url: str) -> str:
        """A token for the control plane at ``url``. Ends the command where there is none to be had."""
        given = os.environ.get(TOKEN_VARIABLE, "").strip()
        if given:
            if not _TOKEN.fullmatch(given):
                fail(f"what {TOKEN_VARIABLE} holds is no token", BAD_INPUT)
            return given
        audience = self.audience or (url if self.account else "")
        token, until = self._kept.get(audience, ("", 0.0))
        if time.time() >= until:
            token = self._ask_gcloud(audience)
            self._kept[audience] = token, expiry(token) or time.time() + UNDATED_SECONDS
        return token

    def _ask_gcloud(self, audience: str) -> str:
        program = shutil.which("gcloud")
        if program is None:
            fail(f"no identity: gcloud is not installed, and {TOKEN_VARIABLE} is not set", BAD_INPUT)
        command = [program, "auth", "print-identity-token"]
        if self.account:  # the API goes by the e-mail, and such a token has it only on request
            command += [f"--impersonate-service-account={self.account}", "--include-email"]
        if audience:
            command.append(f"--audiences={audience}")
        environment = os.environ | {"CLOUDSDK_CORE_DISABLE_PROMPTS": "1"}
        try:
            run = subprocess.run(
                command,
                capture_output=True,
                text=True,
                errors="replace",
                stdin=subprocess.DEVNULL,
                timeout=self.gcloud_seconds,
                check=False,
                env=environment,
            )
        except subprocess.TimeoutExpired:
            fail(f"gcloud gave no identity token within {self.gcloud_seconds:g} s", NOT_DONE)
        except OSError as error:
            fail(f"gcloud cannot be run: {error.strerror}", BAD_INPUT)
        token = run.stdout.strip()
        if run.returncode != 0 or not _TOKEN.fullmatch(token):
            said = " ".join(run.stderr.split())[:MOST_WORDS] or f"it ended with {run.returncode} and said nothing"
            fail(f"gcloud gives no identity token: {said}", NOT_DONE)
        return token


def expiry(token: str) -> float | None:
    """When a token should no longer be used, in seconds since 1970; None if it does not say. Nothing is verified.

    >>> expiry("e30.eyJleHAiOiAxMDYwfQ.c2ln")
    1000.0
    >>> expiry("opaque") is None
    True
    """
    try:
        claims = token.split(".")[1]
        found = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
        return float(found["exp"]) - SPARE_SECONDS
    except (IndexError, KeyError, TypeError, ValueError, OverflowError, RecursionError, binascii.Error):
        return None
