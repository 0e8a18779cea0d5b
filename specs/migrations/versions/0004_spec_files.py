"""What is wrong with the file that declares a deployment, and the sources of such files.

The columns are spelt out, not taken from `specs.schema`: a revision describes its own day.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column(
        "deployments", sa.Column("source_fault", sa.Text, nullable=False, server_default="")
    )
    op.create_table(
        "sources",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("report", sa.Text, nullable=False),
        sa.Column("asked", sa.BigInteger, nullable=False, server_default="0"),
    )
