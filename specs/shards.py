"""How the work is shared out among the site's reconcilers (pure).

Every deployment belongs to one of `SHARDS` parts by its uid, and each part to one reconciler at a
time. What a site does once, such as reading spec files, goes with the part `SITE`.
"""

import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

SHARDS: Final = 16
"""Never to be changed: replicas of two versions must agree whose a deployment is."""

SITE: Final = 0
"""The part whose holder also does the single duties of the site."""


@dataclass(frozen=True, slots=True)
class Shares:
    """What one replica does about the parts: goes on with, takes over, gives up."""

    keep: frozenset[int]
    take: frozenset[int]
    leave: frozenset[int]


def shard_of(uid: str) -> int:
    """Return the part that a deployment belongs to, 0 <= part < SHARDS."""
    return zlib.crc32(uid.encode()) % SHARDS


def shares(me: str, alive: Collection[str], holders: Mapping[int, str | None]) -> Shares:
    """Return what replica `me` does, so that all who are `alive` come to hold equally many.

    `holders` has the holder of each part whose lease is not over; any other part is free. Taken is
    only what is free. Who holds as many as is fair does nothing, so that nothing moves without
    need: the odd ones go to the first by id.
    """
    mine = sorted(shard for shard in range(SHARDS) if holders.get(shard) == me)
    free = [shard for shard in range(SHARDS) if holders.get(shard) is None]
    everybody = sorted({*alive, me})
    each, odd = divmod(SHARDS, len(everybody))
    fair = each + (everybody.index(me) < odd)
    return Shares(
        keep=frozenset(mine[:fair]),
        take=frozenset(free[: max(0, fair - len(mine))]),
        leave=frozenset(mine[fair:]),
    )
