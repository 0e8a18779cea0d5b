"""The trash: deployments that are gone and can still be had back, and what is too old to keep."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from pydantic_core import from_json
from sqlalchemy import Connection, Delete, Table, delete, select, update

from specs.admission import admit
from specs.contacts import forget_contacts
from specs.faults import AlreadyExists
from specs.model import Deployment, Reach, Trashed
from specs.quota import Quotas
from specs.reading import fetch_named, trashed_record, within
from specs.records import instant_text
from specs.revisions import refuse_absent, refuse_ambiguous, undeleted, without_a_past
from specs.schema import counter, departures, events, log_tails, revisions, trash
from specs.sealing import opened
from specs.timeline import Author
from specs.timeline import undeleted as undeleted_event
from specs.transaction import Write

CHUNK: Final = 500
"""Rows that one transaction of a clean-up removes of a table, so that others get their turn."""

TRASH: Final = select(trash.c.vo, trash.c.record, trash.c.at, trash.c.secrets).order_by(
    trash.c.version.desc()
)


def fetch_trash(connection: Connection, reach: Reach) -> list[Trashed]:
    """Return what can be had back of what is within reach, newest deletion first."""
    return [trashed_of(row) for row in connection.execute(TRASH.where(within(reach, trash)))]


def fetch_deleted(connection: Connection, uids: Sequence[str]) -> frozenset[str]:
    """Return those of `uids` that are in the trash, whoever's."""
    query = select(trash.c.uid).where(trash.c.uid.in_(uids))
    return frozenset(connection.execute(query).scalars()) if uids else frozenset()


def trashed_of(row: Sequence[Any]) -> Trashed:
    """Return what one row of `TRASH` keeps."""
    _, record, at, _ = row
    return Trashed(trashed_record(record), datetime.fromisoformat(at))


def undelete(
    write: Write, reach: Reach, *, vo: str | None, name: str, author: Author, quotas: Quotas
) -> Deployment:
    """Call off the newest deletion of that name, under way or done; return the record.

    Raises:
        NotFound: there was no deletion of that name, or the trash no longer has it.
        AlreadyExists: the name is taken.
        InvalidSpec: `vo` is None and more than one VO has a deletion of that name.
        QuotaExceeded: the quota has no room for it.
    """
    living = {record.vo: record for record in fetch_named(write.connection, reach, name, vo=vo)}
    query = TRASH.where(within(reach, trash), trash.c.name == name)
    trashed = [row for row in write.connection.execute(query) if vo in (None, row.vo)]
    deleted = {record.vo for record in living.values() if record.being_deleted}
    vos = sorted(deleted.union(row.vo for row in trashed) or living)
    if len(vos) > 1:
        refuse_ambiguous(name, vos)
    if not vos:
        refuse_absent(name)
    record = living.get(vos[0])
    if record is None:
        return _take_out(write, next(iter(trashed)), author, quotas)
    if not record.being_deleted:
        raise AlreadyExists(f"{name!r} in {record.vo} is there: delete or rename it first")
    changed = undeleted(record, source=author.source, version=write.version)
    changed = admit(write, changed, quotas)
    write.save_wish(changed, author, undeleted_event(author, from_trash=False))
    return changed


def clean_up_once(write: Write, *, trash_before: datetime, events_before: datetime) -> int:
    """Remove a bounded number of the rows that are too old; return how many went.

    The past of a record goes with it from the trash. Departures are kept as long as the trash is:
    who follows the changes and was away for longer reads everything anew.
    """
    too_old = instant_text(trash_before)
    gone = (
        select(trash.c.uid, trash.c.version)
        .where(trash.c.at < too_old)
        .order_by(trash.c.version)
        .limit(CHUNK)
    )
    rows = write.connection.execute(gone).all()
    uids = [row.uid for row in rows]
    removed = 0
    for table in (trash, revisions, events, log_tails):
        if uids:
            removed += write.connection.execute(delete(table).where(table.c.uid.in_(uids))).rowcount
    removed += forget_contacts(write.connection)
    _forget(write, [row.version for row in rows])
    removed += _forget_departures(write, before=too_old)
    removed += _remove_oldest(write, events, before=instant_text(events_before))
    write.changed = write.changed or removed > 0
    return removed


def _take_out(write: Write, row: Any, author: Author, quotas: Quotas) -> Deployment:
    record = without_a_past(trashed_of(row).deployment)
    write.connection.execute(delete(trash).where(trash.c.uid == record.uid))
    back = undeleted(record, source=author.source, version=write.version)
    back = admit(write, back, quotas)
    secrets = opened(record.uid, from_json(row.secrets), write.seal)
    write.insert(back, secrets, author, undeleted_event(author, from_trash=True))
    return back


def _forget_departures(write: Write, *, before: str) -> int:
    rows = _oldest(departures, before=before).returning(departures.c.version)
    versions = write.connection.execute(rows).scalars().all()
    _forget(write, versions)
    return len(versions)


def _forget(write: Write, versions: Sequence[int]) -> None:
    """Remember that who goes on from before these departures would miss one."""
    if versions:
        newest = max(versions)
        write.connection.execute(
            update(counter).where(counter.c.forgotten < newest).values(forgotten=newest)
        )


def _remove_oldest(write: Write, table: Table, *, before: str) -> int:
    return write.connection.execute(_oldest(table, before=before)).rowcount


def _oldest(table: Table, *, before: str) -> Delete:
    """Return the removal of those of the table's oldest rows that are older than `before`."""
    # By number, not by instant: no index is needed, and a clock set back only delays a row.
    (number,) = table.primary_key.columns
    oldest = select(number).order_by(number).limit(CHUNK).subquery()
    return delete(table).where(number.in_(select(oldest)), table.c.at < before)
