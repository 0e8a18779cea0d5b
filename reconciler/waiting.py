"""Which deployments wait for room in the cluster, and when each may ask the scheduler again.

A held change is planned again when room may have appeared, not by the clock: a plan is a whole
pass of Nomad's scheduler. The more often it asked in vain, the longer the gap to its next question.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

FIRST_GAP_S: Final = 1.0
LAST_GAP_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class _Wait:
    questions: int
    asked_at_s: float

    @property
    def may_ask_at_s(self) -> float:
        return self.asked_at_s + min(LAST_GAP_S, FIRST_GAP_S * 2.0 ** (self.questions - 1))


class WaitingForRoom:
    """The held deployments by uid. Safe to use from any thread. `clock` is monotonic seconds."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._waits: dict[str, _Wait] = {}

    def hold(self, uid: str) -> None:
        """Note that the scheduler was asked for `uid` just now, in vain."""
        with self._lock:
            before = self._waits.get(uid)
            questions = min(before.questions + 1, 16) if before else 1
            self._waits[uid] = _Wait(questions, self._clock())

    def release(self, uid: str) -> None:
        """Note that `uid` waits no longer."""
        with self._lock:
            self._waits.pop(uid, None)

    def delays(self) -> dict[str, float]:
        """Return for everybody who waits how many seconds from now it may ask again."""
        with self._lock:
            now_s = self._clock()
            return {uid: max(0.0, w.may_ask_at_s - now_s) for uid, w in self._waits.items()}
