"""A notification as a mail: headers that nothing from outside can add to, and plain text."""

from collections.abc import Sequence
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from urllib.parse import quote

from modeldrop.domain.notification import Notification
from modeldrop.errors import Refused


def letter(notification: Notification, sender: str, recipients: Sequence[str]) -> EmailMessage:
    """The mail. Made again it has the same Message-ID: mail systems know it for a duplicate.

    Raises Refused for an address that no mail can be sent to.

    >>> from datetime import UTC, datetime
    >>> from modeldrop.domain.news import News
    >>> news = News("rejected", "v5", "rejected", "f1 0.7 is below 0.8")
    >>> told = Notification("n~1", "flights", news, datetime(2026, 1, 1, tzinfo=UTC))
    >>> mail = letter(told, "a@b.example", ["c@d.example"])
    >>> mail["Message-ID"], mail["Subject"]
    ('<n~1@modeldrop.b.example>', 'flights v5: rejected')
    """
    mail = EmailMessage(SMTP)
    mail["From"] = _address(sender)
    mail["To"] = [_address(recipient) for recipient in recipients]
    mail["Subject"] = _printable(_subject(notification))
    mail["Date"] = notification.at
    mail["Message-ID"] = f"<{quote(notification.id, safe='~')}@modeldrop.{sender.rpartition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence note is to answer it
    # Quoted-printable: lines of any length and any script, through servers that take seven bits and 998 characters.
    mail.set_content(_printable(notification.text) + "\n", cte="quoted-printable")
    return mail


def _subject(notification: Notification) -> str:
    return f"{'Resolved: ' if notification.news.resolved else ''}{notification.subject}"


def _address(text: str) -> Address:
    try:
        return Address(addr_spec=text)
    except (ValueError, MessageError):
        raise Refused(f"no mail can be sent to or from {text!r}") from None


def _printable(text: str) -> str:
    """Without what no reader shows or may act on: control characters, lone surrogates, changes of direction."""
    return "".join(c if c == "\n" or c.isprintable() else " " for c in text)
