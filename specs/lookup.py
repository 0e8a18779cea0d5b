"""What the spec store answers: records, their past, and the feeds of what changed."""

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Final

from sqlalchemy import Connection, func, select

from specs import feeds, history, ownership, source_reports, trash
from specs.admission import fetch_standing, fetch_used, foresee
from specs.catalog.shelf import Shelf
from specs.database import Database, Told
from specs.log_tails import LogTail, fetch_ended_badly, fetch_tails
from specs.model import (
    Deployment,
    Owner,
    Phase,
    Reach,
    Revision,
    StoreIdentity,
    TimelineEntry,
    Trashed,
)
from specs.moves import Move, Opening, fetch_moves, fetch_opening
from specs.ownership import SourceState
from specs.pruning import Place
from specs.quota import Amounts, Excess, Quotas, Scope, Standing
from specs.reading import (
    RECORDS,
    Page,
    fetch_generation,
    fetch_heads,
    fetch_identity,
    fetch_named,
    fetch_page,
    fetch_record,
    fetch_records,
    fetch_secrets,
    fetch_versions,
    within,
)
from specs.records import Head
from specs.revisions import refuse_absent, refuse_ambiguous
from specs.schema import deployments
from specs.sealing import Seal, fingerprint, opened
from specs.source_reports import SourceReport

NO_LABELS: Final[Mapping[str, str]] = MappingProxyType({})


class Readable(Shelf):
    """The reading half of `specs.store.SpecStore`.

    Whose records somebody may see is part of every question that a person asks: what is out of
    their `Reach` is not there.
    """

    def __init__(
        self, url: str, *, now: Callable[[], datetime], quotas: Quotas, seal: Seal | None
    ) -> None:
        super().__init__(Database(url), now)
        self._quotas = quotas
        self._seal = seal
        self._wishes = feeds.Bell()
        self._changes = feeds.Bell()
        self.source_asked = threading.Event()
        """Set when this process asks for a source to be read; who hears it clears it."""

    def tell_durations(self, told: Told) -> None:
        """Let `told` hear of every use of the database from now on."""
        self._database.told = told

    def history(self, uid: str) -> Sequence[Revision]:
        """Return what was wished at each generation, newest first; the oldest are not kept.

        A deletion is a generation without a revision.
        """
        with self._database.read() as connection:
            return history.fetch_revisions(connection, uid)

    def events(self, uid: str, *, after: int = 0, limit: int = 500) -> Sequence[TimelineEntry]:
        """Return up to `limit` events of a record after that number, oldest first.

        They are there while the record is in the trash, too.
        """
        with self._database.read() as connection:
            return history.fetch_events(connection, uid, after=after, limit=limit)

    def all_events(
        self, reach: Reach, *, after: int = 0, limit: int = 500
    ) -> Sequence[TimelineEntry]:
        """Return up to `limit` events of all records within reach, like `events`."""
        with self._database.read() as connection:
            return history.fetch_events_within(connection, reach, after=after, limit=limit)

    def newest_events(
        self, reach: Reach, *, uid: str | None = None, before: int | None = None, limit: int = 100
    ) -> Sequence[TimelineEntry]:
        """Return up to `limit` events within reach before that number, newest first.

        `before` None: from the newest on; `uid` None: of all records.
        """
        with self._database.read() as connection:
            return history.fetch_newest_events(
                connection, reach, uid=uid, before=before, limit=limit
            )

    def generation(self, uid: str) -> int | None:
        """Return the present generation of a record, None where it is gone.

        Raises:
            LeaseLost: to a replica that no longer does the work of this record.
        """
        with self._database.read() as connection:
            self._check_lease(connection, [uid])
            return fetch_generation(connection, uid)

    def deleted(self, uids: Sequence[str]) -> frozenset[str]:
        """Return those of `uids` whose records were deleted and are in the trash."""
        with self._database.read() as connection:
            return trash.fetch_deleted(connection, uids)

    def trash(self, reach: Reach) -> Sequence[Trashed]:
        """Return what can be had back of what is within reach, newest deletion first."""
        with self._database.read() as connection:
            return trash.fetch_trash(connection, reach)

    def held_deletions(self, source: str) -> Sequence[Deployment]:
        """Return the source's records whose deletion waits for a yes, by owner and name."""
        with self._database.read() as connection:
            return ownership.fetch_held(connection, source)

    def owned_places(self, source: str) -> Mapping[Place, Mapping[str, str]]:
        """Return where the source's records stand, each with what it keeps of its file."""
        with self._database.read() as connection:
            return ownership.fetch_places(connection, source)

    def source_reports(self) -> Mapping[str, SourceReport]:
        """Return what is known of every source that the site has, by id."""
        with self._database.read() as connection:
            return source_reports.fetch_reports(connection)

    def source_asks(self) -> Mapping[str, int]:
        """Return by source how often somebody asked for a read."""
        with self._database.read() as connection:
            return source_reports.fetch_asked(connection)

    def sources(self) -> Sequence[SourceState]:
        """Return every source that owns records, by name."""
        with self._database.read() as connection:
            return ownership.fetch_sources(connection)

    def identity(self) -> StoreIdentity:
        """Return which store this is, and how far it has come."""
        with self._database.read() as connection:
            return fetch_identity(connection)

    def get(self, uid: str) -> Deployment | None:
        """Return one record whoever owns it, or None where it is gone: for the reconciler."""
        with self._database.read() as connection:
            return fetch_record(connection, uid)

    def find(self, reach: Reach, *, vo: str | None, name: str) -> Deployment:
        """Return the record of that name; `vo` None: from whichever VO has it.

        Raises:
            NotFound: there is none within reach.
            InvalidSpec: `vo` is None and more than one VO has it.
        """
        with self._database.read() as connection:
            found = fetch_named(connection, reach, name, vo=vo)
        if len(found) > 1:
            refuse_ambiguous(name, [record.vo for record in found])
        return found[0] if found else refuse_absent(name)

    def find_uid(self, reach: Reach, *, uid: str) -> Deployment:
        """Return one record; NotFound where it is gone or out of reach."""
        record = self.get(uid)
        found = record is not None and reach.covers(record.owner, record.vo)
        return record if record and found else refuse_absent(uid)

    def page(
        self,
        reach: Reach,
        *,
        vo: str | None = None,
        phase: Phase | None = None,
        labels: Mapping[str, str] = NO_LABELS,
        limit: int = 500,
        continue_: str | None = None,
    ) -> Page:
        """Return up to `limit` of the records within reach, newest first, from `continue_` on.

        Records that come or go between two pages shift nothing.

        Raises:
            InvalidSpec: `continue_` is no place in the list.
        """
        query = RECORDS.where(within(reach, deployments))
        if vo is not None:
            query = query.where(deployments.c.vo == vo)
        with self._database.read() as connection:
            return fetch_page(
                connection, query, phase=phase, labels=labels, limit=limit, continue_=continue_
            )

    @property
    def broken(self) -> str:
        """What of the store was found damaged by this process, "" while nothing was."""
        return self._database.broken

    def versions(self, reach: Reach) -> Sequence[tuple[str, int]]:
        """Return uid and `resource_version` of every record within reach, newest first."""
        with self._database.read() as connection:
            return fetch_versions(connection, reach)

    def get_many(self, uids: Sequence[str]) -> Sequence[Deployment]:
        """Return those of some records that are there, whoever owns them, in no order."""
        with self._database.read() as connection:
            return fetch_records(connection, uids)

    def secrets(self, uid: str) -> Mapping[str, str]:
        """Return the secrets of a record by `secret_name`; none for an unknown one.

        Raises:
            SealBroken: one can't be opened with the keys of this site.
        """
        with self._database.read() as connection:
            return opened(uid, fetch_secrets(connection, uid), self._seal)

    def fingerprint(self, text: str) -> str:
        """Return what tells `text`, which may hold secrets, from others: 16 hexadecimal digits."""
        return fingerprint(text, self._seal)

    @property
    def quotas(self) -> Quotas:
        """The site's limits."""
        return self._quotas

    def used(self, scopes: Sequence[Scope]) -> Mapping[Scope, Amounts]:
        """Return what is counted of each scope."""
        with self._database.read() as connection:
            return fetch_used(connection, scopes)

    def standing(self, uid: str) -> Standing | None:
        """Return where a record stands in line for its quota; None where it waits for nothing."""
        with self._database.read() as connection:
            return fetch_standing(connection, uid, self._quotas)

    def over_quota(self, record: Deployment) -> Sequence[Excess]:
        """Return what the quota would not leave room for, were `record` written now."""
        with self._database.read() as connection:
            return foresee(connection, record, self._quotas, self._now())

    def heads(self) -> Sequence[Head]:
        """Return the head of every record, in no order."""
        with self._database.read() as connection:
            return fetch_heads(connection)

    def wishes_after(self, position: int, *, limit: int = 1000) -> Sequence[feeds.Wished]:
        """Return the wishes after `position`, oldest first.

        Every uid comes once, at its newest position.
        """
        with self._database.read() as connection:
            return feeds.wishes_after(connection, position, limit)

    def wait_for_wishes(self, after: int, *, timeout_s: float) -> bool:
        """Wait until there is a wish after that position; False when the time is up.

        This process's writes wake at once, others' within a second.
        """
        return self._wishes.wait(after, timeout_s=timeout_s, ask=self.newest_wish)

    def newest_wish(self) -> int:
        """Return the position at the end of the feed of wishes."""
        return self._ask(feeds.newest_wish)

    def phases(self) -> Mapping[str, int]:
        """Return how many records are in each phase; phases of none are left out."""
        query = select(deployments.c.phase, func.count()).group_by(deployments.c.phase)
        with self._database.read() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def wished_at(self, uid: str, generation: int) -> datetime | None:
        """Return when a generation was taken; None: it is not among those that are kept."""
        with self._database.read() as connection:
            return history.fetch_wished_at(connection, uid, generation)

    def newest_version(self) -> int:
        """Return the number of the newest write of any kind: the end of both feeds."""
        return self._ask(feeds.newest_change)

    def changes_after(self, version: int, *, limit: int = 1000) -> tuple[int, Sequence[str]]:
        """Return the version to go on from and the uids that changed after `version`.

        Statuses count, and so do records that are gone. A uid may come twice.
        """
        with self._database.read() as connection:
            return feeds.changes_after(connection, version, limit)

    def log_tails(self, uid: str) -> Sequence[LogTail]:
        """Return the ends of logs that are kept of a deployment, the newest allocation first."""
        with self._database.read() as connection:
            return fetch_tails(connection, uid)

    def ended_badly(self, uids: Collection[str] | None) -> Sequence[str]:
        """Return which of `uids` (None: of all) have an allocation that failed or was lost."""
        with self._database.read() as connection:
            return fetch_ended_badly(connection, uids)

    def moves(
        self, uids: Sequence[str], *, up_to: int, of: Callable[[Owner], bool]
    ) -> Sequence[Move]:
        """Return what became of `uids` up to a version that `changes_after` gave, oldest first.

        Of the owners that `of` picks only.
        """
        with self._database.read() as connection:
            return fetch_moves(connection, uids, up_to=up_to, of=of)

    def opening(
        self, reach: Reach, *, vo: str | None, name: str | None, after: int | None
    ) -> Opening:
        """Return what a watch begins with: the records, and with `after` what went since then.

        Raises:
            Expired: what changed after `after` is forgotten, or it is no version of this store.
        """
        with self._database.read() as connection:
            return fetch_opening(connection, reach, vo=vo, name=name, after=after)

    def wait_for_changes(self, after: int, *, timeout_s: float) -> bool:
        """Wait until anything changed after that version; like `wait_for_wishes`."""
        return self._changes.wait(after, timeout_s=timeout_s, ask=self.newest_version)

    def _ask(self, question: Callable[[Connection], int]) -> int:
        with self._database.read() as connection:
            return question(connection)
