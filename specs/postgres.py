"""PostgreSQL as the store's database: its pool, and how long anybody waits for it.

A server that does not answer, a lock that is not let go, and a
process of ours that stops in the middle of a write each end in time, so that nobody hangs.
"""

import time
from collections.abc import Generator
from typing import Any, Final, TypeVar

import psycopg
from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.pool import NullPool

T = TypeVar("T")

CONNECTIONS: Final = 16
"""Connections that a process keeps open: one for each of the default number of workers."""

MORE_CONNECTIONS: Final = 8
"""What it opens on top while all of them are busy."""

POOL_S: Final = 10
"""How long a thread waits for a connection of the pool."""

RECYCLE_S: Final = 1800
"""A connection is closed after so long: what a server or a proxy piles up for it goes with it."""

ANSWER_S: Final = 15.0
"""How long an answer is waited for. Longer than the server's own limits, which come first."""

LIMITS: Final = {
    "statement_timeout": "10s",
    "lock_timeout": "10s",
    # A process that is paused within a write holds the lock that all writers need.
    "idle_in_transaction_session_timeout": "5s",
}

CONNECT: Final[dict[str, Any]] = {
    "application_name": "ai4papi",
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
"""A server whose machine is gone says nothing: the connection is found dead within 15 s."""

MIGRATION_LOCK: Final = 0x61693470
"""Key of the advisory lock that one migrating process holds ("ai4p")."""


class PatientConnection(psycopg.Connection[Any]):
    """A connection whose every answer comes in time or is an error; it is closed then."""

    def wait(self, gen: Generator[Any, Any, T], *arguments: Any, **options: Any) -> T:
        """Wait for one answer. Raises: OperationalError."""
        return super().wait(self._in_time(gen), *arguments, **options)

    def _in_time(self, gen: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
        until = time.monotonic() + ANSWER_S
        try:
            waits_for = next(gen)
            while True:
                # Nothing after each tenth of a second in which nothing came.
                ready = yield waits_for
                if not ready and time.monotonic() > until:
                    self.pgconn.finish()
                    raise psycopg.OperationalError("the server does not answer")
                waits_for = gen.send(ready)
        except StopIteration as ended:
            answer: T = ended.value
            return answer


def postgres_engine(url: URL) -> Engine:
    """Open a pool of connections; none is made yet."""
    engine = create_engine(
        url,
        pool_size=CONNECTIONS,
        max_overflow=MORE_CONNECTIONS,
        pool_timeout=POOL_S,
        pool_recycle=RECYCLE_S,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args=CONNECT,
    )
    event.listen(engine, "do_connect", _connect)
    event.listen(engine, "connect", _limit)
    return engine


def migrating_engine(url: URL) -> Engine:
    """Open connections without time-outs: a migration takes as long as its tables are big."""
    return create_engine(url, poolclass=NullPool, hide_parameters=True)


def a_connection(url: URL) -> psycopg.Connection[Any]:
    """Connect outside of the pool; every statement stands for itself."""
    arguments, options = create_engine(url).dialect.create_connect_args(url)
    return psycopg.connect(*arguments, **{**options, **CONNECT}, autocommit=True)


def lock_migration(connection: Connection) -> None:
    """Wait until no other process migrates; held until the end of the transaction."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})


def lock_tables(connection: Connection) -> None:
    """Lock the tables that every writer locks first, in the same order, where they are there.

    Else a migration that changes another of them first and a writer would wait for each other.
    """
    known = inspect(connection).get_table_names()
    for name in ("counter", "leases", "catalog_counter"):
        if name in known:
            connection.execute(text(f"LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE"))


def _connect(
    _dialect: object, _record: object, arguments: Any, options: Any
) -> psycopg.Connection[Any]:
    return PatientConnection.connect(*arguments, **options)


def _limit(connection: psycopg.Connection[Any], _record: object) -> None:
    settings = "; ".join(f"SET {name} = '{value}'" for name, value in LIMITS.items())
    connection.execute(settings)
    connection.commit()
