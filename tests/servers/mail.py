"""A mail server on loopback for tests: aiosmtpd, which keeps what it is sent, and certificates to serve it with.

    with MailReceiver(starttls=certificates.server()) as server:
        send_to(server.port)
        [mail] = server.wait_for(1)

``tls``: TLS from the start; ``starttls``: offered, and required before anything is taken; neither: plain. ``login``:
user and password; who cannot say them may not send. ``answers``: what is answered instead, by command (``"DATA"``) or
recipient (``"a@b.example"``), e.g. ``{"DATA": "451 not now"}``. Every attempt to log in is kept in ``logins``.
"""

import asyncio
import ssl
import threading
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class ReceivedMail:
    """One mail that was taken. ``user``: who had logged in."""

    sender: str
    recipients: list[str]
    content: EmailMessage
    raw: bytes
    is_encrypted: bool
    user: str | None


@dataclass(frozen=True)
class LoginAttempt:
    """Somebody told a name and a password."""

    user: str
    password: str
    is_encrypted: bool


class MailReceiver:
    """The server, up between entering and leaving the context."""

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        starttls: ssl.SSLContext | None = None,
        login: tuple[str, str] | None = None,
        answers: Mapping[str, str] | None = None,
    ) -> None:
        self.logins: list[LoginAttempt] = []
        self.farewells = 0  # sessions that were ended as they should be
        self.answers = dict(answers or {})
        self._tls, self._starttls, self._login = tls, starttls, login
        self._arrived = threading.Condition()
        self._received: list[ReceivedMail] = []
        self._sessions: list[SMTP] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    @property
    def received(self) -> list[ReceivedMail]:
        """What was taken so far."""
        with self._arrived:
            return list(self._received)

    @property
    def sessions(self) -> int:
        """How many connections there were."""
        return len(self._sessions)

    def wait_for(self, count: int, *, seconds: float = 10.0) -> list[ReceivedMail]:
        """The mails, once there are at least ``count``; fails after ``seconds``."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self._received) >= count, seconds):
                raise AssertionError(f"{len(self._received)} mails arrived in {seconds} s, not {count}")
            return list(self._received)

    def __enter__(self) -> "MailReceiver":
        self._thread.start()
        start = self._loop.create_server(self._session, "127.0.0.1", 0, ssl=self._tls)
        self._server = asyncio.run_coroutine_threadsafe(start, self._loop).result(10)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # --- what aiosmtpd calls ----------------------------------------------------------------------------------------

    async def handle_MAIL(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        envelope.mail_from = address
        return self.answers.get("MAIL", "250 OK")

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        answer = self.answers.get(address, self.answers.get("RCPT", "250 OK"))
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        answer = self.answers.get("DATA", "250 OK")
        if answer.startswith("250"):
            content = cast("EmailMessage", message_from_bytes(envelope.original_content, policy=default))
            user = session.auth_data.login.decode() if session.auth_data else None
            mail = ReceivedMail(
                envelope.mail_from,
                list(envelope.rcpt_tos),
                content,
                bytes(envelope.original_content),
                self._is_encrypted(session),
                user,
            )
            with self._arrived:
                self._received.append(mail)
                self._arrived.notify_all()
        return answer

    async def handle_QUIT(self, server: Any, session: Any, envelope: Any) -> str:
        self.farewells += 1
        return "221 Bye"

    def _session(self) -> SMTP:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that logins are taken without TLS: so that a test sees them
            smtp = SMTP(
                self,
                hostname="mail.test",
                tls_context=self._starttls,
                require_starttls=self._starttls is not None,
                auth_required=self._login is not None,
                auth_require_tls=False,
                authenticator=self._authenticate,
                loop=self._loop,
            )
        self._sessions.append(smtp)
        return smtp

    def _authenticate(self, server: SMTP, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        user, password = data.login.decode(), data.password.decode()
        self.logins.append(LoginAttempt(user, password, self._is_encrypted(session)))
        return AuthResult(success=(user, password) == self._login, handled=False, auth_data=data)

    def _is_encrypted(self, session: Any) -> bool:
        return self._tls is not None or session.ssl is not None

    async def _end(self) -> None:
        self._server.close()
        for session in self._sessions:
            if session.transport is not None:
                session.transport.abort()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0)  # transports tell their protocols that they are gone


class Certificates:
    """An authority of our own, and certificates it signs, for a year from yesterday on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority of a test")])
        basic = x509.BasicConstraints(ca=True, path_length=None)
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        self._own = _signed(
            _unsigned(self._name, self._name, self._key, days=365)
            .add_extension(basic, critical=True)
            .add_extension(usage, critical=True),
            self._key,
        )

    def client(self) -> ssl.SSLContext:
        """Trusts this authority alone."""
        return ssl.create_default_context(cadata=self._own.public_bytes(serialization.Encoding.PEM).decode())

    def server(self, *names: str, days: int = 365) -> ssl.SSLContext:
        """Serves with a certificate for these names or addresses; ``days``: for how long, from yesterday on."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server of a test")])
        alternatives = x509.SubjectAlternativeName([_general(name) for name in names or ("127.0.0.1", "localhost")])
        unsigned = _unsigned(subject, self._name, key, days=days).add_extension(alternatives, critical=False)
        path = self._folder / f"{x509.random_serial_number()}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + _signed(unsigned, self._key).public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(path)
        return context


def _unsigned(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, *, days: int
) -> x509.CertificateBuilder:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(yesterday)
        .not_valid_after(yesterday + timedelta(days=days))
    )


def _signed(builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    return builder.sign(key, hashes.SHA256())


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
