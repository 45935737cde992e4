"""A PostgreSQL of our own on loopback, thrown away afterwards, and ``psql`` as its client.

    with PostgresServer() as server:
        server.run(["CREATE TABLE t (n INT)", "INSERT INTO t VALUES (1)"])
        server.run(["SELECT n FROM t"])                  # [Ran(rows=["1"], error="")]
        server.run(["DROP TABLE t"], user="reader")      # [Ran(rows=[], error="… must be owner of table t")]

Its program is Debian's; it refuses to run as root, so there it runs as the user ``postgres``.
"""

import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import pytest

from tests.programs import find_program

OWNER, READER = "owner", "reader"
_MARK = "=statement="
_STATEMENT_SECONDS = 2


@dataclass(frozen=True)
class Ran:
    """What became of one statement. ``rows``: as text, columns between tabs; ``error``: "" if there was none."""

    rows: list[str]
    error: str


class PostgresServer:
    """The server, up between entering and leaving the context. ``owner`` may do everything, ``reader`` nothing yet."""

    def __init__(self) -> None:
        found = find_program("postgres")
        assert found is not None  # the marker has seen to it
        self._programs = Path(found).resolve().parent
        self._password = secrets.token_urlsafe(16)
        self._folder = Path(tempfile.mkdtemp(prefix="modeldrop-postgres-"))
        self._user = "postgres" if os.geteuid() == 0 else None
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self._port = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, statements: Sequence[str], user: str = OWNER) -> list[Ran]:
        """Each statement by itself, in one session; what fails leaves the others alone."""
        command = [str(self._programs / "psql"), "--no-psqlrc", "--quiet", "--no-align", "--tuples-only"]
        command += ["--field-separator=\t", "--host=127.0.0.1", f"--port={self._port}", f"--username={user}"]
        command += ["--dbname=postgres", f"--command=SET statement_timeout = '{_STATEMENT_SECONDS}s'"]
        for statement in statements:
            command += [f"--command=\\echo {_MARK}", f"--command=\\warn {_MARK}", f"--command={statement}"]
        environment = {"PGPASSWORD": self._password, "PATH": "/usr/bin:/bin", "PGCLIENTENCODING": "UTF8"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        (_, *rows), (before, *errors) = done.stdout.split(f"{_MARK}\n"), done.stderr.split(f"{_MARK}\n")
        assert len(rows) == len(errors) == len(statements), before
        return [Ran(said.splitlines(), error.strip()) for said, error in zip(rows, errors, strict=True)]

    def stored(self) -> str:
        """All that the database holds, its settings, functions and roles included, as SQL."""
        command = [str(self._programs / "pg_dumpall"), "--host=127.0.0.1", f"--port={self._port}"]
        command += [f"--username={OWNER}", "--no-role-passwords"]
        done = subprocess.run(command, capture_output=True, text=True, env={"PGPASSWORD": self._password}, check=True)
        # Newer releases put a random word around their dumps.
        return re.sub(r"(?m)^\\(un)?restrict .*$", "", done.stdout)

    def __enter__(self) -> "PostgresServer":
        try:
            self._start()
            self.run([f"CREATE ROLE {READER} LOGIN PASSWORD '{self._password}'"])
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _start(self) -> None:
        secret = self._folder / "password"
        secret.write_text(self._password)
        if self._user is not None:
            account = pwd.getpwnam(self._user)
            os.chown(self._folder, account.pw_uid, account.pw_gid)
            os.chown(secret, account.pw_uid, account.pw_gid)
        data = self._folder / "data"
        command = [str(self._programs / "initdb"), f"--pgdata={data}", f"--username={OWNER}", "--no-sync"]
        command += ["--auth=scram-sha-256", f"--pwfile={secret}", "--encoding=UTF8", "--locale=C"]
        subprocess.run(command, check=True, capture_output=True, user=self._user, cwd=self._folder)
        settings = {"listen_addresses": "127.0.0.1", "port": str(self._port), "unix_socket_directories": ""}
        settings |= {"fsync": "off", "max_parallel_workers": "0", "shared_buffers": "16MB", "autovacuum": "off"}
        command = [str(self._programs / "postgres"), "-D", str(data)]
        command += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, user=self._user, cwd=self._folder)
        self._wait()

    def _wait(self) -> None:
        assert self._process is not None
        command = [str(self._programs / "pg_isready"), "--host=127.0.0.1", f"--port={self._port}", "--quiet"]
        deadline = time.monotonic() + 30
        while subprocess.run(command, check=False).returncode != 0:
            log = (self._folder / "log").read_text()
            assert self._process.poll() is None, log
            if time.monotonic() > deadline:
                pytest.fail(f"not ready after 30 s: {log}")
            time.sleep(0.05)

    def _end(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # ends its sessions, and then itself
            self._process.wait(20)
        shutil.rmtree(self._folder)
