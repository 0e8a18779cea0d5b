"""What people do with Nomad's own tools, past us."""

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from reconciler.cluster.simulator.refusal import Refusal
from reconciler.jobs import MANAGED_BY
from tests.simulated import a_job
from tests.simulation.journal import HANDS
from tests.simulation.world import NAMESPACE, SimulatedWorld

FOREIGN: Final = ("traefik", "their-batch", "99999999-0000-4000-8000-000000000000")
"""Ids of jobs that are not ours."""


class Hands:
    """People with Nomad's own tools. `counts` is by job id: what they did to jobs of ours."""

    def __init__(self, world: SimulatedWorld) -> None:
        self._world, self._random = world, world.random
        self.counts: Counter[str] = Counter()

    def stop(self) -> bool:
        """`nomad job stop`."""
        return self._do("stop", lambda key, _: self._world.nomad.deregister(key))

    def purge(self) -> bool:
        """`nomad job stop -purge`."""
        return self._do("purge", lambda key, _: self._world.nomad.deregister(key, purge=True))

    def scale(self) -> bool:
        """`nomad job scale`."""
        count = self._random.choice((0, 2, 3))
        return self._do("scale", lambda key, _: self._world.nomad.scale(key, "usergroup", count))

    def edit(self) -> bool:
        """`nomad job run` of an edited job."""
        changes = {"Priority": self._random.choice((20, 80))}
        return self._do("edit", lambda _, job: self._world.nomad.register({**job, **changes}))

    def revert(self) -> bool:
        """`nomad job revert`."""

        def run(key: tuple[str, str], job: Any) -> object:
            return self._world.nomad.revert(key, max(0, job["Version"] - 1))

        return self._do("revert", run)

    def take_over(self) -> bool:
        """Put somebody else's job under an id of ours."""
        theirs = a_job("", memory_mb=500)

        def run(key: tuple[str, str], _: Any) -> object:
            return self._world.nomad.register({**theirs, "ID": key[1], "Namespace": key[0]})

        return self._do("take over", run)

    def foreign(self) -> bool:
        """Run a job that is not ours; the last of them carries our marker, and has no record."""
        job_id = self._random.choice(FOREIGN)
        marked = {"managed_by": MANAGED_BY, "ai4papi_uid": job_id} if job_id == FOREIGN[2] else {}
        job = a_job(job_id, memory_mb=self._random.choice((300, 500)), Meta=marked)
        with self._world.journal.by(HANDS):
            self._world.nomad.register({**job, "Namespace": NAMESPACE})
        self._world.trace(f"foreign job {job_id}")
        return True

    def _do(self, what: str, run: Callable[[tuple[str, str], Any], object]) -> bool:
        with self._world.nomad.reading() as world:
            keys = [k for k in world.jobs if k[0] == NAMESPACE and k[1] not in FOREIGN]
            if not keys:
                return False
            key = self._random.choice(keys)
            job = world.jobs[key]
        try:
            with self._world.journal.by(HANDS):
                run(key, job)
        except Refusal:
            return False
        self._world.trace(f"by hand: {what} {key[1][:8]}")
        self.counts[key[1]] += 1
        return True
