"""First tables.

The columns are spelt out, not taken from `specs.schema`: a revision describes its own day.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    counter = op.create_table(
        "counter",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.CheckConstraint("id = 1", name="counter_has_one_row"),
    )
    op.bulk_insert(counter, [{"id": 1, "version": 0}])
    create_deployments()
    op.create_table(
        "applied_jobs",
        uid_of_deployment(primary_key=True),
        sa.Column("job", sa.Text, nullable=False),
    )
    op.create_table(
        "secrets",
        uid_of_deployment(primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("owner_iss", sa.Text, primary_key=True),
        sa.Column("owner_sub", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        uid_of_deployment(nullable=False),
    )
    op.create_index("ix_idempotency_keys_uid", "idempotency_keys", ["uid"])
    op.create_table(
        "departures",
        sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("uid", sa.Text, nullable=False),
    )


def create_deployments() -> None:
    op.create_table(
        "deployments",
        sa.Column("uid", sa.Text, primary_key=True),
        sa.Column("owner_iss", sa.Text, nullable=False),
        sa.Column("owner_sub", sa.Text, nullable=False),
        sa.Column("owner_name", sa.Text, nullable=False),
        sa.Column("vo", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("born", sa.BigInteger, nullable=False),
        sa.Column("wished", sa.BigInteger, nullable=False),
        sa.Column("resource_version", sa.BigInteger, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("secrets_generation", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("deletion_requested_at", sa.Text),
        sa.Column("suspended", sa.Boolean, nullable=False),
        sa.Column("observed_generation", sa.BigInteger, nullable=False),
        sa.Column("observed_at", sa.Text),
        sa.Column("phase", sa.Text, nullable=False),
        sa.Column("seen_index", sa.BigInteger, nullable=False),
        sa.Column("applied_generation", sa.BigInteger, nullable=False),
        sa.Column("applied_secrets_generation", sa.BigInteger, nullable=False),
        sa.Column("applied_digest", sa.Text),
        sa.Column("applied_index", sa.BigInteger, nullable=False),
        sa.Column("finalizers", sa.Text, nullable=False),
        sa.Column("labels", sa.Text, nullable=False),
        sa.Column("annotations", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.UniqueConstraint("owner_iss", "owner_sub", "vo", "name", name="deployments_name"),
    )
    for name, columns in {
        "deployments_born": ["owner_iss", "owner_sub", "born"],
        "deployments_wished": ["wished"],
        "deployments_resource_version": ["resource_version"],
    }.items():
        op.create_index(name, "deployments", columns, unique=True)


def uid_of_deployment(*, primary_key: bool = False, nullable: bool | None = None) -> sa.Column[str]:
    return sa.Column(
        "uid",
        sa.Text,
        sa.ForeignKey("deployments.uid", ondelete="CASCADE"),
        primary_key=primary_key,
        nullable=not primary_key if nullable is None else nullable,
    )
