"""Leases: which replica does the work of which part of the deployments, and until when.

Every replica says every few seconds that it is there (a beat), and takes, keeps or gives up parts
by `specs.shards`. A lease is over by the database's clock alone. Its holder stops earlier by its
own, counted from before it asked; and whatever it writes to the store is checked there, in the
same transaction, against the term of the lease: a process that slept is found out in either case.
PostgreSQL only: on SQLite one process does everything.
"""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock
from typing import Final
from uuid import uuid4

from sqlalchemy import Connection, Executable, bindparam, delete, func, select, text, update

from specs.database import Database
from specs.faults import LeaseLost
from specs.schema import leases, replicas
from specs.shards import SHARDS, Shares, shares

LEASE_S: Final = 9.0
"""How long a lease lasts; it is renewed three times within it."""

BEAT_S: Final = LEASE_S / 3

MARGIN_S: Final = LEASE_S / 6
"""So much before the end by its own clock a holder stops: clocks run at different speeds, and what
it just began must arrive before another may begin."""

FORGOTTEN_S: Final = 3600
"""A replica that was not heard of for so long is forgotten."""

ONE_AT_A_TIME: Final = text("SELECT pg_advisory_xact_lock(hashtext('ai4papi-leases'), 0)")
SEEN: Final = text(
    "INSERT INTO replicas (id, seen_at, program) VALUES (:id, clock_timestamp(), :program)"
    " ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, program = excluded.program"
)
FORGET: Final = delete(replicas).where(
    (replicas.c.id == bindparam("gone"))
    | (replicas.c.seen_at < func.clock_timestamp() - text(f"interval '{FORGOTTEN_S} s'"))
)
ALIVE: Final = select(replicas.c.id).where(
    replicas.c.seen_at > func.clock_timestamp() - text(f"interval '{LEASE_S} s'")
)
HELD: Final = select(
    leases.c.shard,
    leases.c.holder,
    leases.c.term,
    (leases.c.until_at > func.clock_timestamp()).label("runs"),
)
_OF_THEM: Final = update(leases).where(leases.c.shard.in_(bindparam("shards", expanding=True)))
_RENEWED: Final = _OF_THEM.values(until_at=func.clock_timestamp() + text(f"interval '{LEASE_S} s'"))
RENEW: Final = _RENEWED.where(leases.c.holder == bindparam("by"))
TAKE: Final = _RENEWED.values(holder=bindparam("by"), term=leases.c.term + 1)
GIVE_UP: Final = _OF_THEM.values(holder=None, until_at=None).where(
    leases.c.holder == bindparam("by")
)
# Locked until the write is committed: who takes over waits for it, and then sees what it wrote.
STILL_OURS: Final = (
    select(leases.c.shard, leases.c.term)
    .where(
        leases.c.shard.in_(bindparam("shards", expanding=True)),
        leases.c.holder == bindparam("by"),
    )
    .with_for_update(read=True)
)


def boot_time_s() -> float:
    """Return seconds that go on also while a process or its machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass(frozen=True, slots=True)
class Standing:
    """A replica and its part in the work: `terms` by part that it holds, `since` the last change of
    hands. `of` is how many parts there are, `replicas` how many share them."""

    id: str
    terms: Mapping[int, int]
    since: datetime
    replicas: int
    of: int = SHARDS


@dataclass(slots=True)
class Leases:
    """The leases of one replica. Thread-safe. `clock` is seconds that never stand still.

    Before the first beat nothing is held, and nothing is checked either: a single pass by hand acts
    without a lease.
    """

    database: Database
    program: str
    clock: Callable[[], float] = boot_time_s
    id: str = field(default_factory=lambda: uuid4().hex[:12])
    begun: bool = field(default=False, init=False)
    _terms: dict[int, int] = field(default_factory=dict, init=False)
    _leaving: frozenset[int] = field(default=frozenset(), init=False)
    _valid_until: float = field(default=0.0, init=False)
    _standing: Standing | None = field(default=None, init=False)
    _lock: Lock = field(default_factory=Lock, init=False)

    def beat(self, *, given_up: Collection[int] = ()) -> frozenset[int]:
        """Say that we are there, renew, take and let go; return the parts that are now to be left.

        `given_up` are those of them in which nothing of ours is under way any more. What is to be
        left is no longer held (see `holds`), and is renewed until it is given up.

        Raises: StoreUnavailable; what is held is held until its time is over.
        """
        began = self.clock()
        with self.database.write(durable=False) as connection:
            connection.execute(ONE_AT_A_TIME)
            connection.execute(SEEN, {"id": self.id, "program": self.program})
            self._change(connection, GIVE_UP, given_up)
            terms, told, alive = self._decided(connection)
            self._change(connection, RENEW, told.keep | told.leave)
            self._change(connection, TAKE, told.take)
            connection.commit()
        held = {shard: terms[shard] for shard in told.keep | told.leave}
        held |= {shard: terms[shard] + 1 for shard in told.take}
        self._note(held, told.leave, began + LEASE_S - MARGIN_S, alive)
        return told.leave

    def holds(self, shard: int) -> bool:
        """Whether the work of that part is ours now, by our own clock."""
        with self._lock:
            return (
                self.begun
                and shard in self._terms
                and shard not in self._leaving
                and self.clock() < self._valid_until
            )

    def require(self, shard: int) -> None:
        """Let only a holder pass, also one that is about to leave: before a write to the cluster.

        Raises: LeaseLost.
        """
        with self._lock:
            if self.begun and (shard not in self._terms or self.clock() >= self._valid_until):
                raise LeaseLost(f"the lease of part {shard} is over: another replica goes on")

    def check(self, connection: Connection, shards: Collection[int]) -> None:
        """Let only the holder of all those parts write to the store: within the transaction.

        Raises: LeaseLost.
        """
        if not self.begun:
            return
        with self._lock:
            believed = {(shard, self._terms.get(shard)) for shard in shards}
        rows = connection.execute(STILL_OURS, {"shards": sorted(shards), "by": self.id})
        if lost := sorted(shard for shard, _ in believed - {(row[0], row[1]) for row in rows}):
            self._lose(lost)
            raise LeaseLost(f"part {lost[0]} is another replica's by now: nothing was written")

    def release(self) -> None:
        """Give everything up at once: nothing of ours is under way any more.

        Raises: StoreUnavailable; then it ends by itself.
        """
        with self._lock:
            self._terms = {}
        with self.database.write(durable=False) as connection:
            connection.execute(ONE_AT_A_TIME)
            self._change(connection, GIVE_UP, range(SHARDS))
            connection.execute(FORGET, {"gone": self.id})
            connection.commit()

    def standing(self) -> Standing | None:
        """Return our part in the work, None before the first beat."""
        with self._lock:
            if self._standing is None or self.clock() < self._valid_until:
                return self._standing
            return Standing(self.id, {}, self._standing.since, self._standing.replicas)

    def _decided(self, connection: Connection) -> tuple[Mapping[int, int], Shares, int]:
        alive = connection.execute(ALIVE).scalars().all()
        rows = connection.execute(HELD).all()
        # What is ours stays so when its time is over, as long as nobody came in between.
        holders = {
            row.shard: row.holder if row.runs or row.holder == self.id else None for row in rows
        }
        return {row.shard: row.term for row in rows}, shares(self.id, alive, holders), len(alive)

    def _change(
        self, connection: Connection, statement: Executable, shards: Collection[int]
    ) -> None:
        if shards:
            connection.execute(statement, {"shards": sorted(shards), "by": self.id})

    def _note(
        self, held: dict[int, int], leaving: frozenset[int], valid_until: float, alive: int
    ) -> None:
        with self._lock:
            if self._standing is None or held != self._standing.terms:
                since = datetime.now(UTC)
            else:
                since = self._standing.since
            self._terms, self._leaving = held, leaving
            self._valid_until = valid_until
            self._standing = Standing(self.id, dict(held), since, alive)
            self.begun = True

    def _lose(self, shards: Collection[int]) -> None:
        with self._lock:
            for shard in shards:
                self._terms.pop(shard, None)
