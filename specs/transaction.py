"""The writes of the spec store: one numbered transaction and what it does to the tables.

Says how a record is written; when and why is said by `specs.store`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Final, NamedTuple, Self

from sqlalchemy import Connection, Executable, bindparam, delete, insert, select, update

from specs.model import Applied, Deployment, Event, Owner, Reach
from specs.moments import Subscription
from specs.outbox import enqueue
from specs.reading import fetch_named, fetch_record, fetch_secrets
from specs.records import instant_text, json_text, row_of
from specs.schema import (
    applied_jobs,
    counter,
    departures,
    deployments,
    events,
    idempotency_keys,
    revisions,
    secrets,
    trash,
)
from specs.sealing import Seal, opened, sealed
from specs.timeline import Author, deleted

EVENTS_KEPT: Final = 500
"""Newest events that are kept of one record."""

REVISIONS_KEPT: Final = 50
"""Newest revisions that are kept of one record, beside the pinned one and the last good one."""

TAKE_NUMBER: Final = (
    update(counter).values(version=counter.c.version + 1).returning(counter.c.version)
)
# Above every earlier durable number, even where a power cut took back the numbers in between.
TAKE_DURABLE_NUMBER: Final = TAKE_NUMBER.values(durable=counter.c.version + 1)
TAKE_NUMBERS: Final = (
    update(counter)
    .values(version=counter.c.version + bindparam("number_of_versions"))
    .returning(counter.c.version)
)
TAKE_EVENT_NUMBERS: Final = (
    update(counter)
    .values(event=counter.c.event + bindparam("number_of_events"))
    .returning(counter.c.event)
)
ADD_EVENT: Final = insert(events)
EVENT_FIELDS: Final = tuple(field.name for field in fields(Event))
TRIM_EVENTS: Final = delete(events).where(
    events.c.uid == bindparam("of_uid"),
    events.c.number
    <= select(events.c.number)
    .where(events.c.uid == bindparam("of_uid"))
    .order_by(events.c.number.desc())
    .limit(1)
    .offset(EVENTS_KEPT)
    .scalar_subquery(),
)
ADD_REVISION: Final = insert(revisions)
TRIM_REVISIONS: Final = delete(revisions).where(
    revisions.c.uid == bindparam("of_uid"),
    revisions.c.generation
    <= select(revisions.c.generation)
    .where(revisions.c.uid == bindparam("of_uid"))
    .order_by(revisions.c.generation.desc())
    .limit(1)
    .offset(REVISIONS_KEPT)
    .scalar_subquery(),
    revisions.c.generation.not_in([bindparam("pinned"), bindparam("ready")]),
)


class Subject(NamedTuple):
    """The record that an event is about, as the timeline names it."""

    uid: str
    owner: Owner
    vo: str
    name: str
    generation: int

    @classmethod
    def of(cls, record: Deployment) -> Self:
        """Return `record` as the timeline names it."""
        return cls(record.uid, record.owner, record.vo, record.name, record.generation)


class Write:
    """One transaction with its number, `version`; committed by `SpecStore` where it `changed`.

    Taking the number locks the counter's row, so that no other writer is between us and the
    commit: what is read here stays true.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        durable: bool,
        now: Callable[[], datetime],
        seal: Seal | None,
        subscriptions: Sequence[Subscription] = (),
    ) -> None:
        self.connection = connection
        self.now = now
        self.seal = seal
        self.subscriptions = subscriptions
        self.changed = False
        self.wished = False
        self._take_number: Executable = TAKE_DURABLE_NUMBER if durable else TAKE_NUMBER
        self.version = 0
        self.take_number()

    def take_number(self) -> None:
        """Move `version` on: no two records that one transaction writes have the same."""
        self.version = self.connection.execute(self._take_number).scalar_one()

    def take_numbers(self, count: int) -> range:
        """Return `count` numbers, one for each of so many records; the last is `version` now.

        Quick writes only: a durable one has one number each time.
        """
        first = self.version
        if count > 1:
            self.version = self.connection.execute(
                TAKE_NUMBERS, {"number_of_versions": count - 1}
            ).scalar_one()
        return range(first, self.version + 1)

    def record(self, uid: str) -> Deployment | None:
        """Return one record, or None where it is gone."""
        return fetch_record(self.connection, uid)

    def record_named(self, owner: Owner, vo: str, name: str) -> Deployment | None:
        """Return the owner's record of that name, or None."""
        reach = Reach(owner, frozenset({vo}))
        return next(iter(fetch_named(self.connection, reach, name, vo=vo)), None)

    def record_of_key(self, owner: Owner, key: str) -> Deployment | None:
        """Return the record that was answered to the owner's request of that key, or None."""
        query = select(idempotency_keys.c.uid).where(
            idempotency_keys.c.owner_iss == owner.iss,
            idempotency_keys.c.owner_sub == owner.sub,
            idempotency_keys.c.key == key,
        )
        uid = self.connection.execute(query).scalar_one_or_none()
        return None if uid is None else self.record(uid)

    def secrets(self, uid: str) -> dict[str, str]:
        """Return the secrets of a record by name. Raises: SealBroken."""
        return opened(uid, fetch_secrets(self.connection, uid), self.seal)

    def insert(
        self, record: Deployment, values: Mapping[str, str], author: Author, event: Event
    ) -> None:
        """Add a record with its secrets, its revision and what the timeline tells; it is a wish.

        Raises: InvalidSpec where there are secrets and no key to seal them with.
        """
        numbers = {"born": self.version, "wished": self.version, "seen_index": 0}
        self.connection.execute(insert(deployments), row_of(record)._asdict() | numbers)
        self._insert_secrets(record.uid, values)
        self._add_revision(record, author)
        self.tell(Subject.of(record), event)
        self.changed = self.wished = True

    def save_wish(self, record: Deployment, author: Author, *told: Event) -> None:
        """Write a record at a new generation, its revision, and what the timeline tells."""
        self.save(record, wished=True)
        self._add_revision(record, author)
        self.tell(Subject.of(record), *told)

    def save(self, record: Deployment, *, wished: bool) -> None:
        """Write a changed record; `wished` puts it into the feed of wishes."""
        columns: dict[str, object] = row_of(record)._asdict()
        if wished:
            columns["wished"] = self.version
        self.connection.execute(
            update(deployments).where(deployments.c.uid == record.uid).values(columns)
        )
        self.changed = True
        self.wished = self.wished or wished

    def save_secrets(self, uid: str, values: Mapping[str, str]) -> None:
        """Replace the secrets of a record."""
        self.connection.execute(delete(secrets).where(secrets.c.uid == uid))
        self._insert_secrets(uid, values)
        self.changed = True

    def save_applied_job(self, uid: str, applied: Applied) -> None:
        """Keep the job that runs of a record that is new."""
        self.connection.execute(insert(applied_jobs), {"uid": uid, "job": json_text(applied.job)})

    def remember_key(self, owner: Owner, key: str, uid: str) -> None:
        """Let the owner's Idempotency-Key stand for the record from now on."""
        self.connection.execute(
            insert(idempotency_keys),
            {"owner_iss": owner.iss, "owner_sub": owner.sub, "key": key, "uid": uid},
        )
        self.changed = True

    def tell(self, subject: Subject, *told: Event) -> None:
        """Append events to the timeline of a record, and drop its oldest ones."""
        self.tell_all([(subject, event) for event in told])

    def tell_all(self, told: Sequence[tuple[Subject, Event]]) -> None:
        """Append events to the timelines of their records, in order, and drop the oldest ones.

        What somebody subscribed to goes to the outbox, too.
        """
        if not told:
            return
        last = self.connection.execute(
            TAKE_EVENT_NUMBERS, {"number_of_events": len(told)}
        ).scalar_one()
        at = instant_text(self.now())
        rows = [
            {
                "number": number,
                "at": at,
                **_about(subject),
                **{name: getattr(event, name) for name in EVENT_FIELDS},
            }
            for number, (subject, event) in enumerate(told, last - len(told) + 1)
        ]
        self.connection.execute(ADD_EVENT, rows)
        if self.subscriptions:
            written = zip((event for _, event in told), rows, strict=True)
            enqueue(self.connection, self.subscriptions, written)
        uids = dict.fromkeys(subject.uid for subject, _ in told)
        self.connection.execute(TRIM_EVENTS, [{"of_uid": uid} for uid in uids])
        self.changed = True

    def move_to_trash(self, record: Deployment) -> None:
        """Remove a record and all that hangs on it, but what the trash and the past keep.

        The feed of changes tells that it is gone.
        """
        at = instant_text(self.now())
        self.tell(Subject.of(record), deleted())
        self.connection.execute(
            insert(trash),
            {
                "uid": record.uid,
                "version": self.version,
                "at": at,
                "owner_iss": record.owner.iss,
                "owner_sub": record.owner.sub,
                "vo": record.vo,
                "name": record.name,
                "record": json_text(row_of(record)._asdict()),
                "secrets": json_text(fetch_secrets(self.connection, record.uid)),
            },
        )
        self.connection.execute(delete(deployments).where(deployments.c.uid == record.uid))
        self.connection.execute(
            insert(departures), {"version": self.version, "uid": record.uid, "at": at}
        )

    def _add_revision(self, record: Deployment, author: Author) -> None:
        pinned = record.pin.generation if record.pin else None
        self.connection.execute(
            ADD_REVISION,
            {
                "uid": record.uid,
                "generation": record.generation,
                "at": instant_text(self.now()),
                "actor": author.actor,
                "source": json_text(author.source),
                "spec": record.spec.model_dump_json(),
                "pinned_generation": pinned,
            },
        )
        ready = record.status.ready_generation
        self.connection.execute(
            TRIM_REVISIONS, {"of_uid": record.uid, "pinned": pinned or 0, "ready": ready}
        )

    def _insert_secrets(self, uid: str, values: Mapping[str, str]) -> None:
        kept = sealed(uid, values, self.seal)
        rows = [{"uid": uid, "name": name, "value": value} for name, value in kept.items()]
        if rows:
            self.connection.execute(insert(secrets), rows)


def _about(subject: Subject) -> dict[str, object]:
    return {
        "uid": subject.uid,
        "owner_iss": subject.owner.iss,
        "owner_sub": subject.owner.sub,
        "vo": subject.vo,
        "name": subject.name,
        "generation": subject.generation,
    }
