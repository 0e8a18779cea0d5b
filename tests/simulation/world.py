"""What all processes of one history share: a simulated Nomad, a store, a clock and the seed."""

import atexit
import itertools
import shutil
import sqlite3
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from copy import copy
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from random import Random
from tempfile import mkdtemp
from typing import Any, Final

from reconciler.cluster.simulator.cluster import SimulatedCluster
from reconciler.cluster.simulator.hcl import parse_job
from reconciler.cluster.simulator.state import Snapshot
from reconciler.cluster.simulator.world import World
from reconciler.jobs import Changes, Json
from specs.quota import NO_QUOTAS
from specs.store import SpecStore
from tests.builders import SEAL
from tests.simulated import SECOND, Pretend
from tests.simulation.faults import Faults
from tests.simulation.journal import Journal
from tests.simulation.limits import Limits
from tests.whole import ETC

NAMESPACE: Final = "ai4eosc"
PASTS_KEPT: Final = 5
MEMORY: Final = Path("/dev/shm")


class SimulatedWorld:
    """One history's surroundings. `trace` takes lines where `tracing`.

    `wished` counts the answered wishes, `generations` is what their owners were told last,
    `registers` counts our registers by job id. `surprises` and `told` are violations that show at
    once: looks that broke, statuses of a generation to come.
    """

    def __init__(self, random: Random, *, faults: Faults, nodes: Sequence[Any]) -> None:
        self.random, self.faults = random, faults
        self.tracing = False
        self.lines: list[str] = []
        self.pretend = Pretend(nodes)
        self.nomad, self.clock = self.pretend.nomad, self.pretend.clock
        self.cluster = SimulatedCluster(self.nomad, [NAMESPACE])
        self.journal = Journal(self.nomad)
        self.template = template()
        self.surprises: list[str] = []
        self.told: list[str] = []
        self.registers: Counter[str] = Counter()
        self.on_pin: Callable[[str], None] = lambda _: None
        self.wished = 0
        self.generations: dict[str, int] = {}
        self.pasts: deque[Snapshot] = deque(maxlen=PASTS_KEPT)
        uids = (f"{n:08d}-0000-4000-8000-000000000000" for n in itertools.count(1))
        self.store = empty_store(now=self.now, new_uid=lambda: next(uids))
        self.limits = Limits(self)

    def now(self) -> datetime:
        """Return the instant of the virtual clock."""
        return datetime.fromtimestamp(self.clock.now_ns / SECOND, UTC)

    def trace(self, line: str) -> None:
        """Add a line to the trace."""
        if not self.tracing:
            return
        at_s = (self.clock.now_ns // 10**8) % 10**6 / 10
        self.lines.append(f"{at_s:>8} {line}")

    def ours(self, told: Changes) -> Changes:
        """Return what of a message concerns our namespaces, as the adapter does."""
        return self.cluster._ours(told)

    def remember(self) -> None:
        """Keep the state of now as one that a stale read may answer from."""
        self.pasts.append(self.nomad.snapshot())

    def a_past(self) -> SimulatedCluster:
        """Return the cluster as it was a while ago."""
        if not self.pasts:
            self.remember()
        still: Any = _Still(self.nomad._world, self.random.choice(self.pasts))
        return SimulatedCluster(still, [NAMESPACE])


class _Still:
    """What a read needs of a Nomad, standing still at one state."""

    def __init__(self, world: World, snapshot: Snapshot) -> None:
        self._world = copy(world)
        vars(self._world).update(snapshot.tables.by_name)

    def put_namespace(self, name: str) -> None:
        """Do nothing: it is there."""

    @contextmanager
    def reading(self) -> Iterator[World]:
        yield self._world


@cache
def template() -> Json:
    """Return `etc/job.nomad`, parsed once for all histories."""
    return parse_job((ETC / "job.nomad").read_text())


def empty_store(*, now: Callable[[], datetime], new_uid: Callable[[], str]) -> SpecStore:
    """Return the one store of this machine process, with nothing in it and this clock.

    To open and migrate a database costs more than a whole history; to empty it does not. Nothing
    but the file outlives a history: a `SpecStore` holds connections and compiled statements.
    """
    path, store = _scratch()
    with closing(sqlite3.connect(path)) as connection:
        tables = [
            row[0]
            for row in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")
        ]
        for table in tables:
            if table == "counter":
                connection.execute("UPDATE counter SET version = 0, durable = 0, event = 0")
            elif table != "alembic_version":
                connection.execute(f"DELETE FROM {table}")
        connection.commit()
    store._now, store._new_uid, store._quotas = now, new_uid, NO_QUOTAS
    return store


@cache
def _scratch() -> tuple[Path, SpecStore]:
    folder = Path(mkdtemp(prefix="ai4papi-histories-", dir=MEMORY if MEMORY.is_dir() else None))
    store = SpecStore(f"sqlite:///{folder}/store.db", seal=SEAL)
    store.migrate()
    with closing(sqlite3.connect(folder / "store.db")) as connection:
        connection.execute("UPDATE counter SET store_id = 'simulated'")
        connection.commit()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder / "store.db", store
