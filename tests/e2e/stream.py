"""Nomad's event stream as bare as it comes: what our own reaction is measured beside."""

import json
import socket
import threading
import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

from tests.real import DevAgent


class BareStream:
    """A connection of the test's own that notes when each event of one topic arrived."""

    def __init__(self, agent: DevAgent, topic: str) -> None:
        self._connection = HTTPConnection(urlsplit(agent.address).netloc, timeout=60)
        self._connection.request("GET", f"/v1/event/stream?topic={topic}&namespace=*")
        self._socket = self._connection.sock
        self._answer = self._connection.getresponse()
        self._arrived: list[tuple[float, Any]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def first_after(
        self, began_s: float, concerns: Callable[[Any], bool] = lambda _: True
    ) -> float | None:
        """Return when the first event that came after `began_s` did; both of `time.monotonic`."""
        return next((at for at, event in self._arrived if at >= began_s and concerns(event)), None)

    def _read(self) -> None:
        try:
            for line in self._answer:
                arrived_s = time.monotonic()
                for event in json.loads(line).get("Events") or []:
                    self._arrived.append((arrived_s, event))
        except (OSError, HTTPException, ValueError):
            return  # closed by its owner, or Nomad stopped

    def __enter__(self) -> "BareStream":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.join(timeout=10)
        self._connection.close()
