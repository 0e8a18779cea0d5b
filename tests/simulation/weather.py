"""What becomes of the machines, of the work on them, and of Nomad's own state."""

from collections.abc import Callable
from typing import Any

from tests.simulated import a_node
from tests.simulation.world import SimulatedWorld


def some_nodes() -> list[dict[str, Any]]:
    """Return a cluster with little room: two GPUs in all, memory for some eight small jobs."""
    sizes = {"cores": 8, "disk_mb": 200_000}
    return [
        a_node("node-1", memory_mb=14_000, gpus={"A100": 1}, **sizes),
        a_node("node-2", memory_mb=10_000, gpus={"A100": 1}, **sizes),
        a_node("node-3", memory_mb=8_000, **sizes),
    ]


class Weather:
    """What becomes of the machines. `restored_at` are the journal's numbers of restores."""

    def __init__(self, world: SimulatedWorld) -> None:
        self._world, self._random = world, world.random
        self._machines = world.nomad.machines
        self._backup: Any = None
        self.restored_at: list[int] = []

    def lose_node(self) -> bool:
        """A node misses its heartbeats."""
        return self._on("lost", self._machines.lose_node, "ready")

    def return_node(self) -> bool:
        """A node is back, or eligible again."""
        with self._world.nomad.reading() as world:
            away = [
                n["ID"]
                for n in world.nodes.values()
                if n["Status"] != "ready" or n["SchedulingEligibility"] != "eligible"
            ]
        if not away:
            return False
        node_id = self._random.choice(away)
        self._machines.return_node(node_id)
        self._world.trace(f"weather: {node_id[:8]} is back")
        return True

    def drain_node(self) -> bool:
        """A node is drained."""
        return self._on("drained", self._machines.drain_node, "ready")

    def lock_node(self) -> bool:
        """A node is no longer placed on."""
        return self._on(
            "ineligible", lambda i: self._machines.set_eligibility(i, eligible=False), "ready"
        )

    def change_devices(self) -> bool:
        """GPUs appear on a node, or vanish from it."""
        number = self._random.choice((1, 2, 3))
        gpus = {"A100": self._random.choice((1, 2))} if self._random.random() < 0.6 else {}
        sizes = {1: 14_000, 2: 10_000, 3: 8_000}
        fresh = a_node(
            f"node-{number}", memory_mb=sizes[number], cores=8, disk_mb=200_000, gpus=gpus
        )
        with self._world.nomad.reading() as world:
            node = world.nodes[fresh["ID"]]
        self._machines.put_node({**node, "NodeResources": fresh["NodeResources"]})
        self._world.trace(f"weather: devices of node-{number} are {gpus}")
        return True

    def fail_work(self) -> bool:
        """The tasks of an allocation end."""
        running = [a for a in self._allocations() if a["ClientStatus"] == "running"]
        if not running:
            return False
        allocation = self._random.choice(running)
        self._machines.fail_allocation(allocation["ID"])
        self._world.trace(f"weather: work of {allocation['JobID'][:8]} fails")
        return True

    def take_backup(self) -> bool:
        """Somebody saves a snapshot of Nomad."""
        self._backup = self._world.nomad.snapshot()
        self._world.trace("snapshot saved")
        return True

    def restore_backup(self) -> bool:
        """Somebody restores it: the index goes backwards."""
        if self._backup is None:
            return False
        self._world.nomad.restore(self._backup)
        self._world.journal.start_again()
        self.restored_at.append(self._world.journal.tick())
        self._world.trace(f"snapshot restored: index {self._backup.tables.at_index}")
        return True

    def _on(self, what: str, change: Callable[[str], None], status: str) -> bool:
        with self._world.nomad.reading() as world:
            ids = [
                n["ID"]
                for n in world.nodes.values()
                if n["Status"] == status and n["SchedulingEligibility"] == "eligible"
            ]
        if len(ids) < 2:  # one stays, or nothing is to be seen for the rest of the history
            return False
        node_id = self._random.choice(ids)
        change(node_id)
        self._world.trace(f"weather: {node_id[:8]} is {what}")
        return True

    def _allocations(self) -> list[Any]:
        with self._world.nomad.reading() as world:
            return [a for a in world.allocs.values() if a["DesiredStatus"] == "run"]
