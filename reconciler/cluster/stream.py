"""Nomad's event streams, read line by line from open answers. Reconnecting is the caller's.

python-nomad's own stream dies on a refused connection, hides heartbeats and reconnects in a tight
loop, so it is not used.
"""

import queue
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Final

import requests
import urllib3
from pydantic_core import from_json
from urllib3.exceptions import HTTPError

from reconciler.cluster import decode
from reconciler.errors import ClusterUnavailable
from reconciler.jobs import Changes

HEARTBEAT_S: Final = 30.0
"""How often Nomad says `{}` when it has nothing to tell (measured on 2.0)."""

SILENCE_S: Final = 3 * HEARTBEAT_S
"""A stream that said nothing for so long is a dead connection."""

STOP_CHECK_S: Final = 0.2
"""How soon after the stop event a waiting read is cut off."""

PENDING_MAX: Final = 1000
"""Messages that wait for whoever listens; beyond, Nomad waits too."""

CHUNK_BYTES: Final = 1 << 16
LINE_BYTES_MAX: Final = 1 << 26
"""No event is near 64 MB: what grows beyond is not Nomad's stream."""

_Told = tuple[int, Changes | Exception | None]
"""The number of a stream and what it told: a message, how it broke, or that it ended."""


def follow_all(
    responses: Sequence[requests.Response], stop: threading.Event
) -> Generator[Changes, None, None]:
    """Read several open streams at once until one of them ends or `stop` is set.

    Each stream keeps its order; what two tell of one moment comes in any. Nothing is told before
    every stream has said its first word, the heartbeat with which Nomad begins: from there on none
    of them misses anything.

    Raises: ClusterUnavailable where one of them does what `follow` takes for a break.
    """
    if len(responses) == 1:
        yield from follow(responses[0], stop)
        return
    ended = threading.Event()
    news: queue.Queue[_Told] = queue.Queue(PENDING_MAX)
    readers = [
        threading.Thread(
            target=_pass_on, args=(response, ended, news, number), name="nomad-stream", daemon=True
        )
        for number, response in enumerate(responses)
    ]
    for reader in readers:
        reader.start()
    try:
        yield from _begun(news, stop, count=len(responses))
    finally:
        ended.set()
        for reader in readers:
            reader.join()


def _begun(
    news: queue.Queue[_Told], stop: threading.Event, *, count: int
) -> Generator[Changes, None, None]:
    silent, held = set(range(count)), list[Changes]()
    while not stop.is_set():
        try:
            number, told = news.get(timeout=STOP_CHECK_S)
        except queue.Empty:
            continue
        if told is None:
            return
        if isinstance(told, Exception):
            raise told
        held.append(told)
        silent.discard(number)
        if not silent:
            yield from held
            held.clear()


def _pass_on(
    response: requests.Response, ended: threading.Event, news: queue.Queue[_Told], number: int
) -> None:
    def tell(told: Changes | Exception | None) -> None:
        while not ended.is_set():
            try:
                news.put((number, told), timeout=STOP_CHECK_S)
            except queue.Full:
                continue
            return

    try:
        for message in follow(response, ended):
            tell(message)
    except Exception as error:  # the top of a thread: whoever listens raises it
        tell(error)
    else:
        tell(None)


def follow(response: requests.Response, stop: threading.Event) -> Iterator[Changes]:
    """Read the messages of an open stream, heartbeats included, until it ends or `stop` is set.

    The answer is closed with the iterator.

    Raises: ClusterUnavailable where it breaks, falls silent, or says what Nomad never says.
    """
    with closing(response), _cut_off(response, stop):
        try:
            for line in _lines(response.raw):
                if stop.is_set():
                    return
                yield _read(line)
        except (HTTPError, OSError) as error:
            if not stop.is_set():
                raise ClusterUnavailable(f"the event stream broke: {error}") from error


def _lines(raw: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    # `iter_lines` of requests waits until its buffer is full, and an event with it.
    pending = b""
    while chunk := raw.read1(CHUNK_BYTES, decode_content=True):
        *lines, pending = (pending + chunk).split(b"\n")
        yield from (line for line in lines if line.strip())
        if len(pending) > LINE_BYTES_MAX:
            raise ClusterUnavailable(f"the event stream sent a line above {LINE_BYTES_MAX} bytes")
    if pending.strip():
        raise ClusterUnavailable("the event stream ended in the middle of a line")


def _read(line: bytes) -> Changes:
    try:
        return decode.changes(from_json(line))
    except decode.UNREADABLE as error:
        raise ClusterUnavailable(
            f"the event stream sent a line that is no event: {line[:80]!r}"
        ) from error


@contextmanager
def _cut_off(response: requests.Response, stop: threading.Event) -> Iterator[None]:
    """Wake a waiting read when `stop` is set: no socket waits for an event, so a thread does."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.is_set():
            if stop.wait(STOP_CHECK_S):
                # Already closed: nothing is waiting any more.
                with suppress(OSError, ValueError, RuntimeError):
                    response.raw.shutdown()
                return

    threading.Thread(target=watch, name="nomad-stream-stop", daemon=True).start()
    try:
        yield
    finally:
        ended.set()
