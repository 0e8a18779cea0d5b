"""What the quota counts of every deployment, and the VO of every event.

The columns are spelt out, not taken from `specs.schema`: a revision describes its own day.
"""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

LINE = sa.text("queued_at IS NOT NULL")


def upgrade() -> None:
    for column in (
        sa.Column("counted", sa.Text, nullable=False, server_default="{}"),
        sa.Column("asks", sa.Text, nullable=False, server_default="{}"),
        sa.Column("queued_at", sa.BigInteger),
        sa.Column("queue_rank", sa.BigInteger, nullable=False, server_default="0"),
    ):
        op.add_column("deployments", column)
    op.create_index("deployments_vo", "deployments", ["vo", "born"])
    op.create_index(
        "deployments_queued",
        "deployments",
        ["queued_at"],
        sqlite_where=LINE,
        postgresql_where=LINE,
    )
    op.create_table(
        "quota_use",
        sa.Column("scope", sa.Text, primary_key=True),
        sa.Column("used", sa.Text, nullable=False),
    )
    count_what_is_there()
    op.add_column("events", sa.Column("vo", sa.Text, nullable=False, server_default=""))
    for table in ("deployments", "trash"):
        op.execute(
            f"UPDATE events SET vo = (SELECT vo FROM {table} WHERE {table}.uid = events.uid)"  # noqa: S608
            f" WHERE EXISTS (SELECT 1 FROM {table} WHERE {table}.uid = events.uid)"
        )


def count_what_is_there() -> None:
    """Count every deployment as let in, whatever the limits: nothing that runs is stopped."""
    connection = op.get_bind()
    used: dict[str, dict[str, int]] = {}
    rows = connection.execute(
        sa.text("SELECT uid, owner_iss, owner_sub, vo, spec, pin, phase FROM deployments")
    ).all()
    for uid, iss, sub, vo, spec, pin, phase in rows:
        target = json.loads(pin)["spec"] if pin else json.loads(spec)
        counted = {} if phase == "Suspended" else amounts(target)
        connection.execute(
            sa.text("UPDATE deployments SET counted = :counted WHERE uid = :uid"),
            {"counted": json.dumps(counted), "uid": uid},
        )
        for scope in (["user", iss, sub], ["vo", vo]):
            key = json.dumps(scope, separators=(",", ":"), ensure_ascii=False)
            sums = used.setdefault(key, {})
            for item, amount in counted.items():
                sums[item] = sums.get(item, 0) + amount
    for key, sums in used.items():
        if sums:
            connection.execute(
                sa.text("INSERT INTO quota_use (scope, used) VALUES (:scope, :used)"),
                {"scope": key, "used": json.dumps(sums)},
            )


def amounts(spec: dict[str, Any]) -> dict[str, int]:
    hardware = spec["hardware"]
    counted = {"deployments": 1}
    counted |= {item: hardware[item] for item in ("cpu_num", "gpu_num", "ram", "disk")}
    if hardware["gpu_type"]:
        counted["gpu_num:" + hardware["gpu_type"]] = hardware["gpu_num"]
    return {item: amount for item, amount in counted.items() if amount}
