"""The ends of the logs of allocations that failed.

The columns are spelt out, not taken from `specs.schema`: a revision describes its own day.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_table(
        "log_tails",
        sa.Column("uid", sa.Text, primary_key=True),
        sa.Column("allocation_id", sa.Text, primary_key=True),
        sa.Column("task", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("at", sa.Text, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
    )
