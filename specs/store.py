"""Keeps the records of what is wanted: every wish, its status and its secrets.

Faces write wishes and read records; the reconciler follows the feed of wishes and writes statuses.
A wish that was answered is on the disk. Everything here is thread-safe, and several processes may
share one database. Errors are those of `specs.faults`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

from specs import history, ownership, source_reports, timeline, trash
from specs.admission import count_running, let_in, newest_in_line
from specs.contacts import Contacts
from specs.declaring import Change, Declaring
from specs.faults import AlreadyExists, InvalidSpec, SpecError, VersionConflict
from specs.model import (
    Deployment,
    Owner,
    Reach,
)
from specs.moments import Subscription
from specs.outbox import Outbox
from specs.ownership import Pruned
from specs.provenance import SourcedWish, refuse_declared
from specs.pruning import DeletionBudget, Listing, Place
from specs.quota import NO_QUOTAS, Quotas
from specs.recorder import Recorder
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
from specs.source_reports import SourceReport
from specs.timeline import Author
from specs.transaction import Subject, Write
from specs.trash import fetch_deleted
from specs.wish import Wish


def utc_now() -> datetime:
    """Return the present instant."""
    return datetime.now(UTC)


def random_uid() -> str:
    """Return a new UUID."""
    return str(uuid4())


class SpecStore(Recorder):
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
        super().__init__(url, now=now, quotas=quotas, seal=seal, subscriptions=subscriptions)
        self._new_uid = new_uid
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

    def close(self) -> None:
        """Let everybody go who waits and close every connection; nobody may be writing then."""
        if self._listener is not None:
            self._listener.stop()
        self._wishes.close()
        self._changes.close()
        self.source_asked.set()
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
        with self._fenced_write(durable=False) as connection:
            source_reports.write_report(connection, source, report)
            connection.commit()

    def forget_sources(self, *, but: Collection[str]) -> None:
        """Forget the reports of all sources but those: the site no longer has them.

        What they declared stays, until people or another source take it over.
        """
        with self._fenced_write() as connection:
            source_reports.forget_others(connection, but)
            connection.commit()

    def ask_source(self, source: str) -> bool:
        """Ask whoever reads the source to do so now; tell whether the site has such a source."""
        with self._database.write(durable=False) as connection:
            asked = source_reports.ask(connection, source)
            connection.commit()
        self.source_asked.set()
        return asked

    def let_in(self) -> int:
        """Let in who waits for the quota and has room now; return how many.

        Every write that makes room does so by itself; this is for limits that were raised.
        """
        if not self._ask(newest_in_line):
            return 0
        with self._write() as write:
            return let_in(write, self._quotas)

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
