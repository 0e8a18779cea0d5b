"""Keeps the records of what is wanted: every wish, its status and its secrets.

Faces write wishes and read records; the reconciler follows the feed of wishes and writes statuses.
A wish that was answered is on the disk. Everything here is thread-safe, and several processes may
share one database. Errors are those of `specs.faults`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final
from uuid import uuid4

from sqlalchemy import Connection

from specs import feeds
from specs.database import Database
from specs.faults import VersionConflict
from specs.model import Applied, Deployment, DeploymentStatus, Owner, Phase
from specs.reading import (
    RECORDS,
    Page,
    belongs_to,
    fetch_heads,
    fetch_look,
    fetch_named,
    fetch_page,
    fetch_record,
    fetch_secrets,
)
from specs.records import Head, look_of, optional_instant_text
from specs.revisions import (
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
from specs.transaction import WRITE_SEEN_INDEX, Write
from specs.wish import Wish

NO_LABELS: Final[Mapping[str, str]] = MappingProxyType({})


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
        """Make the tables, or bring older ones up to this version; safe to repeat."""
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
        idempotency_key: str | None = None,
    ) -> tuple[Deployment, bool]:
        """Add a record; return it and whether it is new.

        The same wish again gives the record that is there. So does a key that the owner used
        before, whatever the wish says: then this is the repetition of an answered request.

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
                record = self._insert(write, wish, owner, owner_name, source)
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
        if_version: int | None = None,
        must_not_exist: bool = False,
    ) -> tuple[Deployment, bool]:
        """Create or replace; return the record and whether it is new.

        An unchanged wish writes nothing. Changed labels or annotations move `resource_version`
        only; a changed spec or secret is a new generation. `if_version` is the
        `resource_version` that the caller read.

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
            if record is None:
                return self._insert(write, wish, owner, owner_name, source), True
            refuse_while_being_deleted(record)
            kept = write.secrets(record.uid)
            values = resolved_secrets(wish.secrets, kept)
            changed = revised(
                record,
                wish,
                new_secrets=values != kept,
                owner_name=owner_name,
                source=source,
                version=write.version,
            )
            if changed is not record:
                write.save(changed, wished=changed.generation > record.generation)
            if values != kept:
                write.save_secrets(record.uid, values)
            return changed, False

    def request_deletion(self, uid: str, *, if_version: int | None = None) -> Deployment:
        """Mark a record for deletion; the reconciler does the rest. Asking again changes nothing.

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
            marked = replace(
                record,
                generation=record.generation + 1,
                resource_version=write.version,
                deletion_requested_at=self._now(),
            )
            write.save(marked, wished=True)
            return marked

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
    ) -> bool:
        """Write what one look saw and did; return False when the record is gone.

        `applied` None: nothing of ours is in the cluster. Written is only what differs from the
        stored status (a later `observed_at` does not), and never over a look at a newer
        generation. A moved `seen_index` alone is kept without a new `resource_version`. The job
        of `applied` is taken to be unchanged while its digest is.
        """
        look = look_of(status, applied)
        while True:
            with self._database.read() as connection:
                stored = fetch_look(connection, uid)
            if stored is None:
                return False
            read_version, seen_before, last = stored
            if last.observed_generation > look.observed_generation:
                return True
            if last == look:
                if seen_index != seen_before:
                    self._write_seen_index(uid, seen_index)
                return True
            # Not durable, for speed: a power cut may take back the newest statuses. Then the loop
            # looks again, finds its own job in the cluster, and writes the same status.
            with self._write(durable=False) as write:
                written = write.save_look(
                    uid,
                    look,
                    read_version=read_version,
                    observed_at=optional_instant_text(status.observed_at),
                    seen_index=seen_index,
                )
                if written and look.applied_digest != last.applied_digest:
                    write.save_applied_job(uid, applied)
            if written:
                return True

    def remove_finalizer(self, uid: str, finalizer: str) -> None:
        """Take a finalizer off; a record that is being deleted goes with its last one."""
        with self._write() as write:
            record = write.record(uid)
            if record is None:
                return
            left = tuple(kept for kept in record.finalizers if kept != finalizer)
            if record.being_deleted and not left:
                write.remove(uid)
            elif left != record.finalizers:
                write.save(
                    replace(record, finalizers=left, resource_version=write.version), wished=False
                )

    def heads(self) -> Sequence[Head]:
        """Return the head of every record, in no order."""
        with self._database.read() as connection:
            return fetch_heads(connection)

    def wishes_after(self, position: int, *, limit: int = 1000) -> Sequence[tuple[int, str]]:
        """Return (position, uid) of the wishes after `position`, oldest first.

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
            write = Write(connection)
            yield write
            if write.changed:
                connection.commit()
        if write.changed:
            self._changes.ring(write.version)
        if write.wished:
            self._wishes.ring(write.version)

    def _write_seen_index(self, uid: str, seen_index: int) -> None:
        with self._database.write(durable=False) as connection:
            connection.execute(WRITE_SEEN_INDEX, {"of_uid": uid, "seen_index": seen_index})
            connection.commit()

    def _insert(
        self,
        write: Write,
        wish: Wish,
        owner: Owner,
        owner_name: str,
        source: Mapping[str, str],
    ) -> Deployment:
        values = resolved_secrets(wish.secrets, {})
        record = new_record(
            wish,
            uid=self._new_uid(),
            owner=owner,
            owner_name=owner_name,
            source=source,
            version=write.version,
            now=self._now(),
        )
        write.insert(record, values)
        return record

    def _ask(self, question: Callable[[Connection], int]) -> int:
        with self._database.read() as connection:
            return question(connection)
