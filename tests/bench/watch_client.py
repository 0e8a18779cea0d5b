"""Many open watchers in one process, and one change each second for them to hear of:
`python -m tests.bench.watch_client PORT TOKEN WATCHERS CHANGES`.

Prints how it watches once all are open, waits for a line, and prints how late each heard of each
change, in milliseconds since the change was sent.
"""

import asyncio
import http.client
import json
import re
import resource
import sys
import time
from collections.abc import Sequence
from typing import Final

from tests.bench.processes import AUTHORIZATION

NAME: Final = "watched"
LIST: Final = "/v1/specs?watch=1"
STATUS: Final = f"/v1/specs/{NAME}/status"
MARK: Final = re.compile(rb"mark-(\d+)")
ETAG: Final = re.compile(rb'\r\netag: ("[^"]+")\r\n', re.IGNORECASE)
LENGTH: Final = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)
EVENT_STREAM: Final = re.compile(rb"\r\ncontent-type: text/event-stream", re.IGNORECASE)
OPENING: Final = 50
"""Connections that are opened at a time."""


class Watcher(asyncio.Protocol):
    """A watcher of the list by server-sent events; `seen` has when each mark was first there."""

    def __init__(self, token: str) -> None:
        self._token = token
        self._tail = b""
        self._transport: asyncio.WriteTransport | None = None
        self.seen: dict[str, float] = {}
        self.opened = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        self.ask()

    def ask(self) -> None:
        """Ask for the list and all that changes in it."""
        self.send(LIST)

    def send(self, path: str, more: str = "") -> None:
        """Send a request."""
        assert self._transport is not None
        head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {self._token}\r\n"
        self._transport.write(f"{head}{more}\r\n".encode())

    def data_received(self, data: bytes) -> None:
        """Note the marks."""
        at_s = time.monotonic()
        came = self._tail + data
        if not self.opened.done() and b"\r\n\r\n" in came:
            self.opened.set_result(bool(EVENT_STREAM.search(came)))
        for mark in MARK.findall(came):
            self.seen.setdefault(mark.decode(), at_s)
        self._tail = came[-16:] if self.opened.done() else came

    def connection_lost(self, error: Exception | None) -> None:
        """Say so where it was not yet open."""
        if not self.opened.done():
            self.opened.set_exception(error or ConnectionError("closed before it was open"))


class Poller(Watcher):
    """A watcher of one status by long polls; `seen` has when each ETag was first there."""

    def __init__(self, token: str) -> None:
        super().__init__(token)
        self._came = b""

    def ask(self) -> None:
        """Ask for the status as it is."""
        self.send(STATUS)

    def data_received(self, data: bytes) -> None:
        """Note the ETag of a whole answer, and wait for the next one."""
        self._came += data
        head, found, body = self._came.partition(b"\r\n\r\n")
        length = LENGTH.search(head + b"\r\n")
        if not found or (length and len(body) < int(length[1])):
            return
        etag = ETAG.search(head + b"\r\n")
        if etag is None:
            raise RuntimeError(f"no ETag in {head[:200]!r}")
        self._came = b""
        self.seen.setdefault(etag[1].decode(), time.monotonic())
        self.send(f"{STATUS}?wait=60s", f"If-None-Match: {etag[1].decode()}\r\n")
        if not self.opened.done():
            self.opened.set_result(False)


async def open_watch(port: int, token: str, kind: type[Watcher]) -> Watcher:
    """Open one watcher and wait for its first answer."""
    loop = asyncio.get_running_loop()
    _, watcher = await loop.create_connection(lambda: kind(token), "127.0.0.1", port)
    async with asyncio.timeout(60):
        await watcher.opened
    return watcher


async def open_all(port: int, token: str, count: int) -> Sequence[Watcher]:
    """Open so many: by server-sent events where the server has them, else by long polls."""
    first = await open_watch(port, token, Watcher)
    kind = Watcher if first.opened.result() else Poller
    watchers: list[Watcher] = []
    while len(watchers) < count:
        number = min(OPENING, count - len(watchers))
        opening = (open_watch(port, token, kind) for _ in range(number))
        watchers += await asyncio.gather(*opening)
    return watchers


class Changes:
    """Whoever changes the deployment: over one connection, another label each time."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def make(self, number: int) -> tuple[float, str]:
        """Make a change; return when it was sent, and the new ETag."""
        body = json.dumps({"metadata": {"labels": {"bench": f"mark-{number}"}}})
        headers = {**AUTHORIZATION, "Content-Type": "application/merge-patch+json"}
        sent_s = time.monotonic()
        self._connection.request("PATCH", f"/v1/specs/{NAME}", body=body, headers=headers)
        answer = self._connection.getresponse()
        told = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"a change was answered {answer.status}: {told[:300]!r}")
        return sent_s, str(answer.headers["ETag"])


async def main(port: int, token: str, count: int, changes: int) -> None:
    """Open, tell, wait, change, tell."""
    watchers = await open_all(port, token, count)
    polls = isinstance(watchers[0], Poller)
    print("long polls" if polls else "server-sent events", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    source, sent = Changes(port), list[tuple[float, str]]()
    for number in range(changes):
        began_s = time.monotonic()
        sent.append(await asyncio.to_thread(source.make, number))
        await asyncio.sleep(max(0.0, began_s + 1 - time.monotonic()))
    await asyncio.sleep(1)
    end_s = time.monotonic()
    marks = [etag if polls else str(number) for number, (_, etag) in enumerate(sent)]
    waits_ms = [
        (_heard_s(watcher, marks[number:], end_s) - sent_s) * 1000
        for watcher in watchers
        for number, (sent_s, _) in enumerate(sent)
    ]
    print(json.dumps(waits_ms), flush=True)


def _heard_s(watcher: Watcher, marks: Sequence[str], end_s: float) -> float:
    """Return when a watcher heard of a change, or of a later one; `end_s` where it never did."""
    return min((watcher.seen[mark] for mark in marks if mark in watcher.seen), default=end_s)


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    port, token, count, changes = sys.argv[1:]
    asyncio.run(main(int(port), token, int(count), int(changes)))
