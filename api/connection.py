"""How long a client may take to speak and to take its answer: uvicorn waits for ever."""

import asyncio
from typing import Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S: Final = 20.0
"""Seconds for a whole request line with its headers; a mobile network in a tunnel takes some."""

STALL_S: Final = 30.0
"""Seconds in which a client whose buffers are full must take something of its answer."""


class PatientConnection(H11Protocol):
    """Closes a connection whose next request does not get complete headers in `head_s`.

    One whose client takes nothing of an answer for `stall_s` is cut off.
    """

    head_s = HEAD_S
    stall_s = STALL_S
    _closing: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a new connection."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take what came in."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let the connection go."""
        self._forget()
        self._move_on()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Wait for the client to take what was sent."""
        super().pause_writing()
        # Closing would wait for what is not taken: the connection is dropped with it.
        self._stalled = self.loop.call_later(self.stall_s, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on: the client has taken enough."""
        self._move_on()
        super().resume_writing()

    def _watch(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._forget()
        elif self._closing is None:
            self._closing = self.loop.call_later(self.head_s, self.transport.close)

    def _forget(self) -> None:
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None

    def _move_on(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
