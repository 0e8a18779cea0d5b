"""Revisions, the timeline, the trash, the budget of deletions, and the identity of the store.

The columns are spelt out, not taken from `specs.schema`: a revision describes its own day.
"""

from datetime import UTC, datetime
from uuid import uuid4

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    extend_counter()
    extend_deployments()
    date_departures()
    create_revisions()
    create_events()
    create_trash()
    op.create_table(
        "prunes",
        sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("source_id", sa.Text, nullable=False),
        sa.Column("at", sa.Text, nullable=False),
    )


def extend_counter() -> None:
    for column in (number("durable"), number("event"), words("store_id")):
        op.add_column("counter", column)
    # The commit of this migration is synced to the disk, and with it all that came before.
    op.execute(
        sa.text("UPDATE counter SET durable = version, store_id = :made").bindparams(
            made=str(uuid4())
        )
    )


def extend_deployments() -> None:
    for column in (
        words("deletion_held"),
        sa.Column("wake_at", sa.Text),
        number("applied_restart"),
        words("source_id"),
        sa.Column("pin", sa.Text),
    ):
        op.add_column("deployments", column)
    op.create_index("deployments_source_id", "deployments", ["source_id"])


def date_departures() -> None:
    op.add_column("departures", words("at"))
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    op.execute(sa.text("UPDATE departures SET at = :now").bindparams(now=now))


def create_revisions() -> None:
    op.create_table(
        "revisions",
        sa.Column("uid", sa.Text, primary_key=True),
        sa.Column("generation", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("pinned_generation", sa.BigInteger),
    )
    # When the present wish was written was not kept: no later than now, no earlier than this.
    op.execute(
        "INSERT INTO revisions (uid, generation, at, actor, source, spec)"
        " SELECT uid, generation, created_at, owner_name, source, spec FROM deployments"
    )


def create_events() -> None:
    op.create_table(
        "events",
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("uid", sa.Text, nullable=False),
        sa.Column("owner_iss", sa.Text, nullable=False),
        sa.Column("owner_sub", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("at", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("from_phase", sa.Text, nullable=False),
        sa.Column("to_phase", sa.Text, nullable=False),
    )
    op.create_index("events_uid", "events", ["uid", "number"])
    op.create_index("events_owner", "events", ["owner_iss", "owner_sub", "number"])


def create_trash() -> None:
    op.create_table(
        "trash",
        sa.Column("uid", sa.Text, primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("at", sa.Text, nullable=False),
        sa.Column("owner_iss", sa.Text, nullable=False),
        sa.Column("owner_sub", sa.Text, nullable=False),
        sa.Column("vo", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("record", sa.Text, nullable=False),
        sa.Column("secrets", sa.Text, nullable=False),
    )
    op.create_index("trash_owner", "trash", ["owner_iss", "owner_sub", "version"])
    op.create_index("trash_version", "trash", ["version"])


# A column added to rows that are there needs a value for them, and SQLite takes it as a default.
def number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default="0")


def words(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default="")
