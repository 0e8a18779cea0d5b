"""Keeps the records of what is wanted: every wish, its status and its secrets.

Faces write wishes and read records; the reconciler follows the feed of wishes and writes statuses.
A wish that was answered is on the disk. Everything here is thread-safe, and several processes may
share one database. Errors are those of `specs.faults`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from enum import Enum, auto
from types import MappingProxyType
from typing import Final
from uuid import uuid4

from sqlalchemy import Connection

from specs import feeds, history, ownership, timeline, trash
from specs.database import Database
from specs.faults import VersionConflict
from specs.model import (
    Applied,
    Deployment,
    DeploymentStatus,
    Event,
    Owner,
    Phase,
    Revision,
    StoreIdentity,
    TimelineEntry,
    Trashed,
)
from specs.ownership import Pruned, SourceState, refuse_foreign
from specs.pruning import DeletionBudget, Listing
from specs.reading import (
    RECORDS,
    Page,
    belongs_to,
    fetch_generation,
    fetch_heads,
    fetch_identity,
    fetch_look,
    fetch_named,
    fetch_page,
    fetch_record,
    fetch_secrets,
)
from specs.records import Head, look_of, optional_instant_text, source_id
from specs.revisions import (
    as_wished,
    marked_for_deletion,
    new_record,
    refuse_absent,
    refuse_ambiguous,
    refuse_other_wish,
    refuse_stale,
    refuse_while_being_deleted,
    resolved_secrets,
    revised,
)
from specs.schema import deployments
from specs.timeline import Author
from specs.transaction import WRITE_QUIETLY, Subject, Write
from specs.wish import Wish

NO_LABELS: Final[Mapping[str, str]] = MappingProxyType({})


class Change(Enum):
    """What a put made of the record."""

    CREATED = auto()
    CHANGED = auto()
    UNCHANGED = auto()


def utc_now() -> datetime:
    """Return the present instant."""
    return datetime.now(UTC)


def random_uid() -> str:
    """Return a new UUID."""
    return str(uuid4())


class SpecStore:
    """The spec store at one database URL: `sqlite:///PATH` or `postgresql://…`.

    The tables must be there: see `migrate`.

    Raises:
        ValueError: the URL names a database that this project does not work on.
    """

    def __init__(
        self,
        url: str,
        *,
        now: Callable[[], datetime] = utc_now,
        new_uid: Callable[[], str] = random_uid,
    ) -> None:
        self._database = Database(url)
        self._now = now
        self._new_uid = new_uid
        self._wishes = feeds.Bell()
        self._changes = feeds.Bell()

    def migrate(self) -> None:
        """Make the tables, or bring older ones up to this version; safe to repeat.

        Raises:
            NewerStore: a newer version of this program made them; nothing is changed.
        """
        self._database.migrate()

    def close(self) -> None:
        """Let everybody go who waits and close every connection; nobody may be writing then."""
        self._wishes.close()
        self._changes.close()
        self._database.close()

    def create(
        self,
        wish: Wish,
        *,
        owner: Owner,
        owner_name: str,
        source: Mapping[str, str],
        actor: str | None = None,
        idempotency_key: str | None = None,
    ) -> tuple[Deployment, bool]:
        """Add a record; return it and whether it is new.

        The same wish again gives the record that is there. So does a key that the owner used
        before, whatever the wish says: then this is the repetition of an answered request. `actor`
        is who did it, None: the owner.

        Raises:
            AlreadyExists: the name has another wish, or its record is being deleted.
            InvalidSpec: the wish keeps a secret that was never set.
        """
        with self._write() as write:
            if idempotency_key is not None:
                answered = write.record_of_key(owner, idempotency_key)
                if answered is not None:
                    return answered, False
            record = write.record_named(owner, wish.vo, wish.name)
            created = record is None
            if record is None:
                author = Author(actor or owner_name, source)
                record = self._insert(write, wish, owner, owner_name, author)
            else:
                refuse_while_being_deleted(record)
                refuse_other_wish(record, wish, write.secrets(record.uid))
            if idempotency_key is not None:
                write.remember_key(owner, idempotency_key, record.uid)
            return record, created

    def put(
        self,
        wish: Wish,
        *,
        owner: Owner,
        owner_name: str,
        source: Mapping[str, str],
        actor: str | None = None,
        if_version: int | None = None,
        must_not_exist: bool = False,
    ) -> tuple[Deployment, bool]:
        """Create or replace; return the record and whether it is new.

        An unchanged wish writes nothing. Changed labels or annotations move `resource_version`
        only; a changed spec or secret is a new generation. Something else to run lifts a pin.
        `actor` is who did it, None: the owner. `if_version` is the `resource_version` that the
        caller read.

        Raises:
            VersionConflict: the record is not at `if_version`, or is there and must not be.
            AlreadyExists: the record is being deleted.
            InvalidSpec: the wish keeps a secret that was never set.
        """
        with self._write() as write:
            record = write.record_named(owner, wish.vo, wish.name)
            if record is not None and must_not_exist:
                raise VersionConflict(f"{wish.name!r} is there already in {wish.vo}")
            refuse_stale(record, wish.name, if_version)
            author = Author(actor or owner_name, source)
            if record is None:
                return self._insert(write, wish, owner, owner_name, author), True
            return self._revise(write, record, wish, owner_name, author), False

    def put_from_source(
        self, wish: Wish, *, owner: Owner, owner_name: str, source: Mapping[str, str]
    ) -> tuple[Deployment, Change]:
        """Create or replace in the name of a source; `source` has its `id`.

        Raises:
            AlreadyExists: the name belongs to another source or to people, or the record is being
                deleted.
            InvalidSpec: the wish keeps a secret that was never set.
        """
        mine = source_id(source)
        with self._database.read() as connection:
            for record in fetch_named(connection, owner, wish.name, vo=wish.vo):
                # Most wishes of most reads: told without a turn at the lock of the writers.
                settled = source_id(record.source) == mine and not record.being_deleted
                if settled and as_wished(record, wish, fetch_secrets(connection, record.uid)):
                    return record, Change.UNCHANGED
        with self._write() as write:
            author = Author(mine, source)
            kept = write.record_named(owner, wish.vo, wish.name)
            if kept is None:
                return self._insert(write, wish, owner, owner_name, author), Change.CREATED
            refuse_foreign(kept, mine)
            changed = self._revise(write, kept, wish, owner_name, author)
            return changed, Change.UNCHANGED if changed is kept else Change.CHANGED

    def request_deletion(
        self, uid: str, *, actor: str, source: Mapping[str, str], if_version: int | None = None
    ) -> Deployment:
        """Mark a record for deletion; the reconciler does the rest. Asking again changes nothing.

        `actor` and `source` say who asks, and by which way in.

        Raises:
            NotFound: there is no such record.
            VersionConflict: the record is not at `if_version` and not being deleted yet.
        """
        with self._write() as write:
            record = write.record(uid)
            if record is None:
                refuse_absent(uid)
            if record.being_deleted:
                return record
            refuse_stale(record, record.name, if_version)
            marked = marked_for_deletion(record, version=write.version, now=write.now())
            write.save(marked, wished=True)
            write.tell(Subject.of(marked), timeline.deletion_requested(Author(actor, source)))
            return marked

    def touch(self, uid: str) -> Deployment:
        """Have the reconciler look at a record though nothing new is wished.

        What the last look told stays, but for when it was: the next look is written, even if it
        sees the same.

        Raises:
            NotFound: there is no such record.
        """
        with self._write(durable=False) as write:
            record = write.record(uid) or refuse_absent(uid)
            unseen = record.status.model_copy(update={"observed_at": None})
            touched = replace(record, status=unseen, resource_version=write.version)
            write.save(touched, wished=True)
            return touched

    def rollback(
        self,
        uid: str,
        generation: int,
        *,
        actor: str,
        source: Mapping[str, str],
        if_version: int | None = None,
    ) -> Deployment:
        """Let what ran at `generation` run in place of the wish until something else is wished.

        The wish itself stays, and so do its switches (`specs.model.SWITCHES`). Where what ran then
        is the wish, this lifts the pin; where it runs already, nothing changes.

        Raises:
            NotFound: there is no such record, or its history has no such generation.
            AlreadyExists: the record is being deleted.
            VersionConflict: the record is not at `if_version`.
            InvalidSpec: what ran needs a secret that is no longer stored.
        """
        with self._write() as write:
            author = Author(actor, source)
            return history.roll_back(write, uid, generation, author=author, if_version=if_version)

    def pin_last_good(
        self, uid: str, *, failed_generation: int, good_generation: int, message: str
    ) -> bool:
        """Let what ran at `good_generation` run in place of the wish that failed; tell if it does.

        For the reconciler; `message` goes to the timeline. Nothing is done where the record is not
        at `failed_generation` any more, or the good one can't be had or is just what failed.
        """
        with self._write() as write:
            return history.pin_last_good(
                write,
                uid,
                failed_generation=failed_generation,
                good_generation=good_generation,
                message=message,
            )

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

    def owner_events(
        self, owner: Owner, *, after: int = 0, limit: int = 500
    ) -> Sequence[TimelineEntry]:
        """Return up to `limit` events of all of the owner's records, like `events`."""
        with self._database.read() as connection:
            return history.fetch_owner_events(connection, owner, after=after, limit=limit)

    def generation(self, uid: str) -> int | None:
        """Return the present generation of a record, None where it is gone."""
        with self._database.read() as connection:
            return fetch_generation(connection, uid)

    def deleted(self, uids: Sequence[str]) -> frozenset[str]:
        """Return those of `uids` whose records were deleted and are in the trash."""
        with self._database.read() as connection:
            return trash.fetch_deleted(connection, uids)

    def trash(self, owner: Owner) -> Sequence[Trashed]:
        """Return what the owner can have back, newest deletion first."""
        with self._database.read() as connection:
            return trash.fetch_trash(connection, owner)

    def undelete(
        self, *, owner: Owner, vo: str | None, name: str, actor: str, source: Mapping[str, str]
    ) -> Deployment:
        """Call off the newest deletion of that name, under way or done; return the record.

        It keeps its uid, secrets and history, and belongs to `source` from now on: a source that
        deleted it does not do so again. `vo` None: from whichever VO has it.

        Raises:
            NotFound: there was no deletion of that name, or the trash no longer has it.
            AlreadyExists: the name is taken.
            InvalidSpec: `vo` is None and more than one VO has a deletion of that name.
        """
        with self._write() as write:
            author = Author(actor, source)
            return trash.undelete(write, owner=owner, vo=vo, name=name, author=author)

    def clean_up(self, *, trash_before: datetime, events_before: datetime) -> int:
        """Remove for good what was deleted and what happened before; return how many rows.

        A deletion is forgotten by the feed of changes when the trash forgets it.
        """
        removed = 0
        while True:
            with self._write() as write:
                chunk = trash.clean_up_once(
                    write, trash_before=trash_before, events_before=events_before
                )
            removed += chunk
            if not chunk:
                return removed

    def prune(self, listing: Listing, budget: DeletionBudget) -> Pruned:
        """Delete, or hold, what its source no longer lists; release what it lists again.

        Judged and written at once, so that no two passes exceed the budget together.
        """
        with self._database.read() as connection:
            if ownership.judged(connection, listing, budget, now=self._now()).nothing:
                return Pruned()
        with self._write() as write:
            return ownership.prune(write, listing, budget)

    def confirm_deletions(self, source: str, *, actor: str) -> int:
        """Delete all of the source's records whose deletion is held; return how many."""
        with self._write() as write:
            return ownership.confirm_deletions(write, source, actor=actor)

    def held_deletions(self, source: str) -> Sequence[Deployment]:
        """Return the source's records whose deletion waits for a yes, by owner and name."""
        with self._database.read() as connection:
            return ownership.fetch_held(connection, source)

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

    def find(self, *, owner: Owner, vo: str | None, name: str) -> Deployment:
        """Return the owner's record of that name; `vo` None: from whichever VO has it.

        Raises:
            NotFound: the owner has none.
            InvalidSpec: `vo` is None and more than one VO has it.
        """
        with self._database.read() as connection:
            found = fetch_named(connection, owner, name, vo=vo)
        if len(found) > 1:
            refuse_ambiguous(name, [record.vo for record in found])
        return found[0] if found else refuse_absent(name)

    def find_uid(self, *, owner: Owner, uid: str) -> Deployment:
        """Return the owner's record; NotFound where it is gone or somebody else's."""
        record = self.get(uid)
        return record if record and record.owner == owner else refuse_absent(uid)

    def page(
        self,
        *,
        owner: Owner,
        vo: str | None = None,
        phase: Phase | None = None,
        labels: Mapping[str, str] = NO_LABELS,
        limit: int = 500,
        continue_: str | None = None,
    ) -> Page:
        """Return up to `limit` of the owner's records, newest first, from `continue_` on.

        Records that come or go between two pages shift nothing.

        Raises:
            InvalidSpec: `continue_` is no place in the list.
        """
        query = RECORDS.where(belongs_to(owner))
        if vo is not None:
            query = query.where(deployments.c.vo == vo)
        with self._database.read() as connection:
            return fetch_page(
                connection, query, phase=phase, labels=labels, limit=limit, continue_=continue_
            )

    def secrets(self, uid: str) -> Mapping[str, str]:
        """Return the secrets of a record by `secret_name`; none for an unknown one."""
        with self._database.read() as connection:
            return fetch_secrets(connection, uid)

    def put_status(
        self,
        uid: str,
        status: DeploymentStatus,
        *,
        applied: Applied | None,
        seen_index: int,
        events: Sequence[Event] = (),
        wake_at: datetime | None = None,
    ) -> bool:
        """Write what one look saw and did; return False when the record is gone.

        `applied` None: nothing of ours is in the cluster. Written is only what differs from the
        stored status (a later `observed_at` does not, but after a `touch`), and never over a look
        at a newer generation. A moved `seen_index` or `wake_at` alone is kept without a new
        `resource_version`. The job of `applied` is taken to be unchanged while its digest is.
        `events` are told in any case, and together with what is written.
        """
        look, wake = look_of(status, applied), optional_instant_text(wake_at)
        while True:
            with self._database.read() as connection:
                stored = fetch_look(connection, uid)
            if stored is None:
                return False
            last = stored.look
            overtaken = last.observed_generation > look.observed_generation
            if overtaken and not events:
                return True
            touched = stored.observed_at is None and status.observed_at is not None
            if last == look and not events and not touched:
                if (seen_index, wake) != (stored.seen_index, stored.wake_at):
                    self._write_quietly(uid, seen_index, wake)
                return True
            # Not durable, for speed: a power cut may take back the newest statuses. Then the loop
            # looks again, finds its own job in the cluster, and writes the same status.
            with self._write(durable=False) as write:
                written = not overtaken and write.save_look(
                    uid,
                    look,
                    read_version=stored.resource_version,
                    observed_at=optional_instant_text(status.observed_at),
                    seen_index=seen_index,
                    wake_at=wake,
                )
                if written and look.applied_digest != last.applied_digest:
                    write.save_applied_job(uid, applied)
                if events and (written or overtaken):
                    subject = write.subject(uid, generation=look.observed_generation)
                    if subject is None:
                        return False
                    write.tell(subject, *events)
            if written or overtaken:
                return True

    def remove_finalizer(self, uid: str, finalizer: str) -> None:
        """Take a finalizer off a record that is being deleted; with its last one it is trash.

        A deletion that was called off meanwhile leaves the record as it is.
        """
        with self._write() as write:
            record = write.record(uid)
            if record is None or not record.being_deleted:
                return
            left = tuple(kept for kept in record.finalizers if kept != finalizer)
            if not left:
                write.move_to_trash(replace(record, finalizers=left))
            elif left != record.finalizers:
                write.save(
                    replace(record, finalizers=left, resource_version=write.version), wished=False
                )

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
        return self._wishes.wait(
            after, timeout_s=timeout_s, ask=lambda: self._ask(feeds.newest_wish)
        )

    def newest_version(self) -> int:
        """Return the number of the newest write of any kind: the end of both feeds."""
        return self._ask(feeds.newest_change)

    def changes_after(self, version: int, *, limit: int = 1000) -> tuple[int, Sequence[str]]:
        """Return the version to go on from and the uids that changed after `version`.

        Statuses count, and so do records that are gone. A uid may come twice.
        """
        with self._database.read() as connection:
            return feeds.changes_after(connection, version, limit)

    def wait_for_changes(self, after: int, *, timeout_s: float) -> bool:
        """Wait until anything changed after that version; like `wait_for_wishes`."""
        return self._changes.wait(
            after, timeout_s=timeout_s, ask=lambda: self._ask(feeds.newest_change)
        )

    @contextmanager
    def _write(self, *, durable: bool = True) -> Iterator[Write]:
        with self._database.write(durable=durable) as connection:
            write = Write(connection, durable=durable, now=self._now)
            yield write
            if write.changed:
                connection.commit()
        if write.changed:
            self._changes.ring(write.version)
        if write.wished:
            self._wishes.ring(write.version)

    def _write_quietly(self, uid: str, seen_index: int, wake_at: str | None) -> None:
        columns = {"of_uid": uid, "seen_index": seen_index, "wake_at": wake_at}
        with self._database.write(durable=False) as connection:
            connection.execute(WRITE_QUIETLY, columns)
            connection.commit()

    def _insert(
        self,
        write: Write,
        wish: Wish,
        owner: Owner,
        owner_name: str,
        author: Author,
    ) -> Deployment:
        values = resolved_secrets(wish.secrets, {})
        record = new_record(
            wish,
            uid=self._new_uid(),
            owner=owner,
            owner_name=owner_name,
            source=author.source,
            version=write.version,
            now=self._now(),
        )
        write.insert(record, values, author, timeline.created(record, author))
        return record

    def _revise(
        self, write: Write, record: Deployment, wish: Wish, owner_name: str, author: Author
    ) -> Deployment:
        refuse_while_being_deleted(record)
        kept = write.secrets(record.uid)
        values = resolved_secrets(wish.secrets, kept)
        changed = revised(
            record,
            wish,
            new_secrets=values != kept,
            owner_name=owner_name,
            source=author.source,
            version=write.version,
        )
        if changed.generation > record.generation:
            secrets = timeline.changed_secrets(kept, values)
            events = timeline.wish_changed(record, changed, author, secrets=secrets)
            write.save_wish(changed, author, *events)
        elif changed is not record:
            write.save(changed, wished=False)
        if values != kept:
            write.save_secrets(record.uid, values)
        return changed

    def _ask(self, question: Callable[[Connection], int]) -> int:
        with self._database.read() as connection:
            return question(connection)
