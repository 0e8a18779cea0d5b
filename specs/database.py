"""Opens the database of the spec store and hands out its connections.

The only file that knows which database it is. Everything above it speaks SQLAlchemy Core.
"""

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from time import perf_counter
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
    select,
    update,
)
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from specs.faults import NewerStore, StoreBroken, StoreFull, StoreUnavailable
from specs.schema import counter

MIGRATIONS: Final = Path(__file__).parent / "migrations"

BUSY_TIMEOUT_S: Final = 20
"""How long a writer waits for another *process*."""

TURN_S: Final = 20
"""How long a thread waits for its turn behind the other writers of its process."""

READERS: Final = 16
"""Connections kept open for reading: one for each of the default number of workers."""

FULL: Final = frozenset({"SQLITE_FULL", "53100"})
"""What the databases call a full disk: SQLite by name, PostgreSQL by SQLSTATE."""

UNAVAILABLE: Final = re.compile(
    r"SQLITE_(BUSY|LOCKED|IOERR|CANTOPEN|READONLY|PROTOCOL)(_\w+)?"
    r"|08\w{3}|25P0[34]|40\w{3}|53\w{3}|55P03|57\w{3}|58\w{3}"
)
"""What passes by itself or by an operator's hand: locked, out of reach, shutting down."""

BROKEN: Final = re.compile(r"SQLITE_(CORRUPT|NOTADB)(_\w+)?|XX00[12]")
"""What does not pass: the file is damaged, or is no database."""


OUT_OF_REACH: Final = "the store is locked or out of reach: try again later"

BROKEN_IN_WORDS: Final = (
    "the spec store is damaged: nothing is written to it; stop all its programs, keep the file, and"
    " restore a backup"
)


Told = Callable[[str, float, bool], None]
"""Told of each connection that was given out: "read" or "write", seconds, whether it failed."""


def untold(kind: str, seconds: float, failed: bool) -> None:
    """Tell nobody."""


class Database:
    """Connections of three kinds: reading, durable writing, quick writing. Thread-safe.

    Whatever is done on them raises `StoreUnavailable`, `StoreFull` or `StoreBroken` where the
    database is. Once it was found broken nothing more is written by this process; what can still
    be read is. `told` may be set, to hear of their use.

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
            from specs.postgres import postgres_engine  # noqa: PLC0415  # an extra of the package

            self._durable = self._quick = postgres_engine(self._url)
            self._reads = self._durable.execution_options(isolation_level="AUTOCOMMIT")
        self._broken = ""
        for engine in (self._durable, self._quick, self._reads):
            event.listen(engine, "handle_error", self._note_fault)
        self._writing = Lock()
        self.told: Told = untold

    @property
    def broken(self) -> str:
        """What is damaged, "" while nothing was found to be."""
        return self._broken

    @property
    def shared(self) -> bool:
        """Whether several processes of a site may work on it as replicas: PostgreSQL only."""
        return not self._sqlite

    @property
    def url(self) -> URL:
        """Where it is; with its password."""
        return self._url

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Yield a connection for reading; each statement sees everything committed before it."""
        with self._timed("read"), connected(self._reads) as connection:
            yield connection

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[Connection]:
        """Yield a connection in a transaction that is rolled back unless the block commits it.

        Committed and `durable`: survives a power cut. Otherwise survives the death of this
        process, and a power cut may take back the newest such commits, never part of one.
        """
        if self._broken:
            raise StoreBroken(self._broken)
        engine = self._durable if durable else self._quick
        with self._timed("write"), self._turn(), connected(engine) as connection:
            if self._sqlite:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection

    @contextmanager
    def _turn(self) -> Iterator[None]:
        # Threads that wait at SQLite's own lock poll it; a lock of ours wakes them in turn.
        if not self._sqlite:
            yield
        elif self._writing.acquire(timeout=TURN_S):
            try:
                yield
            finally:
                self._writing.release()
        else:
            raise StoreUnavailable(OUT_OF_REACH)

    def _note_fault(self, context: ExceptionContext) -> None:
        try:
            raise_fault(context)
        except StoreBroken as broken:
            self._broken = str(broken)
            raise

    def migrate(self) -> None:
        """Bring the tables to this version's state; safe with several processes at once.

        Newer tables that say that this version can work on them are left as they are.

        Raises:
            NewerStore: they are of a newer version; nothing is changed.
            StoreBroken: the file is damaged, or is no database; nothing is changed.
        """
        if self._sqlite:
            path = Path(str(self._url.database))
            create_private_file(path)
            self._refuse_damaged(path)
        with self._migrating() as connection:
            config = Config()
            config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
            config.attributes["connection"] = connection
            scripts = ScriptDirectory.from_config(config)
            if is_newer(connection, scripts) or is_current(connection, scripts):
                return
            if not self._sqlite:
                from specs.postgres import lock_tables  # noqa: PLC0415

                lock_tables(connection)
            command.upgrade(config, "head")
            note_readers(connection, scripts)
            connection.commit()

    @contextmanager
    def _migrating(self) -> Iterator[Connection]:
        if self._sqlite:
            with self.write() as connection:
                yield connection
            return
        from specs.postgres import lock_migration, migrating_engine  # noqa: PLC0415

        engine = migrating_engine(self._url)
        event.listen(engine, "handle_error", self._note_fault)
        with connected(engine) as connection:
            lock_migration(connection)
            yield connection

    def _refuse_damaged(self, path: Path) -> None:
        with self.read() as connection:
            found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
        if found != "ok":
            raise StoreBroken(f"{BROKEN_IN_WORDS} ({path}: {found})")

    def close(self) -> None:
        """Close every connection."""
        for engine in (self._reads, self._durable, self._quick):
            engine.dispose()

    @contextmanager
    def _timed(self, kind: str) -> Iterator[None]:
        began_s, failed = perf_counter(), False
        try:
            yield
        except StoreUnavailable:
            failed = True
            raise
        finally:
            self.told(kind, perf_counter() - began_s, failed)


@contextmanager
def connected(engine: Engine) -> Iterator[Connection]:
    """Yield a connection. Raises `StoreUnavailable` where all are busy for too long."""
    try:
        connection = engine.connect()
    except PoolTimeout as error:
        raise StoreUnavailable("every connection to the store is busy: try again later") from error
    with connection:
        yield connection


def is_newer(connection: Connection, scripts: ScriptDirectory) -> bool:
    """Whether a newer program made the tables, which say that these `scripts` suffice for them.

    Raises:
        NewerStore: they do not suffice.
    """
    revision = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in scripts.walk_revisions()}
    if revision is None or revision in known:
        return False
    if fetch_oldest_reader(connection) in known:
        return True
    raise NewerStore(
        f"the store's tables are at revision {revision!r}, and this program knows up to "
        f"{scripts.get_current_head()!r}: start the newer program that made them, or restore "
        "a backup from before it"
    )


def is_current(connection: Connection, scripts: ScriptDirectory) -> bool:
    """Whether the tables are as these `scripts` would make them."""
    revision = MigrationContext.configure(connection).get_current_revision()
    return revision == scripts.get_current_head()


def fetch_oldest_reader(connection: Connection) -> str:
    """Return the revision that a program must know at least to work on these tables."""
    return str(connection.execute(select(counter.c.oldest_reader)).scalar_one())


def note_readers(connection: Connection, scripts: ScriptDirectory) -> None:
    """Write down which programs can work on the tables: their newest revision says so.

    One that says nothing is for programs that know it.
    """
    head = scripts.get_revision("head")
    oldest = getattr(head.module, "oldest_reader", head.revision)
    connection.execute(update(counter).values(oldest_reader=oldest))


def raise_fault(context: ExceptionContext) -> None:
    """Raise what a face can answer where the database can't do its work now."""
    if context.is_pre_ping:
        return  # a connection of the pool was found dead: another one takes its place
    error = context.original_exception
    code = getattr(error, "sqlite_errorname", None) or getattr(error, "sqlstate", None) or ""
    if code in FULL:
        raise StoreFull("the store has no room left: nothing was written") from error
    if BROKEN.fullmatch(code):
        raise StoreBroken(f"{BROKEN_IN_WORDS} ({error})") from error
    # psycopg has no code for a server that it can't reach, or that does not answer.
    lost = not code and isinstance(context.sqlalchemy_exception, OperationalError)
    if lost or UNAVAILABLE.fullmatch(code):
        raise StoreUnavailable(OUT_OF_REACH) from error


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
