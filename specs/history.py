"""The past of a deployment: revisions, roll-backs to them, and the timeline of events."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from pydantic_core import from_json
from sqlalchemy import Connection, bindparam, select

from specs.admission import admit, let_in
from specs.faults import InvalidSpec, NotFound, QuotaExceeded
from specs.model import Deployment, DeploymentSpec, Event, Reach, Revision, TimelineEntry
from specs.quota import Quotas
from specs.reading import within
from specs.revisions import (
    lost_secrets,
    pinned,
    refuse_absent,
    refuse_stale,
    refuse_while_being_deleted,
    runs_the_same,
)
from specs.schema import events, revisions
from specs.timeline import BY_RECONCILER, RECONCILER, Author, pin_lifted, rolled_back, told
from specs.transaction import Write

REVISIONS: Final = (
    select(
        revisions.c.generation,
        revisions.c.spec,
        revisions.c.at,
        revisions.c.actor,
        revisions.c.source,
        revisions.c.pinned_generation,
    )
    .where(revisions.c.uid == bindparam("uid"))
    .order_by(revisions.c.generation.desc())
)
ONE_REVISION: Final = REVISIONS.where(revisions.c.generation == bindparam("generation"))
ENTRIES: Final = (
    select(
        events.c.number,
        events.c.uid,
        events.c.name,
        events.c.at,
        events.c.generation,
        *(events.c[name] for name in Event.__slots__),
    )
    .where(events.c.number > bindparam("after"))
    .order_by(events.c.number)
    .limit(bindparam("at_most"))
)
ENTRIES_OF_RECORD: Final = ENTRIES.where(events.c.uid == bindparam("uid"))
NEWEST_ENTRIES: Final = (
    ENTRIES.where(events.c.number < bindparam("before"))
    .order_by(None)
    .order_by(events.c.number.desc())
)
NO_END: Final = 2**62


def fetch_revisions(connection: Connection, uid: str) -> list[Revision]:
    """Return the revisions that are kept of a record, newest first."""
    return [_revision_of(row) for row in connection.execute(REVISIONS, {"uid": uid})]


def fetch_wished_at(connection: Connection, uid: str, generation: int) -> datetime | None:
    """Return when a generation of a record was wished; None: it is not kept."""
    query = select(revisions.c.at).where(
        revisions.c.uid == uid, revisions.c.generation == generation
    )
    at = connection.execute(query).scalar_one_or_none()
    return None if at is None else datetime.fromisoformat(at)


def fetch_events(
    connection: Connection, uid: str, *, after: int, limit: int
) -> list[TimelineEntry]:
    """Return up to `limit` events of a record after that number, oldest first."""
    given = {"uid": uid, "after": after, "at_most": limit}
    return [_entry_of(row) for row in connection.execute(ENTRIES_OF_RECORD, given)]


def fetch_events_within(
    connection: Connection, reach: Reach, *, after: int, limit: int
) -> list[TimelineEntry]:
    """Return up to `limit` events of all records within reach after that number, oldest first."""
    given = {"after": after, "at_most": limit}
    query = ENTRIES.where(within(reach, events))
    return [_entry_of(row) for row in connection.execute(query, given)]


def fetch_newest_events(
    connection: Connection, reach: Reach, *, uid: str | None, before: int | None, limit: int
) -> list[TimelineEntry]:
    """Return up to `limit` events within reach before that number (None: the newest), newest first.

    `uid` None: of all records.
    """
    query = NEWEST_ENTRIES.where(within(reach, events))
    if uid is not None:
        query = query.where(events.c.uid == uid)
    given = {"after": 0, "before": NO_END if before is None else before, "at_most": limit}
    return [_entry_of(row) for row in connection.execute(query, given)]


def roll_back(
    write: Write,
    uid: str,
    generation: int,
    *,
    author: Author,
    if_version: int | None,
    quotas: Quotas,
) -> Deployment:
    """Let what ran at `generation` run in place of the wish; where it does already, do nothing.

    Raises:
        NotFound: there is no such record, or its history has no such generation.
        AlreadyExists: the record is being deleted.
        VersionConflict: the record is not at `if_version`.
        InvalidSpec: what ran needs a secret that is no longer stored.
        QuotaExceeded: the quota has no room for what ran.
    """
    record = write.record(uid) or refuse_absent(uid)
    refuse_while_being_deleted(record)
    refuse_stale(record, record.name, if_version)
    revision = _what_ran(write.connection, uid, generation)
    if revision is None:
        raise NotFound(f"{record.name!r} has no generation {generation} in its history")
    if lost := lost_secrets(revision, write.secrets(uid)):
        raise InvalidSpec(lost)
    changed = pinned(record, revision, by=author.actor, version=write.version)
    if changed is not record:
        event = rolled_back(revision.generation, author)
        if changed.pin is None and record.pin is not None:
            event = pin_lifted(record.pin.generation, author)
        changed = admit(write, changed, quotas)
        write.save_wish(changed, author, event)
        if record.over_quota:
            let_in(write, quotas, beside=record)
    return changed


def pin_last_good(
    write: Write,
    uid: str,
    *,
    failed_generation: int,
    good_generation: int,
    message: str,
    quotas: Quotas,
) -> bool:
    """Let what ran at `good_generation` run in place of the wish that failed; tell if it does so.

    Nothing is done where the wish moved on, or the good one is not kept, needs a secret that is no
    longer stored, is just what failed, or has no room in the quota any more.
    """
    record = write.record(uid)
    if record is None or record.being_deleted or record.generation != failed_generation:
        return False
    revision = _what_ran(write.connection, uid, good_generation)
    if revision is None or runs_the_same(record.target, revision.spec):
        return False
    if lost_secrets(revision, write.secrets(uid)):
        return False
    changed = pinned(record, revision, by=RECONCILER, version=write.version)
    try:
        changed = admit(write, changed, quotas)
    except QuotaExceeded:
        return False
    write.save_wish(changed, BY_RECONCILER, told(BY_RECONCILER, "RolledBack", message, "Warning"))
    return True


def _what_ran(connection: Connection, uid: str, generation: int) -> Revision | None:
    """Return the revision that ran at `generation`: its own, or the one that was pinned then."""
    revision = _fetch_revision(connection, uid, generation)
    if revision is None or revision.pinned_generation is None:
        return revision
    return _fetch_revision(connection, uid, revision.pinned_generation)


def _fetch_revision(connection: Connection, uid: str, generation: int) -> Revision | None:
    given = {"uid": uid, "generation": generation}
    row = connection.execute(ONE_REVISION, given).one_or_none()
    return None if row is None else _revision_of(row)


def _revision_of(row: Sequence[Any]) -> Revision:
    generation, spec, at, actor, source, pinned_generation = row
    return Revision(
        generation=generation,
        spec=DeploymentSpec.model_validate_json(spec),
        at=datetime.fromisoformat(at),
        actor=actor,
        source=from_json(source),
        pinned_generation=pinned_generation,
    )


def _entry_of(row: Sequence[Any]) -> TimelineEntry:
    number, uid, name, at, generation, *event = row
    return TimelineEntry(number, uid, name, datetime.fromisoformat(at), generation, Event(*event))
