"""Mail over SMTP."""

import logging
import smtplib
import ssl
from collections.abc import Sequence
from email.message import EmailMessage

import msgspec

from modeldrop.adapters.mail.letter import letter
from modeldrop.adapters.mail.mail_session import MailServer, is_private, mail_session, read_mail_server
from modeldrop.domain.notification import Notification
from modeldrop.domain.targets import EmailChannel
from modeldrop.errors import ConfigurationError, Refused, Unavailable
from modeldrop.settings import Settings

log = logging.getLogger(__name__)

SECONDS = 10.0
_LONGEST_REASON = 200


class Login(msgspec.Struct, frozen=True):
    """Who we are to the mail server."""

    user: str
    password: str

    def __repr__(self) -> str:
        return f"Login({self.user!r})"


def connect(settings: Settings, channel: EmailChannel, password: str | None) -> "SmtpNotifier":
    """A notifier for the channel, through the settings' server; raises ConfigurationError where they name none."""
    if not settings.smtp_url or not settings.mail_from:
        raise ConfigurationError("mail needs MODELDROP_SMTP_URL and MODELDROP_MAIL_FROM")
    login = Login(settings.smtp_user, password) if settings.smtp_user and password else None
    server = read_mail_server(settings.smtp_url, may_be_plain=settings.backend == "local")
    return SmtpNotifier(server, settings.mail_from, channel.to, login=login)


class SmtpNotifier:
    """A ports.Notifier: one mail to all recipients, in a session of its own, over TLS that checks the certificate.

    ``tls``: whom to trust, if not those the system trusts. ``seconds``: for everything together.
    """

    def __init__(
        self,
        server: MailServer,
        sender: str,
        recipients: Sequence[str],
        *,
        login: Login | None = None,
        tls: ssl.SSLContext | None = None,
        seconds: float = SECONDS,
    ) -> None:
        self._server = server
        self._sender = sender
        self._recipients = list(recipients)
        self._login = login
        self._tls = tls or ssl.create_default_context()
        self._seconds = seconds

    def notify(self, notification: Notification) -> None:
        """See Notifier. Taken means by the server, for one recipient at least: those it refuses are logged."""
        host = self._server.host
        mail = letter(notification, self._sender, self._recipients)
        try:
            self._send(mail)
        except smtplib.SMTPRecipientsRefused as error:
            raise _told(host, list(error.recipients.values())) from None
        except smtplib.SMTPResponseException as error:
            raise _told(host, [(error.smtp_code, error.smtp_error)]) from None
        except smtplib.SMTPNotSupportedError as error:
            raise Refused(f"the mail server {host} cannot do it: {error}") from None
        except (smtplib.SMTPException, OSError) as error:  # certificates and names that are not found are OSErrors
            raise Unavailable(f"the mail server {host} did not take it: {type(error).__name__}: {error}") from error

    def _send(self, mail: EmailMessage) -> None:
        with mail_session(self._server, self._tls, self._seconds) as server:
            if self._login is not None:
                if not is_private(server):
                    raise Refused(f"no password is told to {self._server.host} in the clear")
                _log_in(server, self._login)
            refused = server.send_message(mail, self._sender, self._recipients)
        for recipient, (code, reason) in refused.items():
            log.error("mail is not taken for %s: %d %s", recipient, code, _text(reason))


def _log_in(server: smtplib.SMTP, login: Login) -> None:
    try:
        server.login(login.user, login.password)
    except UnicodeError:  # which carries what it could not encode
        raise Refused("a name or password with letters beyond ASCII cannot be told to a mail server") from None


def _told(host: str, answers: Sequence[tuple[int, bytes | str]]) -> Refused | Unavailable:
    """What the server's answers mean: 5xx is for good; anything else may change, and then all are told."""
    code, reason = next((answer for answer in answers if not 500 <= answer[0] < 600), answers[0])
    message = f"the mail server {host} answers {code} {_text(reason)}"
    return Refused(message) if 500 <= code < 600 else Unavailable(message)


def _text(reason: bytes | str) -> str:
    text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:_LONGEST_REASON]
