"""Writes that many threads want at once, made by whichever of them comes first.

A transaction costs far more than a row. So while one thread writes, those that come wait in line,
and the first of them writes for all that wait by then. Nobody is answered before what he wanted is
written. (Group commit: DeWitt and others, "Implementation techniques for main memory database
systems", SIGMOD 1984.)
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from specs.faults import LeaseLost, StoreUnavailable

T = TypeVar("T")
R = TypeVar("R")

MOST: Final = 64
"""Items that are written at once; more would keep other writers waiting for long."""


class _Wanted(Generic[T, R]):
    __slots__ = ("answers", "error", "item", "leads", "woken")

    def __init__(self, item: T) -> None:
        self.item = item
        self.answers: Sequence[R] = ()
        self.error: BaseException | None = None
        self.leads = False
        self.woken = threading.Lock()
        self.woken.acquire()

    def answer(self) -> R:
        if self.error is not None:
            raise self.error
        return self.answers[0]


class Together(Generic[T, R]):
    """Writes items in as few calls of `write_all` as their coming allows. Thread-safe.

    `write_all` gets items in the order in which they came, and answers each in its place.
    """

    def __init__(self, write_all: Callable[[Sequence[T]], Sequence[R]]) -> None:
        self._write_all = write_all
        self._changed = threading.Lock()
        self._writing = False
        self._line: deque[_Wanted[T, R]] = deque()

    def write(self, item: T) -> R:
        """Write `item`, alone or with others; return its answer.

        Raises: what `write_all` raises for it.
        """
        mine = _Wanted[T, R](item)
        with self._changed:
            self._line.append(mine)
            mine.leads, self._writing = not self._writing, True
        if not mine.leads:
            self._await(mine)
        if mine.leads:
            self._lead()
        return mine.answer()

    def _await(self, mine: _Wanted[T, R]) -> None:
        # Woken once: by who wrote for us, or to write for those who wait by then.
        try:
            mine.woken.acquire()
        except BaseException:
            with self._changed:
                waits = mine in self._line and not mine.leads
                if waits:
                    self._line.remove(mine)
            if not waits and mine.leads:
                self._lead()
            raise

    def _lead(self) -> None:
        with self._changed:
            wanted = [self._line.popleft() for _ in range(min(MOST, len(self._line)))]
        try:
            self._settle(wanted)
        finally:
            for one in wanted[1:]:
                one.woken.release()
            with self._changed:
                if self._line:
                    self._line[0].leads = True
                    self._line[0].woken.release()
                else:
                    self._writing = False

    def _settle(self, wanted: Sequence[_Wanted[T, R]]) -> None:
        try:
            answers = self._write_all([one.item for one in wanted])
        except Exception as error:
            if len(wanted) == 1 or _meets_all(error):
                for one in wanted:
                    one.error = error
                return
            # What can't be written must not be the fault of those beside it.
            for one in wanted:
                self._settle([one])
        except BaseException:
            for one in wanted:
                one.error = StoreUnavailable("who wrote for others was ended: try again")
            raise
        else:
            for one, answer in zip(wanted, answers, strict=True):
                one.answers = (answer,)


def _meets_all(error: Exception) -> bool:
    # A lease is that of some, the store is everybody's.
    return isinstance(error, StoreUnavailable) and not isinstance(error, LeaseLost)
