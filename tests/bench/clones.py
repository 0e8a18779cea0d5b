"""Many deployments from one: its rows in the store's tables, copied under other ids and names.

So a store of a hundred thousand takes seconds, and its rows are like those that the store makes,
whatever columns it has.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, create_engine, insert, select, update

from specs.model import Owner
from specs.schema import METADATA, counter, deployments, quota_use

Row = dict[str, Any]

BATCH: Final = 5000


@dataclass(frozen=True, slots=True)
class Clone:
    """What one copy is called; `texts` are put in the place of others wherever they stand."""

    uid: str
    owner: Owner
    texts: Mapping[str, str]


def clone_uid(number: int) -> str:
    """Return the id of a copy: the same one in every run."""
    return str(UUID(int=(1 << 120) + number, version=4))


def clone(url: str, uid: str, clones: Sequence[Clone]) -> None:
    """Copy the record `uid` of an SQLite store that nobody else has open."""
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            for number in range(0, len(clones), BATCH):
                _clone(connection, uid, clones[number : number + BATCH])
            _count_quota(connection)
    finally:
        engine.dispose()


def _clone(connection: Connection, uid: str, clones: Sequence[Clone]) -> None:
    numbers = connection.execute(select(counter)).one()._mapping
    version, told = numbers["version"], numbers["event"]
    for table in METADATA.sorted_tables:
        if "uid" not in table.c:
            continue
        found = connection.execute(select(table).where(table.c.uid == uid))
        originals = [(dict(row._mapping), _named(row._mapping, clones[0])) for row in found]
        rows = []
        for number, copy in enumerate(clones):
            for original, named in originals:
                row = original | {name: _with(original[name], copy.texts) for name in named}
                if "owner_sub" in row:
                    row |= {"owner_iss": copy.owner.iss, "owner_sub": copy.owner.sub}
                if table is deployments:
                    own = version + number + 1
                    row |= dict.fromkeys(("born", "wished", "resource_version"), own)
                elif "number" in table.c:
                    told += 1
                    row["number"] = told
                rows.append(row)
        if rows:
            connection.execute(insert(table), rows)
    version += len(clones)
    connection.execute(update(counter).values(version=version, durable=version, event=told))


def _named(row: Mapping[str, Any], copy: Clone) -> list[str]:
    """Return the columns in which any of the texts stands that a copy puts others for."""
    texts = [(name, value) for name, value in row.items() if isinstance(value, str)]
    return [name for name, value in texts if any(there in value for there in copy.texts)]


def _with(value: str, texts: Mapping[str, str]) -> str:
    for there, ours in texts.items():
        value = value.replace(there, ours)
    return value


def _count_quota(connection: Connection) -> None:
    """Write what all count for together, as every write of the store does."""
    used: dict[str, Counter[str]] = {}
    columns = deployments.c.owner_iss, deployments.c.owner_sub, deployments.c.vo
    for iss, sub, vo, counted in connection.execute(select(*columns, deployments.c.counted)):
        for scope in (["user", iss, sub], ["vo", vo]):
            key = json.dumps(scope, separators=(",", ":"))
            used.setdefault(key, Counter()).update(json.loads(counted))
    connection.execute(quota_use.delete())
    rows = [
        {"scope": scope, "used": json.dumps(amounts, separators=(",", ":"))}
        for scope, amounts in used.items()
    ]
    connection.execute(insert(quota_use), rows)
