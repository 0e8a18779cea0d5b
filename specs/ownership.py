"""What sources own in the store: what of it goes, what waits for a yes, and the yes.

Who decides over a record, and how that changes hands, is said by `specs.provenance`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from pydantic_core import from_json
from sqlalchemy import Connection, bindparam, case, delete, func, insert, select

from specs.faults import AlreadyExists
from specs.model import Deployment, Owner
from specs.provenance import declared_in, released, taken_by_people
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
from specs.reading import RECORDS, record_of, trashed_record
from specs.records import instant_text, source_id
from specs.revisions import marked_for_deletion, refuse_absent
from specs.schema import deployments, prunes, sources, trash
from specs.timeline import (
    Author,
    deletion_confirmed,
    deletion_held,
    deletion_requested,
    source_invalid,
    source_valid,
    taken_over,
)
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
OWNED_WITH_FAULT: Final = OWNED.add_columns(deployments.c.source_fault)
OWNED_WITH_SOURCE: Final = OWNED.add_columns(deployments.c.source)
HELD: Final = OWNED.with_only_columns(deployments.c.uid).where(deployments.c.deletion_held != "")

HELD_RECORDS: Final = RECORDS.where(
    deployments.c.source_id == bindparam("source_id"), LIVING, deployments.c.deletion_held != ""
).order_by(deployments.c.owner_name, deployments.c.name)

# Made once: building it takes longer than asking it, and every new wish asks.
TRASHED_AT: Final = (
    select(trash.c.record)
    .where(
        trash.c.owner_iss == bindparam("iss"),
        trash.c.owner_sub == bindparam("sub"),
        trash.c.vo == bindparam("of_vo"),
        trash.c.name == bindparam("called"),
    )
    .order_by(trash.c.version.desc())
    .limit(1)
)


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


def take_for_people(write: Write, record: Deployment, author: Author) -> Deployment:
    """Write `record` as people's, and return it so; itself where it is theirs already."""
    if not source_id(record.source):
        return record
    taken = replace(
        record,
        source=taken_by_people(record, author.source),
        source_fault="",
        deletion_held="",
        resource_version=write.version,
    )
    write.save(taken, wished=True)
    write.tell(Subject.of(taken), taken_over(author, before=_decider(record), now=_decider(taken)))
    return taken


def take_for_source(
    write: Write, record: Deployment, source: Mapping[str, str], *, as_wished: bool
) -> Deployment:
    """Return `record` as it belongs to `source`; people's only where its file says the same.

    A source that the site no longer has gives way like people do.

    Raises:
        AlreadyExists: it belongs to another source, or to people.
    """
    mine, other = source_id(source), source_id(record.source)
    if other == mine:
        return record
    free = released(source, record) or (bool(other) and not _is_known(write.connection, other))
    by = _decider(record)
    if free and as_wished:
        author = Author(mine, source)
        taken = replace(record, source=dict(source), resource_version=write.version)
        write.tell(Subject.of(record), taken_over(author, before=by, now=_decider(taken)))
        return taken
    how = "say in the file what it says there, and the file takes it over" if free else ""
    how = how or "change the file, or delete it there first"
    raise AlreadyExists(f"{record.name!r} in {record.vo} is declared by {by}: {how}")


def refuse_taken_away(write: Write, place: Place, source: Mapping[str, str]) -> None:
    """Do nothing where people did not take a record over from just this document and delete it.

    Raises:
        AlreadyExists: they did.
    """
    at = {"iss": place.owner.iss, "sub": place.owner.sub, "of_vo": place.vo, "called": place.name}
    row = write.connection.execute(TRASHED_AT, at).one_or_none()
    if row is None:
        return
    record = trashed_record(row.record)
    if "takenFrom" in record.source and not released(source, record):
        raise AlreadyExists(
            f"{place.name!r} in {place.vo} was taken over from this file and deleted: remove it"
            " from the file, or change what the file says of it"
        )


def mark_faults(write: Write, source: str, faults: Mapping[Place, str]) -> None:
    """Write what is wrong with the file of each of the source's records, "" where nothing is.

    The loop looks at those that changed, so that their status can say so.
    """
    for uid, fault in faults_to_mark(write.connection, source, faults).items():
        write.take_number()
        record = write.record(uid) or refuse_absent(uid)
        marked = replace(record, source_fault=fault, resource_version=write.version)
        write.save(marked, wished=True)
        author = Author(source, record.source)
        write.tell(
            Subject.of(marked), source_invalid(fault, author) if fault else source_valid(author)
        )


def faults_to_mark(
    connection: Connection, source: str, faults: Mapping[Place, str]
) -> Mapping[str, str]:
    """Return by uid what is to be said of a file and is not said yet."""
    to_mark = {}
    for row in connection.execute(OWNED_WITH_FAULT, {"source_id": source}):
        place = Place(Owner(row.owner_iss, row.owner_sub), row.vo, row.name)
        if faults.get(place, "") != row.source_fault:
            to_mark[row.uid] = faults.get(place, "")
    return to_mark


def _decider(record: Deployment) -> str:
    source, where = source_id(record.source), declared_in(record.source)
    if not source:
        return f"people ({record.source.get('type', 'api')})"
    return f"{where} of {source}" if where else source


def _is_known(connection: Connection, source: str) -> bool:
    query = select(sources.c.id).where(sources.c.id == source)
    return connection.execute(query).one_or_none() is not None


def fetch_places(connection: Connection, source: str) -> dict[Place, Mapping[str, str]]:
    """Return where the source's records stand, and what each keeps of where it came from."""
    return {
        Place(Owner(row.owner_iss, row.owner_sub), row.vo, row.name): from_json(row.source)
        for row in connection.execute(OWNED_WITH_SOURCE, {"source_id": source})
    }


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
        Owned(
            row.uid, Place(Owner(row.owner_iss, row.owner_sub), row.vo, row.name), row.deletion_held
        )
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
        deleted=[_delete(write, uid, listing) for uid in pruning.delete],
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


def _delete(write: Write, uid: str, listing: Listing) -> Deployment:
    marked = _marked(write, uid)
    row = {"version": write.version, "source_id": listing.source, "at": instant_text(write.now())}
    write.connection.execute(insert(prunes), row)
    # Who wrote the file last is not who removed it.
    gone = {k: v for k, v in marked.source.items() if k not in {"commit", "author"}}
    commit = {"commit": listing.version} if "commit" in marked.source and listing.version else {}
    author = Author(listing.source, gone | commit)
    write.tell(Subject.of(marked), deletion_requested(author))
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
