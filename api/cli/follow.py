"""Waiting for a deployment: when it is over (pure), and the long poll until then."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from api.cli.choices import Goal
from api.cli.client import Answer
from api.cli.failures import Code, CommandFailed, NoAnswer, Refused
from api.cli.texts import duration

LONG_POLL_S: Final = 30.0
PAUSE_S: Final = 1.0
"""Shortest time between two looks that brought nothing new."""


@dataclass(frozen=True, slots=True)
class Sight:
    """Where the deployment stands, for the person who waits."""

    phase: str
    message: str


@dataclass(frozen=True, slots=True)
class Ending:
    """How the waiting ended, in words that follow `deployment NAME`."""

    code: Code
    words: str
    status: Mapping[str, Any] | None = None


Look: TypeAlias = Callable[[str | None, int], Answer]
"""Reads the status, waiting up to so many seconds for one newer than the ETag."""


def sight_of(status: Mapping[str, Any]) -> Sight:
    """Return where a status says that the deployment stands."""
    if status.get("deletionTimestamp"):
        return Sight("Deleting", status["message"] if status["phase"] == "Deleting" else "")
    return Sight(status["phase"], status["message"])


def ending_of(status: Mapping[str, Any], goal: Goal, *, may_rest: bool = False) -> Ending | None:
    """Return how the waiting ends at this status, None where it goes on.

    `may_rest`: the wish itself says that nothing shall run. A change that is held ends it: it may
    be held for days, and the person who waits can decide otherwise.
    """
    if goal is Goal.DELETED:
        return None
    if status.get("deletionTimestamp"):
        return Ending(Code.ENDED_BADLY, "is being deleted", status)
    if status["observedGeneration"] < status["generation"]:
        return None
    phase, message = status["phase"], status["message"]
    if _holds(status, "Ready"):
        return Ending(Code.DONE, f"is {phase}", status)
    if may_rest and phase == "Suspended":
        return Ending(Code.DONE, "is Suspended", status)
    if phase == "Held":
        return Ending(Code.POLICY, f"is held: {message}", status)
    if phase in {"Failed", "Complete", "Suspended"} or _holds(status, "Stalled"):
        return Ending(Code.ENDED_BADLY, f"ended as {phase}: {message}", status)
    return None


def follow(
    look: Look,
    goal: Goal,
    *,
    timeout_s: float,
    tell: Callable[[Sight], None],
    uid: str | None = None,
    may_rest: bool = False,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Ending:
    """Look at a deployment until it is what `goal` says, can't become it, or the time is up.

    `uid` is the record that is meant: another one of the same name is not it. None: the first seen.
    A server that goes away meanwhile is asked again. Raises: NoAnswer, Refused on the first look.
    """
    until = clock() + timeout_s
    etag: str | None = None
    sight: Sight | None = None
    while True:
        asked_at, left = clock(), until - clock()
        wait_s = 0 if etag is None else math.ceil(min(LONG_POLL_S, max(0.0, left)))
        try:
            answer = look(etag, wait_s)
        except CommandFailed as failure:
            if (ending := _gone(failure, goal, known=uid is not None)) is not None:
                return ending
            if sight is None or not _passes(failure):
                raise
            answer = Answer(None, etag)
            tell(Sight(sight.phase, failure.message))
        if (status := answer.body) is not None:
            etag, sight, uid = answer.etag, sight_of(status), uid or status["uid"]
            if status["uid"] != uid:
                return _replaced(goal)
            tell(sight)
            if (ending := ending_of(status, goal, may_rest=may_rest)) is not None:
                return ending
        if clock() >= until:
            return Ending(Code.TIMED_OUT, _late(sight, goal, timeout_s))
        if status is None:
            sleep(max(0.0, min(PAUSE_S - (clock() - asked_at), until - clock())))


def _gone(failure: CommandFailed, goal: Goal, *, known: bool) -> Ending | None:
    # Only the server's own word counts: a proxy's 404 says nothing about the deployment.
    if failure.code is not Code.NOT_FOUND:
        return None
    if goal is Goal.DELETED:
        return Ending(Code.DONE, "is gone")
    return Ending(Code.ENDED_BADLY, "was deleted meanwhile") if known else None


def _replaced(goal: Goal) -> Ending:
    if goal is Goal.DELETED:
        return Ending(Code.DONE, "is gone; another one has its name now")
    return Ending(Code.ENDED_BADLY, "was deleted meanwhile; another one has its name now")


def _passes(failure: CommandFailed) -> bool:
    return isinstance(failure, NoAnswer) or (isinstance(failure, Refused) and failure.passing)


def _late(sight: Sight | None, goal: Goal, timeout_s: float) -> str:
    words = f"is not {goal} after {duration(timeout_s)}"
    return f"{words}: {sight.phase}: {sight.message}".rstrip(": ") if sight else words


def _holds(status: Mapping[str, Any], kind: str) -> bool:
    return any(c["type"] == kind and c["status"] == "True" for c in status["conditions"])
