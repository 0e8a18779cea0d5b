"""Hears of other processes' writes at once: PostgreSQL's LISTEN on a connection of its own.

Nothing depends on it. While the connection is down, and for whatever was said meanwhile, those who
wait ask the store every second as ever.
"""

import logging
import threading
from collections.abc import Callable
from typing import Any, Final

from psycopg import Connection, sql
from sqlalchemy import URL

from specs.postgres import a_connection

log = logging.getLogger(__name__)

LOOKS_S: Final = 1.0
"""How often a listener looks whether it should end."""

LONGEST_WAIT_S: Final = 16.0
"""The longest wait between two tries to connect."""


class Listener:
    """Calls `heard` with what is said on a channel, in a thread of its own until it is stopped."""

    def __init__(self, url: URL, channel: Callable[[], str], heard: Callable[[str], None]) -> None:
        """`channel` is asked for at every connect; what it raises is a failed try."""
        self._url = url
        self._channel = channel
        self._heard = heard
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="store-listener", daemon=True)
        self.listening = threading.Event()
        """Set while the connection stands."""

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening; returns once the thread has ended."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            try:
                with a_connection(self._url) as connection:
                    channel = sql.Identifier(self._channel())
                    connection.execute(sql.SQL("LISTEN {}").format(channel))
                    failures = 0
                    self._listen(connection)
            except Exception as error:  # the thread's top: whatever it was, it is tried again
                failures += 1
                log.warning("not listening", extra={"error": type(error).__name__})
            self.listening.clear()
            self._stop.wait(min(LONGEST_WAIT_S, 0.25 * 2.0 ** min(failures, 8)))

    def _listen(self, connection: Connection[Any]) -> None:
        self.listening.set()
        while not self._stop.is_set():
            for notice in connection.notifies(timeout=LOOKS_S):
                self._heard(notice.payload)
