"""The writes of the spec store: one numbered transaction and what it does to the tables.

Says how a record is written; when and why is said by `specs.store`.
"""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import Connection, bindparam, delete, insert, select, text, update

from specs.model import Applied, Deployment, Owner
from specs.reading import fetch_named, fetch_record, fetch_secrets
from specs.records import Look, json_text, row_of
from specs.schema import (
    applied_jobs,
    counter,
    departures,
    deployments,
    idempotency_keys,
    secrets,
)

TAKE_NUMBER: Final = (
    update(counter).values(version=counter.c.version + 1).returning(counter.c.version)
)
WRITE_LOOK: Final = (
    update(deployments)
    .where(
        deployments.c.uid == bindparam("of_uid"),
        deployments.c.resource_version == bindparam("read_version"),
    )
    .values(
        {
            name: bindparam(name)
            for name in ("resource_version", "observed_at", "seen_index", *Look._fields)
        }
    )
)
# One statement for both databases; SQLAlchemy has it only per dialect.
WRITE_APPLIED_JOB: Final = text(
    "INSERT INTO applied_jobs (uid, job) VALUES (:uid, :job)"
    " ON CONFLICT (uid) DO UPDATE SET job = excluded.job"
)
WRITE_SEEN_INDEX: Final = (
    update(deployments)
    .where(deployments.c.uid == bindparam("of_uid"))
    .values(seen_index=bindparam("seen_index"))
)


class Write:
    """One transaction with its number, `version`; committed by `SpecStore` where it `changed`.

    Taking the number locks the counter's row, so that no other writer is between us and the
    commit: what is read here stays true.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.version: int = connection.execute(TAKE_NUMBER).scalar_one()
        self.changed = False
        self.wished = False

    def record(self, uid: str) -> Deployment | None:
        """Return one record, or None where it is gone."""
        return fetch_record(self.connection, uid)

    def record_named(self, owner: Owner, vo: str, name: str) -> Deployment | None:
        """Return the owner's record of that name, or None."""
        return next(iter(fetch_named(self.connection, owner, name, vo=vo)), None)

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
        """Return the secrets of a record by name."""
        return fetch_secrets(self.connection, uid)

    def insert(self, record: Deployment, values: Mapping[str, str]) -> None:
        """Add a record with its secrets; it is a wish."""
        numbers = {"born": self.version, "wished": self.version, "seen_index": 0}
        self.connection.execute(insert(deployments), row_of(record)._asdict() | numbers)
        self._insert_secrets(record.uid, values)
        self.changed = self.wished = True

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

    def save_look(
        self, uid: str, look: Look, *, read_version: int, observed_at: str | None, seen_index: int
    ) -> bool:
        """Write what a look saw; False when the record moved since `read_version`."""
        columns = {
            "of_uid": uid,
            "read_version": read_version,
            "resource_version": self.version,
            "observed_at": observed_at,
            "seen_index": seen_index,
            **look._asdict(),
        }
        self.changed = self.connection.execute(WRITE_LOOK, columns).rowcount == 1
        return self.changed

    def save_applied_job(self, uid: str, applied: Applied | None) -> None:
        """Replace the job that was last sent for a record."""
        if applied is None:
            self.connection.execute(delete(applied_jobs).where(applied_jobs.c.uid == uid))
        else:
            self.connection.execute(WRITE_APPLIED_JOB, {"uid": uid, "job": json_text(applied.job)})

    def remember_key(self, owner: Owner, key: str, uid: str) -> None:
        """Let the owner's Idempotency-Key stand for the record from now on."""
        self.connection.execute(
            insert(idempotency_keys),
            {"owner_iss": owner.iss, "owner_sub": owner.sub, "key": key, "uid": uid},
        )
        self.changed = True

    def remove(self, uid: str) -> None:
        """Remove a record and all that hangs on it; the feed of changes tells that it is gone."""
        self.connection.execute(delete(deployments).where(deployments.c.uid == uid))
        self.connection.execute(insert(departures), {"version": self.version, "uid": uid})
        self.changed = True

    def _insert_secrets(self, uid: str, values: Mapping[str, str]) -> None:
        rows = [{"uid": uid, "name": name, "value": value} for name, value in values.items()]
        if rows:
            self.connection.execute(insert(secrets), rows)
