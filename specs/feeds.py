"""What moved in the store: the feed of wishes, the feed of all changes, and waiting for either.

The reconciler follows wishes, faces that show live pages follow changes. A position in either feed
is the number of a write (`specs.schema`): it only grows, and nothing commits behind it later.

On PostgreSQL each commit also notifies every process of the site (`specs.listening`), so that
nobody waits for the next time that the store is asked.
"""

import time
from collections.abc import Callable, Sequence
from threading import Condition
from typing import Final, NamedTuple

from sqlalchemy import Connection, bindparam, func, literal, select, union_all

from specs.model import Owner
from specs.schema import counter, departures, deployments

NOTICE_S: Final = 1.0
"""How often the store is asked for other processes' writes while somebody waits."""

NEWEST_CHANGE: Final = select(counter.c.version)
NEWEST_WISH: Final = select(func.coalesce(func.max(deployments.c.wished), literal(0)))

WISHES_AFTER: Final = (
    select(
        deployments.c.wished,
        deployments.c.uid,
        deployments.c.owner_iss,
        deployments.c.owner_sub,
        deployments.c.vo,
    )
    .where(deployments.c.wished > bindparam("after"))
    .order_by(deployments.c.wished)
    .limit(bindparam("at_most"))
)

_CHANGES = union_all(
    select(deployments.c.resource_version.label("version"), deployments.c.uid).where(
        deployments.c.resource_version > bindparam("after")
    ),
    select(departures.c.version, departures.c.uid).where(departures.c.version > bindparam("after")),
).subquery()
CHANGES_AFTER: Final = select(_CHANGES).order_by(_CHANGES.c.version).limit(bindparam("at_most"))


CHANNEL: Final = "ai4papi_"
"""What the name of a store's channel begins with; its id follows. PostgreSQL takes 63 letters."""

# One statement: the row, which this transaction has locked anyway, knows the channel.
NOTIFY: Final = select(
    func.pg_notify(literal(CHANNEL).concat(counter.c.store_id), bindparam("told"))
)

WISHED: Final = "wished"


class Wished(NamedTuple):
    """One wish of the feed: where it stands in it, its record, whose it is and in which VO."""

    position: int
    uid: str
    owner: Owner
    vo: str


def wishes_after(connection: Connection, position: int, limit: int) -> Sequence[Wished]:
    """Return every record wished anew after `position`, oldest first."""
    rows = connection.execute(WISHES_AFTER, {"after": position, "at_most": limit})
    return [Wished(row[0], row[1], Owner(row[2], row[3]), row[4]) for row in rows]


def changes_after(connection: Connection, version: int, limit: int) -> tuple[int, Sequence[str]]:
    """Return the version to go on from and the uids that changed or went, oldest first."""
    # Read before the rows: what commits in between is then told again, not skipped.
    newest = newest_change(connection)
    rows = connection.execute(CHANGES_AFTER, {"after": version, "at_most": limit}).all()
    if len(rows) == limit:
        newest = rows[-1][0]
    return newest, [row[1] for row in rows]


def newest_change(connection: Connection) -> int:
    """Return the number of the newest write of any kind, 0 where nothing was written yet."""
    newest: int = connection.execute(NEWEST_CHANGE).scalar_one()
    return newest


def newest_wish(connection: Connection) -> int:
    """Return the position of the newest wish, 0 where there is none."""
    newest: int = connection.execute(NEWEST_WISH).scalar_one()
    return newest


def notify(connection: Connection, number: int, *, wished: bool) -> None:
    """Have every listening process told of this write when it is committed (PostgreSQL)."""
    connection.execute(NOTIFY, {"told": f"{number} {WISHED}" if wished else str(number)})


def told_by(payload: str) -> tuple[int, bool]:
    """Return the number of the write that a notification tells of, and whether it is a wish.

    0 where it tells nothing of ours: anybody may notify.
    """
    number, _, kind = payload.partition(" ")
    known = number.isascii() and number.isdigit() and len(number) < 20 and kind in ("", WISHED)
    return (int(number), kind == WISHED) if known else (0, False)


class Bell:
    """Wakes threads of this process that wait for a number to be passed. Thread-safe."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._newest = 0
        self._closed = False

    def ring(self, number: int) -> None:
        """Tell that `number` is committed."""
        with self._changed:
            self._newest = max(self._newest, number)
            self._changed.notify_all()

    def wait(self, after: int, *, timeout_s: float, ask: Callable[[], int]) -> bool:
        """Wait until a number above `after` is committed; False when the time is up.

        `ask` reads the newest number from the store: writes of other processes ring no bell here.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            self.ring(ask())
            left_s = deadline - time.monotonic()
            with self._changed:
                self._changed.wait_for(
                    lambda: self._closed or self._newest > after, min(NOTICE_S, left_s)
                )
                if self._newest > after:
                    return True
                if self._closed or left_s <= 0:
                    return False

    def close(self) -> None:
        """Let everybody go who waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
