"""Opens the database of the spec store and hands out its connections.

The only file that knows which database it is. Everything above it speaks SQLAlchemy Core.
"""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import (
    URL,
    Connection,
    Engine,
    ExceptionContext,
    create_engine,
    event,
    make_url,
    text,
)
from sqlalchemy.exc import OperationalError

from specs.faults import NewerStore, StoreFull, StoreUnavailable

MIGRATIONS: Final = Path(__file__).parent / "migrations"

BUSY_TIMEOUT_S: Final = 60
"""How long a writer waits for another *process*. Threads of this one queue at a lock instead."""

READERS: Final = 16
"""Connections kept open for reading: one for each of the default number of workers."""

FULL: Final = frozenset({"SQLITE_FULL", "53100"})
"""What the databases call a full disk: SQLite by name, PostgreSQL by SQLSTATE."""

UNAVAILABLE: Final = re.compile(
    r"SQLITE_(BUSY|LOCKED|IOERR|CANTOPEN|READONLY|PROTOCOL)(_\w+)?"
    r"|08\w{3}|40\w{3}|53\w{3}|55P03|57\w{3}|58\w{3}"
)
"""What passes by itself or by an operator's hand: locked, out of reach, shutting down."""

MIGRATION_LOCK: Final = 0x61693470
"""Key of the PostgreSQL advisory lock that one migrating process holds ("ai4p")."""


class Database:
    """Connections of three kinds: reading, durable writing, quick writing. Thread-safe.

    Whatever is done on them raises `StoreUnavailable` or `StoreFull` where the database is.

    Raises:
        ValueError: the URL names a database that this project does not work on.
    """

    def __init__(self, url: str) -> None:
        self._url = checked_url(url)
        self._sqlite = self._url.get_backend_name() == "sqlite"
        if self._sqlite:
            self._durable = sqlite_engine(self._url, synchronous="FULL", connections=1)
            self._quick = sqlite_engine(self._url, synchronous="NORMAL", connections=1)
            self._reads = sqlite_engine(self._url, synchronous="FULL", connections=READERS)
        else:
            self._durable = self._quick = create_engine(
                self._url, pool_size=READERS, pool_pre_ping=True, hide_parameters=True
            )
            self._reads = self._durable.execution_options(isolation_level="AUTOCOMMIT")
        for engine in (self._durable, self._quick, self._reads):
            event.listen(engine, "handle_error", raise_fault)
        # Threads that wait at SQLite's own lock poll it; a lock of ours wakes them in turn.
        self._writing: AbstractContextManager[Any] = Lock() if self._sqlite else nullcontext()

    def read(self) -> AbstractContextManager[Connection]:
        """Return a connection for reading; each statement sees everything committed before it."""
        return self._reads.connect()

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[Connection]:
        """Yield a connection in a transaction that is rolled back unless the block commits it.

        Committed and `durable`: survives a power cut. Otherwise survives the death of this
        process, and a power cut may take back the newest such commits, never part of one.
        """
        engine = self._durable if durable else self._quick
        with self._writing, engine.connect() as connection:
            if self._sqlite:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection

    def migrate(self) -> None:
        """Bring the tables to this version's state; safe with several processes at once.

        Raises:
            NewerStore: they are of a newer version; nothing is changed.
        """
        if self._sqlite:
            create_private_file(Path(str(self._url.database)))
        with self.write() as connection:
            if not self._sqlite:
                connection.execute(
                    text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK}
                )
            config = Config()
            config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
            config.attributes["connection"] = connection
            refuse_newer(connection, ScriptDirectory.from_config(config))
            command.upgrade(config, "head")
            connection.commit()

    def close(self) -> None:
        """Close every connection."""
        for engine in (self._reads, self._durable, self._quick):
            engine.dispose()


def refuse_newer(connection: Connection, scripts: ScriptDirectory) -> None:
    """Do nothing where these `scripts` know the tables' revision.

    Raises:
        NewerStore: they do not.
    """
    revision = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in scripts.walk_revisions()}
    if revision is not None and revision not in known:
        raise NewerStore(
            f"the store's tables are at revision {revision!r}, and this program knows up to "
            f"{scripts.get_current_head()!r}: start the newer program that made them, or restore "
            "a backup from before it"
        )


def raise_fault(context: ExceptionContext) -> None:
    """Raise what a face can answer where the database can't do its work now."""
    if context.is_pre_ping:
        return  # a connection of the pool was found dead: another one takes its place
    error = context.original_exception
    code = getattr(error, "sqlite_errorname", None) or getattr(error, "sqlstate", None) or ""
    if code in FULL:
        raise StoreFull("the store has no room left: nothing was written") from error
    # psycopg has no code for a server that it can't reach.
    lost = not code and isinstance(context.sqlalchemy_exception, OperationalError)
    if lost or UNAVAILABLE.fullmatch(code):
        raise StoreUnavailable("the store is locked or out of reach: try again later") from error


def checked_url(text_: str) -> URL:
    """Return the URL with the driver that we install; raise ValueError where there is none."""
    url = make_url(text_)
    match url.drivername:
        case "sqlite" if url.database and url.database != ":memory:":
            return url
        case "postgresql" | "postgresql+psycopg":
            return url.set(drivername="postgresql+psycopg")
    shown = url.render_as_string(hide_password=True)
    raise ValueError(f"store URL {shown!r}: give sqlite:///PATH or postgresql://USER@HOST/NAME")


def create_private_file(path: Path) -> None:
    """Make an empty database where there is none; only we may read it, for it holds secrets."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        return
    # Several processes that turn one file to WAL at once fail with "database is locked", whatever
    # the time-out. So the file is born with it, under another name, and takes its own in one step.
    with TemporaryDirectory(dir=path.parent) as folder:
        born = Path(folder) / path.name
        born.touch(mode=0o600)
        with closing(sqlite3.connect(born)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
        with suppress(FileExistsError):
            path.hardlink_to(born)


def sqlite_engine(url: URL, *, synchronous: str, connections: int) -> Engine:
    """Open an SQLite file whose transactions begin where this module says so, not the driver.

    Parameters are kept out of logs and errors, as those of PostgreSQL are: some are passwords.
    """
    engine = create_engine(
        url,
        pool_size=connections,
        max_overflow=-1,
        hide_parameters=True,
        connect_args={"timeout": BUSY_TIMEOUT_S},
    )

    def set_up(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute("PRAGMA foreign_keys = ON")

    event.listen(engine, "connect", set_up)
    return engine
