"""The work queue: which deployment to look at next.

The semantics are those of client-go's workqueue (`util/workqueue/queue.go`): a key that is added
twice is handed out once; a key is never with two workers at a time; a key that is added while a
worker has it comes back when that worker is done. On top of that, urgency with ageing: a key's rank
is the moment it was added plus a handicap for less urgent reasons, so a user's change overtakes a
resync, and nothing waits for ever. And fairness: of one flow (a user) only the first key is in the
race, and the one behind it enters when that has been taken. So flows take turns, however slowly the
work goes, and ten thousand changes of one user don't stand before one of another's (round robin
among flows, as Nagle proposed it for packets, RFC 970, with one cost for all).
"""

import heapq
import threading
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from itertools import count
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)

FIRST_RETRY_S: Final = 0.25
LAST_RETRY_S: Final = 60.0

LONGEST_WAIT_S: Final = 3600.0
"""After so long a waiting worker looks at the clock again."""


class Urgency(Enum):
    """Why a key is added; the value is its handicap in seconds against a user's change."""

    USER = 0.0
    DRIFT = 1.0
    RESYNC = 10.0


class QueueShutDown(Exception):
    """The queue was shut down and will hand out nothing more. Leave the worker's loop."""


@dataclass(frozen=True, slots=True)
class QueueState:
    """How the queue stands: keys that wait, keys in work, keys to come, age of the oldest wait."""

    waiting: int
    working: int
    delayed: int
    oldest_s: float


def together(states: Iterable[QueueState]) -> QueueState:
    """Return how several queues stand as if they were one."""
    each = tuple(states)
    return QueueState(
        waiting=sum(state.waiting for state in each),
        working=sum(state.working for state in each),
        delayed=sum(state.delayed for state in each),
        oldest_s=max((state.oldest_s for state in each), default=0.0),
    )


def backoff_s(
    failures: int,
    *,
    random: Callable[[], float],
    first_s: float = FIRST_RETRY_S,
    last_s: float = LAST_RETRY_S,
) -> float:
    """Return how long to wait after `failures` (1 or more) in a row: doubling, capped, jittered.

    Between half and all of min(last_s, first_s x 2^(failures-1)).
    """
    whole_s = min(last_s, first_s * 2.0 ** min(failures - 1, 16))
    return whole_s * (0.5 + 0.5 * random())


@dataclass(slots=True)
class _Line(Generic[K]):
    """The keys of one flow by rank; `turn` is the number of its one entry that is in the race."""

    keys: list[tuple[float, int, K]] = field(default_factory=list)
    turn: int = 0


class WorkQueue(Generic[K]):
    """Keys to look at, each handed to one worker at a time. Safe to use from any thread.

    `clock` is monotonic seconds, `random` returns 0 <= x < 1.
    """

    def __init__(self, *, clock: Callable[[], float], random: Callable[[], float]) -> None:
        self._clock = clock
        self._random = random
        self._changed = threading.Condition()
        self._rank: dict[K, float] = {}
        self._added_at: dict[K, float] = {}
        self._working: set[K] = set()
        self._ready: list[tuple[float, int, float, K, str]] = []
        self._lines: dict[str, _Line[K]] = {}
        self._due_at: dict[K, tuple[float, Urgency]] = {}
        self._delayed: list[tuple[float, int, K]] = []
        self._failures: dict[K, int] = {}
        self._tie = count()
        self._shut_down = False

    def add(self, key: K, urgency: Urgency = Urgency.USER, *, flow: str = "") -> None:
        """Ask for a look at `key`; a more urgent reason than the waiting one moves it forward.

        Flows take turns; "" is none: such a key waits for nobody but those of its rank.
        """
        with self._changed:
            self._add(key, urgency, flow)
            self._changed.notify()

    def add_after(self, key: K, delay_s: float, urgency: Urgency = Urgency.DRIFT) -> None:
        """Ask for a look at `key` in `delay_s` seconds; of several, the earliest counts."""
        with self._changed:
            due_at = self._clock() + delay_s
            earlier = self._due_at.get(key)
            if earlier is None or due_at < earlier[0]:
                self._due_at[key] = (due_at, urgency)
                heapq.heappush(self._delayed, (due_at, next(self._tie), key))
                self._changed.notify()

    def retry(self, key: K) -> float:
        """Ask for a look at `key` after its back-off; return the delay in seconds."""
        with self._changed:
            self._failures[key] = self._failures.get(key, 0) + 1
            delay_s = backoff_s(self._failures[key], random=self._random)
        self.add_after(key, delay_s)
        return delay_s

    def forget(self, key: K) -> None:
        """Drop the failures of `key` after a look that went well: its next retry is quick."""
        with self._changed:
            self._failures.pop(key, None)

    def get(self, *, timeout_s: float | None = None) -> K | None:
        """Take the next key, waiting up to `timeout_s` (None: for ever); None when time is up.

        The look that begins now stands for the delayed one that was to come; what is asked for
        while it lasts is not lost. The caller must call `done` with it. Raises: QueueShutDown.
        """
        until = None if timeout_s is None else self._clock() + timeout_s
        with self._changed:
            while True:
                if self._shut_down:
                    raise QueueShutDown
                self._admit_due()
                key = self._take()
                if key is not None:
                    return key
                if until is not None and until <= self._clock():
                    return None
                self._changed.wait(self._wait_s(until))

    def done(self, key: K) -> None:
        """Give `key` back; if it was added meanwhile it is handed out again."""
        with self._changed:
            self._working.discard(key)
            if key in self._rank:
                self._enter(self._rank[key], key)
                self._changed.notify()

    def shut_down(self) -> None:
        """Wake every waiting worker with `QueueShutDown`, now and from now on."""
        with self._changed:
            self._shut_down = True
            self._changed.notify_all()

    def state(self) -> QueueState:
        """Tell how many keys wait and for how long the oldest has been due."""
        with self._changed:
            self._admit_due()
            now = self._clock()
            oldest_s = max((now - at for at in self._added_at.values()), default=0.0)
            return QueueState(len(self._rank), len(self._working), len(self._due_at), oldest_s)

    def _add(self, key: K, urgency: Urgency, flow: str = "") -> None:
        now = self._clock()
        rank = now + urgency.value
        if rank >= self._rank.get(key, float("inf")):
            return
        self._rank[key] = rank
        self._added_at.setdefault(key, now)
        if not flow:
            self._enter(rank, key)
            return
        line = self._lines.setdefault(flow, _Line())
        number = next(self._tie)
        heapq.heappush(line.keys, (rank, number, key))
        if line.keys[0][1] == number:
            line.turn = self._enter(rank, key, flow)

    def _enter(self, rank: float, key: K, flow: str = "", *, not_before: float = 0.0) -> int:
        number = next(self._tie)
        heapq.heappush(self._ready, (max(rank, not_before), number, rank, key, flow))
        return number

    def _admit_due(self) -> None:
        while self._delayed and self._delayed[0][0] <= self._clock():
            due_at, _, key = heapq.heappop(self._delayed)
            due = self._due_at.get(key)
            if due is not None and due[0] == due_at:  # else an earlier one took its place
                del self._due_at[key]
                self._add(key, due[1])

    def _take(self) -> K | None:
        while self._ready:
            _, number, rank, key, flow = heapq.heappop(self._ready)
            if flow and not self._has_turn(flow, number):
                continue  # a more urgent key of that flow had it
            # Else it was moved forward, or a worker has it and `done` will bring it back.
            waits = self._waits(key, rank)
            if waits:
                del self._rank[key], self._added_at[key]
                self._due_at.pop(key, None)
                self._working.add(key)
            if flow:
                self._give_turn(flow)
            if waits:
                return key
        return None

    def _has_turn(self, flow: str, number: int) -> bool:
        line = self._lines.get(flow)
        return line is not None and line.turn == number

    def _give_turn(self, flow: str) -> None:
        line = self._lines[flow]
        while line.keys and not self._waits(line.keys[0][2], line.keys[0][0]):
            heapq.heappop(line.keys)
        if not line.keys:
            del self._lines[flow]
            return
        rank, _, key = line.keys[0]
        line.turn = self._enter(rank, key, flow, not_before=self._clock())

    def _waits(self, key: K, rank: float) -> bool:
        return self._rank.get(key) == rank and key not in self._working

    def _wait_s(self, until: float | None) -> float | None:
        next_due_at = self._delayed[0][0] if self._delayed else None
        ends = [end for end in (until, next_due_at) if end is not None]
        # What is due in centuries (a lease can be) is more than a lock can wait for.
        return min(LONGEST_WAIT_S, max(0.0, min(ends) - self._clock())) if ends else None
