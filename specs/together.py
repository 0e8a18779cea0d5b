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
    __slots__ = ("answers", "error", "item")

    def __init__(self, item: T) -> None:
        self.item = item
        self.answers: Sequence[R] = ()
        self.error: Exception | None = None

    @property
    def settled(self) -> bool:
        return bool(self.answers) or self.error is not None

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
        self._turn = threading.Lock()
        self._line: deque[_Wanted[T, R]] = deque()

    def write(self, item: T) -> R:
        """Write `item`, alone or with others; return its answer.

        Raises: what `write_all` raises for it.
        """
        mine = _Wanted[T, R](item)
        self._line.append(mine)
        while not mine.settled:
            with self._turn:
                if not mine.settled:
                    self._settle([self._line.popleft() for _ in range(min(MOST, len(self._line)))])
        return mine.answer()

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
