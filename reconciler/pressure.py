"""How fast jobs are registered: as fast as the cluster takes them, and no faster.

Two things are watched. How long a register takes: more of them at once are tried while they are
quick, fewer when they slow down or fail (additive increase, multiplicative decrease: Chiu and Jain
1989). And Nomad's own line: evaluations that wait for a scheduler. What stands there is served in
Nomad's order and not in ours, so it is kept short, `LINE_S` of what the schedulers get done: then
one user's five thousand deployments wait with us, where flows take turns, and another's one is
next.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from reconciler.errors import ClusterUnavailable

FIRST_LIMIT: Final = 4.0
"""Registers at once, to begin with."""

SLOW_S: Final = 1.0
"""A register that takes longer means that the leader has too much to do."""

SHRINK: Final = 0.7

LINE_S: Final = 2.0
"""How much work may wait in Nomad's line, in seconds of what it gets done."""

SHORTEST_LINE: Final = 64
"""So many evaluations may wait in any case: while it is not known how fast they are."""

PATIENCE_S: Final = 5.0
"""How long a worker waits for its turn; then it looks at something else."""

AGAIN_S: Final = 1.0
"""After how long who got no turn comes back."""

ASK_S: Final = 0.05
"""How often who waits looks at the line: nobody rings when it gets shorter."""

MEASURE_S: Final = 0.25
"""Over how long the schedulers' pace is measured."""

NEWEST_WEIGHT: Final = 0.3


class Pace:
    """What the cluster has been seen to take (no threads, no clock: instants are arguments)."""

    def __init__(self, *, most: int) -> None:
        """`most` registers are under way at once at most: what the connections allow."""
        self._most = float(most)
        self._limit = min(FIRST_LIMIT, self._most)
        self._growing = True
        self._shrunk_at_s = float("-inf")
        self._per_s = 0.0
        self._measured: tuple[float, int] | None = None

    @property
    def limit(self) -> int:
        """How many registers may be under way at once, at least one."""
        return max(1, int(self._limit))

    @property
    def line(self) -> int:
        """How many evaluations may wait in Nomad's line."""
        return max(SHORTEST_LINE, int(self._per_s * LINE_S))

    def note_register(self, *, began_at_s: float, now_s: float, failed: bool) -> None:
        """Take how one register went: it grows the limit, or shrinks it once for all that were
        under way together."""
        if not failed and now_s - began_at_s <= SLOW_S:
            self._limit = min(self._most, self._limit + (1 if self._growing else 1 / self._limit))
        elif began_at_s > self._shrunk_at_s:
            self._growing = False
            self._shrunk_at_s = now_s
            self._limit = max(1.0, self._limit * SHRINK)

    def note_line(self, *, waiting: int, done: int, now_s: float) -> None:
        """Take how many evaluations wait, and how many were done since the beginning.

        A pace is measured only while some wait all along: an idle scheduler shows none.
        """
        if not waiting:
            self._measured = None
            return
        if self._measured is None:
            self._measured = (now_s, done)
            return
        since_s, done_then = self._measured
        if now_s - since_s < MEASURE_S:
            return
        per_s = (done - done_then) / (now_s - since_s)
        known = self._per_s or per_s
        self._per_s = known + NEWEST_WEIGHT * (per_s - known)
        self._measured = (now_s, done)


class Pressure:
    """Lets registers through at the pace of one cluster. Safe to use from any thread.

    `line` returns how many evaluations wait in Nomad and how many were done since the beginning;
    `clock` is monotonic seconds.
    """

    def __init__(
        self, *, line: Callable[[], tuple[int, int]], clock: Callable[[], float], most: int
    ) -> None:
        self._line = line
        self._clock = clock
        self._changed = threading.Condition()
        self._pace = Pace(most=most)
        self._under_way = 0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn, and hold it while one job is registered.

        Raises: ClusterUnavailable where none came in time: it is tried again later.
        """
        began_at_s = self._take()
        failed = False
        try:
            yield
        except ClusterUnavailable:
            failed = True
            raise
        finally:
            self._give_back(began_at_s, failed=failed)

    def _take(self) -> float:
        until_s = self._clock() + PATIENCE_S
        with self._changed:
            while (why := self._why_not()) and self._clock() < until_s:
                self._changed.wait(ASK_S)
            if why:
                raise ClusterUnavailable(why, again_s=AGAIN_S)
            self._under_way += 1
            return self._clock()

    def _give_back(self, began_at_s: float, *, failed: bool) -> None:
        with self._changed:
            self._under_way -= 1
            self._pace.note_register(began_at_s=began_at_s, now_s=self._clock(), failed=failed)
            self._changed.notify()

    def _why_not(self) -> str:
        waiting, done = self._line()
        self._pace.note_line(waiting=waiting, done=done, now_s=self._clock())
        if self._under_way >= self._pace.limit:
            return f"Nomad is slow: {self._under_way} jobs are being written, no more at once"
        if waiting + self._under_way > self._pace.line:
            return f"Nomad is busy: {waiting} evaluations wait for its schedulers"
        return ""
