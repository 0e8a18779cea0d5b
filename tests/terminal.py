"""The command line in a process of its own, on a terminal as people have it."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
WAIT_S = 10
COMMAND = [sys.executable, "-c", "from api.cli import main; main()"]


def on_a_terminal(environ: Mapping[str, str], *arguments: str, typed: str = "") -> tuple[int, str]:
    """Return the exit code and all that the terminal showed; `typed` is waiting there already."""
    terminal, end = pty.openpty()
    os.write(terminal, typed.encode())
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=ROOT,
        env={**os.environ, "TERM": "xterm-256color", **environ},
        stdin=end,
        stdout=end,
        stderr=end,
    )
    os.close(end)
    seen = b""
    while chunk := _read(terminal):
        seen += chunk
    os.close(terminal)
    return process.wait(WAIT_S), seen.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux says that nobody holds the other end any more
        return b""


def interruptible() -> None:
    """Have the process that is about to start take interrupts as on a terminal."""
    # A shell that runs the tests in the background has its jobs ignore interrupts, and theirs too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
