"""Nomad's event stream, read line by line from one open answer. Reconnecting is the caller's.

python-nomad's own stream dies on a refused connection, hides heartbeats and reconnects in a tight
loop, so it is not used.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Final

import requests
import urllib3
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

CHUNK_BYTES: Final = 1 << 16
LINE_BYTES_MAX: Final = 1 << 26
"""No event is near 64 MB: what grows beyond is not Nomad's stream."""


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
        return decode.changes(json.loads(line))
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
