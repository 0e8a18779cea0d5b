"""The one lock of the pretend Nomad, and how time passes in it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Final

from reconciler.cluster.simulator.clients import Clients
from reconciler.cluster.simulator.timers import Timers
from reconciler.cluster.simulator.world import World

_SHORTEST_WAIT_S: Final = 0.005
"""Never a busy loop, even on a clock that stands still."""


class Turns:
    """Takes turns at the world. Whatever is due is carried out before anybody's turn begins.

    So nothing needs a thread: things happen when somebody asks, each at its own instant.
    """

    def __init__(self, world: World, timers: Timers, clients: Clients) -> None:
        self._world = world
        self._timers = timers
        self._clients = clients
        self._changed = threading.Condition(threading.RLock())

    @contextmanager
    def turn(self) -> Iterator[World]:
        """Hold the world; who waits for a change is woken if this turn made one."""
        with self._changed:
            before = self._world.index
            self._clients.run_due()
            try:
                yield self._world
            finally:
                if self._world.index != before:
                    self._changed.notify_all()

    def wait_for(self, arrived: Callable[[World], bool], *, timeout_s: float) -> bool:
        """Wait until `arrived` holds, while time passes; False when it did not in time."""
        end_s = monotonic() + timeout_s
        with self._changed:
            while True:
                with self.turn() as world:
                    if arrived(world):
                        return True
                left_s = end_s - monotonic()
                if left_s <= 0:
                    return False
                self._changed.wait(min(left_s, self._next_in_s()))

    def next_due_ns(self) -> int | None:
        """Return the instant (Unix ns) of the next thing that will happen by itself, if any."""
        with self._changed:
            return self._timers.next_ns()

    def _next_in_s(self) -> float:
        due_ns = self._timers.next_ns()
        if due_ns is None:
            return threading.TIMEOUT_MAX
        return max((due_ns - self._timers.now_ns()) / 10**9, _SHORTEST_WAIT_S)
