"""Messages that are still to be sent, and the addresses of those who asked for them.

The columns are spelt out, not taken from `specs.schema`: a revision describes its own day.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "outbox",
        sa.Column("destination", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("line", sa.Text, nullable=False),
        sa.Column("owner_iss", sa.Text, nullable=False),
        sa.Column("owner_sub", sa.Text, nullable=False),
        sa.Column("notice", sa.Text, nullable=False),
        sa.Column("at", sa.Text, nullable=False),
        sa.Column("due_at", sa.Text, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Index("outbox_line", "destination", "line", "number"),
    )
    op.create_table(
        "contacts",
        sa.Column("owner_iss", sa.Text, primary_key=True),
        sa.Column("owner_sub", sa.Text, primary_key=True),
        sa.Column("address", sa.Text, nullable=False),
    )
