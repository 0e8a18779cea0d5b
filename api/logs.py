"""The use case of reading what a deployment has written, whichever face asks.

The log of the allocation that runs, or else of the last one, comes from the cluster; where that has
forgotten it, from what was kept of it. Knows nothing of HTTP. What is read is other people's bytes:
they may be anything.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from specs.faults import Fault, InvalidSpec, SpecError
from specs.model import AllocationStatus, Deployment, Reach
from specs.store import SpecStore

Kind = Literal["stdout", "stderr"]

MAX_BYTES: Final = 1_000_000
MAX_LINES: Final = 10_000

MAX_READERS: Final = 64
"""Logs that are followed at a time, each by a thread; Nomad grants one address 100 connections."""

AHEAD: Final = 16
"""Pieces that are read before the follower takes them; beyond, Nomad waits too."""

LIVE: Final = frozenset({"pending", "running", "unknown"})
"""Allocations that may still write."""


class NoLog(SpecError):
    """There is nothing to read: nothing has started, or it was forgotten before it was kept."""


class TooManyFollowers(Exception):
    """As many logs are followed as may be at a time. Read without following, or come again."""


class ReadLog(Protocol):
    """Reads the log of an allocation from the cluster, as `Runtime.read_log` does.

    Raises: NoLog; ClusterSilent.
    """

    def __call__(
        self,
        deployment: Deployment,
        allocation_id: str,
        *,
        task: str,
        kind: Kind,
        tail_bytes: int,
        follow: bool,
        stop: threading.Event,
    ) -> Generator[bytes, None, None]:
        """Yield pieces of text, and b"" where there is nothing new."""
        ...


def no_cluster(*_: object, **__: object) -> Generator[bytes, None, None]:
    """Read from no cluster at all. Raises: NoLog."""
    raise NoLog("no cluster is asked here")


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which log is meant. `live`: more may come."""

    deployment: Deployment
    allocation_id: str
    task: str
    kind: Kind
    live: bool


class Logs:
    """The logs of everybody's deployments, seen through one reach at a time.

    `tasks_of` names the tasks of a deployment, its user's own first. Close it with the server.
    """

    def __init__(
        self,
        store: SpecStore,
        read: ReadLog,
        tasks_of: Callable[[Deployment], Sequence[str]],
        *,
        readers: int = MAX_READERS,
    ) -> None:
        self._store = store
        self._read = read
        self._tasks_of = tasks_of
        self._free = readers
        self._threads = ThreadPoolExecutor(readers, thread_name_prefix="log-reader")

    def close(self) -> None:
        """Take no more followers; those that there are end with their streams."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def choose(
        self,
        reach: Reach,
        *,
        name: str,
        vo: str | None = None,
        task: str | None = None,
        kind: Kind = "stdout",
        previous: bool = False,
    ) -> Chosen:
        """Return which log is meant; `previous`: that of the allocation before.

        Raises: NotFound; NoLog; InvalidSpec where there is no such task.
        """
        deployment = self._store.find(reach, vo=vo, name=name)
        tasks = self._tasks_of(deployment)
        if task is not None and task not in tasks:
            raise InvalidSpec([_no_task(task, tasks)])
        places = list(deployment.status.nomad.allocations)
        live = [a for a in places if a.client_status in LIVE]
        current = next(iter(live or places), None)
        ids = [current.id] if current else []
        ids += [a.id for a in places if current and a.id != current.id]
        ids += [t.allocation_id for t in self._store.log_tails(deployment.uid)]
        ids = list(dict.fromkeys(ids))
        if len(ids) <= previous:
            raise NoLog(_nothing(name, previous=previous))
        return Chosen(
            deployment,
            ids[previous],
            task or next(iter(tasks), "usertask"),
            kind,
            live=bool(live) and not previous,
        )

    def tail(self, chosen: Chosen, *, lines: int) -> bytes:
        """Return the last lines of a log, `MAX_BYTES` at most. Raises: NoLog; ClusterSilent."""
        try:
            pieces = self._open(chosen, follow=False, stop=threading.Event())
            return last_lines(b"".join(pieces)[-MAX_BYTES:], lines)
        except NoLog as missing:
            for tail in self._store.log_tails(chosen.deployment.uid):
                if (tail.allocation_id, tail.task, tail.kind) == (
                    chosen.allocation_id,
                    chosen.task,
                    chosen.kind,
                ):
                    return last_lines(tail.text.encode(), lines)
            raise NoLog(f"{missing}; nothing was kept of it") from missing

    async def follow(self, chosen: Chosen, *, lines: int) -> AsyncGenerator[bytes]:
        """Yield the last lines of a log, then what is written, until its allocation ends.

        Raises: TooManyFollowers; NoLog; ClusterSilent.
        """
        if not chosen.live:
            yield await asyncio.to_thread(self.tail, chosen, lines=lines)
            return
        if not self._free:
            raise TooManyFollowers("too many logs are followed at the moment")
        self._free -= 1
        loop, stop = asyncio.get_running_loop(), threading.Event()
        pieces: asyncio.Queue[bytes | None] = asyncio.Queue(AHEAD)

        def tell(piece: bytes | None) -> None:
            asyncio.run_coroutine_threadsafe(pieces.put(piece), loop).result()

        reading = loop.run_in_executor(self._threads, self._pump, chosen, lines, stop, tell)
        try:
            while (piece := await pieces.get()) is not None:
                yield piece
            await reading
        finally:
            stop.set()
            self._free += 1
            reading.add_done_callback(lambda done: done.cancelled() or done.exception())
            # Whoever waits to put a piece is let go, and sees that it shall stop.
            _drain(pieces)

    def _pump(
        self,
        chosen: Chosen,
        lines: int,
        stop: threading.Event,
        tell: Callable[[bytes | None], None],
    ) -> None:
        """Pass on what is read, in a thread, until `stop` is set or the allocation has ended."""
        backlog: bytes | None = b""
        ended = False
        try:
            with closing(self._open(chosen, follow=True, stop=stop)) as log:
                for piece in log:
                    if stop.is_set():
                        return
                    if backlog is not None:
                        # What is there comes at once; the first pause is where the present begins.
                        backlog += piece
                        if piece and len(backlog) < MAX_BYTES:
                            continue
                        tell(last_lines(backlog[-MAX_BYTES:], lines))
                        backlog = None
                    elif piece:
                        tell(piece)
                    elif ended:
                        return
                    else:
                        # Only at a pause, and once more after it: its last words come first.
                        ended = self._has_ended(chosen)
        finally:
            if not stop.is_set():
                tell(None)

    def _open(
        self, chosen: Chosen, *, follow: bool, stop: threading.Event
    ) -> Generator[bytes, None, None]:
        return self._read(
            chosen.deployment,
            chosen.allocation_id,
            task=chosen.task,
            kind=chosen.kind,
            tail_bytes=MAX_BYTES,
            follow=follow,
            stop=stop,
        )

    def _has_ended(self, chosen: Chosen) -> bool:
        record = self._store.get(chosen.deployment.uid)
        places: Sequence[AllocationStatus] = record.status.nomad.allocations if record else ()
        return not any(a.id == chosen.allocation_id and a.client_status in LIVE for a in places)


def last_lines(text: bytes, count: int) -> bytes:
    """Return the last `count` lines of `text`; a last one without its end counts too."""
    lines = text.splitlines(keepends=True) if count else []
    return b"".join(lines[-count:])


def _drain(pieces: asyncio.Queue[bytes | None]) -> None:
    with suppress(asyncio.QueueEmpty):
        while True:
            pieces.get_nowait()


def _no_task(task: str, tasks: Sequence[str]) -> Fault:
    allowed = ", ".join(tasks) or "none yet"
    return Fault("/query/task", "NoSuchTask", f"{task[:60]!a} is no task of it", allowed)


def _nothing(name: str, *, previous: bool) -> str:
    if previous:
        return f"deployment {name!r} has no allocation before the present one"
    return f"deployment {name!r} has not started anywhere yet"
