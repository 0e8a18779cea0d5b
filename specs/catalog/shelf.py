"""Keeps the catalogue of modules in the store: what sources list, and what editors set over it.

One process reads the sources and writes what it found; every process shows it, also while a source
is down and after a restart. A part of `specs.store.SpecStore`: thread-safe, and several processes
may share one database.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Any, NamedTuple

from pydantic_core import from_json
from sqlalchemy import Connection, Row, delete

from specs.catalog.metadata import BadMetadata, Metadata, defaults_of, metadata_of, nothing_known
from specs.catalog.overlay import overlaid, overlay_of
from specs.catalog.reads import CatalogRead, ModuleRead
from specs.catalog.rows import (
    ASKED,
    LISTED,
    MARKS,
    OF_SOURCE,
    OVERLAYS,
    STATES,
    VERSIONS,
    WRITE_STATE,
    Overlay,
    add_version,
    digest_of,
    fetch_listed,
    fetch_newest,
    move,
    refuse_stale,
    rows_of,
    standing,
    write_rows,
    write_source,
)
from specs.catalog.states import CatalogState
from specs.database import Database
from specs.feeds import NOTICE_S
from specs.leases import Leases
from specs.schema import catalog_modules, catalog_sources
from specs.shards import SITE, shard_of
from specs.userconf import FieldKey, Value, module_defaults


@dataclass(frozen=True, slots=True)
class Stored:
    """One module as it is shown.

    `metadata` is the last good one with the overlay over it, None where there never was one;
    `fault` says what is wrong with the latest ("": nothing). `overlay_version` is 0 where no editor
    set anything. `version` is another whenever anything but `read_at` is.
    """

    name: str
    metadata: Metadata | None
    fault: str
    source: str
    read_at: datetime
    overlay_version: int
    version: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class Catalog:
    """All modules by name, in the order of names. `version` moves with every change of them."""

    version: int
    modules: Mapping[str, Stored]

    def defaults(self, name: str) -> Mapping[FieldKey, Value]:
        """Return what a deployment of the module has where it says nothing.

        A module that is not listed, or of which nothing is known, has the image of its name.
        """
        stored = self.modules.get(name)
        if stored is None or stored.metadata is None:
            return module_defaults(name)
        return defaults_of(stored.metadata)


@dataclass(frozen=True, slots=True)
class OverlayVersion:
    """What an editor set at one version; `fields` None: the overlay was taken away."""

    version: int
    author: str
    vo: str
    at: datetime
    fields: Mapping[str, Any] | None


class _Warm(NamedTuple):
    """The catalogue as this process knows it, and when it last asked whether that is so."""

    catalog: Catalog
    marks: tuple[int, int]
    asked_at: datetime


@dataclass(slots=True)
class _Kept:
    """What a process knows of the catalogue, one for all views of a store."""

    warm: _Warm | None = None


class Shelf:
    """The part of the spec store that keeps the catalogue of modules."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now
        self._leases: Leases | None = None
        self._loading = Lock()
        self._kept = _Kept()
        self._understood: dict[tuple[str, str], Metadata | str] = {}

    def put_catalog(self, source: str, read: CatalogRead, *, rank: int) -> None:
        """Write a whole read of a source; what is in neither of its lists goes.

        Of a module that can't be used now the last good document stays, beside what is wrong. The
        lowest `rank` wins a name that several sources have.
        """
        fresh = rows_of(source, read)  # before the transaction: others wait for its end
        with self._fenced_write() as connection:
            move(connection, reads=1)
            changed = write_rows(connection, source, fresh, read.same)
            ranked = write_source(connection, source, rank=rank, read_at=self._now())
            if changed or ranked:
                move(connection, version=1)
            connection.commit()
        self._cool()

    def put_catalog_state(self, source: str, state: CatalogState) -> None:
        """Write what is known of a source."""
        row = {"source": source, "state": state.model_dump_json(by_alias=True)}
        with self._fenced_write(durable=False) as connection:
            connection.execute(WRITE_STATE, row)
            connection.commit()

    def forget_catalogs(self, but: Collection[str]) -> None:
        """Forget all sources but those, with what they list: the site no longer has them.

        What editors set stays, for the day when a source lists the module again.
        """
        with self._fenced_write() as connection:
            move(connection, reads=1)
            for table in (catalog_sources, catalog_modules):
                gone = connection.execute(delete(table).where(table.c.source.not_in(but)))
            if gone.rowcount:
                move(connection, version=1)
            connection.commit()
        self._cool()

    def catalog_states(self) -> Sequence[CatalogState]:
        """Return what is known of every source, in their order."""
        with self._database.read() as connection:
            states = connection.execute(STATES).scalars().all()
        return [CatalogState.model_validate_json(state) for state in states]

    def catalog_known(self, source: str) -> Mapping[str, str]:
        """Return the versions of a source's modules by name, of those that nothing is wrong with.

        All others are to be read again.
        """
        with self._database.read() as connection:
            rows = connection.execute(OF_SOURCE, {"of_source": source}).all()
        return {row.name: row.version for row in rows if not row.fault}

    def ask_catalogs(self) -> None:
        """Ask whoever reads the sources to do so now."""
        with self._database.write(durable=False) as connection:
            move(connection, asked=1)
            connection.commit()

    def catalog_asks(self) -> int:
        """Return how often somebody asked for a read of the sources."""
        with self._database.read() as connection:
            return connection.execute(ASKED).scalar_one_or_none() or 0

    def catalog(self) -> Catalog:
        """Return all modules that the sources list, with what editors set.

        This process's changes are in it at once, others' within a second.
        """
        warm = self._kept.warm
        if warm is not None and self._fresh(warm):
            return warm.catalog
        # While one thread asks, the others go on with what is known.
        if not self._loading.acquire(blocking=warm is None) and warm is not None:
            return warm.catalog
        try:
            if self._kept.warm is None or not self._fresh(self._kept.warm):
                self._kept.warm = self._asked(self._kept.warm)
            return self._kept.warm.catalog
        finally:
            self._loading.release()

    def put_overlay(
        self,
        name: str,
        fields: object,
        *,
        author: str,
        vo: str,
        if_version: int | None = None,
    ) -> Stored:
        """Set fields of a module's metadata, in place of all that editors set before.

        `fields` may be all that is shown: see `specs.catalog.overlay`. The same again is no new
        version. `if_version` is the `overlay_version` that the editor saw.

        Raises:
            NotFound: no source lists the module.
            VersionConflict: another editor was faster.
            InvalidSpec: with a pointer to everything that is wrong.
        """
        with self._database.write() as connection:
            move(connection, version=1)
            row, newest = fetch_listed(connection, name), fetch_newest(connection, name)
            overlay = standing(newest)
            refuse_stale(name, overlay, if_version)
            set_anew = overlay_of(fields, self._source_metadata(row))
            if set_anew != (overlay.fields if overlay else {}):
                overlay = Overlay(newest.version + 1 if newest else 1, set_anew)
                add_version(connection, name, *overlay, author=author, vo=vo, at=self._now())
                connection.commit()
            stored = self._stored(row, overlay)
        self._cool()
        return stored

    def delete_overlay(
        self, name: str, *, author: str, vo: str = "", if_version: int | None = None
    ) -> Stored:
        """Take away what editors set of a module: what its source says is shown again.

        Raises:
            NotFound: no source lists the module.
            VersionConflict: another editor was faster.
        """
        with self._database.write() as connection:
            move(connection, version=1)
            row, newest = fetch_listed(connection, name), fetch_newest(connection, name)
            overlay = standing(newest)
            refuse_stale(name, overlay, if_version)
            if overlay is not None:
                version = overlay.version + 1
                add_version(connection, name, version, None, author=author, vo=vo, at=self._now())
                connection.commit()
            stored = self._stored(row, None)
        self._cool()
        return stored

    def overlay_versions(self, name: str) -> Sequence[OverlayVersion]:
        """Return what editors set of a module, newest first; the oldest are not kept."""
        with self._database.read() as connection:
            rows = connection.execute(VERSIONS, {"of_name": name}).all()
        return [
            OverlayVersion(
                row.version,
                row.author,
                row.vo,
                datetime.fromisoformat(row.at),
                None if row.fields is None else from_json(row.fields),
            )
            for row in rows
        ]

    @contextmanager
    def _fenced_write(
        self, *, of: Sequence[str] = (), durable: bool = True
    ) -> Iterator[Connection]:
        """Write for the records `of`, none: what one process of a site writes.

        Raises: LeaseLost where that is not this process's work.
        """
        with self._database.write(durable=durable) as connection:
            self._check_lease(connection, of)
            yield connection

    def _check_lease(self, connection: Connection, uids: Sequence[str]) -> None:
        if self._leases is not None:
            self._leases.check(connection, frozenset(map(shard_of, uids)) or {SITE})

    def _fresh(self, warm: _Warm) -> bool:
        return 0 <= (self._now() - warm.asked_at).total_seconds() < NOTICE_S

    def _cool(self) -> None:
        """Have the next reader ask: something was written."""
        with self._loading:
            self._kept.warm = None

    def _asked(self, warm: _Warm | None) -> _Warm:
        asked_at = self._now()
        with self._database.read() as connection:
            # Read before the rows: what commits in between is then read again, not missed.
            marks = connection.execute(MARKS).one_or_none() or (0, 0)
            if warm is not None and warm.marks == tuple(marks):
                return warm._replace(asked_at=asked_at)
            catalog = self._load(connection, marks[0])
        return _Warm(catalog, (marks[0], marks[1]), asked_at)

    def _load(self, connection: Connection, version: int) -> Catalog:
        overlays = {
            row.name: Overlay(row.version, from_json(row.fields))
            for row in connection.execute(OVERLAYS)
            if row.fields is not None
        }
        rows: dict[str, Row[Any]] = {}
        for row in connection.execute(LISTED):
            rows.setdefault(row.name, row)
        # Sorted here: how texts sort in a database is that database's setting.
        modules = {name: self._stored(rows[name], overlays.get(name)) for name in sorted(rows)}
        shown_now = {(row.name, row.digest) for row in rows.values()}
        self._understood = {k: v for k, v in self._understood.copy().items() if k in shown_now}
        return Catalog(version, modules)

    def _stored(self, row: Row[Any], overlay: Overlay | None) -> Stored:
        source = self._understand(row)
        metadata = None if isinstance(source, str) else source
        fault = row.fault or (source if isinstance(source, str) else "")
        if overlay is not None and overlay.fields:
            metadata = overlaid(metadata or nothing_known(row.name), overlay.fields)
        version = overlay.version if overlay else 0
        return Stored(
            name=row.name,
            metadata=metadata,
            fault=fault,
            source=row.source,
            read_at=datetime.fromisoformat(row.read_at),
            overlay_version=version,
            version=digest_of(row.source, row.digest, str(version)),
            url=row.url,
        )

    def _source_metadata(self, row: Row[Any]) -> Metadata:
        source = self._understand(row)
        return nothing_known(row.name) if isinstance(source, str) else source

    def _understand(self, row: Row[Any]) -> Metadata | str:
        """Return what the source says of a module, or why that can't be used.

        It is understood once while it stays the same.
        """
        key = (row.name, row.digest)
        if known := self._understood.get(key):
            return known
        document = None if row.document is None else from_json(row.document)
        read = ModuleRead(row.name, "v1", document=document, fault=row.fault)
        try:
            found: Metadata | str = metadata_of(read)
        except BadMetadata as bad:
            found = str(bad)
        self._understood[key] = found
        return found
