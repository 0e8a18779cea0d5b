"""Waiting for a deployment to move, without a thread per waiter.

One thread follows the store's changes and wakes the event loop; each waiter is a coroutine with an
event of its own, and each watcher takes what it is told at its own pace. What changed is read and
written out once, whoever is told of it. While nobody waits, the thread sleeps and the store is not
asked.
"""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Protocol, TypeVar

from api.watching import News, Watched
from specs.model import Deployment, Owner
from specs.store import SpecStore

POLL_S: Final = 1.0
"""Longest time that one look at the store blocks; bounds how long a stop takes."""

Key = TypeVar("Key")
Waiter = TypeVar("Waiter")

_log = logging.getLogger(__name__)


class Watcher(Protocol):
    """Who is told of moves on the event loop, those within its reach and others."""

    watched: Watched

    def offer(self, news: News) -> None:
        """Take a move of the feed; they come in order, and may come again."""
        ...


class Changes:
    """Tells coroutines of one event loop when a deployment changed; started and stopped there."""

    def __init__(self, store: SpecStore) -> None:
        self._store = store
        self._events: dict[str, set[asyncio.Event]] = {}
        # By whose records they watch; None: everybody's.
        self._watches: dict[Owner | None, set[Watcher]] = {}
        self._position = 0
        self.told = 0
        """The version up to which all watches have been told."""
        self._wanted = threading.Event()
        self._stopping = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._follow, name="store-changes", daemon=True)

    def start(self) -> None:
        """Start to follow the store, for the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """Stop following; returns once the thread has ended."""
        self._stopping.set()
        self._wanted.set()
        await asyncio.to_thread(self._thread.join)

    @contextmanager
    def of(self, deployment: Deployment) -> Iterator[asyncio.Event]:
        """Give an event that is set whenever the deployment may have changed since it was read."""
        event = asyncio.Event()
        with self._entered(self._events, deployment.uid, event, since=deployment.resource_version):
            yield event

    @contextmanager
    def watching(self, watch: Watcher, *, since: int) -> Iterator[None]:
        """Offer the watch every move after `since`, which is read before what it begins with."""
        with self._entered(self._watches, watch.watched.reach.owner, watch, since=since):
            yield

    @contextmanager
    def _entered(
        self, by_key: dict[Key, set[Waiter]], key: Key, waiter: Waiter, *, since: int
    ) -> Iterator[None]:
        if not self._wanted.is_set():
            self._position = max(self._position, since)
        by_key.setdefault(key, set()).add(waiter)
        self._wanted.set()
        try:
            yield
        finally:
            by_key[key].discard(waiter)
            if not by_key[key]:
                del by_key[key]
            if not (self._events or self._watches or self._stopping.is_set()):
                self._wanted.clear()

    def waits(self) -> int:
        """Return how many wait."""
        return sum(len(events) for events in list(self._events.values()))

    def _follow(self) -> None:
        while self._wanted.wait() and not self._stopping.is_set():
            try:
                self._look()
            except Exception:  # the thread's top: waiters just time out until the store is back
                _log.exception("following the store failed")
                self._stopping.wait(POLL_S)

    def _look(self) -> None:
        if not self._store.wait_for_changes(self._position, timeout_s=POLL_S):
            return
        position, uids = self._store.changes_after(self._position)
        news = self._read(uids, up_to=position)
        self._position = position
        if self._loop is not None and not self._stopping.is_set():
            self._loop.call_soon_threadsafe(self._wake, uids, news, position)

    def _read(self, uids: Sequence[str], *, up_to: int) -> Sequence[News]:
        if not self._watches:
            return ()
        everybody = None in self._watches
        moves = self._store.moves(
            list(dict.fromkeys(uids)),
            up_to=up_to,
            of=lambda owner: everybody or owner in self._watches,
        )
        return [News(move) for move in moves]

    def _wake(self, uids: Sequence[str], news: Sequence[News], position: int) -> None:
        for uid in uids:
            for event in self._events.get(uid, ()):
                event.set()
        for one in news:
            for owner in (one.move.deployment.owner, None):
                for watch in self._watches.get(owner, ()):
                    watch.offer(one)
        self.told = position


async def look_until(
    enough: Callable[[Deployment], bool],
    look: Callable[[], Awaitable[Deployment]],
    *,
    changes: Changes,
    timeout_s: float,
) -> Deployment:
    """Look again on every change until it is `enough`; return the last look when time is up.

    What `look` raises, such as `NotFound` for a record that is gone, ends the waiting.
    """
    seen = await look()
    if timeout_s <= 0 or enough(seen):
        return seen
    deadline = asyncio.get_running_loop().time() + timeout_s
    with changes.of(seen) as changed:
        while True:
            changed.clear()
            seen = await look()
            if enough(seen):
                return seen
            try:
                async with asyncio.timeout_at(deadline):
                    await changed.wait()
            except TimeoutError:
                return seen
