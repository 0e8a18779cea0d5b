"""Which moments of a deployment somebody is told of outside this program, and who asked (pure)."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from specs.model import Event, Phase

NOTIFY: Final = "ai4papi/notify"
"""The annotation by which an owner asks to be told of a deployment."""

BY_MAIL: Final = "mail"
"""The value of `NOTIFY` that asks for mail; there is no other."""


class Moment(StrEnum):
    """What is worth a message. All but the first are phases and reasons of the API as well.

    `Started` is a deployment that runs after it waited in a queue.
    """

    STARTED = "Started"
    FAILED = "Failed"
    HELD = "Held"
    EXPIRES_SOON = "ExpiresSoon"
    DELETION_HELD = "DeletionHeld"


EVERY_MOMENT: Final = frozenset(Moment)

OWNERS_MOMENTS: Final = EVERY_MOMENT - {Moment.DELETION_HELD}
"""What an owner is told: whether a source may delete is the operators' to say."""

RAN: Final = frozenset({Phase.RUNNING, Phase.COMPLETE})

WAITING_ENDS: Final = frozenset({Phase.QUEUED, Phase.SUSPENDED, *RAN})
"""Phases of which the latest says whether a deployment that runs now had waited."""

_OF_REASON: Final = {moment.value: moment for moment in (Moment.EXPIRES_SOON, Moment.DELETION_HELD)}
_OF_PHASE: Final = {
    Phase.FAILED: Moment.FAILED,
    Phase.HELD: Moment.HELD,
    **dict.fromkeys(RAN, Moment.STARTED),
}


@dataclass(frozen=True, slots=True)
class Subscription:
    """What is sent to one `destination`, a name that stays the same over restarts.

    `vos` None: of every VO. With `of_owners` only what its owner asked for, and all of one owner in
    one line; otherwise each deployment has a line of its own. Within a line the order is kept.
    Nothing is sent before `delay` is over, so that a burst can be told at once.
    """

    destination: str
    moments: Collection[Moment] = EVERY_MOMENT
    vos: frozenset[str] | None = None
    of_owners: bool = False
    delay: timedelta = timedelta()

    def wants(self, moment: Moment, vo: str) -> bool:
        """Whether a moment of a deployment in `vo` is sent there, if its owner agrees."""
        return moment in self.moments and (self.vos is None or vo in self.vos)


@dataclass(frozen=True, slots=True)
class Notice:
    """One moment as it is told. `phase` is where the deployment stood then."""

    moment: Moment
    uid: str
    name: str
    title: str
    vo: str
    generation: int
    phase: str
    reason: str
    message: str
    at: datetime


def moment_of(event: Event) -> Moment | None:
    """Return which moment an event of the timeline is, None for most.

    `Started` only where the deployment had waited, which the event does not say.
    """
    if event.reason in _OF_REASON:
        return _OF_REASON[event.reason]
    return _OF_PHASE.get(Phase(event.to_phase)) if event.to_phase else None


def annotation_fault(key: object, value: object) -> str:
    """Say why a text asks for messages that nobody sends, or ""."""
    unknown = key == NOTIFY and isinstance(value, str) and value != BY_MAIL
    return f"only {BY_MAIL!r} is known" if unknown else ""
