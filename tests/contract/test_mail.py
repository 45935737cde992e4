"""What ports.Notifier promises, by mail: a real mail server over real TLS, and servers that do what they should not."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from modeldrop.adapters.mail.mail_session import MailServer
from modeldrop.adapters.mail.smtp_notifier import Login, SmtpNotifier, connect
from modeldrop.domain.news import News
from modeldrop.domain.notification import Notification
from modeldrop.domain.targets import EmailChannel
from modeldrop.errors import ConfigurationError, Refused, Unavailable
from modeldrop.settings import Settings
from modeldrop.wiring import Services
from tests.servers.mail import Certificates, LoginAttempt, MailReceiver

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NEWS = News("rolled_back", "v5", "rolled back", "error rate 0.2 is above 0.01")
TOLD = Notification("fraud~0000000007~rolled_back", "fraud", NEWS, NOW, "https://drop.example.com/v1/models/fraud")
SENDER = "drop@modeldrop.example"
TEAM = ["ann@team.example", "bob@team.example"]
LOGIN = Login("drop", "hunter2")
ACCOUNT = ("drop", "hunter2")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def at(port: int, *, encrypted: bool = False, may_be_plain: bool = False, host: str = "127.0.0.1") -> MailServer:
    return MailServer(host, port, encrypted, may_be_plain)


def notifier(server: MailServer, certificates: Certificates, **options: Any) -> SmtpNotifier:
    return SmtpNotifier(server, SENDER, TEAM, **({"tls": certificates.client(), "seconds": 5.0} | options))


def test_the_whole_team_is_told_over_starttls(certificates: Certificates) -> None:
    with MailReceiver(starttls=certificates.server(), login=ACCOUNT) as server:
        notifier(at(server.port), certificates, login=LOGIN).notify(TOLD)
        [mail] = server.received
        assert server.logins == [LoginAttempt("drop", "hunter2", is_encrypted=True)]
        assert server.farewells == 1
    assert (mail.sender, mail.recipients, mail.is_encrypted, mail.user) == (SENDER, TEAM, True, "drop")
    assert mail.content["From"] == SENDER
    assert mail.content["To"] == "ann@team.example, bob@team.example"
    assert mail.content["Subject"] == "fraud v5: rolled back"
    assert mail.content["Date"].datetime == NOW
    assert mail.content["Auto-Submitted"] == "auto-generated"
    assert mail.content.get_content_type() == "text/plain"
    assert mail.content.get_content().splitlines() == [
        "fraud v5: rolled back",
        "error rate 0.2 is above 0.01",
        "at 2026-01-02T03:04:05+00:00",
        "https://drop.example.com/v1/models/fraud",
    ]


def test_and_over_tls_from_the_start(certificates: Certificates) -> None:
    with MailReceiver(tls=certificates.server("localhost"), login=ACCOUNT) as server:
        notifier(at(server.port, encrypted=True, host="localhost"), certificates, login=LOGIN).notify(TOLD)
        assert [mail.is_encrypted for mail in server.received] == [True]
        assert [attempt.is_encrypted for attempt in server.logins] == [True]


def test_a_mail_that_is_sent_again_is_known_by_its_id(certificates: Certificates) -> None:
    with MailReceiver(starttls=certificates.server()) as server:
        mail = notifier(at(server.port), certificates)
        mail.notify(TOLD)
        mail.notify(TOLD)
        mail.notify(msgspec.structs.replace(TOLD, id="fraud~health~2026-01-01T00:00:00.000000+00:00"))
        first, again, another = (received.content["Message-ID"] for received in server.received)
    assert first == again == "<fraud~0000000007~rolled_back@modeldrop.modeldrop.example>"
    assert another == "<fraud~health~2026-01-01T00%3A00%3A00.000000%2B00%3A00@modeldrop.modeldrop.example>"


def test_a_resolution_says_so_in_the_subject(certificates: Certificates) -> None:
    news = msgspec.structs.replace(NEWS, resolved=True, why="höher ☃")
    with MailReceiver(starttls=certificates.server()) as server:
        notifier(at(server.port), certificates).notify(msgspec.structs.replace(TOLD, news=news))
        [mail] = server.received
    assert mail.content["Subject"] == "Resolved: fraud v5: rolled back"
    assert "höher ☃" in mail.content.get_content()
    assert mail.raw.isascii()  # not every server takes more


HOSTILE = "x\r\nBcc: eve@evil.example\r\n\r\n.\r\nMAIL FROM:<eve@evil.example>\n.\n\x00\x1b[31m\u202e ☃ ä " + "y" * 3000


def test_what_a_model_says_is_text_and_nothing_else(certificates: Certificates) -> None:
    news = News("rejected", HOSTILE, HOSTILE, HOSTILE)
    with MailReceiver(starttls=certificates.server()) as server:
        notifier(at(server.port), certificates).notify(msgspec.structs.replace(TOLD, model=HOSTILE, news=news))
        [mail] = server.received
    assert mail.recipients == TEAM
    assert sorted(mail.content.keys()) == [
        "Auto-Submitted",
        "Content-Transfer-Encoding",
        "Content-Type",
        "Date",
        "From",
        "MIME-Version",
        "Message-ID",
        "Subject",
        "To",
    ]
    text = mail.content.get_content()
    assert "☃ ä " + "y" * 3000 in text
    assert "\n.\n" in text.replace("\r\n", "\n")
    assert not {"\x00", "\x1b", "\u202e"} & set(text + mail.content["Subject"])
    assert max(map(len, mail.raw.split(b"\r\n"))) <= 998
    assert mail.raw.isascii()


def test_nothing_is_sent_in_the_clear(certificates: Certificates) -> None:
    with MailReceiver(login=ACCOUNT) as server:
        with pytest.raises(Refused, match="STARTTLS"):
            notifier(at(server.port), certificates, login=LOGIN).notify(TOLD)
        assert (server.logins, server.received) == ([], [])


def test_but_to_this_machine_where_that_is_allowed(certificates: Certificates) -> None:
    with MailReceiver(login=ACCOUNT) as server:
        notifier(at(server.port, may_be_plain=True), certificates, login=LOGIN).notify(TOLD)
        assert [mail.is_encrypted for mail in server.received] == [False]


def test_tls_is_not_left_out_where_it_is_offered(certificates: Certificates) -> None:
    with MailReceiver(starttls=certificates.server()) as server:
        notifier(at(server.port, may_be_plain=True), certificates).notify(TOLD)
        assert [mail.is_encrypted for mail in server.received] == [True]


@pytest.mark.parametrize("from_the_start", [True, False])
@pytest.mark.parametrize(
    "wrong",
    [
        lambda own, _: own.server("mail.example.com"),
        lambda own, _: own.server(days=1),
        lambda _, stranger: stranger.server(),
    ],
    ids=["another name", "expired", "another authority"],
)
def test_a_server_that_is_not_who_it_should_be_is_told_nothing(
    certificates: Certificates,
    tmp_path: Path,
    wrong: Callable[[Certificates, Certificates], ssl.SSLContext],
    from_the_start: bool,
) -> None:
    context = wrong(certificates, Certificates(tmp_path))
    options: dict[str, Any] = {"tls": context} if from_the_start else {"starttls": context}
    with MailReceiver(login=ACCOUNT, **options) as server:
        sending = notifier(at(server.port, encrypted=from_the_start, may_be_plain=True), certificates, login=LOGIN)
        with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
            sending.notify(TOLD)
        assert server.sessions == 1
        assert (server.logins, server.received) == ([], [])


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ({"DATA": "451 not now"}, Unavailable),
        ({"DATA": "554 spam"}, Refused),
        ({"MAIL": "421 too many"}, Unavailable),
        ({"MAIL": "550 not you"}, Refused),
        ({"RCPT": "450 greylisted"}, Unavailable),
        ({"RCPT": "550 unknown"}, Refused),
        ({TEAM[0]: "550 unknown", TEAM[1]: "450 greylisted"}, Unavailable),
    ],
)
def test_what_the_server_answers_is_for_good_or_for_now(
    certificates: Certificates, answers: dict[str, str], error: type[Exception]
) -> None:
    with MailReceiver(starttls=certificates.server(), answers=answers) as server:
        with pytest.raises(error, match=f"127.0.0.1 answers {list(answers.values())[-1]}"):
            notifier(at(server.port), certificates).notify(TOLD)
        assert server.received == []


def test_one_who_cannot_be_told_keeps_nobody_else_from_it(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    with MailReceiver(starttls=certificates.server(), answers={TEAM[0]: "550 unknown"}) as server:
        notifier(at(server.port), certificates).notify(TOLD)
        assert [mail.recipients for mail in server.received] == [TEAM[1:]]
    assert "ann@team.example: 550 unknown" in caplog.text


def test_a_wrong_password_is_refused_and_not_repeated(certificates: Certificates) -> None:
    with MailReceiver(starttls=certificates.server(), login=("drop", "another")) as server:
        with pytest.raises(Refused, match="535") as caught:
            notifier(at(server.port), certificates, login=LOGIN).notify(TOLD)
        assert server.received == []
    assert "hunter2" not in f"{caught.value!r}{LOGIN!r}"


def test_a_password_no_login_can_carry_is_refused_and_not_repeated(certificates: Certificates) -> None:
    with MailReceiver(starttls=certificates.server(), login=ACCOUNT) as server:
        with pytest.raises(Refused) as caught:
            notifier(at(server.port), certificates, login=Login("drop", "hünter2")).notify(TOLD)
        assert server.received == []
    assert "nter2" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_server_without_logins_is_not_told_the_mail_of_one_who_has_to(certificates: Certificates) -> None:
    with scripted(b"220 hi\r\n", b"250 nothing\r\n", b"221 bye\r\n") as port, pytest.raises(Refused):
        notifier(at(port, may_be_plain=True), certificates, login=LOGIN).notify(TOLD)


def test_nobody_there(certificates: Certificates) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1"):
        notifier(at(port), certificates).notify(TOLD)


def test_a_name_nobody_knows(certificates: Certificates) -> None:
    with pytest.raises(Unavailable, match=r"no\.such\.invalid"):
        notifier(at(25, host="no.such.invalid"), certificates).notify(TOLD)


@contextmanager
def scripted(*lines: bytes, drip: bytes = b"", delay: float = 0.05) -> Iterator[int]:
    """A server's port, which says one line for each it hears (the first at once), then drips or falls silent."""
    ending = threading.Event()

    def serve() -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                for number, line in enumerate(lines):
                    if number > 0:
                        connection.recv(65_536)
                    connection.sendall(line)
                while not ending.wait(delay):
                    if drip:
                        connection.sendall(drip)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            ending.set()
            thread.join()


@pytest.mark.parametrize(
    ("lines", "drip"),
    [
        ((), b""),
        ((b"220 hi\r\n",), b""),
        ((b"220 hi\r\n", b"250-hi\r\n250 STARTTLS\r\n", b"220 go\r\n"), b""),
        ((), b"2"),
        ((b"220 hi\r\n",), b"250-"),
        ((b"220 hi\r\n",), b"250-more\r\n"),
        ((b"220 hi\r\n", b"250-hi\r\n250 STARTTLS\r\n", b"220 go\r\n"), b"\x16"),
    ],
    ids=["greets", "ehlo", "handshake", "drips a greeting", "drips an answer", "never ends an answer", "drips TLS"],
)
def test_a_server_that_hangs_or_drips_is_left_in_time(
    certificates: Certificates, lines: tuple[bytes, ...], drip: bytes
) -> None:
    with scripted(*lines, drip=drip) as port:
        began = time.monotonic()
        with pytest.raises(Unavailable):
            notifier(at(port), certificates, seconds=0.5).notify(TOLD)
        assert time.monotonic() - began < 1.5


def test_what_is_said_in_the_clear_ahead_of_tls_is_not_believed(certificates: Certificates) -> None:
    # An answer that somebody in between puts behind the server's own must not pass for one that came over TLS.
    lines = (b"220 hi\r\n", b"250-hi\r\n250 STARTTLS\r\n", b"220 go\r\n250-hi\r\n250 AUTH PLAIN\r\n235 fine\r\n")
    with scripted(*lines) as port, pytest.raises(Unavailable):
        notifier(at(port), certificates, login=LOGIN, seconds=0.5).notify(TOLD)


def test_many_at_once(certificates: Certificates) -> None:
    with MailReceiver(starttls=certificates.server()) as server:
        mail = notifier(at(server.port), certificates)
        threads = [
            threading.Thread(target=mail.notify, args=(msgspec.structs.replace(TOLD, id=f"n~{number}"),))
            for number in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({received.content["Message-ID"] for received in server.received}) == 20


def test_from_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELDROP_SECRET_MAIL", "hunter2")
    with MailReceiver(login=ACCOUNT) as server:
        settings = Settings(
            backend="local",
            data=tmp_path,
            smtp_url=f"smtp://localhost:{server.port}",
            smtp_user="drop",
            smtp_password="env:MODELDROP_SECRET_MAIL",
            mail_from=SENDER,
        )
        Services(settings).notifier(EmailChannel(TEAM, ["drift"])).notify(TOLD)
        assert [mail.user for mail in server.received] == ["drop"]
        in_the_cloud = connect(replace(settings, backend="gcp"), EmailChannel(TEAM, ["drift"]), "hunter2")
        with pytest.raises(Refused, match="STARTTLS"):
            in_the_cloud.notify(TOLD)


@pytest.mark.parametrize("missing", ["smtp_url", "mail_from"])
def test_settings_that_do_not_say_enough(tmp_path: Path, missing: str) -> None:
    given = {"smtp_url": "smtp://localhost", "mail_from": SENDER} | {missing: None}
    settings = Settings(backend="local", data=tmp_path, **given)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="MODELDROP_MAIL_FROM"):
        connect(settings, EmailChannel(TEAM, ["drift"]), None)
