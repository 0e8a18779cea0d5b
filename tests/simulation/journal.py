"""Everything that was ever written to the simulated Nomad's jobs and allocations, with its writer.

Nomad itself forgets; oracles must not.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from reconciler.cluster.simulator.state import SimulatedNomad
from reconciler.jobs import Json

HANDS = "by hand"

NOMAD = "nomad"
"""The writer of what nobody asked for: placements, statuses, restarts."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One write. `table` is "jobs" or "allocs", `kind` the event's type, `before` what was there.

    `number` counts the writes. `look_began_at` is the number at which the look began that wrote it,
    `misled_at` that of the last read before it that its process was answered from an older state.
    """

    number: int
    at_ns: int
    by: str
    table: str
    kind: str
    key: tuple[str, str]
    item: Json
    before: Json | None
    gone: bool = False
    look_began_at: int = 0
    misled_at: int = -1

    @property
    def definition(self) -> bool:
        """Whether somebody wrote the job itself, not only its status."""
        if self.table != "jobs":
            return False
        before = self.before["JobModifyIndex"] if self.before else None
        return self.gone or before != self.item["JobModifyIndex"]


class Journal:
    """Listens at the tables of one simulated Nomad.

    `writers` is, by job, the newest entry that said what may run of it; none for what a snapshot
    brought back. Our own stop says nothing of that.
    """

    def __init__(self, nomad: SimulatedNomad) -> None:
        self.entries: list[Entry] = []
        self.writers: dict[tuple[str, str], Entry] = {}
        self.number = 0
        self._world = nomad._world
        self._now_ns = nomad._now_ns
        self._by, self._began_at, self._misled_at = NOMAD, 0, -1
        self._last: dict[tuple[str, str], Json | None] = {}
        self._note = self._world._note
        self._world._note = self._listen  # type: ignore[method-assign]

    @contextmanager
    def by(self, writer: str, look_began_at: int = 0, misled_at: int = -1) -> Iterator[None]:
        """Sign what is written meanwhile."""
        before = self._by, self._began_at, self._misled_at
        self._by, self._began_at, self._misled_at = writer, look_began_at, misled_at
        try:
            yield
        finally:
            self._by, self._began_at, self._misled_at = before

    def tick(self) -> int:
        """Return the next number; wishes are numbered by the same counter."""
        self.number += 1
        return self.number

    def start_again(self) -> None:
        """Take the jobs as they are now: the tables were replaced as a whole."""
        self._last = dict(self._world.jobs)
        self.writers.clear()

    def _listen(
        self, table: str, kind: str, key: str, item: Json, *, keys: Any = None, **more: Any
    ) -> None:
        self._note(table, kind, key, item, keys=keys, **more)
        if table not in ("jobs", "allocs"):
            return
        place = item["Namespace"], item["ID"]
        gone = bool(more.get("Deleted"))
        entry = Entry(
            number=self.tick(),
            at_ns=self._now_ns(),
            by=self._by,
            table=table,
            kind=kind,
            key=place,
            item=item,
            before=self._last.get(place),
            gone=gone,
            look_began_at=self._began_at,
            misled_at=self._misled_at,
        )
        self.entries.append(entry)
        if entry.definition and (self._by == HANDS or not (gone or item["Stop"])):
            self.writers[place] = entry
        self._last[place] = None if gone else item
