"""A copy of the spec store in one file, and the way back.

SQLite only, by its online backup: one moment of the store, while everybody goes on writing. Where
the store is PostgreSQL, `pg_dump` and `pg_restore` are its own tools for this.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from sqlalchemy.engine import URL

from specs.database import checked_url

IDENTITY: Final = "SELECT store_id, durable FROM counter"

HELP_POSTGRES: Final = (
    "the store is PostgreSQL: use `pg_dump --format=custom --file=FILE URL` and"
    " `pg_restore --clean --if-exists --single-transaction --dbname=URL FILE`"
)


class BackupRefused(Exception):
    """The copy was not made or not put back; `str()` says why and what to do."""


@dataclass(frozen=True, slots=True)
class Copy:
    """What a backup holds: which store, up to which durable write, how many records and secrets."""

    store_id: str
    durable: int
    deployments: int
    secrets: int


def back_up(store_url: str, to: Path) -> Copy:
    """Copy the store to the new file `to`, which only we may read; return what is in it.

    Raises: BackupRefused; then there is no file.
    """
    source = _file_of(store_url)
    if not source.is_file():
        raise BackupRefused(f"{source}: there is no store to back up")
    try:
        _make(to)
    except OSError as error:
        raise BackupRefused(f"{to} can't be made: {error.strerror}") from error
    try:
        # One file, without a log beside it.
        _copy(source, to, journal_mode="DELETE")
        return examine(to)
    except BackupRefused:
        to.unlink(missing_ok=True)
        raise


def restore(store_url: str, backup: Path) -> Copy:
    """Put `backup` in the place of the store, which is kept as NAME.before-restore.

    Nothing is touched unless the backup is sound and nobody has the store open.
    Raises: BackupRefused.
    """
    target = _file_of(store_url)
    found = examine(backup)
    kept = target.with_name(f"{target.name}.before-restore")
    if target.exists():
        if kept.exists():
            raise BackupRefused(f"{kept} is there from an earlier restore: move it away")
        _require_closed(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f"{target.name}.restoring")
    fresh.unlink(missing_ok=True)
    _make(fresh)
    _copy(backup, fresh, journal_mode="WAL")
    for end in ("", "-wal", "-shm"):  # of a damaged store, its log too: it would be read into ours
        part = target.with_name(target.name + end)
        if part.exists():
            part.rename(kept.with_name(kept.name + end))
    fresh.rename(target)
    return found


def examine(file: Path) -> Copy:
    """Return what a backup holds. Raises: BackupRefused where it is damaged or no store."""
    if not file.is_file():
        raise BackupRefused(f"{file}: there is no such file")
    with _faults(file), closing(_opened(file)) as store:
        (verdict,) = store.execute("PRAGMA integrity_check(1)").fetchone()
        if verdict != "ok":
            raise BackupRefused(f"{file} is damaged: {verdict}")
        (store_id, durable) = store.execute(IDENTITY).fetchone()
        (deployments,) = store.execute("SELECT count(*) FROM deployments").fetchone()
        (secrets,) = store.execute("SELECT count(*) FROM secrets").fetchone()
    return Copy(store_id, durable, deployments, secrets)


def _file_of(store_url: str) -> Path:
    url: URL = checked_url(store_url)
    if url.get_backend_name() != "sqlite":
        raise BackupRefused(HELP_POSTGRES)
    return Path(str(url.database))


def _make(file: Path) -> None:
    os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _copy(source: Path, to: Path, *, journal_mode: Literal["DELETE", "WAL"]) -> None:
    with _faults(source), closing(_opened(source)) as store, closing(sqlite3.connect(to)) as copy:
        store.backup(copy)
        copy.execute(f"PRAGMA journal_mode = {journal_mode}")


def _require_closed(file: Path) -> None:
    # SQLite lets nobody leave the WAL mode while another process has the file open, which also
    # brings everything into the one file that is kept.
    try:
        with closing(sqlite3.connect(file, timeout=0, isolation_level=None)) as store:
            (mode,) = store.execute("PRAGMA journal_mode = DELETE").fetchone()
    except sqlite3.OperationalError:
        mode = "wal"
    except sqlite3.DatabaseError:
        return  # damaged: that is what the restore is for
    if mode != "delete":
        raise BackupRefused(f"{file} is in use: stop every server on it first")


def _opened(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)


@contextmanager
def _faults(file: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise BackupRefused(f"{file} is no store that can be read: {error}") from error
