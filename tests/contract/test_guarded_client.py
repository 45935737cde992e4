"""The one way out, over real sockets: who is called, for how long, and what is told when it goes wrong."""

import datetime
import ipaddress
import logging
import socket
import ssl
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Thread
from time import monotonic

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from modeldrop.adapters.http.guarded_client import MOST_BODY, Answer, GuardedClient, accepted
from modeldrop.adapters.http.public_addresses import is_public
from modeldrop.errors import ModeldropError, Refused, Unavailable
from tests.servers.receiver import DRIP, DRIP_BODY, DROP, HANG, Receiver, Reply

SECRET = "T0KEN-B0T-x9Yz"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def client() -> GuardedClient:
    return GuardedClient(loopback=True, timeout_seconds=5.0)


class Names:
    """A resolver: names to addresses, and how often it was asked."""

    def __init__(self, **addresses: Sequence[str]) -> None:
        self._addresses = {name.replace("_", "."): found for name, found in addresses.items()}
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        if host not in self._addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return self._addresses[host]


# --- what is sent and answered ---------------------------------------------------------------------------------


def test_a_request_and_its_answer(client: GuardedClient, receiver: Receiver) -> None:
    receiver.then(Reply(201, b'{"id": 7}', {"X-Run": "7"}))
    answer = client.send("POST", f"{receiver.url}/runs?a=1", body=b"{}", headers={"X-Key": "k"})
    assert (answer.status, answer.body, answer.json(), answer.headers["x-run"]) == (201, b'{"id": 7}', {"id": 7}, "7")
    [request] = receiver.received
    assert (request.method, request.path, request.body) == ("POST", "/runs?a=1", b"{}")
    assert request.headers["x-key"] == "k"
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert request.headers["user-agent"].startswith("modeldrop/")
    assert "cookie" not in request.headers


def test_cookies_are_not_kept(client: GuardedClient, receiver: Receiver) -> None:
    receiver.always(Reply(200, headers={"set-cookie": "session=1; Path=/"}))
    client.send("GET", receiver.url)
    client.send("GET", receiver.url)
    assert "cookie" not in receiver.received[1].headers


def test_proxies_of_the_environment_are_not_used(
    client: GuardedClient, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    assert client.send("GET", receiver.url).status == 200


@pytest.mark.parametrize("size", [MOST_BODY - 1, MOST_BODY, MOST_BODY + 1, 3_000_000])
def test_a_long_answer_is_cut_off(client: GuardedClient, receiver: Receiver, size: int) -> None:
    receiver.then(Reply(200, b"x" * size))
    assert len(client.send("GET", receiver.url).body) == min(size, MOST_BODY)


def test_an_answer_that_is_no_json(client: GuardedClient, receiver: Receiver) -> None:
    receiver.always(Reply(200, b"<html>"))
    with pytest.raises(Unavailable):
        client.send("GET", receiver.url).json()


def test_a_hundred_at_once(client: GuardedClient, receiver: Receiver) -> None:
    def send(number: int) -> int:
        return client.send("POST", receiver.url, body=str(number).encode()).status

    with ThreadPoolExecutor(100) as pool:
        assert list(pool.map(send, range(100))) == [200] * 100
    assert sorted(int(request.body) for request in receiver.received) == list(range(100))


# --- statuses --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_accepted(status: int) -> None:
    answer = Answer(status, {}, b"")
    assert accepted(answer, "webhook") is answer


@pytest.mark.parametrize(
    ("status", "error"),
    [(status, Unavailable) for status in (408, 425, 429, 500, 502, 503, 504, 599)]
    + [(status, Refused) for status in (300, 301, 302, 307, 308, 400, 401, 403, 404, 409, 410, 422, 101)],
)
def test_other_statuses_are_errors(status: int, error: type[Exception]) -> None:
    with pytest.raises(ModeldropError) as raised:
        accepted(Answer(status, {}, b"because\x00\r\n \x1b[31mof it" + b"." * 500), "webhook a.example")
    assert type(raised.value) is error
    assert str(raised.value).startswith(f"webhook a.example answered {status} because [31mof it...")
    assert len(str(raised.value)) < 250
    assert str(raised.value).isprintable()


def test_a_redirect_is_not_followed(client: GuardedClient, receiver: Receiver) -> None:
    with Receiver() as elsewhere:
        for place in (f"{elsewhere.url}/", "http://169.254.169.254/latest/meta-data/"):
            receiver.then(Reply(302, headers={"location": place}))
            with pytest.raises(Refused, match="302"):
                accepted(client.send("POST", receiver.url, body=b"{}"), "webhook")
        assert elsewhere.connections == 0
    assert len(receiver.received) == 2


# --- addresses -------------------------------------------------------------------------------------------------

NOT_PUBLIC = [
    *("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3"),
    *("169.254.169.254", "169.254.0.1", "100.64.0.1", "100.100.100.200", "192.0.0.8", "192.0.2.1", "198.18.0.1"),
    *("198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "192.88.99.1"),
    *("168.63.129.16", "::", "::1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:7f00:1", "::127.0.0.1"),
    *("::10.0.0.1", "fe80::1", "fe80::1%2", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "ff0e::1", "100::1"),
    *("2001:db8::1", "2001::1", "2001:0:a9fe:a9fe::1", "2001:20::1", "3fff::1", "5f00::1", "64:ff9b:1::1"),
    *("2002:a00:1::1", "2002:a9fe:a9fe::", "2002:7f00:1::1", "64:ff9b::a9fe:a9fe", "64:ff9b::10.0.0.1"),
    *("2001:4860:4860::8888%1", "4000::1", "", "example.com", "8.8.8", "010.8.8.8"),
]
PUBLIC = [
    *("8.8.8.8", "1.1.1.1", "172.32.0.1", "192.169.0.1", "100.128.0.1", "11.0.0.1", "168.63.129.17", "::ffff:8.8.8.8"),
    *("2001:4860:4860::8888", "2606:4700:4700::1111", "2a00:1450::1", "64:ff9b::8.8.8.8", "2002:808:808::1"),
]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_what_is_not_public_is_refused_before_anything_is_sent(address: str) -> None:
    assert not is_public(address)
    for loopback in (False, True):
        names = Names(hooks_example_com=["8.8.8.8", address] if address else [])
        client = GuardedClient(loopback=loopback, timeout_seconds=0.2, resolve=names)
        if not address or (loopback and address in ("127.0.0.1", "127.255.255.254", "::1", "::ffff:7f00:1")):
            continue
        with pytest.raises(Refused, match=r"hooks\.example\.com has an address that is not public"):
            client.send("POST", "https://hooks.example.com/x", body=b"{}")


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public_may_be_called(address: str) -> None:
    assert is_public(address)


def test_public_and_private_answers_mixed_are_refused_without_a_connection() -> None:
    with Receiver() as receiver:
        for found in (["127.0.0.1", "8.8.8.8"], ["8.8.8.8", "127.0.0.1"]):
            client = GuardedClient(loopback=False, resolve=Names(hooks_example_com=found))
            with pytest.raises(Refused, match="not public"):
                client.send("POST", f"https://hooks.example.com:{receiver.port}/", body=b"{}")
        assert receiver.connections == 0


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.1", "0x7f.1", "0x7f000001", "2130706433", "017700000001", "localhost", "localhost."),
        *("LOCALHOST", "[::1]", "[::ffff:127.0.0.1]", "[0:0:0:0:0:ffff:7f00:1]", "0.0.0.0", "0", "[::]"),
        *("169.254.169.254", "[::ffff:169.254.169.254]", "2852039166", "0xa9fea9fe", "10.0.0.1", "[fe80::1]"),
    ],
)
def test_every_spelling_of_an_address_is_refused(host: str, receiver: Receiver) -> None:
    client = GuardedClient(loopback=False, timeout_seconds=5.0)
    for scheme in ("https", "http"):
        with pytest.raises(Refused):
            client.send("POST", f"{scheme}://{host}:{receiver.port}/", body=b"{}")
    assert receiver.connections == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "0x7f.1", "2130706433", "localhost", "localhost.", "LocalHost"])
def test_loopback_may_be_called_where_it_is_allowed(client: GuardedClient, receiver: Receiver, host: str) -> None:
    assert client.send("POST", f"http://{host}:{receiver.port}/", body=b"{}").status == 200


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "169.254.169.254", "10.0.0.1", "[::]", "[::ffff:169.254.169.254]", "[64:ff9b::127.0.0.1]"]
)
def test_where_loopback_is_allowed_nothing_else_private_is(client: GuardedClient, host: str) -> None:
    for scheme in ("https", "http"):
        with pytest.raises(Refused):
            client.send("POST", f"{scheme}://{host}:1/", body=b"{}")


def test_plain_http_is_for_loopback_alone() -> None:
    client = GuardedClient(
        loopback=True, resolve=Names(hooks_example_com=["8.8.8.8"], both_example=["127.0.0.1", "8.8.8.8"])
    )
    for host in ("8.8.8.8", "hooks.example.com", "both.example"):
        with pytest.raises(Refused, match="https only"):
            client.send("GET", f"http://{host}/")


@pytest.mark.parametrize("name", ["metadata.google.internal", "Metadata.Google.Internal.", "metadata"])
def test_metadata_names_are_refused_whatever_they_resolve_to(name: str) -> None:
    names = Names(metadata_google_internal=["8.8.8.8"], metadata=["8.8.8.8"])
    with pytest.raises(Refused, match="metadata"):
        GuardedClient(loopback=True, resolve=names).send("GET", f"https://{name}/computeMetadata/v1/")
    assert names.asked == []


def test_a_name_is_resolved_once_and_connected_to_what_was_checked(receiver: Receiver) -> None:
    """A name that answers with a harmless address first and another one later gets no second chance."""
    asked: list[str] = []

    def rebinding(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["169.254.169.254"]

    client = GuardedClient(loopback=True, timeout_seconds=2.0, resolve=rebinding)
    assert client.send("GET", f"http://hooks.example.com:{receiver.port}/").status == 200
    assert asked == ["hooks.example.com"]
    assert receiver.received[0].headers["host"] == f"hooks.example.com:{receiver.port}"


def test_the_next_address_is_tried_where_the_first_takes_no_connection(receiver: Receiver) -> None:
    client = GuardedClient(loopback=True, resolve=Names(hooks_example_com=["127.0.0.2", "127.0.0.1"]))
    assert client.send("GET", f"http://hooks.example.com:{receiver.port}/").status == 200


@pytest.mark.parametrize("found", [[], None])
def test_a_name_that_is_not_resolved(found: list[str] | None) -> None:
    names = Names() if found is None else Names(hooks_example_com=found)
    with pytest.raises(Unavailable, match=r"hooks\.example\.com was not resolved"):
        GuardedClient(loopback=False, resolve=names).send("GET", "https://hooks.example.com/")


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://a.example/", "file:///etc/passwd", "gopher://127.0.0.1/", "//a.example/", "/x", "", "https://"),
        *("https:///x", "https://user:password@a.example/", f"https://{SECRET}@a.example/", "https://.example/"),
        *("https://a.example:0/", "https://a.example:65536/", "https://a.example:-1/", "https://a.example:x/"),
        *(
            "https://a.example/\r\nX: y",
            "https://a.example\r\n/",
            "https://[::1/",
            "https://./",
            f"https://a..{'b' * 300}/",
        ),
        *("https://a.example\\@b.example:70000/", "https://①②⑦.⓪.⓪.①/", "https://a\x00b/"),
    ],
)
def test_an_address_that_cannot_be_called_is_refused_unquoted(url: str) -> None:
    with pytest.raises(Refused) as refused:
        GuardedClient(loopback=True, timeout_seconds=2.0).send("GET", url)
    assert SECRET not in str(refused.value)
    assert "password" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("X-Key", f"{SECRET}\r\nX-Evil: 1"), ("X-Key", f"{SECRET}\n"), ("X-Key", f"{SECRET}\x00"), ("X-Key", "…")),
        *(("X-Evil\r\nX", "1"), ("X Key", "1"), ("", "1"), ("Host", "b.example"), ("Content-Length", "0")),
        *(("Transfer-Encoding", "chunked"), ("connection", "keep-alive")),
    ],
)
def test_headers_that_would_break_a_request_are_refused(
    client: GuardedClient, receiver: Receiver, name: str, value: str
) -> None:
    with pytest.raises(Refused) as refused:
        client.send("POST", receiver.url, body=b"{}", headers={name: value})
    assert SECRET not in str(refused.value)
    assert receiver.connections == 0


def test_a_method_that_would_break_a_request_is_refused(client: GuardedClient, receiver: Receiver) -> None:
    with pytest.raises(Refused):
        client.send("GET / HTTP/1.1\r\nX: y\r\n\r\nGET", receiver.url)
    assert receiver.received == []


# --- time ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reply", [HANG, DRIP, DRIP_BODY, Reply(kind="late", seconds=30.0)], ids=lambda reply: reply.kind
)
def test_nobody_holds_us_longer_than_the_deadline(receiver: Receiver, reply: Reply) -> None:
    receiver.always(reply)
    client = GuardedClient(loopback=True, timeout_seconds=0.5)
    started = monotonic()
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1 gave no whole answer within 0\.5 s"):
        client.send("POST", f"{receiver.url}/{SECRET}", body=b"{}")
    assert 0.4 < monotonic() - started < 1.5
    assert len(receiver.received) == 1


def test_a_server_that_never_says_a_word() -> None:
    """The system takes the connection, and nobody answers: neither TLS's handshake nor the request."""
    with socket.create_server(("127.0.0.1", 0), backlog=1) as listener:
        port = listener.getsockname()[1]
        for url in (f"https://127.0.0.1:{port}/", f"http://127.0.0.1:{port}/"):
            started = monotonic()
            with pytest.raises(Unavailable, match="within"):
                GuardedClient(loopback=True, timeout_seconds=0.3).send("GET", url)
            assert monotonic() - started < 1.5


def test_a_server_that_does_not_read() -> None:
    """The body is larger than what the system's buffers take."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        started = monotonic()
        with pytest.raises(Unavailable, match="within"):
            GuardedClient(loopback=True, timeout_seconds=0.5).send("POST", url, body=bytes(50_000_000))
        assert monotonic() - started < 2


def test_a_server_that_reads_a_little_at_a_time() -> None:
    ended = Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def sip() -> None:
            connection, _ = listener.accept()
            with connection:
                while not ended.wait(0.02) and connection.recv(100_000):
                    pass

        thread = Thread(target=sip)
        thread.start()
        started = monotonic()
        with pytest.raises(Unavailable, match="within"):
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
            GuardedClient(loopback=True, timeout_seconds=0.5).send("POST", url, body=bytes(200_000_000))
        taken = monotonic() - started
        ended.set()
        thread.join()
    assert taken < 2


def test_a_resolver_that_hangs_is_left_behind() -> None:
    answered = Event()

    def hanging(host: str, port: int) -> Sequence[str]:
        answered.wait(30)
        return ["8.8.8.8"]

    started = monotonic()
    with pytest.raises(Unavailable, match=r"hooks\.example\.com gave no whole answer within"):
        GuardedClient(loopback=False, timeout_seconds=0.3, resolve=hanging).send("GET", "https://hooks.example.com/")
    assert monotonic() - started < 1.5
    answered.set()


def test_an_endless_head_is_given_up_on(client: GuardedClient) -> None:
    """Answers before the answer (1xx) have no end of their own, and no body to be cut off."""
    early = b"HTTP/1.1 103 Early\r\nX: " + b"y" * 50_000 + b"\r\n\r\n"
    with (
        raw_server(lambda connection: endlessly(connection, early)) as url,
        pytest.raises(Unavailable, match="more than"),
    ):
        client.send("GET", url)


def test_an_address_that_swallows_packets_leaves_time_for_the_next(receiver: Receiver) -> None:
    with ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.2", receiver.port), backlog=0))
        for _ in range(4):  # what its queue does not hold is not answered at all
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        names = Names(hooks_example_com=["127.0.0.2", "127.0.0.1"])
        client = GuardedClient(loopback=True, timeout_seconds=1.0, resolve=names)
        assert client.send("GET", f"http://hooks.example.com:{receiver.port}/").status == 200


# --- connections that break ------------------------------------------------------------------------------------


def test_an_answer_that_is_lost_leaves_open_whether_it_happened(client: GuardedClient, receiver: Receiver) -> None:
    receiver.then(DROP)
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1"):
        client.send("POST", receiver.url, body=b"{}")
    assert len(receiver.received) == 1  # and nothing was sent a second time


def test_half_an_answer_is_none(client: GuardedClient, receiver: Receiver) -> None:
    receiver.then(Reply(200, b"{}", {"content-length": "10", "connection": "close"}))
    with pytest.raises(Unavailable):
        client.send("GET", receiver.url)


def test_nobody_listens(client: GuardedClient) -> None:
    with Receiver() as gone:
        url = gone.url
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1"):
        client.send("GET", url)


# --- what must not be told -------------------------------------------------------------------------------------


def test_nothing_secret_is_in_errors_or_logs(
    client: GuardedClient, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    url = f"{receiver.url}/services/{SECRET}?key={SECRET}-2"
    headers = {"Authorization": f"Bearer {SECRET}-3"}
    echo = f"Cannot POST /services/{SECRET}: {SECRET}-2, {SECRET}-3, /services/{SECRET}?key={SECRET}-2".encode()
    receiver.then(Reply(404, echo), DROP, Reply(302, headers={"location": url}))
    texts = []
    for _ in range(3):
        with pytest.raises(ModeldropError) as raised:
            accepted(client.send("POST", url, body=b"{}", headers=headers), "webhook")
        texts.append(chained(raised.value))
    with raw_server(lambda connection: connection.sendall(connection.recv(65_536))) as echoing:
        with pytest.raises(Unavailable) as unreadable:
            client.send("POST", f"{echoing}services/{SECRET}", headers=headers)
        texts.append(chained(unreadable.value))
    assert "Cannot POST" in texts[0]
    assert all(SECRET not in text for text in texts)
    assert SECRET not in "".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)


@pytest.mark.parametrize(
    "echo",
    [
        f"no hook {SECRET}",
        "no hook se.cr.et.99",
        f'{{"path": "\\/services\\/T0AAAAAA\\/{SECRET}"}}',
        f"no route %2Fservices%2FT0AAAAAA%2F{SECRET}",
        f"no route /services/{SECRET.lower()}",
        "wrong password for robot: s3cret:w0rd",
        "wrong login robot:s3cret:w0rd",
        "the key abcXYZ\\u002bdefgh9\\u003d is wrong",
    ],
)
def test_a_part_of_a_secret_address_is_not_told_however_it_is_repeated(
    client: GuardedClient, receiver: Receiver, echo: str
) -> None:
    login = b64encode(b"robot:s3cret:w0rd").decode()
    receiver.then(Reply(404, echo.encode()))
    url = f"{receiver.url}/services/T0AAAAAA/se.cr.et.99/{SECRET}?key=abcXYZ%2Bdefgh9%3D"
    with pytest.raises(Refused) as refused:
        accepted(client.send("POST", url, body=b"{}", headers={"Authorization": f"Basic {login}"}), "webhook")
    for secret in ("T0AAAAAA", "se.cr.et", SECRET, SECRET.lower(), "s3cret", "w0rd", "abcXYZ", "defgh9"):
        assert secret not in str(refused.value)
    assert echo.split(maxsplit=1)[0][:2] in str(refused.value)


def test_the_hidden_parts_are_not_shown_by_the_answer(client: GuardedClient, receiver: Receiver) -> None:
    assert SECRET not in repr(client.send("GET", f"{receiver.url}/{SECRET}"))


# --- TLS -------------------------------------------------------------------------------------------------------


class Authority:
    """A certificate authority for tests, and the contexts of those who trust it and of servers it vouches for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        builder = self._builder(self._name, self._key.public_key(), days=1)
        self._certificate = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.trusted = ssl.create_default_context(
            cadata=self._certificate.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
        )

    def server(self, *names: str, days: int = 1) -> ssl.SSLContext:
        """A server's context, with a certificate for those names and addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
        alternatives = [_general_name(name) for name in names]
        builder = self._builder(subject, key.public_key(), days)
        certificate = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False).sign(
            self._key, hashes.SHA256()
        )
        place = self._folder / f"{len(list(self._folder.iterdir()))}.pem"
        place.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(place)
        return context

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, days: int) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=2))
            .not_valid_after(now + datetime.timedelta(days=days))
        )


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_the_certificate_is_checked_against_the_name_not_the_address(authority: Authority) -> None:
    names = Names(hooks_example_com=["127.0.0.1"], other_example_com=["127.0.0.1"])
    client = GuardedClient(loopback=True, resolve=names, tls=authority.trusted)
    with Receiver(tls=authority.server("hooks.example.com")) as receiver:
        for host in ("hooks.example.com", "hooks.example.com.", "HOOKS.example.com"):
            assert client.send("POST", f"https://{host}:{receiver.port}/", body=b"{}").status == 200
        assert receiver.received[0].headers["host"] == f"hooks.example.com:{receiver.port}"
        for host in ("other.example.com", "127.0.0.1"):
            with pytest.raises(Unavailable, match="certificate"):
                client.send("POST", f"https://{host}:{receiver.port}/{SECRET}", body=b"{}")
        assert len(receiver.received) == 3


def test_a_certificate_for_an_address(authority: Authority) -> None:
    client = GuardedClient(loopback=True, tls=authority.trusted)
    with Receiver(tls=authority.server("127.0.0.1")) as receiver:
        assert client.send("GET", receiver.url).status == 200


@pytest.mark.parametrize("days", [1, -1])
def test_a_certificate_of_a_stranger_or_past_its_time_is_not_trusted(authority: Authority, days: int) -> None:
    """By the system's authorities, or by the right one a day too late: nothing is sent."""
    tls = None if days == 1 else authority.trusted
    client = GuardedClient(loopback=True, resolve=Names(hooks_example_com=["127.0.0.1"]), tls=tls)
    with Receiver(tls=authority.server("hooks.example.com", days=days)) as receiver:
        with pytest.raises(Unavailable, match="certificate"):
            client.send("POST", f"https://hooks.example.com:{receiver.port}/{SECRET}", body=b"{}")
        assert receiver.received == []


def test_dripping_over_tls(authority: Authority) -> None:
    client = GuardedClient(loopback=True, timeout_seconds=0.5, tls=authority.trusted)
    with Receiver(tls=authority.server("127.0.0.1")) as receiver:
        receiver.always(DRIP)
        started = monotonic()
        with pytest.raises(Unavailable, match="within"):
            client.send("GET", receiver.url)
        assert monotonic() - started < 1.5


def test_a_server_that_speaks_no_tls(receiver: Receiver) -> None:
    with pytest.raises(Unavailable):
        GuardedClient(loopback=True, timeout_seconds=2.0).send("GET", f"https://127.0.0.1:{receiver.port}/")


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


# --- servers that are none -------------------------------------------------------------------------------------


class raw_server:  # noqa: N801
    """Does something with the first connection; ``with raw_server(act) as url``."""

    def __init__(self, act: Callable[[socket.socket], object]) -> None:
        self._act = act
        self._listener = socket.create_server(("127.0.0.1", 0))

    def __enter__(self) -> str:
        self._thread = Thread(target=self._run)
        self._thread.start()
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/"

    def __exit__(self, *ended: object) -> None:
        self._thread.join()
        self._listener.close()

    def _run(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            self._act(connection)


def endlessly(connection: socket.socket, data: bytes) -> None:
    """Sends until the other side has enough."""
    try:
        while True:
            connection.sendall(data)
    except OSError:
        return


def chained(error: BaseException | None) -> str:
    """The texts that a logged traceback would show."""
    texts = []
    while error is not None:
        texts.append(repr(error))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return " ".join(texts)
