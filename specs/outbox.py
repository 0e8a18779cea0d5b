"""The outbox: what is still to be told outside this program, and to whom.

A row is written in the transaction of the event that it tells, and removed once it was delivered.
So nothing is lost, and a crash in between tells it twice, under the same `Row.delivery`.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from pydantic import TypeAdapter
from pydantic_core import from_json
from sqlalchemy import Connection, bindparam, delete, exists, insert, select, update

from specs.database import Database
from specs.model import Event, Owner, Phase
from specs.moments import (
    BY_MAIL,
    NOTIFY,
    WAITING_ENDS,
    Moment,
    Notice,
    Subscription,
    moment_of,
)
from specs.records import instant_text, json_text
from specs.schema import deployments, events, outbox

NOTICE: Final = TypeAdapter(Notice)

ABOUT: Final = select(deployments.c.phase, deployments.c.annotations, deployments.c.spec).where(
    deployments.c.uid == bindparam("of_uid")
)
LAST_STAND: Final = (
    select(events.c.to_phase)
    .where(
        events.c.uid == bindparam("of_uid"),
        events.c.number < bindparam("before"),
        events.c.to_phase.in_([phase.value for phase in sorted(WAITING_ENDS)]),
    )
    .order_by(events.c.number.desc())
    .limit(1)
)
ADD: Final = insert(outbox)

_EARLIER: Final = outbox.alias("earlier")
COLUMNS: Final = (
    outbox.c.number,
    outbox.c.line,
    outbox.c.owner_iss,
    outbox.c.owner_sub,
    outbox.c.notice,
    outbox.c.tries,
)
FIRST_IN_LINE: Final = (
    select(*COLUMNS)
    .where(
        outbox.c.destination == bindparam("destination"),
        outbox.c.due_at <= bindparam("now"),
        ~exists().where(
            _EARLIER.c.destination == outbox.c.destination,
            _EARLIER.c.line == outbox.c.line,
            _EARLIER.c.number < outbox.c.number,
        ),
    )
    .order_by(outbox.c.number)
    .limit(bindparam("at_most"))
)
OF_LINE: Final = (
    select(*COLUMNS)
    .where(
        outbox.c.destination == bindparam("destination"),
        outbox.c.line == bindparam("of_line"),
    )
    .order_by(outbox.c.number)
    .limit(bindparam("at_most"))
)
OLDEST: Final = (
    select(outbox.c.at)
    .where(outbox.c.destination == bindparam("destination"))
    .order_by(outbox.c.number)
    .limit(1)
)
POSTPONE: Final = (
    update(outbox)
    .where(
        outbox.c.destination == bindparam("of_destination"),
        outbox.c.number == bindparam("of_number"),
    )
    .values(due_at=bindparam("later"), tries=outbox.c.tries + 1)
)


@dataclass(frozen=True, slots=True)
class Row:
    """One notice for one destination. `number` only grows; `tries` is how often it failed."""

    number: int
    line: str
    owner: Owner
    notice: Notice
    tries: int

    @property
    def delivery(self) -> str:
        """An id by which the receiver knows a notice that it is sent again."""
        # With the instant: after a power cut a lost event's number is given out anew.
        notice = self.notice
        return str(uuid5(NAMESPACE_URL, f"{self.number} {notice.uid} {instant_text(notice.at)}"))


class Outbox:
    """The outbox of one store. Thread-safe; `now` is UTC."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now

    def due(self, destination: str, *, limit: int) -> list[Row]:
        """Return the first notice of every line whose time has come, oldest first."""
        given = {
            "destination": destination,
            "now": instant_text(self._now()),
            "at_most": limit,
        }
        return self._rows(FIRST_IN_LINE, given)

    def line(self, destination: str, line: str, *, limit: int) -> list[Row]:
        """Return the notices of one line in order, also those whose time has not come."""
        return self._rows(OF_LINE, {"destination": destination, "of_line": line, "at_most": limit})

    def remove(self, destination: str, rows: Sequence[Row]) -> None:
        """Forget notices that were delivered, or never can be."""
        numbers = [row.number for row in rows]
        self._write(
            delete(outbox).where(outbox.c.destination == destination, outbox.c.number.in_(numbers))
        )

    def postpone(self, destination: str, row: Row, *, by: timedelta) -> None:
        """Note that the first of a line could not be delivered; all of the line waits for it."""
        given = {
            "of_destination": destination,
            "of_number": row.number,
            "later": instant_text(self._now() + by),
        }
        self._write(POSTPONE, given)

    def give_up(self, destination: str, *, after: timedelta) -> int:
        """Forget what could not be delivered for so long; return how many notices."""
        since = instant_text(self._now() - after)
        with self._database.read() as connection:
            oldest = connection.execute(OLDEST, {"destination": destination}).scalar_one_or_none()
        if oldest is None or oldest >= since:
            return 0
        return self._write(
            delete(outbox).where(outbox.c.destination == destination, outbox.c.at < since)
        )

    def forget_others(self, destinations: Collection[str]) -> int:
        """Forget what is for destinations that the site no longer has; return how many notices."""
        return self._write(delete(outbox).where(outbox.c.destination.not_in(destinations)))

    def _rows(self, query: Any, given: Mapping[str, object]) -> list[Row]:
        with self._database.read() as connection:
            return [_row_of(row) for row in connection.execute(query, given)]

    def _write(self, statement: Any, given: Mapping[str, object] | None = None) -> int:
        # Not durable: what a power cut brings back is told once more, as after any crash.
        with self._database.write(durable=False) as connection:
            count: int = connection.execute(statement, given or {}).rowcount
            connection.commit()
        return count


def enqueue(
    connection: Connection,
    subscriptions: Sequence[Subscription],
    told: Iterable[tuple[Event, Mapping[str, Any]]],
) -> None:
    """Put what `told` has of moments into the outbox, in the transaction that tells it.

    `told` are events with their rows in `events`, already written. Rows are added only for
    `subscriptions` that want them; where none does nothing is asked either.
    """
    for event, row in told:
        moment = moment_of(event)
        wanting = [s for s in subscriptions if moment and s.wants(moment, row["vo"])]
        if moment and wanting and _is_so(connection, moment, row):
            _add(connection, wanting, moment, row)


def _is_so(connection: Connection, moment: Moment, row: Mapping[str, Any]) -> bool:
    if moment is not Moment.STARTED:
        return True
    given = {"of_uid": row["uid"], "before": row["number"]}
    return connection.execute(LAST_STAND, given).scalar_one_or_none() == Phase.QUEUED.value


def _add(
    connection: Connection,
    wanting: Sequence[Subscription],
    moment: Moment,
    row: Mapping[str, Any],
) -> None:
    found = connection.execute(ABOUT, {"of_uid": row["uid"]}).one_or_none()
    if found is None:
        return
    phase, annotations, spec = found
    asked = from_json(annotations).get(NOTIFY) == BY_MAIL
    at = datetime.fromisoformat(row["at"])
    notice = Notice(
        moment=moment,
        uid=row["uid"],
        name=row["name"],
        title=from_json(spec)["general"]["title"],
        vo=row["vo"],
        generation=row["generation"],
        phase=row["to_phase"] or phase,
        reason=row["reason"],
        message=row["message"],
        at=at,
    )
    text = json_text(asdict(notice))
    rows = [
        {
            "destination": one.destination,
            "number": row["number"],
            "line": json_text([row["owner_iss"], row["owner_sub"]])
            if one.of_owners
            else row["uid"],
            "owner_iss": row["owner_iss"],
            "owner_sub": row["owner_sub"],
            "notice": text,
            "at": row["at"],
            "due_at": instant_text(at + one.delay),
            "tries": 0,
        }
        for one in wanting
        if asked or not one.of_owners
    ]
    if rows:
        connection.execute(ADD, rows)


def _row_of(row: Sequence[Any]) -> Row:
    number, line, iss, sub, notice, tries = row
    return Row(number, line, Owner(iss, sub), NOTICE.validate_json(notice), tries)
