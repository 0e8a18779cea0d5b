"""A server that starts in a fraction of a second: a fork of a process that has imported everything.

For tests that start it hundreds of times, where importing would be nearly all the time there is.
Every start is a new process that opens its settings, its store and its cluster as any server does.
"""

import os
import signal
import subprocess
import sys

from tests.e2e.server import Server
from tests.real import wait_until


class WarmServer(Server):
    """A server whose every life is a fork; `kill` is SIGKILL."""

    _pid = 0

    def start(self) -> None:
        if self.process is None:
            with (self.home / "server.log").open("ab") as log:
                self.process = subprocess.Popen(
                    [sys.executable, "-m", "tests.e2e.warm", str(self.port)],
                    env=self.environ,
                    cwd=self.home,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()
        self._pid = int(self.process.stdout.readline())
        wait_until(self.answers, within_s=60, every_s=0.02, what="the server")

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)
        if self.process is not None:
            self.process.communicate(timeout=40)
            self.process = None

    def _end(self, how: signal.Signals) -> None:
        os.kill(self._pid, how)
        wait_until(self._gone, within_s=40, every_s=0.01, what="the end of the server")

    def _gone(self) -> bool:
        try:
            os.kill(self._pid, 0)
        except ProcessLookupError:
            return True
        return False


def fork_at_every_line(port: int) -> None:
    """Fork a server at every line of standard input; answer with its process id."""
    from api.serve import run  # noqa: PLC0415

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the dead
    for _ in sys.stdin.buffer:
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.dup2(2, 1)  # what a server says belongs into its log
            run(host="127.0.0.1", port=port)
            os._exit(0)
        print(pid, flush=True)


if __name__ == "__main__":
    fork_at_every_line(int(sys.argv[1]))
