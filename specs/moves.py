"""What became of the records that changed, for those who watch them.

A move is the newest state of one record, or that it is gone, under the number of the write that
left it so. Moves are read up to a position of the feed of changes, so that who was told all of them
can go on from there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, Table, bindparam, select

from specs.faults import Expired
from specs.feeds import newest_change
from specs.model import Deployment, Owner, Reach
from specs.reading import trashed_record, within
from specs.records import Row, deployment_of
from specs.schema import counter, departures, deployments, trash

FORGOTTEN: Final = select(counter.c.forgotten)

_RECORDS: Final = select(*(deployments.c[name] for name in Row._fields))
"""Without the rendered job, which no watcher is shown."""

_MOVED: Final = _RECORDS.where(
    deployments.c.uid.in_(bindparam("uids", expanding=True)),
    deployments.c.resource_version <= bindparam("up_to"),
)
_DEPARTURES: Final = select(
    departures.c.version, trash.c.owner_iss, trash.c.owner_sub, trash.c.record
).join_from(
    departures, trash, (departures.c.uid == trash.c.uid) & (departures.c.version == trash.c.version)
)
_DEPARTED: Final = _DEPARTURES.where(
    departures.c.uid.in_(bindparam("uids", expanding=True)),
    departures.c.version <= bindparam("up_to"),
)


class Move(NamedTuple):
    """A record as the write of that number left it; `gone`: as it was when it went."""

    version: int
    deployment: Deployment
    gone: bool = False


class Present(NamedTuple):
    """A record that is there, and the number of the write that made it."""

    born: int
    deployment: Deployment


@dataclass(frozen=True, slots=True)
class Opening:
    """What a watch begins with, newest first: all that was written up to `position` is in it.

    `departed` are the records that went since the position that was asked for. Both may tell of
    writes after `position`, which the feed tells again.
    """

    position: int
    present: Sequence[Present]
    departed: Sequence[Move]


def fetch_moves(
    connection: Connection, uids: Sequence[str], *, up_to: int, of: Callable[[Owner], bool]
) -> list[Move]:
    """Return the moves of `uids` up to a position, oldest first, of the owners that `of` picks.

    What moved on behind the position is left out: the feed names it again.
    """
    given = {"uids": uids, "up_to": up_to}
    moves = [
        _present_move(row)
        for row in connection.execute(_MOVED, given)
        if of(Owner(row.owner_iss, row.owner_sub))
    ]
    moves += [
        _departed_move(row)
        for row in connection.execute(_DEPARTED, given)
        if of(Owner(row.owner_iss, row.owner_sub))
    ]
    return sorted(moves, key=lambda move: move.version)


def fetch_opening(
    connection: Connection, reach: Reach, *, vo: str | None, name: str | None, after: int | None
) -> Opening:
    """Return the records within reach, and with `after` what went since that position.

    Raises:
        Expired: what changed after `after` is no longer known, or it is no position of this store.
    """
    position = newest_change(connection)
    if after is not None:
        _refuse_expired(after, oldest=forgotten(connection), newest=position)
    query = _RECORDS.where(_watched(deployments, reach, vo, name))
    born = deployments.c.born
    rows = connection.execute(query.add_columns(born).order_by(born.desc())).all()
    present = [Present(row[-1], deployment_of(Row._make(row[:-1]), None)) for row in rows]
    if after is None:
        return Opening(position, present, ())
    went = _DEPARTURES.where(_watched(trash, reach, vo, name), departures.c.version > after)
    return Opening(position, present, [_departed_move(row) for row in connection.execute(went)])


def forgotten(connection: Connection) -> int:
    """Return the newest position before which departures are not known any more, 0: all are."""
    version: int = connection.execute(FORGOTTEN).scalar_one()
    return version


def _refuse_expired(after: int, *, oldest: int, newest: int) -> None:
    if not oldest <= after <= newest:
        raise Expired(
            f"resource version {after} is not between {oldest} and {newest}: what changed since"
            " is not known here"
        )


def _watched(table: Table, reach: Reach, vo: str | None, name: str | None) -> ColumnElement[bool]:
    condition = within(reach, table)
    if vo is not None:
        condition &= table.c.vo == vo
    if name is not None:
        condition &= table.c.name == name
    return condition


def _present_move(row: Any) -> Move:
    return Move(row.resource_version, deployment_of(Row._make(row), None))


def _departed_move(row: Any) -> Move:
    # Under the number of its end, so that versions only grow for those who watch.
    record = replace(trashed_record(row.record), resource_version=row.version)
    return Move(row.version, record, gone=True)
