"""What the reconciler's looks tell: judged one by one, written many at once."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from sqlalchemy import Connection, bindparam, delete, text, update

from specs.model import Applied, Event
from specs.reading import LastLook, fetch_looks
from specs.records import Look, json_text
from specs.schema import applied_jobs, deployments
from specs.transaction import Subject, Write

WRITE_LOOK: Final = (
    update(deployments)
    .where(deployments.c.uid == bindparam("of_uid"))
    .values(
        {
            name: bindparam(name)
            for name in ("resource_version", "observed_at", "seen_index", "wake_at", *Look._fields)
        }
    )
)
WRITE_QUIETLY: Final = (
    update(deployments)
    .where(deployments.c.uid == bindparam("of_uid"))
    .values(seen_index=bindparam("seen_index"), wake_at=bindparam("wake_at"))
)
# One statement for both databases; SQLAlchemy has it only per dialect.
WRITE_APPLIED_JOB: Final = text(
    "INSERT INTO applied_jobs (uid, job) VALUES (:uid, :job)"
    " ON CONFLICT (uid) DO UPDATE SET job = excluded.job"
)
FORGET_APPLIED_JOB: Final = delete(applied_jobs).where(applied_jobs.c.uid == bindparam("of_uid"))


@dataclass(frozen=True, slots=True)
class Told:
    """What one look tells of a record, as the store keeps it; instants are text."""

    uid: str
    look: Look
    observed_at: str | None
    seen_index: int
    wake_at: str | None
    applied: Applied | None
    events: Sequence[Event]


class Due(Enum):
    """What is to be written of a look; the record is gone, or it tells nothing new."""

    GONE = "gone"
    NOTHING = "nothing"
    QUIETLY = "the index and the time only, under the version that is there"
    EVENTS = "the events only: a look at a newer generation was written meanwhile"
    LOOK = "all of it"


def due(told: Told, stored: LastLook | None) -> Due:
    """Return what is to be written of `told` over what is `stored` (pure).

    A later `observed_at` alone is nothing new, but after a `touch`.
    """
    if stored is None:
        return Due.GONE
    last = stored.look
    if last.observed_generation > told.look.observed_generation:
        return Due.EVENTS if told.events else Due.NOTHING
    touched = stored.observed_at is None and told.observed_at is not None
    if last != told.look or told.events or touched:
        return Due.LOOK
    moved = (told.seen_index, told.wake_at) != (stored.seen_index, stored.wake_at)
    return Due.QUIETLY if moved else Due.NOTHING


def write_looks(write: Write, looks: Sequence[Told]) -> list[bool]:
    """Write what each of `looks` tells; tell of each whether its record is there."""
    there: list[bool] = []
    for chunk in _by_different_records(looks):
        stored = fetch_looks(write.connection, [told.uid for told in chunk])
        judged = [(told, due(told, stored.get(told.uid))) for told in chunk]
        _write_whole([told for told, what in judged if what is Due.LOOK], write, stored)
        _tell([told for told, what in judged if what in (Due.LOOK, Due.EVENTS)], write, stored)
        if quiet := [told for told, what in judged if what is Due.QUIETLY]:
            write_quietly(write.connection, quiet)
            write.changed = True
        there += [what is not Due.GONE for _, what in judged]
    return there


def write_quietly(connection: Connection, looks: Sequence[Told]) -> None:
    """Keep the index and the time of `looks`, which tell nothing else that is new."""
    connection.execute(WRITE_QUIETLY, [_quietly(told) for told in looks])


def _by_different_records(looks: Sequence[Told]) -> Iterable[Sequence[Told]]:
    """Cut `looks` so that no part has two of one record: the later is judged over the earlier."""
    part: dict[str, Told] = {}
    for told in looks:
        if told.uid in part:
            yield list(part.values())
            part = {}
        part[told.uid] = told
    yield list(part.values())


def _write_whole(looks: Sequence[Told], write: Write, stored: Mapping[str, LastLook]) -> None:
    if not looks:
        return
    versions = write.take_numbers(len(looks))
    rows = [
        {
            "resource_version": version,
            "observed_at": told.observed_at,
            **_quietly(told),
            **told.look._asdict(),
        }
        for told, version in zip(looks, versions, strict=True)
    ]
    write.connection.execute(WRITE_LOOK, rows)
    write.changed = True
    sent = [t for t in looks if t.look.applied_digest != stored[t.uid].look.applied_digest]
    jobs = [{"uid": t.uid, "job": json_text(t.applied.job)} for t in sent if t.applied]
    if jobs:
        write.connection.execute(WRITE_APPLIED_JOB, jobs)
    gone = [{"of_uid": told.uid} for told in sent if told.applied is None]
    if gone:
        write.connection.execute(FORGET_APPLIED_JOB, gone)


def _tell(looks: Sequence[Told], write: Write, stored: Mapping[str, LastLook]) -> None:
    write.tell_all(
        [
            (Subject(told.uid, *stored[told.uid].whose, told.look.observed_generation), event)
            for told in looks
            for event in told.events
        ]
    )


def _quietly(told: Told) -> dict[str, object]:
    return {"of_uid": told.uid, "seen_index": told.seen_index, "wake_at": told.wake_at}
