"""The tables of the spec store, for SQLite and PostgreSQL alike; `migrations/` creates them.

Instants are RFC 3339 text in UTC, JSON is text: both databases keep them byte for byte. The numbers
in `resource_version`, `born` and `wished` all come from the one row of `counter`, taken inside the
transaction that uses them; the row's lock makes their order the order of the commits.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

METADATA: Final = MetaData()

counter = Table(
    "counter",
    METADATA,
    Column("id", Integer, CheckConstraint("id = 1", name="counter_has_one_row"), primary_key=True),
    Column("version", BigInteger, nullable=False),
)

deployments = Table(
    "deployments",
    METADATA,
    Column("uid", Text, primary_key=True),
    Column("owner_iss", Text, nullable=False),
    Column("owner_sub", Text, nullable=False),
    Column("owner_name", Text, nullable=False),
    Column("vo", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("born", BigInteger, nullable=False),
    Column("wished", BigInteger, nullable=False),
    Column("resource_version", BigInteger, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("secrets_generation", BigInteger, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("deletion_requested_at", Text),
    Column("suspended", Boolean, nullable=False),
    Column("observed_generation", BigInteger, nullable=False),
    Column("observed_at", Text),
    Column("phase", Text, nullable=False),
    Column("seen_index", BigInteger, nullable=False),
    Column("applied_generation", BigInteger, nullable=False),
    Column("applied_secrets_generation", BigInteger, nullable=False),
    Column("applied_digest", Text),
    Column("applied_index", BigInteger, nullable=False),
    Column("finalizers", Text, nullable=False),
    Column("labels", Text, nullable=False),
    Column("annotations", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("spec", Text, nullable=False),
    Column("status", Text, nullable=False),
    UniqueConstraint("owner_iss", "owner_sub", "vo", "name", name="deployments_name"),
    Index("deployments_born", "owner_iss", "owner_sub", "born", unique=True),
    Index("deployments_wished", "wished", unique=True),
    Index("deployments_resource_version", "resource_version", unique=True),
)
"""One row per record. `applied_digest` is null while nothing is applied."""

applied_jobs = Table(
    "applied_jobs",
    METADATA,
    Column("uid", Text, ForeignKey("deployments.uid", ondelete="CASCADE"), primary_key=True),
    Column("job", Text, nullable=False),
)
"""The rendered job as it was last sent. Apart, so that a status write need not copy it."""

secrets = Table(
    "secrets",
    METADATA,
    Column("uid", Text, ForeignKey("deployments.uid", ondelete="CASCADE"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

idempotency_keys = Table(
    "idempotency_keys",
    METADATA,
    Column("owner_iss", Text, primary_key=True),
    Column("owner_sub", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column(
        "uid", Text, ForeignKey("deployments.uid", ondelete="CASCADE"), nullable=False, index=True
    ),
)

departures = Table(
    "departures",
    METADATA,
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("uid", Text, nullable=False),
)
"""Records that are gone, so that those who follow the changes learn of it."""
