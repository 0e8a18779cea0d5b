"""A port before a server, which counts the requests that pass. It stands in nobody's process that
is measured, so that no choice of a client library escapes it.
"""

import asyncio
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

REQUEST: Final = re.compile(rb"(?:^|\r\n)(GET|HEAD|POST|PUT|DELETE|PATCH) (\S+) HTTP/1\.1\r\n")
CHUNK: Final = 1 << 16


class CountingProxy:
    """Passes on whatever comes to the server at `address` (plain HTTP), and notes the requests."""

    def __init__(self, address: str) -> None:
        where = urlsplit(address)
        self._server = (where.hostname or "", where.port or 80)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="counting-proxy")
        self.calls: list[str] = []
        """Each as method and path, in the order of their coming."""
        self.address = ""

    def __enter__(self) -> Self:
        self._thread.start()
        self._listening = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._connected, "127.0.0.1", 0), self._loop
        ).result()
        port = self._listening.sockets[0].getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end_all(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end_all(self) -> None:
        self._listening.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # closed connections tell so in the loop's next turn

    async def _connected(self, near: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
        far, forth = await asyncio.open_connection(*self._server)
        with suppress(asyncio.CancelledError):  # the end of the proxy
            await asyncio.gather(
                _pass_on(near, forth, self._note), _pass_on(far, out, lambda _: None)
            )

    def _note(self, chunk: bytes) -> None:
        for method, target in REQUEST.findall(chunk):
            self.calls.append(f"{method.decode()} {urlsplit(target.decode()).path}")


async def _pass_on(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter, note: Callable[[bytes], None]
) -> None:
    try:
        with suppress(ConnectionError):
            while chunk := await source.read(CHUNK):
                note(chunk)
                sink.write(chunk)
                await sink.drain()
    finally:
        sink.close()
