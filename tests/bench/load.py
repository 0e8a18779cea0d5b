"""A small HTTP load from its own process: keep-alive connections on loopback, bounded in count.

One thread with bare sockets, so that the client takes far less of the machine than any server:
`python -m tests.bench.load PORT PATH TOKEN SECONDS` prints `{"rate": …, "p99_ms": …}`.
"""

import json
import selectors
import socket
import sys
import time
from dataclasses import dataclass, field
from typing import Final

from tests.bench.figures import quantile

CONNECTIONS: Final = 8
LENGTH: Final = b"content-length:"


@dataclass(slots=True)
class Connection:
    """One connection, with what of the answer has come and when it was asked for."""

    socket: socket.socket
    came: bytearray = field(default_factory=bytearray)
    asked_s: float = 0.0

    def ask(self, request: bytes) -> None:
        """Send the request."""
        self.came.clear()
        self.asked_s = time.perf_counter()
        self.socket.sendall(request)

    def answered(self) -> bool:
        """Take what came; tell whether the answer is complete.

        Raises: RuntimeError on any answer but 200 with a length.
        """
        part = self.socket.recv(1 << 18)
        self.came += part
        end = self.came.find(b"\r\n\r\n")
        if end < 0 and part:
            return False
        head = bytes(self.came[:end]).lower()
        if not head.startswith(b"http/1.1 200") or LENGTH not in head:
            raise RuntimeError(f"answered {bytes(self.came[:200])!r}")
        length = int(head.partition(LENGTH)[2].partition(b"\r\n")[0])
        if not part and len(self.came) < end + 4 + length:
            raise RuntimeError("the connection ended within an answer")
        return len(self.came) >= end + 4 + length


def load(port: int, path: str, token: str, seconds: float) -> dict[str, float]:
    """Ask for `path` over all connections for `seconds`; return the rate and how late the last
    hundredth came."""
    request = (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n\r\n"
    ).encode()
    waits_s: list[float] = []
    with selectors.DefaultSelector() as selector:
        for _ in range(CONNECTIONS):
            opened = socket.create_connection(("127.0.0.1", port), timeout=30)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(opened, selectors.EVENT_READ, connection := Connection(opened))
            connection.ask(request)
        began_s = time.perf_counter()
        while (now_s := time.perf_counter()) < began_s + seconds:
            for key, _ in selector.select(timeout=1):
                connection = key.data
                if connection.answered():
                    waits_s.append(time.perf_counter() - connection.asked_s)
                    connection.ask(request)
        for key in list(selector.get_map().values()):
            key.data.socket.close()
    return {
        "rate": len(waits_s) / (now_s - began_s),
        "p99_ms": quantile(waits_s, 0.99) * 1000,
    }


if __name__ == "__main__":
    port, path, token, seconds = sys.argv[1:]
    print(json.dumps(load(int(port), path, token, float(seconds))))
