"""The ends of the logs of allocations that failed, kept for when Nomad has forgotten them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, delete, insert, or_, select

from specs.records import instant_text
from specs.schema import deployments, log_tails

KEPT: Final = 2
"""Allocations of one deployment of which the end is kept, the newest ones."""

ENDED_BADLY: Final = ("failed", "lost")
"""The client statuses of allocations whose end is kept."""


@dataclass(frozen=True, slots=True)
class LogTail:
    """The end of what a task of an allocation wrote to `kind`: stdout or stderr."""

    allocation_id: str
    task: str
    kind: str
    text: str


def fetch_tails(connection: Connection, uid: str) -> list[LogTail]:
    """Return what is kept of one deployment, the newest allocation first."""
    rows = connection.execute(
        select(log_tails).where(log_tails.c.uid == uid).order_by(log_tails.c.at.desc())
    )
    return [LogTail(row.allocation_id, row.task, row.kind, row.content) for row in rows]


def fetch_ended_badly(connection: Connection, uids: Collection[str] | None) -> list[str]:
    """Return which of `uids` (None: all) have an allocation that failed or was lost."""
    status = deployments.c.status
    bad = or_(*(status.like(f'%"clientStatus":"{word}"%') for word in ENDED_BADLY))
    query = select(deployments.c.uid).where(bad)
    if uids is not None:
        query = query.where(deployments.c.uid.in_(uids))
    return list(connection.execute(query).scalars())


def keep_tails(
    connection: Connection, uid: str, tails: Sequence[LogTail], *, now: datetime
) -> None:
    """Keep the tails of one allocation in the place of the oldest ones."""
    for tail in tails:
        which = (
            (log_tails.c.uid == uid)
            & (log_tails.c.allocation_id == tail.allocation_id)
            & (log_tails.c.task == tail.task)
            & (log_tails.c.kind == tail.kind)
        )
        connection.execute(delete(log_tails).where(which))
        connection.execute(
            insert(log_tails),
            {
                "uid": uid,
                "allocation_id": tail.allocation_id,
                "task": tail.task,
                "kind": tail.kind,
                "at": instant_text(now),
                # PostgreSQL's text takes every character but this one.
                "content": tail.text.replace("\0", "\ufffd"),
            },
        )
    newest = list(dict.fromkeys(tail.allocation_id for tail in fetch_tails(connection, uid)))
    for allocation_id in newest[KEPT:]:
        connection.execute(
            delete(log_tails).where(
                log_tails.c.uid == uid, log_tails.c.allocation_id == allocation_id
            )
        )
