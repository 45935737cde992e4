"""A session with a mail server: encrypted before anything is said, and over in time whatever the server does."""

import ipaddress
import smtplib
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Timer
from typing import Final
from urllib.parse import urlsplit

import msgspec

from modeldrop.errors import ConfigurationError, Refused

_PORTS: Final = {"smtp": 587, "smtps": 465}
_READY: Final = 220


class MailServer(msgspec.Struct, frozen=True):
    """Where it listens. ``is_encrypted``: TLS from the start; else STARTTLS is asked for.

    ``may_be_plain``: without TLS will do if the server has none, and is on this machine.
    """

    host: str
    port: int
    is_encrypted: bool
    may_be_plain: bool = False


def read_mail_server(url: str, *, may_be_plain: bool) -> MailServer:
    """The server in ``smtp[s]://host[:port]``; raises ConfigurationError.

    >>> read_mail_server("smtp://mail.example.com", may_be_plain=False)
    MailServer(host='mail.example.com', port=587, is_encrypted=False, may_be_plain=False)
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in _PORTS or not parts.hostname or port == 0:
        raise ConfigurationError("MODELDROP_SMTP_URL must be smtp[s]://host[:port]")
    return MailServer(parts.hostname, port or _PORTS[parts.scheme], parts.scheme == "smtps", may_be_plain)


@contextmanager
def mail_session(server: MailServer, tls: ssl.SSLContext, seconds: float) -> Iterator[smtplib.SMTP]:
    """A session that is greeted and encrypted (or may be plain).

    Everything together takes ``seconds`` at most, only the look-up of the host's name comes on top. Raises Refused if
    the server would have us speak in the clear, and what smtplib, ssl and socket raise.
    """
    until = time.monotonic() + seconds
    connection = _connected(server, until)
    # smtplib and ssl limit each wait, and a server that sends a byte now and then never lets one run out. Shutting the
    # connection down ends whatever waits on it, encrypted or not: the descriptor stays ours through every wrapping.
    line = connection.dup()
    watchdog = Timer(max(until - time.monotonic(), 0), _hang_up, [line])
    watchdog.daemon = True
    watchdog.start()
    session = smtplib.SMTP(local_hostname=_our_name(connection))
    session.sock = connection
    try:
        _greet(session, server, tls)
        yield session
        with suppress(smtplib.SMTPException, OSError):
            session.quit()  # what was to be said is said
    finally:
        watchdog.cancel()
        watchdog.join()
        session.close()
        line.close()


def is_private(session: smtplib.SMTP) -> bool:
    """Whether nobody else can listen: a password may be told."""
    assert session.sock is not None
    return isinstance(session.sock, ssl.SSLSocket) or _is_loopback(session.sock)


def _greet(session: smtplib.SMTP, server: MailServer, tls: ssl.SSLContext) -> None:
    if server.is_encrypted:
        _encrypt(session, server, tls)
    code, text = session.getreply()
    if code != _READY:
        raise smtplib.SMTPConnectError(code, text)
    session.ehlo_or_helo_if_needed()
    if server.is_encrypted:
        return
    assert session.sock is not None
    if session.has_extn("starttls"):
        code, text = session.docmd("STARTTLS")
        if code != _READY:
            raise smtplib.SMTPResponseException(code, text)
        _encrypt(session, server, tls)
        session.ehlo_or_helo_if_needed()
    elif not (server.may_be_plain and _is_loopback(session.sock)):
        raise Refused(f"{server.host} does not offer STARTTLS: nothing is sent in the clear")


def _encrypt(session: smtplib.SMTP, server: MailServer, tls: ssl.SSLContext) -> None:
    """From here on in TLS. What was learnt, or buffered, in the clear is forgotten: anybody may have said it."""
    assert session.sock is not None
    session.sock = tls.wrap_socket(session.sock, server_hostname=server.host)
    session.file = None
    session.helo_resp = session.ehlo_resp = None
    session.esmtp_features = {}
    session.does_esmtp = False


def _connected(server: MailServer, until: float) -> socket.socket:
    """The first of the host's addresses that answers."""
    found = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
    failure: OSError = TimeoutError("no answer in time")
    for family, kind, protocol, _, address in found:
        left = until - time.monotonic()
        if left <= 0:
            break
        connection = socket.socket(family, kind, protocol)
        connection.settimeout(left)
        try:
            connection.connect(address)
        except OSError as error:
            connection.close()
            failure = error
        else:
            return connection
    raise failure


def _our_name(connection: socket.socket) -> str:
    """What we greet with: our address. smtplib would look up the machine's name, which takes as long as it takes."""
    address = str(connection.getsockname()[0]).partition("%")[0]
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


def _is_loopback(connection: socket.socket) -> bool:
    return ipaddress.ip_address(str(connection.getpeername()[0]).partition("%")[0]).is_loopback


def _hang_up(line: socket.socket) -> None:
    with suppress(OSError):  # it may be over already
        line.shutdown(socket.SHUT_RDWR)
