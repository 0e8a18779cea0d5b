"""The queries of the spec store: records, pages of them, and the parts that are read alone.

What is read of the past stands in `specs.history`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, NamedTuple

from pydantic_core import from_json
from sqlalchemy import ColumnElement, Connection, Select, Table, bindparam, literal, select

from specs.feeds import newest_change
from specs.model import ADOPTED, Deployment, Owner, Phase, Reach, StoreIdentity
from specs.records import Head, Look, Row, deployment_of, optional_instant, selects
from specs.revisions import cursor_of
from specs.schema import applied_jobs, counter, deployments, secrets

RECORDS: Final = select(
    *(deployments.c[name] for name in Row._fields), applied_jobs.c.job
).outerjoin_from(deployments, applied_jobs)
ONE_RECORD: Final = RECORDS.where(deployments.c.uid == bindparam("uid"))
# Built once: putting a statement together costs more than running it.
NAMED: Final = RECORDS.where(
    deployments.c.owner_iss == bindparam("iss"),
    deployments.c.owner_sub == bindparam("sub"),
    deployments.c.name == bindparam("name"),
).order_by(deployments.c.vo)
NAMED_IN_VO: Final = NAMED.where(deployments.c.vo == bindparam("vo"))
MANY_RECORDS: Final = RECORDS.where(deployments.c.uid.in_(bindparam("uids", expanding=True)))
VERSIONS: Final = select(
    deployments.c.uid, deployments.c.resource_version, deployments.c.vo
).order_by(deployments.c.born.desc())
VERSIONS_OF_OWNER: Final = VERSIONS.where(
    deployments.c.owner_iss == bindparam("iss"), deployments.c.owner_sub == bindparam("sub")
)
GENERATION: Final = select(deployments.c.generation).where(deployments.c.uid == bindparam("uid"))
LOOKS: Final = select(
    deployments.c.uid,
    deployments.c.seen_index,
    deployments.c.wake_at,
    deployments.c.observed_at,
    deployments.c.owner_iss,
    deployments.c.owner_sub,
    deployments.c.vo,
    deployments.c.name,
    *(deployments.c[name] for name in Look._fields),
).where(deployments.c.uid.in_(bindparam("uids", expanding=True)))
HEADS: Final = select(
    deployments.c.uid,
    deployments.c.vo,
    deployments.c.generation,
    deployments.c.observed_generation,
    deployments.c.applied_generation,
    deployments.c.applied_index,
    deployments.c.seen_index,
    deployments.c.deletion_requested_at.is_not(None),
    deployments.c.suspended,
    deployments.c.wake_at,
    deployments.c.applied_digest.startswith(ADOPTED),
    deployments.c.owner_iss + literal(" ") + deployments.c.owner_sub,
)


@dataclass(frozen=True, slots=True)
class Page:
    """Some of an owner's records, newest first.

    `continue_` asks for the next page, None where this is the last. Every change up to
    `resource_version` is in what was read.
    """

    items: Sequence[Deployment]
    continue_: str | None
    resource_version: int


def fetch_record(connection: Connection, uid: str) -> Deployment | None:
    """Return one record, or None where it is gone."""
    row = connection.execute(ONE_RECORD, {"uid": uid}).one_or_none()
    return None if row is None else record_of(row)


def fetch_named(
    connection: Connection, reach: Reach, name: str, *, vo: str | None
) -> list[Deployment]:
    """Return the records of that name within the reach of one owner, in the order of VOs.

    `vo` None: in every VO.
    """
    if reach.owner is None:
        raise ValueError("a name is unique per owner: say whose")
    given = {"iss": reach.owner.iss, "sub": reach.owner.sub, "name": name}
    if vo is None:
        rows = connection.execute(NAMED, given)
    else:
        rows = connection.execute(NAMED_IN_VO, given | {"vo": vo})
    # An owner has a name in a VO or two: told apart here, the statement need not grow with `vos`.
    return [record_of(row) for row in rows if row.vo in reach.vos]


def fetch_records(connection: Connection, uids: Sequence[str]) -> list[Deployment]:
    """Return those of some records that are there, in no order."""
    return [record_of(row) for row in connection.execute(MANY_RECORDS, {"uids": list(uids)})]


def fetch_versions(connection: Connection, reach: Reach) -> list[tuple[str, int]]:
    """Return uid and version of every record within reach, newest first."""
    if reach.owner is None:
        query = VERSIONS.where(within(reach, deployments))
        return [(row[0], row[1]) for row in connection.execute(query)]
    given = {"iss": reach.owner.iss, "sub": reach.owner.sub}
    rows = connection.execute(VERSIONS_OF_OWNER, given)
    return [(row[0], row[1]) for row in rows if row[2] in reach.vos]


def trashed_record(record: str) -> Deployment:
    """Return the record that a row of the trash keeps as JSON."""
    return deployment_of(Row(**from_json(record)), job=None)


def fetch_page(
    connection: Connection,
    query: Select[Any],
    *,
    phase: Phase | None,
    labels: Mapping[str, str],
    limit: int,
    continue_: str | None,
) -> Page:
    """Return up to `limit` records of `query`, made from `RECORDS`, from `continue_` on.

    Raises:
        InvalidSpec: `continue_` is no place in the list.
    """
    before = cursor_of(continue_)
    if before is not None:
        query = query.where(deployments.c.born < before)
    if phase is not None:
        query = query.where(deployments.c.phase == phase.value)
    query = query.add_columns(deployments.c.born).order_by(deployments.c.born.desc())
    # Read before the rows: who watches from here on is told a change twice, but none is lost.
    version = newest_change(connection)
    # Labels are told apart here: owners have tens of records, no index would pay.
    if not labels:
        query = query.limit(limit + 1)
    with connection.execute(query) as rows:
        chosen = list(islice((row for row in rows if selects(row.labels, labels)), limit + 1))
    items = [record_of(row[:-1]) for row in chosen[:limit]]
    return Page(items, str(chosen[limit - 1].born) if len(chosen) > limit else None, version)


class LastLook(NamedTuple):
    """What the last look at a record wrote, and `whose` record it is: its owner, VO and name."""

    seen_index: int
    wake_at: str | None
    observed_at: str | None
    whose: tuple[Owner, str, str]
    look: Look


def fetch_generation(connection: Connection, uid: str) -> int | None:
    """Return the generation of a record, None where it is gone."""
    generation: int | None = connection.execute(GENERATION, {"uid": uid}).scalar_one_or_none()
    return generation


def fetch_looks(connection: Connection, uids: Sequence[str]) -> dict[str, LastLook]:
    """Return the last looks at records by uid, none for those that are gone."""
    return {
        row[0]: LastLook(
            row[1], row[2], row[3], (Owner(row[4], row[5]), row[6], row[7]), Look._make(row[8:])
        )
        for row in connection.execute(LOOKS, {"uids": list(uids)})
    }


def fetch_secrets(connection: Connection, uid: str) -> dict[str, str]:
    """Return the secrets of a record by name as they are kept, none for an unknown one."""
    query = select(secrets.c.name, secrets.c.value).where(secrets.c.uid == uid)
    return {row[0]: row[1] for row in connection.execute(query)}


def fetch_heads(connection: Connection) -> list[Head]:
    """Return the head of every record, in no order."""
    return [
        Head._make((*told, optional_instant(wake_at), bool(adopted), flow))
        for *told, wake_at, adopted, flow in connection.execute(HEADS)
    ]


def fetch_identity(connection: Connection) -> StoreIdentity:
    """Return which store this is, and how far it has come."""
    return StoreIdentity(*connection.execute(select(counter.c.store_id, counter.c.durable)).one())


def record_of(row: Sequence[Any]) -> Deployment:
    """Return the record of one row of `RECORDS`."""
    return deployment_of(Row._make(row[:-1]), row[-1])


def within(reach: Reach, table: Table) -> ColumnElement[bool]:
    """Return the condition that a row of `table` is within somebody's reach."""
    condition = table.c.vo.in_(sorted(reach.vos))
    if reach.owner is None:
        return condition
    mine = (table.c.owner_iss == reach.owner.iss) & (table.c.owner_sub == reach.owner.sub)
    return mine & condition
