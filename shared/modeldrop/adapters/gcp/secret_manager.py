"""Secrets from Secret Manager.

Relied on, from the reference of ``projects.secrets.versions.access`` and its guide to data integrity: the alias
``latest`` is the newest enabled version, and ``dataCrc32c`` is the CRC32C (Castagnoli) of the payload, always given.
"""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from time import monotonic

import google_crc32c
import msgspec
import requests
from google.api_core import exceptions as google_errors
from google.auth.exceptions import GoogleAuthError
from google.cloud.secretmanager_v1 import SecretManagerServiceClient
from google.protobuf.json_format import ParseError

from modeldrop.adapters.gcp.connecting import credentials_for, read_address
from modeldrop.errors import NotFound, Refused, Unavailable
from modeldrop.settings import Settings

CALL_SECONDS = 10.0
KEPT_SECONDS = 300.0
"""How long a text is kept: a rotated secret is in use that long after."""

_SERVICE = "https://secretmanager.googleapis.com"
_REFERENCE = re.compile(r"(projects/[a-z0-9.:-]{1,64}/secrets/[A-Za-z0-9_-]{1,255})(/versions/[a-z0-9-]{1,64})?")


class _Kept(msgspec.Struct, frozen=True):
    text: str
    until: float


class SecretManagerSecrets:
    """A ports.Secrets, which keeps what it read for five minutes. Safe for use by several threads."""

    def __init__(
        self,
        client: SecretManagerServiceClient,
        *,
        call_seconds: float = CALL_SECONDS,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._client = client
        self._call_seconds = call_seconds
        self._clock = clock
        self._kept: dict[str, _Kept] = {}
        self._guard = Lock()

    def read(self, reference: str) -> str:
        """See Secrets. Also raises Unavailable: a secret that cannot be read now may be there later."""
        name = _version_name(reference)
        now = self._clock()
        with self._guard:
            self._kept = {name: kept for name, kept in self._kept.items() if kept.until > now}
            kept = self._kept.get(name)
        if kept is not None:
            return kept.text
        text = self._access(name)
        with self._guard:
            self._kept[name] = _Kept(text, now + KEPT_SECONDS)
        return text

    def close(self) -> None:
        """Closes the connection; later calls fail."""
        self._client.transport.close()  # type: ignore[no-untyped-call]

    def _access(self, name: str) -> str:
        with _errors_of(name):
            answer = self._client.access_secret_version(request={"name": name}, retry=None, timeout=self._call_seconds)
        data = bytes(answer.payload.data)
        if answer.payload.data_crc32c != google_crc32c.value(data):  # one that is missing reads as 0
            raise Unavailable(f"{name} was damaged on the way: its checksum differs")
        try:
            text = data.decode("utf-8").strip()
        except UnicodeDecodeError:
            raise Refused(f"{name} is not text") from None  # the error itself holds the secret's bytes
        if not text:
            raise NotFound(f"{name} holds nothing")
        return text


def connect(settings: Settings) -> SecretManagerSecrets:
    """The secrets that this machine's account may read, in whichever project: a reference names its own.

    Raises ConfigurationError if the machine has no credentials.
    """
    return connect_to(_SERVICE)


def connect_to(
    url: str, *, call_seconds: float = CALL_SECONDS, clock: Callable[[], float] = monotonic
) -> SecretManagerSecrets:
    """The same at another address; plain http on loopback, without credentials."""
    address = read_address(url, "the address of Secret Manager")
    # At DEBUG the client is written to log whole answers (2.32 fails at it, and logs None): not here.
    logging.getLogger(SecretManagerServiceClient.get_transport_class("rest").__module__).setLevel(logging.INFO)
    client = SecretManagerServiceClient(
        credentials=credentials_for(address), transport="rest", client_options={"api_endpoint": address.url}
    )
    return SecretManagerSecrets(client, call_seconds=call_seconds, clock=clock)


def _version_name(reference: str) -> str:
    """The full name, with a version; raises Refused for what is no reference.

    >>> _version_name("projects/p/secrets/hook")
    'projects/p/secrets/hook/versions/latest'
    """
    if reference.startswith("env:"):
        raise Refused("env:… is read by the local backend only: put the secret into Secret Manager")
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise Refused("not a reference to a secret: projects/…/secrets/… is one")  # not quoted: it may be one itself
    return f"{match[1]}{match[2] or '/versions/latest'}"


@contextmanager
def _errors_of(name: str) -> Iterator[None]:
    try:
        yield
    except google_errors.Forbidden as error:  # over REST the client has no PermissionDenied
        raise Refused(f"{name} may not be read: {_said(error)}") from None
    except google_errors.NotFound as error:
        raise NotFound(f"there is no {name}: {_said(error)}") from None
    except google_errors.GoogleAPICallError as error:
        raise Unavailable(f"{name} was not read: {_said(error)}") from None
    except (google_errors.GoogleAPIError, GoogleAuthError, requests.RequestException) as error:
        raise Unavailable(f"{name} was not read: {str(error)[:1000]}") from error
    except (ParseError, AttributeError):
        # Half an answer, or a proxy's. What it says is left out: it may be half a secret.
        raise Unavailable(f"{name} was not read: an answer that is not Secret Manager's") from None


def _said(error: google_errors.GoogleAPICallError) -> str:
    return str(error.message)[:1000]
