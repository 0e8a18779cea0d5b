"""Lets wishes in as far as the quota goes, inside the transaction that writes them.

Every transaction that writes takes the one row of `counter` first, so no two of them judge the same
room: what is admitted never exceeds a limit, however many ask at once.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from pydantic_core import from_json, to_json
from sqlalchemy import Connection, bindparam, delete, func, select, text

from specs.faults import Fault, QuotaExceeded
from specs.model import Deployment, Owner, Reservation
from specs.quota import (
    NOTHING,
    Amounts,
    Claimant,
    Excess,
    Quotas,
    Scope,
    Standing,
    UserScope,
    admitted,
    asks_of,
    difference,
    excess_faults,
    excess_of,
    impossible,
    scopes_of,
    total,
)
from specs.reading import fetch_record
from specs.records import json_text
from specs.schema import deployments, quota_use
from specs.timeline import let_in as let_in_event
from specs.transaction import Subject, Write

LINE: Final = (
    select(
        deployments.c.uid,
        deployments.c.owner_iss,
        deployments.c.owner_sub,
        deployments.c.vo,
        deployments.c.counted,
        deployments.c.asks,
        deployments.c.queue_rank,
        deployments.c.queued_at,
    )
    .where(deployments.c.queued_at.is_not(None))
    .order_by(deployments.c.queue_rank.desc(), deployments.c.queued_at)
)
# Whoever waits elsewhere shares no room with these. What is compared is no bare column, so that the
# index of those who wait is taken: by VO or owner SQLite would read all that they have.
LINE_WITH: Final = LINE.where(
    (func.coalesce(deployments.c.vo, "") == bindparam("vo"))
    | (
        (func.coalesce(deployments.c.owner_iss, "") == bindparam("iss"))
        & (func.coalesce(deployments.c.owner_sub, "") == bindparam("sub"))
    )
)
NEWEST_IN_LINE: Final = select(func.max(deployments.c.queued_at)).where(
    deployments.c.queued_at.is_not(None)
)
USED: Final = select(quota_use.c.scope, quota_use.c.used).where(
    quota_use.c.scope.in_(bindparam("scopes", expanding=True))
)
WRITE_USED: Final = text(
    "INSERT INTO quota_use (scope, used) VALUES (:scope, :used)"
    " ON CONFLICT (scope) DO UPDATE SET used = excluded.used"
)
FORGET_SCOPE: Final = delete(quota_use).where(quota_use.c.scope == bindparam("of_scope"))


def admit(write: Write, record: Deployment, quotas: Quotas) -> Deployment:
    """Return `record`, about to be written with another wish, as the quota lets it be.

    It is let in and counted, or put in line. One that claims nothing anew is always let in, also
    where a limit was lowered under it.

    Raises:
        QuotaExceeded: it asks for more than a limit at all, or the site has no line to wait in.
    """
    before = record.reservation
    asks = asks_of(record, write.now())
    claimant = _claimant_of(record, asks)
    if not difference(claimant.claims, before.counted):
        return replace(record, reservation=Reservation(before.counted))
    if excess := impossible(claimant, quotas):
        raise QuotaExceeded(excess_faults(excess))
    place = (-quotas.rank_of(record.spec), before.queued_at or write.version)
    line = _with_place(write.connection, record, claimant, place)
    used = fetch_used(write.connection, {s for one in line for s in one.scopes})
    if claimant in admitted(line, used, quotas):
        count(write, claimant.scopes, difference(claimant.claims, before.counted), used)
        return replace(record, reservation=Reservation(claimant.claims))
    if quotas.over == "refuse":
        raise QuotaExceeded(_refusal(excess_of(claimant, used, quotas)))
    queued = Reservation(before.counted, asks, queued_at=place[1], rank=-place[0])
    return replace(record, reservation=queued)


def count_running(write: Write, record: Deployment) -> Deployment:
    """Return a new `record` of what runs already, counted, also where that is beyond a limit."""
    asks = asks_of(record, write.now())
    count(write, scopes_of(record.owner, record.vo), difference(asks, NOTHING))
    return replace(record, reservation=Reservation(asks))


def let_in(write: Write, quotas: Quotas, *, beside: Deployment | None = None) -> int:
    """Let in those who wait and for whom there is room now; return how many.

    `beside`: only those who share a scope with that record.
    """
    line = [claimant for claimant, _ in _fetch_line(write.connection, beside)]
    if not line:
        return 0
    used = fetch_used(write.connection, {s for one in line for s in one.scopes})
    chosen = admitted(line, used, quotas)
    for claimant in chosen:
        _let_in(write, claimant)
    return len(chosen)


def release(write: Write, record: Deployment, quotas: Quotas, *, at: datetime) -> None:
    """Count no more of `record` than its wish asked for at that instant: nothing else runs now.

    One that waits goes on waiting, unless it asks for nothing any more.
    """
    asks = asks_of(record, at)
    less = difference(asks, record.reservation.counted)
    stays = asks if record.over_quota else not less
    if stays:
        return
    count(write, scopes_of(record.owner, record.vo), less)
    changed = replace(record, reservation=Reservation(asks), resource_version=write.version)
    write.save(changed, wished=False)
    let_in(write, quotas, beside=record)


def forget(write: Write, record: Deployment, quotas: Quotas) -> None:
    """Count nothing of `record` any more: it is gone."""
    counted = difference(NOTHING, record.reservation.counted)
    count(write, scopes_of(record.owner, record.vo), counted)
    let_in(write, quotas, beside=record)


def count(
    write: Write,
    scopes: Sequence[Scope],
    change: Amounts,
    used: Mapping[Scope, Amounts] | None = None,
) -> None:
    """Add `change` to what is used of the scopes; `used` is that, where it was read."""
    if not change:
        return
    used = fetch_used(write.connection, scopes) if used is None else used
    for scope in scopes:
        left = total((used[scope], change))
        if left:
            row = {"scope": scope_text(scope), "used": json_text(left)}
            write.connection.execute(WRITE_USED, row)
        else:
            write.connection.execute(FORGET_SCOPE, {"of_scope": scope_text(scope)})


def fetch_used(connection: Connection, scopes: Iterable[Scope]) -> Mapping[Scope, Amounts]:
    """Return what is used of each scope."""
    by_text = {scope_text(scope): scope for scope in scopes}
    used: dict[Scope, Amounts] = dict.fromkeys(by_text.values(), NOTHING)
    for text_, amounts in connection.execute(USED, {"scopes": sorted(by_text)}):
        used[by_text[text_]] = from_json(amounts)
    return used


def fetch_standing(connection: Connection, uid: str, quotas: Quotas) -> Standing | None:
    """Return where a record stands in line; None where it waits for nothing."""
    record = fetch_record(connection, uid)
    line = [] if record is None else [one for one, _ in _fetch_line(connection, record)]
    for position, waiting in enumerate(line, 1):
        if waiting.uid == uid:
            used = fetch_used(connection, waiting.scopes)
            return Standing(position, excess_of(waiting, used, quotas))
    return None


def newest_in_line(connection: Connection) -> int:
    """Return the number of the newest write that waits in line, 0: nobody waits."""
    return connection.execute(NEWEST_IN_LINE).scalar_one() or 0


def foresee(
    connection: Connection, record: Deployment, quotas: Quotas, now: datetime
) -> list[Excess]:
    """Return what the quota would not leave room for, were `record` written now."""
    claimant = _claimant_of(record, asks_of(record, now))
    used = fetch_used(connection, claimant.scopes)
    return impossible(claimant, quotas) or excess_of(claimant, used, quotas)


def scope_text(scope: Scope) -> str:
    """Return the key of a scope in the table."""
    names = ["user", *scope.owner] if isinstance(scope, UserScope) else ["vo", scope.vo]
    return to_json(names).decode()


def _fetch_line(
    connection: Connection, beside: Deployment | None
) -> list[tuple[Claimant, tuple[int, int]]]:
    query, given = LINE, {}
    if beside is not None:
        query = LINE_WITH
        given = {"vo": beside.vo, "iss": beside.owner.iss, "sub": beside.owner.sub}
    return [
        (
            Claimant(
                row.uid,
                Owner(row.owner_iss, row.owner_sub),
                row.vo,
                from_json(row.counted),
                from_json(row.asks),
            ),
            (-row.queue_rank, row.queued_at),
        )
        for row in connection.execute(query, given)
    ]


def _with_place(
    connection: Connection, record: Deployment, claimant: Claimant, place: tuple[int, int]
) -> list[Claimant]:
    line = [one for one in _fetch_line(connection, record) if one[0].uid != record.uid]
    line.append((claimant, place))
    return [one for one, _ in sorted(line, key=lambda pair: pair[1])]


def _let_in(write: Write, claimant: Claimant) -> None:
    record = write.record(claimant.uid)
    if record is None:
        return
    write.take_number()
    count(write, claimant.scopes, difference(claimant.claims, claimant.counted))
    changed = replace(
        record,
        reservation=Reservation(claimant.claims),
        resource_version=write.version,
    )
    write.save(changed, wished=True)
    write.tell(Subject.of(changed), let_in_event())


def _claimant_of(record: Deployment, asks: Amounts) -> Claimant:
    return Claimant(record.uid, record.owner, record.vo, record.reservation.counted, asks)


def _refusal(excess: Sequence[Excess]) -> list[Fault]:
    return excess_faults(excess) or [
        Fault("/spec", "OverQuota", "those in line for the quota come first", "later")
    ]
