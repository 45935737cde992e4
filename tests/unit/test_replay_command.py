"""``modeldrop replay`` asks until the whole quarantine has been gone through, and adds up what came of it."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import pytest
from typer.testing import CliRunner

from modeldrop.cli import app

NOTHING = {"taken": 0, "still_wrong": 0, "passed_over": 0, "cut": 0}
PAGES = [
    NOTHING | {"taken": 40, "still_wrong": 1, "next": "a" * 64},
    NOTHING | {"cut": 2, "next": "b" * 64},
    NOTHING | {"taken": 2, "passed_over": 3, "next": None},
]


class Api(ThreadingHTTPServer):
    """Answers with one page after the other, and keeps what it was asked."""

    asked: list[Any]

    class Handler(BaseHTTPRequestHandler):
        server: "Api"

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            answer = json.dumps(PAGES[len(self.server.asked)]).encode()
            self.server.asked.append((self.path, asked["after"]))
            self.send_response(200)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args: Any) -> None:
            """Nothing."""


@pytest.fixture
def api() -> Iterator[Api]:
    server = Api(("127.0.0.1", 0), Api.Handler)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_page_by_page(api: Api) -> None:
    shown = CliRunner().invoke(app, ["replay", "--url", f"http://127.0.0.1:{api.server_address[1]}"])
    assert shown.exit_code == 0
    assert {unquote(path) for path, _ in api.asked} == {"/v1/quarantine:replay"}
    assert [after for _, after in api.asked] == [None, "a" * 64, "b" * 64]
    assert shown.stdout == "taken: 42, still wrong: 1, passed over: 3, cut: 2\n"
    assert shown.stderr.splitlines() == [
        "taken: 40, still wrong: 1, passed over: 0, cut: 0 …",
        "taken: 40, still wrong: 1, passed over: 0, cut: 2 …",
    ]
