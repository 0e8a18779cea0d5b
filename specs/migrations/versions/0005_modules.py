"""The catalogue of modules, and what a module set where a deployment's spec says nothing.

The columns are spelt out, not taken from `specs.schema`: a revision describes its own day.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column(
        "deployments", sa.Column("module_defaults", sa.Text, nullable=False, server_default="{}")
    )
    op.create_table(
        "catalog_counter",
        sa.Column(
            "id",
            sa.Integer,
            sa.CheckConstraint("id = 1", name="catalog_counter_has_one_row"),
            primary_key=True,
        ),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("reads", sa.BigInteger, nullable=False),
        sa.Column("asked", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "catalog_sources",
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("rank", sa.Integer, nullable=False),
        sa.Column("read_at", sa.Text),
        sa.Column("state", sa.Text),
    )
    op.create_table(
        "catalog_modules",
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("document", sa.Text),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("fault", sa.Text, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
    )
    op.create_table(
        "catalog_overlays",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at", sa.Text, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("vo", sa.Text, nullable=False),
        sa.Column("fields", sa.Text),
    )
