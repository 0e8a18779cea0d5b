"""Writing for all who wait: everybody is answered for his own, and nobody before it is written."""

import threading
from collections.abc import Sequence

import pytest

from specs.faults import LeaseLost, StoreFull
from specs.together import MOST, Together


class Writer:
    """Doubles numbers; its first call waits until it is let go."""

    def __init__(
        self, *, broken: int | None = None, full: bool = False, lost: int | None = None
    ) -> None:
        self.calls: list[list[int]] = []
        self.begun, self.may_end = threading.Event(), threading.Event()
        self._broken, self._full, self._lost = broken, full, lost

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.calls.append(list(items))
        if len(self.calls) == 1:
            self.begun.set()
            assert self.may_end.wait(10)
        elif self._full:
            raise StoreFull("no room")
        elif self._lost in items:
            raise LeaseLost("another's")
        elif self._broken in items:
            raise ValueError(self._broken)
        return [2 * item for item in items]


def answers_of(writer: Writer, count: int) -> dict[int, object]:
    """Write 0 alone; let `count` numbers gather in line meanwhile; return what each was told."""
    together: Together[int, int] = Together(writer)
    answers: dict[int, object] = {}

    def write(item: int) -> None:
        try:
            answers[item] = together.write(item)
        except Exception as error:
            answers[item] = error

    threads = [threading.Thread(target=write, args=(item,)) for item in range(count + 1)]
    threads[0].start()
    assert writer.begun.wait(10)
    for number, thread in enumerate(threads[1:], start=1):
        thread.start()
        while len(together._line) < number:  # the only way to know that it waits
            pass
    assert answers == {}
    writer.may_end.set()
    for thread in threads:
        thread.join(10)
    return answers


def test_who_waits_while_another_writes_is_written_for_by_one() -> None:
    writer = Writer()
    assert answers_of(writer, 5) == {item: 2 * item for item in range(6)}
    assert writer.calls == [[0], [1, 2, 3, 4, 5]]


def test_what_cannot_be_written_is_nobody_elses_fault() -> None:
    answers = answers_of(Writer(broken=3), 5)
    assert isinstance(answers.pop(3), ValueError)
    assert answers == {item: 2 * item for item in (0, 1, 2, 4, 5)}


def test_a_store_that_is_full_is_asked_once_for_all() -> None:
    writer = Writer(full=True)
    answers = answers_of(writer, 3)
    assert writer.calls == [[0], [1, 2, 3]]
    assert answers[0] == 0
    assert all(isinstance(answers[item], StoreFull) for item in (1, 2, 3))


def test_who_lost_a_lease_takes_nobody_elses_along() -> None:
    answers = answers_of(Writer(lost=3), 5)
    assert isinstance(answers.pop(3), LeaseLost)
    assert answers == {item: 2 * item for item in (0, 1, 2, 4, 5)}


def test_a_long_line_is_written_in_parts() -> None:
    writer = Writer()
    answers_of(writer, MOST + 1)
    assert [len(call) for call in writer.calls] == [1, MOST, 1]


def test_who_is_ended_in_the_middle_leaves_nobody_waiting() -> None:
    calls = []

    def write_all(items: Sequence[int]) -> list[int]:
        calls.append(list(items))
        if len(calls) == 1:
            raise KeyboardInterrupt
        return list(items)

    together: Together[int, int] = Together(write_all)
    with pytest.raises(KeyboardInterrupt):
        together.write(1)
    assert together.write(2) == 2
    assert calls == [[1], [2]]
