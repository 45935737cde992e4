"""The process of one deployed version: the real functions-framework on ``functions/predict``, tied to its parent.

``python -m modeldrop.localcloud.serving_worker LISTENING_FD SOURCE``: the socket is inherited, already listening.
Standard input is a pipe that the parent holds open: when that ends, however the parent died, the whole process group
ends.
"""

import importlib
import os
import runpy
import signal
import socket
import sys
import threading

FIRST_PASSED_SOCKET = 3
"""Where the socket activation protocol (LISTEN_PID, LISTEN_FDS), which gunicorn speaks, expects the socket."""


def main() -> None:
    """Serve until SIGTERM (answers what has begun) or the parent's end (at once)."""
    listening_fd, source = int(sys.argv[1]), sys.argv[2]
    _end_with_parent()
    port = _pass_socket_on(listening_fd)
    # Left on, all workers of a user would fight for one control socket in the home folder.
    importlib.import_module("gunicorn.config").ControlSocketDisable.default = True
    sys.argv = ["functions-framework", "--target", "predict", "--source", source]
    sys.argv += ["--host", "127.0.0.1", "--port", str(port)]
    runpy.run_module("functions_framework", run_name="__main__", alter_sys=True)


def _end_with_parent() -> None:
    """Watch standard input from now on. Needs a process group of its own, or the kill would reach others."""
    if os.getpgrp() != os.getpid():
        os.setsid()
    threading.Thread(target=_kill_group_at_end_of_input, name="parent-watch", daemon=True).start()


def _kill_group_at_end_of_input() -> None:
    # Not sys.stdin: its lock would be held across gunicorn's fork.
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGKILL)


def _pass_socket_on(listening_fd: int) -> int:
    """Hand the inherited socket to gunicorn, which then does not bind one itself; returns its port.

    A port that is looked up free and bound later can be taken in between; a socket cannot.
    """
    if listening_fd != FIRST_PASSED_SOCKET:
        os.dup2(listening_fd, FIRST_PASSED_SOCKET)
        os.close(listening_fd)
    os.environ["LISTEN_PID"], os.environ["LISTEN_FDS"] = str(os.getpid()), "1"
    listener = socket.socket(fileno=FIRST_PASSED_SOCKET)
    port: int = listener.getsockname()[1]
    listener.detach()
    return port


if __name__ == "__main__":
    main()
