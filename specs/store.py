"""Keeps the records of what is wanted: every wish, its status and its secrets.

Faces write wishes and read records; the reconciler follows the feed of wishes and writes statuses.
A wish that was answered is on the disk. Everything here is thread-safe, and several processes may
share one database. Errors are those of `specs.faults`.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Self
from uuid import uuid4

from sqlalchemy import Connection

from specs import feeds, history, ownership, source_reports, timeline, trash
from specs.admission import count_running, forget, let_in, newest_in_line, release
from specs.contacts import Contacts
from specs.declaring import Change, Declaring
from specs.faults import AlreadyExists, InvalidSpec, SpecError, VersionConflict
from specs.leases import Leases
from specs.log_tails import LogTail, keep_tails
from specs.looks import Due, Told, due, write_looks, write_quietly
from specs.lookup import Readable
from specs.model import (
    Applied,
    Deployment,
    DeploymentStatus,
    Event,
    Owner,
    Reach,
)
from specs.moments import Subscription
from specs.outbox import Outbox
from specs.ownership import Pruned
from specs.provenance import SourcedWish, refuse_declared
from specs.pruning import DeletionBudget, Listing, Place
from specs.quota import NO_QUOTAS, Quotas
from specs.reading import fetch_looks
from specs.records import look_of, optional_instant_text
from specs.revisions import (
    marked_for_deletion,
    refuse_absent,
    refuse_other_wish,
    refuse_stale,
    refuse_while_being_deleted,
    says_the_same,
)
from specs.sealed_rows import seal_all
from specs.sealing import Seal
from specs.shards import SITE, shard_of
from specs.source_reports import SourceReport
from specs.timeline import Author
from specs.together import Together
from specs.transaction import Subject, Write
from specs.trash import fetch_deleted
from specs.wish import Wish

if TYPE_CHECKING:
    from specs.listening import Listener

NO_LABELS: Final[Mapping[str, str]] = MappingProxyType({})


def utc_now() -> datetime:
    """Return the present instant."""
    return datetime.now(UTC)


def random_uid() -> str:
    """Return a new UUID."""
    return str(uuid4())


class SpecStore(Readable):
    """The spec store at one database URL: `sqlite:///PATH` or `postgresql://…`.

    The tables must be there: see `migrate`. `quotas` are enforced by every write. Secrets are kept
    sealed; without a `seal` none are taken. Of events, those of `subscriptions` go to the `outbox`.

    Raises:
        ValueError: the URL names a database that this project does not work on.
    """

    def __init__(
        self,
        url: str,
        *,
        now: Callable[[], datetime] = utc_now,
        new_uid: Callable[[], str] = random_uid,
        quotas: Quotas = NO_QUOTAS,
        seal: Seal | None = None,
        subscriptions: Sequence[Subscription] = (),
    ) -> None:
        super().__init__(url, now=now, quotas=quotas, seal=seal)
        self._new_uid = new_uid
        self._listener: Listener | None = None
        self._looks = Together(self._write_looks)
        self.subscriptions = subscriptions
        self.outbox = Outbox(self._database, now)
        self.contacts = Contacts(self._database)

    @property
    def sends_mail(self) -> bool:
        """Whether owners who ask for it are told of their deployments."""
        return any(subscription.of_owners for subscription in self.subscriptions)

    def migrate(self) -> None:
        """Make the tables, or bring older ones up to this version; safe to repeat.

        Raises:
            NewerStore: a newer version of this program made them; nothing is changed.
            SealBroken: the secrets in it were sealed with another key.
        """
        self._database.migrate()
        if self._seal is not None:
            with self._database.write() as connection:
                seal_all(connection, self._seal)
                connection.commit()

    def listen(self) -> None:
        """Have other processes' writes wake whoever waits here, at once; does nothing on SQLite."""
        if self._database.shared and self._listener is None:
            from specs.listening import Listener  # noqa: PLC0415  # psycopg is an extra

            self._listener = Listener(self._database.url, self._channel, self._hear)
            self._listener.start()

    def close(self) -> None:
        """Let everybody go who waits and close every connection; nobody may be writing then."""
        if self._listener is not None:
            self._listener.stop()
        self._wishes.close()
        self._changes.close()
        self.source_asked.set()
        self._database.close()

    def leases(self, program: str) -> Leases | None:
        """Return the leases of a new replica of that `program`; None: one process does all."""
        return Leases(self._database, program) if self._database.shared else None

    def fenced(self, leases: Leases) -> Self:
        """Return this store as a replica writes to it: only what is its work by its `leases`.

        Raises: LeaseLost, from then on, by whatever writes. It is closed with this one.
        """
        view = copy(self)
        view._leases = leases  # noqa: SLF001
        view._looks = Together(view._write_looks)  # noqa: SLF001
        return view

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
            QuotaExceeded: the quota has no room for it, and the site no line to wait in.
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
                record = self._declaring.insert(write, wish, owner, owner_name, author)
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
        take_over: bool = False,
    ) -> tuple[Deployment, bool]:
        """Create or replace; return the record and whether it is new.

        An unchanged wish writes nothing. Changed labels or annotations move `resource_version`
        only; a changed spec or secret is a new generation. Something else to run lifts a pin.
        `actor` is who did it, None: the owner. `if_version` is the `resource_version` that the
        caller read. What a spec file declares belongs to people from then on with `take_over`.

        Raises:
            VersionConflict: the record is not at `if_version`, or is there and must not be.
            AlreadyExists: the record is being deleted.
            ManagedBySource: a spec file declares it, and the wish says more than other secrets.
            InvalidSpec: the wish keeps a secret that was never set.
            QuotaExceeded: the quota has no room for it, and the site no line to wait in.
        """
        with self._write() as write:
            record = write.record_named(owner, wish.vo, wish.name)
            if record is not None and must_not_exist:
                raise VersionConflict(f"{wish.name!r} is there already in {wish.vo}")
            refuse_stale(record, wish.name, if_version)
            author = Author(actor or owner_name, source)
            if record is None:
                return self._declaring.insert(write, wish, owner, owner_name, author), True
            if take_over:
                record = ownership.take_for_people(write, record, author)
            elif not says_the_same(record, wish):
                refuse_declared(record)
            return self._declaring.revise(write, record, wish, owner_name, author), False

    def adopt(self, record: Deployment, secrets: Mapping[str, str], *, actor: str) -> Deployment:
        """Add a record of what runs already, with the job on it as `applied`; return it.

        What runs is counted for the quota, and never waits for it.

        Raises:
            AlreadyExists: its uid or its name is taken, or a deleted record had that uid.
            InvalidSpec: there are secrets and no key to seal them with.
        """
        with self._write() as write:
            named = write.record_named(record.owner, record.vo, record.name)
            uid = record.uid
            if named or write.record(uid) or fetch_deleted(write.connection, [uid]):
                raise AlreadyExists(
                    f"there is, or was, a deployment {uid!r}: nothing is taken over"
                )
            author = Author(actor, record.source)
            record = replace(record, resource_version=write.version)
            record = count_running(write, record)
            write.insert(record, secrets, author, timeline.adopted(record, author))
            if record.applied is not None:
                write.save_applied_job(uid, record.applied)
            return record

    def put_from_source(
        self, wishes: Sequence[SourcedWish], *, dry_run: bool = False
    ) -> list[tuple[Deployment, Change] | SpecError]:
        """Create or replace in the name of a source, each wish for itself, all in one write.

        Return what became of each, or why it was refused: see `Declaring.put_sourced`. The
        provenance of each has the source's `id`. A dry run writes nothing.
        """
        with self._write(keep=not dry_run) as write:
            return [self._put_sourced(write, sourced) for sourced in wishes]

    def request_deletion(
        self,
        uid: str,
        *,
        actor: str,
        source: Mapping[str, str],
        if_version: int | None = None,
        take_over: bool = False,
    ) -> Deployment:
        """Mark a record for deletion; the reconciler does the rest. Asking again changes nothing.

        `actor` and `source` say who asks, and by which way in. What a spec file declares goes with
        `take_over` only, and stays away until the file says something else.

        Raises:
            NotFound: there is no such record.
            ManagedBySource: a spec file declares it.
            VersionConflict: the record is not at `if_version` and not being deleted yet.
        """
        with self._write() as write:
            record = write.record(uid)
            if record is None:
                refuse_absent(uid)
            if record.being_deleted:
                return record
            refuse_stale(record, record.name, if_version)
            author = Author(actor, source)
            if take_over:
                record = ownership.take_for_people(write, record, author)
            refuse_declared(record)
            marked = marked_for_deletion(record, version=write.version, now=write.now())
            write.save(marked, wished=True)
            write.tell(Subject.of(marked), timeline.deletion_requested(author))
            if record.over_quota:
                let_in(write, self._quotas, beside=record)
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
            return history.roll_back(
                write,
                uid,
                generation,
                author=author,
                if_version=if_version,
                quotas=self._quotas,
            )

    def pin_last_good(
        self, uid: str, *, failed_generation: int, good_generation: int, message: str
    ) -> bool:
        """Let what ran at `good_generation` run in place of the wish that failed; tell if it does.

        For the reconciler; `message` goes to the timeline. Nothing is done where the record is not
        at `failed_generation` any more, or the good one can't be had or is just what failed.
        """
        with self._write(of=[uid]) as write:
            return history.pin_last_good(
                write,
                uid,
                failed_generation=failed_generation,
                good_generation=good_generation,
                message=message,
                quotas=self._quotas,
            )

    def undelete(
        self, reach: Reach, *, vo: str | None, name: str, actor: str, source: Mapping[str, str]
    ) -> Deployment:
        """Call off the newest deletion of that name, under way or done; return the record.

        It keeps its uid, secrets and history, and belongs to `source` from now on: a source that
        deleted it does not do so again. `vo` None: from whichever VO has it.

        Raises:
            NotFound: there was no deletion of that name, or the trash no longer has it.
            AlreadyExists: the name is taken.
            InvalidSpec: `vo` is None and more than one VO has a deletion of that name.
            QuotaExceeded: the quota has no room for it, and the site no line to wait in.
        """
        with self._write() as write:
            author = Author(actor, source)
            return trash.undelete(
                write, reach, vo=vo, name=name, author=author, quotas=self._quotas
            )

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

    def mark_faults(self, source: str, faults: Mapping[Place, str]) -> None:
        """Say of each of the source's records what is wrong with its file; nothing where it is not
        named."""
        with self._database.read() as connection:
            if not ownership.faults_to_mark(connection, source, faults):
                return
        with self._write() as write:
            ownership.mark_faults(write, source, faults)

    def prune(self, listing: Listing, budget: DeletionBudget, *, dry_run: bool = False) -> Pruned:
        """Delete, or hold, what its source no longer lists; release what it lists again.

        Judged and written at once, so that no two passes exceed the budget together. A dry run
        writes nothing.
        """
        with self._database.read() as connection:
            if ownership.judged(connection, listing, budget, now=self._now()).nothing:
                return Pruned()
        with self._write(keep=not dry_run) as write:
            pruned = ownership.prune(write, listing, budget)
            let_in(write, self._quotas)
            return pruned

    def confirm_deletions(self, source: str, *, actor: str) -> int:
        """Delete all of the source's records whose deletion is held; return how many."""
        with self._write() as write:
            confirmed = ownership.confirm_deletions(write, source, actor=actor)
            let_in(write, self._quotas)
            return confirmed

    def put_source_report(self, source: str, report: SourceReport) -> None:
        """Write what is known of a source that the site has."""
        with self._site_write(durable=False) as connection:
            source_reports.write_report(connection, source, report)
            connection.commit()

    def forget_sources(self, *, but: Collection[str]) -> None:
        """Forget the reports of all sources but those: the site no longer has them.

        What they declared stays, until people or another source take it over.
        """
        with self._site_write() as connection:
            source_reports.forget_others(connection, but)
            connection.commit()

    def ask_source(self, source: str) -> bool:
        """Ask whoever reads the source to do so now; tell whether the site has such a source."""
        with self._database.write(durable=False) as connection:
            asked = source_reports.ask(connection, source)
            connection.commit()
        self.source_asked.set()
        return asked

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
        told = Told(
            uid,
            look_of(status, applied),
            observed_at=optional_instant_text(status.observed_at),
            seen_index=seen_index,
            wake_at=optional_instant_text(wake_at),
            applied=applied,
            events=events,
        )
        if not events:
            with self._database.read() as connection:
                what = due(told, fetch_looks(connection, [uid]).get(uid))
            if what is Due.QUIETLY:
                self._write_quietly(told)
            if what is not Due.LOOK:
                return what is not Due.GONE
        return self._looks.write(told)

    def keep_log_tails(self, uid: str, tails: Sequence[LogTail]) -> None:
        """Keep the ends of the logs of one allocation; those of older ones go.

        The record does not change by it.
        """
        with self._database.write(durable=False) as connection:
            self._check_lease(connection, [uid])
            keep_tails(connection, uid, tails, now=self._now())
            connection.commit()

    def release(self, uid: str, *, generation: int, at: datetime | None = None) -> None:
        """Count no more of a record than `generation` asks for, and let in whom that makes room.

        For the reconciler, once it saw at that instant (None: now) that nothing else can run. A
        wish whose time was up by then leaves the line. Nothing is done where the record is at
        another generation.
        """
        with self._write(of=[uid]) as write:
            record = write.record(uid)
            if record is not None and record.generation == generation:
                release(write, record, self._quotas, at=at or self._now())

    def let_in(self) -> int:
        """Let in who waits for the quota and has room now; return how many.

        Every write that makes room does so by itself; this is for limits that were raised.
        """
        if not self._ask(newest_in_line):
            return 0
        with self._write() as write:
            return let_in(write, self._quotas)

    def remove_finalizer(self, uid: str, finalizer: str) -> None:
        """Take a finalizer off a record that is being deleted; with its last one it is trash.

        A deletion that was called off meanwhile leaves the record as it is.
        """
        with self._write(of=[uid]) as write:
            record = write.record(uid)
            if record is None or not record.being_deleted:
                return
            left = tuple(kept for kept in record.finalizers if kept != finalizer)
            if not left:
                write.move_to_trash(replace(record, finalizers=left))
                forget(write, record, self._quotas)
            elif left != record.finalizers:
                write.save(
                    replace(record, finalizers=left, resource_version=write.version), wished=False
                )

    @contextmanager
    def _write(
        self, *, of: Sequence[str] = (), durable: bool = True, keep: bool = True
    ) -> Iterator[Write]:
        """Begin a write; `of` are the uids that a reconciler writes for, none: its site's duty."""
        with self._database.write(durable=durable) as connection:
            write = Write(
                connection,
                durable=durable,
                now=self._now,
                seal=self._seal,
                subscriptions=self.subscriptions,
            )
            self._check_lease(connection, of)
            yield write
            if not keep:
                return  # what is not committed is undone
            if write.changed:
                if self._database.shared:
                    feeds.notify(connection, write.version, wished=write.wished)
                connection.commit()
        if write.changed:
            self._changes.ring(write.version)
        if write.wished:
            self._wishes.ring(write.version)

    def _write_looks(self, looks: Sequence[Told]) -> Sequence[bool]:
        # Not durable, for speed: a power cut may take back the newest statuses. Then the loop
        # looks again, finds its own job in the cluster, and writes the same status.
        with self._write(of=[told.uid for told in looks], durable=False) as write:
            return write_looks(write, looks)

    def _write_quietly(self, told: Told) -> None:
        with self._database.write(durable=False) as connection:
            self._check_lease(connection, [told.uid])
            write_quietly(connection, [told])
            connection.commit()

    def _channel(self) -> str:
        return feeds.CHANNEL + self.identity().store_id

    def _hear(self, payload: str) -> None:
        number, wished = feeds.told_by(payload)
        self._changes.ring(number)
        if wished:
            self._wishes.ring(number)

    def _check_lease(self, connection: Connection, uids: Sequence[str]) -> None:
        if self._leases is not None:
            self._leases.check(connection, frozenset(map(shard_of, uids)) or {SITE})

    @property
    def _declaring(self) -> Declaring:
        return Declaring(self._quotas, self._new_uid)

    def _put_sourced(
        self, write: Write, sourced: SourcedWish
    ) -> tuple[Deployment, Change] | SpecError:
        write.take_number()
        try:
            with write.connection.begin_nested():
                return self._declaring.put_sourced(write, sourced)
        except (InvalidSpec, AlreadyExists) as refusal:
            return refusal
