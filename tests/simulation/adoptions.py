"""Jobs of the platform before this one, and the operator who takes them over."""

from collections.abc import Mapping
from typing import Final

from reconciler.render import Site
from reconciler.takeover import Takeover
from tests.papi import an_old_job
from tests.simulation.counting import MHZ_PER_CPU
from tests.simulation.journal import HANDS
from tests.simulation.ports import FaultyCluster
from tests.simulation.process import Process
from tests.simulation.users import CPUS, RAMS, Users
from tests.simulation.world import SimulatedWorld
from tests.whole import ALICE, NAMESPACES

JOBS_MAX: Final = 3


class Adoptions:
    """`metas` is, by id, the Meta with which each of their jobs was started."""

    def __init__(self, world: SimulatedWorld, users: Users) -> None:
        self._world, self._random, self._users = world, world.random, users
        self.metas: dict[str, Mapping[str, str]] = {}
        self._taken: set[str] = set()

    def start(self) -> bool:
        """Start one more job of the platform before this one."""
        if len(self.metas) == JOBS_MAX:
            return False
        job = an_old_job(len(self.metas) + 1, owner=self._random.choice(("alice", "bob")))
        (task,) = job["TaskGroups"][0]["Tasks"]
        task["Resources"] = {
            "CPU": self._random.choice(CPUS) * MHZ_PER_CPU,
            "MemoryMB": self._random.choice(RAMS),
        }
        if self._random.random() < 0.5:
            task["Env"]["jupyterPASSWORD"] = ""
        with self._world.journal.by(HANDS):
            self._world.nomad.register(job)
        self.metas[job["ID"]] = job["Meta"]
        self._world.trace(f"their job {job['ID'][:17]} started")
        return True

    def adopt(self, process: Process) -> bool:
        """Take over what there is, on a way to Nomad and the store that may fail."""
        if len(self._taken) == len(self.metas):
            return False
        site = Site(NAMESPACES, mhz_per_cpu=MHZ_PER_CPU, store_id="simulated")
        cluster, store = FaultyCluster(process), process.store
        over = Takeover(cluster, store, site, (ALICE.iss,))  # type: ignore[arg-type]

        def run() -> None:
            for found in over.find():
                if found.record is not None:
                    over.take(found, actor="operator")

        process.do(run)
        for uid in sorted(self.metas.keys() - self._taken):
            record = self._world.store.get(uid)
            if record is not None:
                self._taken.add(uid)
                self._users.note("adopt", record)
        return True
