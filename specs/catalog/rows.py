"""The rows of the catalogue of modules, and what a read of a source or an editor makes of them.

A part of `specs.catalog.shelf`.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, NamedTuple

from pydantic_core import from_json
from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select, text

from specs.catalog.metadata import BadMetadata, metadata_of, readable
from specs.catalog.reads import CatalogRead, ModuleRead
from specs.faults import NotFound, VersionConflict
from specs.records import instant_text, json_text
from specs.schema import catalog_counter, catalog_modules, catalog_overlays, catalog_sources
from specs.texts import printable
from specs.userconf import is_module

VERSIONS_KEPT: Final = 50
"""Newest versions that are kept of one module's overlay."""

MAX_FAULT: Final = 1000
MAX_URL: Final = 2048

# One statement each for both databases; SQLAlchemy has them only per dialect.
MOVE: Final = text(
    "INSERT INTO catalog_counter (id, version, reads, asked) VALUES (1, :version, :reads, :asked)"
    " ON CONFLICT (id) DO UPDATE SET version = catalog_counter.version + excluded.version,"
    " reads = catalog_counter.reads + excluded.reads,"
    " asked = catalog_counter.asked + excluded.asked"
)
WRITE_SOURCE: Final = text(
    "INSERT INTO catalog_sources (source, rank, read_at) VALUES (:source, :rank, :read_at)"
    " ON CONFLICT (source) DO UPDATE SET rank = excluded.rank, read_at = excluded.read_at"
)
WRITE_STATE: Final = text(
    "INSERT INTO catalog_sources (source, rank, state) VALUES (:source, 0, :state)"
    " ON CONFLICT (source) DO UPDATE SET state = excluded.state"
)
WRITE_MODULE: Final = text(
    "INSERT INTO catalog_modules (source, name, version, document, digest, fault, url)"
    " VALUES (:source, :name, :version, :document, :digest, :fault, :url)"
    " ON CONFLICT (source, name) DO UPDATE SET version = excluded.version,"
    " document = excluded.document, digest = excluded.digest, fault = excluded.fault,"
    " url = excluded.url"
)
MARKS: Final = select(catalog_counter.c.version, catalog_counter.c.reads)
ASKED: Final = select(catalog_counter.c.asked)
STATES: Final = (
    select(catalog_sources.c.state)
    .where(catalog_sources.c.state.is_not(None))
    .order_by(catalog_sources.c.rank, catalog_sources.c.source)
)
RANK: Final = select(catalog_sources.c.rank).where(
    catalog_sources.c.source == bindparam("of_source")
)
OF_SOURCE: Final = select(catalog_modules).where(catalog_modules.c.source == bindparam("of_source"))
LISTED: Final = (
    select(catalog_modules, catalog_sources.c.read_at)
    .join(catalog_sources, catalog_sources.c.source == catalog_modules.c.source)
    .order_by(catalog_modules.c.name, catalog_sources.c.rank, catalog_sources.c.source)
)
LISTED_AS: Final = LISTED.where(catalog_modules.c.name == bindparam("of_name")).limit(1)
FORGET_MODULE: Final = delete(catalog_modules).where(
    catalog_modules.c.source == bindparam("of_source"),
    catalog_modules.c.name == bindparam("of_name"),
)
_NEWEST = select(func.max(catalog_overlays.c.version).label("version"), catalog_overlays.c.name)
_NEWEST_OF_EACH = _NEWEST.group_by(catalog_overlays.c.name).subquery()
OVERLAYS: Final = select(
    catalog_overlays.c.name, catalog_overlays.c.version, catalog_overlays.c.fields
).join(
    _NEWEST_OF_EACH,
    (catalog_overlays.c.name == _NEWEST_OF_EACH.c.name)
    & (catalog_overlays.c.version == _NEWEST_OF_EACH.c.version),
)
VERSIONS: Final = (
    select(catalog_overlays)
    .where(catalog_overlays.c.name == bindparam("of_name"))
    .order_by(catalog_overlays.c.version.desc())
)
ADD_VERSION: Final = insert(catalog_overlays)
TRIM_VERSIONS: Final = delete(catalog_overlays).where(
    catalog_overlays.c.name == bindparam("of_name"),
    catalog_overlays.c.version <= bindparam("last"),
)


class Overlay(NamedTuple):
    """What editors have set of a module now."""

    version: int
    fields: Mapping[str, Any]


def move(connection: Connection, *, version: int = 0, reads: int = 0, asked: int = 0) -> None:
    """Move the counter on. Until the commit no other writer is between: its row is locked."""
    connection.execute(MOVE, {"version": version, "reads": reads, "asked": asked})


def write_source(connection: Connection, source: str, *, rank: int, read_at: datetime) -> bool:
    """Write that a source was read; tell whether its rank is another than before."""
    old = connection.execute(RANK, {"of_source": source}).scalar_one_or_none()
    row = {"source": source, "rank": rank, "read_at": instant_text(read_at)}
    connection.execute(WRITE_SOURCE, row)
    return old != rank


def rows_of(source: str, read: CatalogRead) -> list[dict[str, Any]]:
    """Return the rows of the modules that were read anew; no document where it can't be used."""
    return [_row(source, one) for one in read.modules if is_module(one.name)]


def write_rows(
    connection: Connection, source: str, fresh: Sequence[dict[str, Any]], same: Collection[str]
) -> bool:
    """Write a source's `fresh` rows, keep the `same`, remove all others; tell if any changed.

    Where a row has no document, the one that was there stays.
    """
    stored = {row.name: row for row in connection.execute(OF_SOURCE, {"of_source": source})}
    rows = {row["name"]: _with_last_good(row, stored.get(row["name"])) for row in fresh}
    gone = stored.keys() - rows.keys() - set(same)
    for name in gone:
        connection.execute(FORGET_MODULE, {"of_source": source, "of_name": name})
    moved = [row for name, row in rows.items() if not _same(stored.get(name), row)]
    if moved:
        connection.execute(WRITE_MODULE, moved)
    return bool(gone or moved)


def _row(source: str, read: ModuleRead) -> dict[str, Any]:
    document, fault = None, read.fault
    try:
        metadata_of(read)
        document = json_text(readable(read.document or {}))
    except BadMetadata as bad:
        fault = read.fault or str(bad)
    return {
        "source": source,
        "name": read.name,
        "version": printable(read.version, MAX_FAULT),
        "document": document,
        "fault": printable(fault, MAX_FAULT),
        "url": printable(read.url, MAX_URL),
    }


def _with_last_good(row: dict[str, Any], stored: Row[Any] | None) -> dict[str, Any]:
    document = row["document"]
    if document is None and stored is not None:
        document = stored.document
    return {**row, "document": document, "digest": digest_of(document or "", row["fault"])}


def _same(stored: Row[Any] | None, row: Mapping[str, Any]) -> bool:
    return stored is not None and dict(stored._mapping) == row  # noqa: SLF001 SQLAlchemy's name


def fetch_listed(connection: Connection, name: str) -> Row[Any]:
    """Return the row that counts for a module. Raises: NotFound."""
    row = connection.execute(LISTED_AS, {"of_name": name}).one_or_none()
    if row is None:
        raise NotFound(f"no module {name[:60]!a}: no source of the catalogue lists it")
    return row


def fetch_newest(connection: Connection, name: str) -> Row[Any] | None:
    """Return the newest version of a module's overlay, None where there never was any."""
    return connection.execute(VERSIONS.limit(1), {"of_name": name}).one_or_none()


def standing(newest: Row[Any] | None) -> Overlay | None:
    """Return the overlay that the newest version leaves, None where it took it away."""
    if newest is None or newest.fields is None:
        return None
    return Overlay(newest.version, from_json(newest.fields))


def refuse_stale(name: str, overlay: Overlay | None, if_version: int | None) -> None:
    """Do nothing where the editor named no version, or the present one.

    Raises:
        VersionConflict: another editor was faster.
    """
    now = overlay.version if overlay else 0
    if if_version not in (None, now):
        raise VersionConflict(
            f"what editors set of {name[:60]!a} was to be at version {if_version}, and it is at "
            f"{now}: read it again, then decide again"
        )


def add_version(
    connection: Connection,
    name: str,
    version: int,
    fields: Mapping[str, Any] | None,
    *,
    author: str,
    vo: str,
    at: datetime,
) -> None:
    """Add a version to a module's overlay, and drop its oldest ones; None takes it away."""
    row = {"name": name, "version": version, "at": instant_text(at), "author": author, "vo": vo}
    kept = None if fields is None else json_text(fields)
    connection.execute(ADD_VERSION, {**row, "fields": kept})
    connection.execute(TRIM_VERSIONS, {"of_name": name, "last": version - VERSIONS_KEPT})


def digest_of(*texts: str) -> str:
    """Return what tells these texts from others: 16 hexadecimal digits."""
    return sha256("\0".join(texts).encode()).hexdigest()[:16]
