"""Answers that go on: how a stream of events is begun, kept alive, and ended.

A stream has no thread. It ends when its source does, when the client leaves or takes nothing for
too long, and when the server stops.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Final, cast

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from api.problems import RequestError
from api.sse import HEADERS
from specs.faults import SpecError

SEND_S: Final = 40.0
"""How long a client may take nothing of what is sent to it."""


class Streams:
    """The open streams of one server."""

    def __init__(self) -> None:
        self._open: set[asyncio.Task[None]] = set()

    def add(self, stream: asyncio.Task[None]) -> None:
        """Keep a stream until it is done."""
        self._open.add(stream)
        stream.add_done_callback(self._open.discard)

    def end(self) -> None:
        """End all of them now: the clients see the end of an answer, and ask again."""
        for stream in tuple(self._open):
            stream.cancel()


class Stream(StreamingResponse):
    """Sends what `chunks` yields; what it raises before the first is answered as a refusal."""

    def __init__(
        self, chunks: AsyncGenerator[bytes], *, media_type: str, headers: Mapping[str, str] = {}
    ) -> None:
        super().__init__((), media_type=media_type, headers={**HEADERS, **headers})
        self._chunks = chunks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer until the chunks, the client or the server ends it."""
        async with aclosing(self._chunks) as chunks:
            first = await anext(chunks, b"")
            start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            await send(start)
            if scope.get("state", {}).get("head"):
                await send(_body(b"", more=False))
                return
            streaming = asyncio.ensure_future(_send_all(first, chunks, send))
            cast("Streams", scope["app"].state.streams).add(streaming)
            leaving = asyncio.ensure_future(_until_gone(receive))
            try:
                await asyncio.wait((streaming, leaving), return_when=asyncio.FIRST_COMPLETED)
            finally:
                gone = leaving.done()
                for task in (streaming, leaving):
                    task.cancel()
                ends = await asyncio.gather(streaming, leaving, return_exceptions=True)
        if gone or isinstance(ends[0], TimeoutError):
            return
        await send(_body(b"", more=False))
        # What would have been a refusal is an end where the answer has begun.
        if isinstance(ends[0], Exception) and not isinstance(ends[0], (SpecError, RequestError)):
            raise ends[0]


async def _send_all(first: bytes, chunks: AsyncGenerator[bytes], send: Send) -> None:
    chunk: bytes | None = first
    while chunk is not None:
        async with asyncio.timeout(SEND_S):
            await send(_body(chunk, more=True))
        chunk = await anext(chunks, None)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _body(chunk: bytes, *, more: bool) -> dict[str, object]:
    return {"type": "http.response.body", "body": chunk, "more_body": more}
