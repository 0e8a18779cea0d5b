"""Conversations that end in time, whatever the other side does.

A timeout per read is none at all against a server that sends a byte now and then, so every read
gets what is left of one deadline.
"""

import io
import socket
import time
from collections.abc import Callable


class Deadline:
    """A point in time by which everything of one conversation must be done."""

    def __init__(self, within_s: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._at = monotonic() + within_s

    def left_s(self) -> float:
        """Return how long there is still to wait, more than 0. Raises `TimeoutError`."""
        left = self._at - self._monotonic()
        if left <= 0:
            raise TimeoutError("the time is up")
        return left


class Timed:
    """A connection as `http.client` wants it, each read and write of which keeps the deadline.

    `deadline` may be replaced between two conversations.
    """

    def __init__(self, connection: socket.socket, deadline: Deadline) -> None:
        self.connection = connection
        self.deadline = deadline

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return what the answer is read from; closing it leaves the connection open."""
        return io.BufferedReader(_TimedReads(self))

    def sendall(self, content: bytes) -> None:
        """Send all of it. Raises: TimeoutError; OSError."""
        self.connection.settimeout(self.deadline.left_s())
        self.connection.sendall(content)

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


class _TimedReads(io.RawIOBase):
    def __init__(self, timed: Timed) -> None:
        self._timed = timed

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        connection = self._timed.connection
        connection.settimeout(self._timed.deadline.left_s())
        return connection.recv_into(buffer)
