"""What may go wrong at the ports, drawn from the seed and counted by kind."""

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from random import Random
from typing import Final

from reconciler.cluster.refusals import error_of
from reconciler.errors import ClusterError, ClusterUnavailable


class Fault(StrEnum):
    """A kind of fault; the value is its name in the table."""

    REFUSED = "call refused (connection)"
    SERVER_ERROR = "call answered 500"
    TOO_MANY = "call answered 429"
    TIMED_OUT = "call timed out before its effect"
    ANSWER_LOST = "answer lost after the effect"
    STALE = "stale read"
    DROPPED = "stream message dropped"
    DUPLICATED = "stream message duplicated"
    REORDERED = "stream messages reordered"
    CUT = "stream cut"
    SILENT = "stream silent"
    STORE_FAILED = "store failed before the write"
    STORE_ANSWER_LOST = "store failed after the commit"
    CRASHED = "process killed between two calls"
    SUSPENDED = "look suspended between two calls"


BEFORE_THE_EFFECT: Final = (Fault.REFUSED, Fault.SERVER_ERROR, Fault.TOO_MANY, Fault.TIMED_OUT)

SHARE: Final[Mapping[Fault, float]] = {
    **dict.fromkeys(BEFORE_THE_EFFECT, 0.15),
    Fault.ANSWER_LOST: 1.0,
    Fault.STALE: 0.6,
    Fault.DROPPED: 0.4,
    Fault.DUPLICATED: 0.5,
    Fault.REORDERED: 0.5,
    Fault.CUT: 0.3,
    Fault.SILENT: 0.1,
    Fault.STORE_FAILED: 0.2,
    Fault.STORE_ANSWER_LOST: 0.2,
    Fault.CRASHED: 0.15,
    Fault.SUSPENDED: 3.0,
}
"""How often a kind comes, against the history's own rate, at each place where it can."""

RATES: Final = (0.0, 0.02, 0.05, 0.15)
"""How stormy a history may be: one of these, drawn by the seed."""


class Crash(BaseException):
    """The process is killed here. Nothing of the product may catch it."""


class NeverRests(Exception):
    """The processes go on and on at one instant: nothing more is to be learnt of this history."""


class Faults:
    """Draws faults while `active`, and counts them."""

    def __init__(self, random: Random, *, rate: float) -> None:
        self.active = True
        self.counts: Counter[Fault] = Counter()
        self._random = random
        self._rate = rate

    def draws(self, fault: Fault) -> bool:
        """Tell whether `fault` happens here and now."""
        if not self.active or self._random.random() >= self._rate * SHARE[fault]:
            return False
        self.counts[fault] += 1
        return True

    def dies_after(self, call: str) -> bool:
        """Tell whether the process is killed after the effect of this call."""
        return self.draws(Fault.CRASHED)


def refusal_of(fault: Fault) -> ClusterError:
    """Return what the adapter raises for a call that had no effect."""
    match fault:
        case Fault.SERVER_ERROR:
            return error_of(500, "rpc error: No cluster leader")
        case Fault.TOO_MANY:
            return error_of(429, "Too Many Requests")
        case Fault.TIMED_OUT:
            return ClusterUnavailable("no answer within 10 s")
        case _:
            return ClusterUnavailable("connection refused")
