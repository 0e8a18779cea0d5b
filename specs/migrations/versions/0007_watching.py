"""How far back the feed of changes reaches.

The column is spelt out, not taken from `specs.schema`: a revision describes its own day.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column(
        "counter", sa.Column("forgotten", sa.BigInteger, nullable=False, server_default="0")
    )
    # What an earlier clean-up forgot is not known: nobody goes on from before this day.
    op.execute("UPDATE counter SET forgotten = version")
