"""What sources own in the store: what of it goes, what waits for a yes, and the yes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, bindparam, case, delete, func, insert, select

from specs.faults import AlreadyExists
from specs.model import Deployment, Owner
from specs.pruning import (
    WINDOW,
    DeletionBudget,
    Listing,
    Load,
    Owned,
    Place,
    Pruning,
    judge_pruning,
)
from specs.reading import RECORDS, record_of
from specs.records import instant_text, source_id
from specs.revisions import marked_for_deletion, refuse_absent
from specs.schema import deployments, prunes
from specs.timeline import Author, deletion_confirmed, deletion_held, deletion_requested
from specs.transaction import Subject, Write

LIVING: Final = deployments.c.deletion_requested_at.is_(None)
OWNED: Final = select(
    deployments.c.uid,
    deployments.c.owner_iss,
    deployments.c.owner_sub,
    deployments.c.vo,
    deployments.c.name,
    deployments.c.deletion_held,
).where(deployments.c.source_id == bindparam("source_id"), LIVING)
COUNT_LIVING: Final = select(func.count()).select_from(deployments).where(LIVING)
COUNT_PRUNED: Final = select(
    func.count(), func.sum(case((prunes.c.source_id == bindparam("source_id"), 1), else_=0))
).where(prunes.c.at >= bindparam("since"))
SOURCES: Final = (
    select(
        deployments.c.source_id,
        func.count(),
        func.sum(case((deployments.c.deletion_held != "", 1), else_=0)),
    )
    .where(deployments.c.source_id != "", LIVING)
    .group_by(deployments.c.source_id)
    .order_by(deployments.c.source_id)
)
HELD: Final = OWNED.with_only_columns(deployments.c.uid).where(deployments.c.deletion_held != "")

HELD_RECORDS: Final = RECORDS.where(
    deployments.c.source_id == bindparam("source_id"), LIVING, deployments.c.deletion_held != ""
).order_by(deployments.c.owner_name, deployments.c.name)


@dataclass(frozen=True, slots=True)
class SourceState:
    """A source that owns deployments: how many, and how many deletions of it wait for a yes."""

    source: str
    deployments: int
    held: int


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a read of a source let go, and what it would let go if a person said yes (newly so)."""

    deleted: Sequence[Deployment] = ()
    held: Sequence[Deployment] = ()


def refuse_foreign(record: Deployment, source: str) -> None:
    """Do nothing where `record` belongs to `source`.

    Raises:
        AlreadyExists: it belongs to another source, or to people.
    """
    other = source_id(record.source)
    if other != source:
        by = other or f"people ({record.source.get('type', 'api')})"
        raise AlreadyExists(
            f"{record.name!r} in {record.vo} is managed by {by}: change it there, or delete it "
            "there first"
        )


def fetch_sources(connection: Connection) -> list[SourceState]:
    """Return every source that owns deployments, by name."""
    return [SourceState(*row) for row in connection.execute(SOURCES)]


def fetch_held(connection: Connection, source: str) -> list[Deployment]:
    """Return the source's records whose deletion waits for a yes, by owner and name."""
    return [record_of(row) for row in connection.execute(HELD_RECORDS, {"source_id": source})]


def judged(
    connection: Connection, listing: Listing, budget: DeletionBudget, *, now: datetime
) -> Pruning:
    """Return what is to be done after a read of a source."""
    owned = [
        Owned(row.uid, Place(Owner(row.owner_iss, row.owner_sub), row.vo, row.name), row[-1])
        for row in connection.execute(OWNED, {"source_id": listing.source})
    ]
    given = {"source_id": listing.source, "since": instant_text(now - WINDOW)}
    pruned_by_all, pruned = connection.execute(COUNT_PRUNED, given).one()
    overall = Load(connection.execute(COUNT_LIVING).scalar_one(), pruned_by_all)
    return judge_pruning(listing, owned, budget, pruned=pruned or 0, overall=overall)


def prune(write: Write, listing: Listing, budget: DeletionBudget) -> Pruned:
    """Judge and do in one transaction: what two passes at once do stays within one budget."""
    now = write.now()
    write.connection.execute(delete(prunes).where(prunes.c.at < instant_text(now - WINDOW)))
    pruning = judged(write.connection, listing, budget, now=now)
    for uid in pruning.release:
        _set_held(write, uid, "")
    return Pruned(
        deleted=[_delete(write, uid, listing.source) for uid in pruning.delete],
        held=[_hold(write, uid, why, listing.source) for uid, why in pruning.hold.items()],
    )


def confirm_deletions(write: Write, source: str, *, actor: str) -> int:
    """Delete all that waits for a yes; return how many."""
    uids = write.connection.execute(HELD, {"source_id": source}).scalars().all()
    for uid in uids:
        author = Author(actor, {})
        marked = _marked(write, uid)
        write.tell(Subject.of(marked), deletion_confirmed(author))
    return len(uids)


def _delete(write: Write, uid: str, source: str) -> Deployment:
    marked = _marked(write, uid)
    row = {"version": write.version, "source_id": source, "at": instant_text(write.now())}
    write.connection.execute(insert(prunes), row)
    write.tell(Subject.of(marked), deletion_requested(Author(source, marked.source)))
    return marked


def _hold(write: Write, uid: str, why: str, source: str) -> Deployment:
    held = _set_held(write, uid, why)
    write.tell(Subject.of(held), deletion_held(why, Author(source, held.source)))
    return held


def _marked(write: Write, uid: str) -> Deployment:
    write.take_number()
    record = write.record(uid) or refuse_absent(uid)
    marked = marked_for_deletion(record, version=write.version, now=write.now())
    write.save(marked, wished=True)
    return marked


def _set_held(write: Write, uid: str, why: str) -> Deployment:
    """Write why a deletion waits; the loop looks at it, so that the status can say so."""
    write.take_number()
    record = write.record(uid) or refuse_absent(uid)
    held = replace(record, deletion_held=why, resource_version=write.version)
    write.save(held, wished=True)
    return held
