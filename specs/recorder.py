"""What the reconciler writes into the spec store, and how a write of any kind is made.

A replica writes through a view of the store that is fenced by its leases: what is another's work by
now is refused within the transaction.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Self

from specs import feeds, history
from specs.admission import forget, release
from specs.leases import Leases
from specs.log_tails import LogTail, keep_tails
from specs.looks import Due, Told, due, write_looks, write_quietly
from specs.lookup import Readable
from specs.model import Applied, DeploymentStatus, Event
from specs.moments import Subscription
from specs.quota import Quotas
from specs.reading import fetch_looks
from specs.records import look_of, optional_instant_text
from specs.sealing import Seal
from specs.together import Together
from specs.transaction import Write

if TYPE_CHECKING:
    from specs.listening import Listener


class Recorder(Readable):
    """The reconciler's half of `specs.store.SpecStore`.

    Of events, those of `subscriptions` go to the outbox.
    """

    def __init__(
        self,
        url: str,
        *,
        now: Callable[[], datetime],
        quotas: Quotas,
        seal: Seal | None,
        subscriptions: Sequence[Subscription],
    ) -> None:
        super().__init__(url, now=now, quotas=quotas, seal=seal)
        self.subscriptions = subscriptions
        self._listener: Listener | None = None
        self._looks = Together(self._write_looks)

    def listen(self) -> None:
        """Have other processes' writes wake whoever waits here, at once; does nothing on SQLite."""
        if self._database.shared and self._listener is None:
            from specs.listening import Listener  # noqa: PLC0415  # psycopg is an extra

            self._listener = Listener(self._database.url, self._channel, self._hear)
            self._listener.start()

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
        with self._fenced_write(of=[uid], durable=False) as connection:
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
        with self._fenced_write(of=[told.uid], durable=False) as connection:
            write_quietly(connection, [told])
            connection.commit()

    def _channel(self) -> str:
        return feeds.CHANNEL + self.identity().store_id

    def _hear(self, payload: str) -> None:
        number, wished = feeds.told_by(payload)
        self._changes.ring(number)
        if wished:
            self._wishes.ring(number)
