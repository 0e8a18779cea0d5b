"""A pretend Nomad for tests: a clock that only moves when told, ids that count, small jobs."""

import itertools
from collections.abc import Sequence
from typing import Any, Final

from reconciler.cluster.simulator.nodes import node
from reconciler.cluster.simulator.state import SimulatedNomad
from reconciler.cluster.simulator.world import JobKey, Json

SECOND: Final = 10**9
BEGAN_AT_NS: Final = 1_800_000_000 * SECOND
KEY: Final[JobKey] = ("default", "job")


class Clock:
    """A clock in Unix nanoseconds that stands still until `move`."""

    def __init__(self) -> None:
        self.now_ns = BEGAN_AT_NS

    def __call__(self) -> int:
        return self.now_ns


class Pretend:
    """A pretend Nomad and its clock."""

    def __init__(self, nodes: Sequence[Json] | None = None) -> None:
        self.clock = Clock()
        numbers = itertools.count(1)
        self.nomad = SimulatedNomad(
            now_ns=self.clock,
            new_id=lambda: f"id-{next(numbers)}",
            nodes=[a_node()] if nodes is None else nodes,
        )

    def move(self, seconds: float) -> None:
        """Let so much time pass, and carry out what is due."""
        self.clock.now_ns += int(seconds * SECOND)
        self.nomad.advance()

    def register(self, job: Json, *, if_index: int | None = None) -> Json:
        return self.nomad.register(job, if_index=if_index)

    def running(self, job: Json) -> Json:
        """Register a job, let it start and prove healthy; return its one live allocation."""
        self.register(job)
        self.move(30)
        (allocation,) = self.live(job["ID"])
        assert allocation["ClientStatus"] == "running"
        return allocation

    def job(self, job_id: str = "job") -> Json:
        with self.nomad.reading() as world:
            return world.jobs["default", job_id]

    def allocations(self, job_id: str = "job") -> list[Json]:
        with self.nomad.reading() as world:
            ids = world.allocs_of.get(("default", job_id), ())
            return [world.allocs[alloc_id] for alloc_id in ids]

    def live(self, job_id: str = "job") -> list[Json]:
        """Return the allocations that run or shall run."""
        return [
            item
            for item in self.allocations(job_id)
            if item["DesiredStatus"] == "run" and item["ClientStatus"] in {"pending", "running"}
        ]

    def evaluations(self, job_id: str = "job") -> list[Json]:
        with self.nomad.reading() as world:
            ids = world.evals_of.get(("default", job_id), ())
            return [world.evals[eval_id] for eval_id in ids]

    def blocked(self, job_id: str = "job") -> list[Json]:
        return [item for item in self.evaluations(job_id) if item["Status"] == "blocked"]

    def rollouts(self, job_id: str = "job") -> list[Json]:
        with self.nomad.reading() as world:
            ids = world.rollouts_of.get(("default", job_id), ())
            return [world.rollouts[rollout_id] for rollout_id in ids]


def a_node(name: str = "simulated-1", **changed: Any) -> Json:
    sizes = {"cores": 4, "memory_mb": 8000, "disk_mb": 50_000} | changed
    return node(name, **sizes)


def a_job(
    job_id: str = "job",
    *,
    count: int = 1,
    memory_mb: int = 300,
    gpus: int = 0,
    device: str = "nvidia/gpu",
    device_extra: Json | None = None,
    group: Json | None = None,
    task: Json | None = None,
    **top: Any,
) -> Json:
    """Return a job as one would send it: one group `g`, one task `t`."""
    resources: Json = {"CPU": 100, "MemoryMB": memory_mb}
    if gpus:
        resources["Devices"] = [{"Name": device, "Count": gpus, **(device_extra or {})}]
    one = {"Name": "t", "Driver": "docker", "Resources": resources, **(task or {})}
    return {
        "ID": job_id,
        "TaskGroups": [{"Name": "g", "Count": count, "Tasks": [one], **(group or {})}],
        **top,
    }
