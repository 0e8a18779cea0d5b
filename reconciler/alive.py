"""Whether the spec store answers, asked so that a store that hangs holds nobody up."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from specs.faults import StoreUnavailable

ANSWER_S: Final = 2.0
"""How long an answer may take before the store counts as out of reach."""

STUCK_S: Final = 60.0
"""A question that waits for longer hangs; only new connections, and so a restart, may help."""


@dataclass(slots=True)
class _Question:
    asked_at_s: float
    answered: threading.Event = field(default_factory=threading.Event)
    trouble: str = ""


class StoreProbe:
    """Puts one question at a time to the store, each on a thread of its own. Thread-safe.

    `ask` is any read, `clock` monotonic seconds.
    """

    def __init__(self, ask: Callable[[], object], *, clock: Callable[[], float]) -> None:
        self._ask = ask
        self._clock = clock
        self._lock = threading.Lock()
        self._pending: _Question | None = None

    def trouble(self, *, within_s: float = ANSWER_S) -> str:
        """Ask, or go on waiting for the last question; return what is wrong ("": nothing)."""
        question = self._question()
        if not question.answered.wait(within_s):
            return f"the spec store has not answered for {self._waited_s(question):.0f} s"
        return question.trouble

    def stuck(self) -> str:
        """Return what is wrong where a question hangs, "" where none does. Asks nothing itself."""
        with self._lock:
            question = self._pending
        if question is None or question.answered.is_set() or self._waited_s(question) < STUCK_S:
            return ""
        return f"a read of the spec store has hung for {self._waited_s(question):.0f} s"

    def _question(self) -> _Question:
        with self._lock:
            if self._pending is not None and not self._pending.answered.is_set():
                return self._pending
            self._pending = _Question(self._clock())
            question = self._pending
        threading.Thread(
            target=self._put, args=(question,), name="store-probe", daemon=True
        ).start()
        return question

    def _put(self, question: _Question) -> None:
        try:
            self._ask()
        except StoreUnavailable as error:
            question.trouble = str(error)
        except Exception as error:  # the thread's top: whoever waits is told
            question.trouble = f"the spec store can't be read: {type(error).__name__}"
        finally:
            question.answered.set()

    def _waited_s(self, question: _Question) -> float:
        return self._clock() - question.asked_at_s
