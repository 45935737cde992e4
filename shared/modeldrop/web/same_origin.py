"""Requests that a page somewhere else makes a browser send.

Two attacks. A page of another site has the browser of somebody who is logged in send a command (CSRF): browsers say in
``Sec-Fetch-Site``, older ones in ``Origin``, where a request comes from, and no script can change either. And where
nobody has to log in, a page can point its own name at this machine (DNS rebinding) and is of the same origin then: so
without authentication only the names of loopback are answered.
"""

from urllib.parse import urlsplit

from modeldrop.http.messages import Asked, Reply, problem
from modeldrop.settings import Settings

FORM = "application/x-www-form-urlencoded"
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def refusal(settings: Settings, asked: Asked, changing: bool) -> Reply | None:
    """421 for a name that is not ours, 403 for a changing call from a page that is not ours; None if it may go on."""
    host = asked.headers.get("Host", "").strip().lower()
    if settings.auth not in ("iam", "jwt") and not _is_loopback(host):
        return problem(421, "without authentication only 127.0.0.1, localhost and [::1] are answered")
    if changing and not _is_ours(settings, asked, host):
        return problem(403, "commands are not taken from pages of other sites")
    return None


def _is_ours(settings: Settings, asked: Asked, host: str) -> bool:
    """Whether no page of another site can have caused it.

    What says nothing of where it comes from was not sent by a browser, as those always say so of a POST. A form,
    which every page can send without asking, has to say it; JSON is asked for first (a preflight that we never answer).
    """
    site = asked.headers.get("Sec-Fetch-Site", "").strip().lower()
    origin = asked.headers.get("Origin", "").strip().lower()
    if site:
        return site == "same-origin" or (site == "none" and not _is_form(asked))
    if origin:
        return _origin_is(origin, host) or origin == _origin_of(settings.api_url)
    return not _is_form(asked)


def _is_form(asked: Asked) -> bool:
    return asked.headers.get("Content-Type", "").partition(";")[0].strip().lower() == FORM


def _origin_is(origin: str, host: str) -> bool:
    """Whether an origin is that of the host asked. The scheme is not looked at: TLS ends before us."""
    scheme, separator, place = origin.partition("://")
    port = _DEFAULT_PORTS.get(scheme)
    if not separator or port is None or not place:
        return False
    return host != "" and place.removesuffix(port) == host.removesuffix(port)


def _origin_of(url: str | None) -> str | None:
    if url is None:
        return None
    parts = urlsplit(url.lower())
    return f"{parts.scheme}://{parts.netloc.removesuffix(_DEFAULT_PORTS.get(parts.scheme, ''))}"


def _is_loopback(host: str) -> bool:
    """Whether a ``Host`` names this machine, whatever the port.

    >>> [_is_loopback(host) for host in ("localhost:8080", "[::1]:80", "127.0.0.1", "127.0.0.1.example.com", "", "::1")]
    [True, True, True, False, False, False]
    """
    name, separator, port = host.rpartition(":")
    if separator and port.isascii() and port.isdigit():
        return name in _LOOPBACK
    return host in _LOOPBACK
