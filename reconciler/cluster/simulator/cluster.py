"""The pretend Nomad behind the cluster protocol, in this process: no socket, no JSON text.

Refusals and values go through the same modules as a real Nomad's, so a look can't tell them apart.
"""

import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from reconciler.cluster import decode
from reconciler.cluster.protocol import Cluster, Listing, LogKind
from reconciler.cluster.refusals import (
    error_of,
    nothing_to_evaluate,
    nothing_to_restart,
    words_of,
)
from reconciler.cluster.simulator import task_logs
from reconciler.cluster.simulator.json_tree import copied
from reconciler.cluster.simulator.refusal import Refusal
from reconciler.cluster.simulator.state import SimulatedNomad
from reconciler.cluster.simulator.world import World
from reconciler.errors import ClusterUnavailable, JobRejected, LogMissing
from reconciler.jobs import (
    MANAGED_BY,
    Allocation,
    Changes,
    Evaluation,
    Job,
    JobRef,
    Json,
    Node,
    Registered,
    Rollout,
    Verdict,
)

_STOP_CHECK_S: Final = 0.1
"""How soon a waiting stream sees that it shall end."""

_HEARTBEAT_CHECKS: Final = 100
"""After so many checks without news comes a heartbeat: 10 s."""


def open_simulated(namespaces: Sequence[str]) -> "SimulatedCluster":
    """Open a simulated cluster of the default nodes on the real clock."""
    return SimulatedCluster(SimulatedNomad(), namespaces)


class SimulatedCluster(Cluster):
    """Our namespaces of a pretend Nomad; they are created in it."""

    def __init__(self, nomad: SimulatedNomad, namespaces: Sequence[str]) -> None:
        self._nomad = nomad
        self._namespaces = tuple(namespaces)
        for namespace in namespaces:
            nomad.put_namespace(namespace)

    @property
    def title(self) -> str:
        """What people are told they talk to."""
        return "simulated"

    def parse_job(self, hcl: str) -> Json:
        """Turn HCL into Nomad's job JSON."""
        with _asking():
            return self._nomad.parse(hcl)

    def ensure_namespaces(self) -> None:
        """Do nothing: they were created with this object."""

    def list_jobs(self) -> Listing[Job]:
        """List all managed jobs of our namespaces."""
        with self._nomad.reading() as world:
            jobs = [
                decode.job(job)
                for (namespace, _), job in world.jobs.items()
                if namespace in self._namespaces and _managed(job)
            ]
            return Listing(world.latest_index("jobs"), jobs)

    def list_foreign_jobs(self) -> Listing[Job]:
        """List the jobs of our namespaces that do not carry our marker."""
        with self._nomad.reading() as world:
            jobs = [
                decode.job(job)
                for (namespace, _), job in world.jobs.items()
                if namespace in self._namespaces and not _managed(job)
            ]
            return Listing(world.latest_index("jobs"), jobs)

    def list_allocations(self) -> Listing[Allocation]:
        """List the allocations of our namespaces, foreign jobs' included."""
        with self._nomad.reading() as world:
            allocations = [
                decode.allocation(allocation)
                for allocation in world.allocs.values()
                if allocation["Namespace"] in self._namespaces
            ]
            return Listing(world.latest_index("allocs"), allocations)

    def list_evaluations(self) -> Listing[Evaluation]:
        """List the evaluations of our namespaces that are blocked."""
        with self._nomad.reading() as world:
            evaluations = [
                decode.evaluation(evaluation)
                for evaluation in world.evals.values()
                if evaluation["Status"] == "blocked" and evaluation["Namespace"] in self._namespaces
            ]
            return Listing(world.latest_index("evals"), evaluations)

    def list_rollouts(self) -> Listing[Rollout]:
        """List the rollouts (Nomad's deployments) of our namespaces, ended ones included."""
        with self._nomad.reading() as world:
            rollouts = [
                decode.rollout(rollout)
                for rollout in world.rollouts.values()
                if rollout["Namespace"] in self._namespaces
            ]
            return Listing(world.latest_index("deployment"), rollouts)

    def list_nodes(self) -> Listing[Node]:
        """List the cluster's nodes with their capacity and devices."""
        with self._nomad.reading() as world:
            return Listing(
                world.latest_index("nodes"), [decode.node(node) for node in world.nodes.values()]
            )

    def read_job(self, ref: JobRef) -> Json | None:
        """Read one job in full, or None where it does not exist (stopped ones do)."""
        with _asking(), self._nomad.reading() as world:
            _require_namespace(world, ref.namespace)
            found: Json | None = copied(world.jobs.get(ref))
            return found

    def plan_job(self, job: Json) -> Verdict:
        """Ask the scheduler what a register would do."""
        return decode.verdict(
            self._submit(job, lambda: self._nomad.plan(job["ID"], job, namespace=job["Namespace"]))
        )

    def register_job(self, job: Json, *, if_index: int) -> Registered:
        """Write the job, if it is still at `if_index` (0: if it does not exist)."""
        answer = self._submit(job, lambda: self._nomad.register(job, if_index=if_index))
        # A register that changes nothing answers the job's ModifyIndex, as Nomad's does.
        changed = answer["JobModifyIndex"] == answer["Index"]
        index = answer["JobModifyIndex"] if changed else if_index
        return Registered(index=index, eval_id=answer["EvalID"])

    def stop_job(self, ref: JobRef) -> Registered:
        """Stop the job; its record and allocations stay."""
        return self._deregister(ref, purge=False)

    def purge_job(self, ref: JobRef) -> Registered:
        """Stop the job and forget it."""
        return self._deregister(ref, purge=True)

    def restart_allocation(self, ref: JobRef, allocation_id: str) -> None:  # noqa: ARG002
        """Restart every task of a running allocation in place."""
        with _asking():
            try:
                self._nomad.machines.restart_allocation(allocation_id)
            except Refusal as refusal:
                if not nothing_to_restart(refusal.text):
                    raise

    def evaluate_job(self, ref: JobRef) -> None:
        """Let the scheduler look at the job again."""
        with _asking():
            with self._nomad.reading() as world:
                _require_namespace(world, ref.namespace)
            try:
                self._nomad.evaluate(ref)
            except Refusal as refusal:
                if not nothing_to_evaluate(refusal.text):
                    raise

    def read_variable(self, ref: JobRef) -> tuple[Mapping[str, str], int] | None:
        """Read the items and the index of the Variable at `nomad/jobs/<job id>`, or None."""
        with _asking(), self._nomad.reading() as world:
            _require_namespace(world, ref.namespace)
            held = world.variables.get((ref.namespace, _path(ref)))
            return None if held is None else (dict(held["Items"]), int(held["ModifyIndex"]))

    def put_variable(self, ref: JobRef, items: Mapping[str, str], *, if_index: int) -> int:
        """Write the Variable if it is at `if_index` (0: absent); return its new index."""
        with _asking():
            written = self._nomad.variables.put(ref.namespace, _path(ref), items, if_index=if_index)
            return int(written["ModifyIndex"])

    def delete_variable(self, ref: JobRef) -> None:
        """Remove the Variable. Removing a missing one is fine."""
        self._nomad.variables.delete(ref.namespace, _path(ref))

    def read_log(
        self,
        ref: JobRef,
        allocation_id: str,
        *,
        task: str,
        kind: LogKind,
        tail_bytes: int,
        follow: bool,
        stop: threading.Event,
    ) -> Generator[bytes, None, None]:
        """Read the end of what a pretend task has written, and with `follow` what comes."""
        told = 0
        while not stop.is_set():
            try:
                with self._nomad.reading() as world:
                    _require_namespace(world, ref.namespace)
                    text = task_logs.written(world.allocs.get(allocation_id), task, kind)
            except Refusal as refusal:
                raise LogMissing(refusal.text) from refusal
            yield text[max(told, len(text) - tail_bytes) :]
            told = len(text)
            if not follow:
                return
            stop.wait(_STOP_CHECK_S)

    def changes(self, *, after: int, stop: threading.Event) -> Generator[Changes, None, None]:
        """Follow the events from `after` on, heartbeats included, until `stop` is set."""
        with self._nomad.reading() as world:
            restored = world.restored
        position = self._nomad.position_at(after + 1 if after else 0)
        yield Changes(0)
        quiet = 0
        while not stop.is_set():
            messages = self._nomad.messages_after(position, timeout_s=_STOP_CHECK_S)
            with self._nomad.reading() as world:
                if world.restored != restored:
                    raise ClusterUnavailable("the event stream broke: the servers were restored")
            quiet = 0 if messages else quiet + 1
            for message in messages:
                position = message.position
                told = {"Index": message.at_index, "Events": message.events}
                yield self._ours(decode.changes(told))
            if quiet == _HEARTBEAT_CHECKS:
                quiet = 0
                yield Changes(0)

    def _ours(self, told: Changes) -> Changes:
        ours = tuple(
            change
            for change in told.changes
            if isinstance(change, Node) or change.ref.namespace in self._namespaces
        )
        return Changes(told.index, ours)

    def _deregister(self, ref: JobRef, *, purge: bool) -> Registered:
        with _asking():
            with self._nomad.reading() as world:
                _require_namespace(world, ref.namespace)
            answer = self._nomad.deregister(ref, purge=purge)
            return Registered(index=answer["JobModifyIndex"], eval_id=answer["EvalID"])

    def _submit(self, job: Json, send: Callable[[], Json]) -> Json:
        """Send a job; where the refusal does not say so itself, ask whether the job is at fault."""
        try:
            return send()
        except Refusal as refusal:
            error = error_of(refusal.status, refusal.text)
            if isinstance(error, ClusterUnavailable):
                faults = self._nomad.validate(job)["Error"]
                if faults:
                    raise JobRejected(words_of(faults)) from refusal
            raise error from refusal


@contextmanager
def _asking() -> Iterator[None]:
    """Turn a refusal into what the caller should do about it."""
    try:
        yield
    except Refusal as refusal:
        raise error_of(refusal.status, refusal.text) from refusal


def _managed(job: Json) -> bool:
    return bool((job["Meta"] or {}).get("managed_by") == MANAGED_BY)


def _require_namespace(world: World, namespace: str) -> None:
    if namespace not in world.namespaces:
        raise Refusal(404, "Namespace not found")


def _path(ref: JobRef) -> str:
    return f"nomad/jobs/{ref.id}"
