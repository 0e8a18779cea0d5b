"""Replicas that share the work; which programs can work on these tables.

The columns are spelt out, not taken from `specs.schema`: a revision describes its own day.

A revision that only adds what older programs need not know says so: `oldest_reader` is the oldest
revision whose program can go on, and start, beside it. Then a site is upgraded one replica after
another. One that says nothing stops older programs from starting.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
oldest_reader = "0006"

SHARDS = 16


def upgrade() -> None:
    op.add_column(
        "counter", sa.Column("oldest_reader", sa.Text, nullable=False, server_default="0006")
    )
    op.create_table(
        "replicas",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("program", sa.Text, nullable=False),
    )
    leases = op.create_table(
        "leases",
        sa.Column("shard", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("holder", sa.Text),
        sa.Column("term", sa.BigInteger, nullable=False),
        sa.Column("until_at", sa.DateTime(timezone=True)),
    )
    op.bulk_insert(leases, [{"shard": shard, "term": 0} for shard in range(SHARDS)])
