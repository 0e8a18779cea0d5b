"""What will happen by itself, and when."""

import heapq
from collections.abc import Callable, Iterator
from typing import NamedTuple


class Due(NamedTuple):
    """One thing to come. `mark` is how its object was when this was set: it must still be so."""

    at_ns: int
    order: int
    what: str
    object_id: str
    mark: int


class Timers:
    """A queue by instant (Unix ns), equal instants in the order they were set, and the clock to it.

    While something that was due is carried out, the clock stands at its instant: a clock that jumps
    an hour gives the same history as one that ticks.
    """

    def __init__(self, clock_ns: Callable[[], int]) -> None:
        self._clock_ns = clock_ns
        self._moment_ns: int | None = None
        self._heap: list[Due] = []
        self._set = 0

    def now_ns(self) -> int:
        """Return the instant that everything happening now carries."""
        return self._clock_ns() if self._moment_ns is None else self._moment_ns

    def set(self, after_ns: int, what: str, object_id: str, *, mark: int = 0) -> None:
        """Let it happen that much later than now."""
        self._set += 1
        due = Due(self.now_ns() + after_ns, self._set, what, object_id, mark)
        heapq.heappush(self._heap, due)

    def snapshot(self) -> tuple[Due, ...]:
        """Return what is to come, to be given to `restore`."""
        return tuple(self._heap)

    def restore(self, to_come: tuple[Due, ...]) -> None:
        """Forget what is to come and let this come instead; the clock goes on as it is."""
        self._heap = list(to_come)

    def next_ns(self) -> int | None:
        """Return the instant of the next one, None when nothing is to come."""
        return self._heap[0].at_ns if self._heap else None

    def due(self) -> Iterator[Due]:
        """Yield what is due by the clock, each at its own moment."""
        try:
            while self._heap and self._heap[0].at_ns <= self._clock_ns():
                due = heapq.heappop(self._heap)
                self._moment_ns = due.at_ns
                yield due
        finally:
            self._moment_ns = None
