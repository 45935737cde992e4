"""The official Firestore and Pub/Sub emulators: found in the Cloud SDK, started on a free port, ended for sure.

Java is started directly, not through ``gcloud``, whose wrapper scripts leave the Java process behind. On Linux
the kernel also ends it when the thread that started it dies, however it dies (``setpriv --pdeathsig``).
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import msgspec

from modeldrop.errors import ConfigurationError, Unavailable

READY_SECONDS = 60.0
STOP_SECONDS = 5.0
ATTEMPTS = 3
_JAVA_VERSION = 11


class Missing(msgspec.Struct, frozen=True):
    """An emulator that cannot run here: what it lacks, and how to get it."""

    name: str
    lacks: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.name} emulator: {self.lacks}; {self.remedy}"


class Emulator(msgspec.Struct, frozen=True):
    """An emulator that can run here. ``arguments`` come between ``java`` and the address to listen on."""

    name: str
    java: str
    arguments: tuple[str, ...]


def find_emulator(name: str) -> Emulator | Missing:
    """The emulator ``firestore`` or ``pubsub``, or what is missing. Starts no emulator."""
    jar, arguments = {"firestore": _firestore_jar, "pubsub": _pubsub_jar}[name]()
    if jar is None:
        return Missing(name, "its jar was not found in a Google Cloud SDK", _jar_remedy(name))
    java = _find_java()
    if java is None:
        return Missing(name, f"no Java {_JAVA_VERSION} or later", "install one (Debian: default-jre-headless)")
    return Emulator(name, java, arguments)


@contextmanager
def firestore_emulator() -> Iterator[str]:
    """Runs the Firestore emulator; gives ``host:port`` once it answers. ConfigurationError where it is missing."""
    with _running("firestore") as address:
        yield address


@contextmanager
def pubsub_emulator() -> Iterator[str]:
    """Runs the Pub/Sub emulator; gives ``host:port`` once it answers. ConfigurationError where it is missing."""
    with _running("pubsub") as address:
        yield address


@contextmanager
def _running(name: str) -> Iterator[str]:
    emulator = find_emulator(name)
    if isinstance(emulator, Missing):
        raise ConfigurationError(str(emulator))
    # In a folder of its own: the emulators write files into the folder they are started in.
    with tempfile.TemporaryDirectory(prefix=f"{name}-emulator-") as folder:
        process, address = _start(emulator, Path(folder))
        try:
            yield address
        finally:
            _stop(process)


def _start(emulator: Emulator, folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Starts it on a free port and waits until it answers; another port if somebody else took that one meanwhile."""
    log = folder / "log"
    for _ in range(ATTEMPTS):
        port = _free_port()
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*_dying_with_parent(), *_command(emulator, port)],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the parent, which ends the emulator in its own time
            )
        try:
            ready = _await_answer(process, port)
        except BaseException:
            _stop(process)
            raise
        if ready:
            return process, f"127.0.0.1:{port}"
        _stop(process)
    raise Unavailable(f"the {emulator.name} emulator did not start: {log.read_text(errors='replace')[-1000:]}")


def _command(emulator: Emulator, port: int) -> list[str]:
    flags = ["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Duser.language=en"]
    return [emulator.java, *flags, *emulator.arguments, "--host=127.0.0.1", f"--port={port}"]


def _dying_with_parent() -> list[str]:
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []


def _await_answer(process: subprocess.Popen[bytes], port: int) -> bool:
    """True once the emulator answers HTTP; False if it ended, or is silent for too long."""
    deadline = time.monotonic() + READY_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2):
                return process.poll() is None
        except urllib.error.HTTPError:
            return process.poll() is None
        except OSError:
            time.sleep(0.05)
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ends the process, by its id and nothing else."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
        return
    process.kill()
    process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _firestore_jar() -> tuple[Path | None, tuple[str, ...]]:
    jar = _first_existing("cloud-firestore-emulator/cloud-firestore-emulator.jar")
    main = "com.google.cloud.datastore.emulator.firestore.CloudFirestore"
    return jar, ("-cp", str(jar), main, "start")


def _pubsub_jar() -> tuple[Path | None, tuple[str, ...]]:
    jar = _first_existing("pubsub-emulator/lib/cloud-pubsub-emulator-*-all.jar")
    return jar, ("-jar", str(jar))


def _jar_remedy(name: str) -> str:
    component = {"firestore": "cloud-firestore-emulator", "pubsub": "pubsub-emulator"}[name]
    return f"gcloud components install {component} (Debian: google-cloud-cli-{name}-emulator)"


def _first_existing(pattern: str) -> Path | None:
    found = (jar for root in _sdk_folders() for jar in sorted((root / "platform").glob(pattern)))
    return next(found, None)


def _sdk_folders() -> list[Path]:
    gcloud = shutil.which("gcloud")
    folders = [
        Path(os.environ["CLOUDSDK_ROOT_DIR"]) if os.environ.get("CLOUDSDK_ROOT_DIR") else None,
        Path(gcloud).resolve().parent.parent if gcloud else None,
        Path("/usr/lib/google-cloud-sdk"),
        Path.home() / "google-cloud-sdk",
    ]
    return [folder for folder in folders if folder]


def _find_java() -> str | None:
    """A Java of a version the emulators run on: that of JAVA_HOME, or the one on the path."""
    home = os.environ.get("JAVA_HOME")
    for java in (shutil.which(str(Path(home) / "bin" / "java")) if home else None, shutil.which("java")):
        if java and _java_version(java) >= _JAVA_VERSION:
            return java
    return None


@cache
def _java_version(java: str) -> int:
    """The major version, 0 if it does not tell; Java 8 calls itself 1.8."""
    try:
        answer = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return 0
    version = re.search(r'version "([0-9]+)', answer.stderr)
    return int(version[1]) if version else 0
