"""The pretend Nomad: what may be asked of it.

Both doors (`cluster`, `http`) lead here. Safe to call from several threads; what is returned is
Nomad's JSON and must not be changed. Every refusal is a `Refusal` with Nomad's status and words.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from time import time_ns
from typing import Any, Final, NamedTuple

from reconciler.cluster.simulator.blocked import Ask
from reconciler.cluster.simulator.canonical import canonical_job
from reconciler.cluster.simulator.clients import Clients
from reconciler.cluster.simulator.difference import job_diff, spec_changed
from reconciler.cluster.simulator.hcl import parse_job
from reconciler.cluster.simulator.machines import Machines
from reconciler.cluster.simulator.nodes import default_nodes
from reconciler.cluster.simulator.refusal import Refusal
from reconciler.cluster.simulator.rules import told, warnings
from reconciler.cluster.simulator.scaling import with_policy_ids, with_policy_indexes
from reconciler.cluster.simulator.servers import Servers
from reconciler.cluster.simulator.timers import Due, Timers
from reconciler.cluster.simulator.turns import Turns
from reconciler.cluster.simulator.variables import Variables
from reconciler.cluster.simulator.versions import (
    admit,
    allow_count,
    enforce,
    faults_in,
    identified,
    keep_type,
    next_version,
    versioned,
    written,
)
from reconciler.cluster.simulator.world import JobKey, Json, Message, Tables, World

_NOTHING_DONE: Final = {"EvalCreateIndex": 0, "EvalID": "", "Index": 0, "JobModifyIndex": 0}


class Snapshot(NamedTuple):
    """A pretend Nomad at one moment: its tables, what waits for room, and what is to come."""

    tables: Tables
    blocked: Mapping[Ask, Mapping[JobKey, str]]
    to_come: tuple[Due, ...]


class SimulatedNomad:
    """A Nomad that runs nothing. Its clock (Unix ns), ids and nodes are arguments.

    `machines` and `variables` are the parts that handle nodes, allocations and Variables.
    """

    def __init__(
        self,
        *,
        now_ns: Callable[[], int] = time_ns,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
        nodes: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        self._timers = timers = Timers(now_ns)
        self._new_id = new_id
        self._now_ns = timers.now_ns
        self._world = World(default_nodes() if nodes is None else nodes)
        self._servers = Servers(self._world, timers, new_id=new_id)
        clients = Clients(self._world, timers, self._servers)
        self._turns = Turns(self._world, timers, clients)
        self.machines = Machines(self._turns, timers, servers=self._servers, clients=clients)
        self.variables = Variables(self._turns, timers, clients)
        self.put_namespace("default", "Default shared namespace")

    # -- time and reading

    def advance(self) -> None:
        """Carry out everything that is due by now. Every other call does so first, too."""
        with self._turns.turn():
            pass

    def next_due_ns(self) -> int | None:
        """Return the instant (Unix ns) of the next thing that will happen by itself, if any."""
        return self._turns.next_due_ns()

    def go_to_index(self, index: int) -> None:
        """Set the state's index, backwards too, as a restored snapshot does."""
        with self._turns.turn() as world:
            world.go_to_index(index)

    def snapshot(self) -> "Snapshot":
        """Return the whole cluster as it is now, to be given to `restore`. Costs little."""
        with self._turns.turn() as world:
            return Snapshot(
                world.tables(), self._servers.blocked.snapshot(), self._timers.snapshot()
            )

    def restore(self, snapshot: "Snapshot") -> None:
        """Go back to how the cluster was then, as servers do that are restored from a snapshot.

        Indexes go backwards and open event streams end; the clock goes on. May be done again and
        again with the same snapshot.
        """
        with self._turns.turn() as world:
            world.restore(snapshot.tables)
            self._servers.blocked.restore(snapshot.blocked)
            self._timers.restore(snapshot.to_come)

    def reading(self) -> AbstractContextManager[World]:
        """Hold the tables still, as of now, for as long as the block lasts."""
        return self._turns.turn()

    def wait_for(self, arrived: Callable[[World], bool], *, timeout_s: float) -> bool:
        """Wait until `arrived` holds, while time passes; False when it did not in time."""
        return self._turns.wait_for(arrived, timeout_s=timeout_s)

    def position_at(self, index: int) -> int:
        """Return the event position that a stream asking for `index` starts after.

        As Nomad: 0 is the oldest message that is kept, past the newest is the newest, anything else
        the first one at or after it.
        """
        with self._turns.turn() as world:
            if not world.ring:
                return 0
            later = (message for message in world.ring if message.at_index >= index)
            return next(later, world.ring[-1]).position - 1

    def messages_after(self, position: int, *, timeout_s: float) -> Sequence[Message]:
        """Return the event messages after a position, waiting for one where there is none."""
        self._turns.wait_for(
            lambda world: bool(world.ring) and world.ring[-1].position > position,
            timeout_s=timeout_s,
        )
        with self._turns.turn() as world:
            return [message for message in world.ring if message.position > position]

    # -- jobs

    def parse(self, hcl: str) -> Json:
        """Return the job JSON of a job specification. Raises `Refusal` 400."""
        return parse_job(hcl)

    def validate(self, sent: Mapping[str, Any], *, namespace: str = "default") -> Json:
        """Return Nomad's answer to a validation."""
        job = canonical_job(sent, namespace=namespace)
        with self.reading() as world:
            faults = faults_in(job, world)
        return {
            "DriverConfigValidated": True,
            "Error": told(faults) if faults else "",
            "ValidationErrors": faults or None,
            "Warnings": warnings(job),
        }

    def register(
        self,
        sent: Mapping[str, Any],
        *,
        namespace: str = "default",
        if_index: int | None = None,
        source: Mapping[str, Any] | None = None,
    ) -> Json:
        """Store a job and evaluate it; `if_index` is Nomad's enforced index, None enforces none.

        Raises `Refusal` with Nomad's words.
        """
        job = canonical_job(identified(sent), namespace=namespace)
        with self._turns.turn() as world:
            admit(job, self._world)
            key = job["Namespace"], job["ID"]
            stored = world.jobs.get(key)
            enforce(stored, if_index)
            keep_type(stored, job)
            return self._register(key, stored, job, source=source)

    def plan(
        self, job_id: str, sent: Mapping[str, Any], *, namespace: str = "default", diff: bool = True
    ) -> Json:
        """Return what registering the job would do now. Nothing is written."""
        job = canonical_job(identified(sent), namespace=namespace)
        if job["ID"] != job_id:
            raise Refusal(400, "Job ID does not match")
        with self._turns.turn() as world:
            admit(job, self._world)
            stored = world.jobs.get((job["Namespace"], job["ID"]))
            if stored is not None and not spec_changed(stored, job):
                candidate = stored
            else:
                candidate = next_version(stored, job, index=world.index + 1, now_ns=self._now_ns())
            decision = self._servers.decide(candidate, eval_id="plan")
        index = stored["JobModifyIndex"] if stored else 0
        return {
            "Annotations": {"DesiredTGUpdates": decision.counts, "PreemptedAllocs": None},
            "CreatedEvals": None,
            "Diff": job_diff(stored, job, decision.counts) if diff else None,
            "FailedTGAllocs": decision.failures or None,
            "Index": index,
            "JobModifyIndex": index,
            "NextPeriodicLaunch": None,
            "Warnings": warnings(job),
        }

    def deregister(self, key: JobKey, *, purge: bool = False) -> Json:
        """Stop a job; with `purge` forget it too. A missing job is answered with zeroes."""
        with self._turns.turn() as world:
            stored = world.jobs.get(key)
            if stored is None:
                return {**_NOTHING_DONE, "VolumeEvalID": "", "VolumeEvalIndex": 0}
            index = world.next_index()
            if purge:
                world.drop_job(key)
            else:
                stopped = {**stored, "Stop": True}
                world.put_job(
                    versioned(stopped, stored, index=index, now_ns=self._now_ns()),
                    "JobDeregistered",
                )
            world.tell()
            evaluation = self._servers.evaluate(key, "job-deregister", kind="JobDeregistered")
            if purge:  # Its allocations are gone; else they make room when they have stopped.
                self._servers.look_for_room()
            return {**written(index, evaluation), "VolumeEvalID": "", "VolumeEvalIndex": 0}

    def scale(self, key: JobKey, group_name: str, count: int | None) -> Json:
        """Set a group's count. Refused (400) while a rollout is active."""
        with self._turns.turn() as world:
            stored = world.jobs.get(key)
            if stored is None:
                raise Refusal(404, f'job "{key[1]}" not found')
            group = next((g for g in stored["TaskGroups"] if g["Name"] == group_name), None)
            if group is None:
                raise Refusal(
                    400, f'task group "{group_name}" specified for scaling does not exist in job'
                )
            if count is None:
                return {
                    **_NOTHING_DONE,
                    "Index": world.index,
                    "JobModifyIndex": stored["ModifyIndex"],
                }
            allow_count(group, count)
            if self._servers.active_rollout(key) is not None:
                raise Refusal(400, "job scaling blocked due to active deployment")
            groups = [{**g, "Count": count} if g is group else g for g in stored["TaskGroups"]]
            scaled = versioned(
                {**stored, "TaskGroups": groups},
                stored,
                index=world.next_index(),
                now_ns=self._now_ns(),
            )
            world.put_job(scaled, "JobRegistered")
            world.tell()
            # The evaluation is a write of its own, and the scaling event that is kept another.
            world.next_index()
            evaluation = self._servers.evaluate(key, "job-scaling", kind="EvaluationUpdated")
            answered = written(world.next_index(), evaluation)
            return {**answered, "JobModifyIndex": scaled["JobModifyIndex"]}

    def revert(self, key: JobKey, version: int, *, if_version: int | None = None) -> Json:
        """Register an earlier version of the job anew."""
        with self._turns.turn() as world:
            stored = world.jobs.get(key)
            if stored is None:
                raise Refusal(
                    500, f'job "{key[1]}" in namespace "{key[0]}" at version {version} not found'
                )
            if version == stored["Version"]:
                raise Refusal(500, "can't revert to current version")
            earlier = next(
                (item for item in world.versions[key] if item["Version"] == version), None
            )
            if earlier is None:
                raise Refusal(
                    500, f'job "{key[1]}" in namespace "{key[0]}" at version {version} not found'
                )
            if if_version is not None and if_version != stored["Version"]:
                raise Refusal(
                    500,
                    f"Current job has version {stored['Version']}; enforcing version {if_version}",
                )
            return self._register(key, stored, {**earlier, "Stop": False, "VersionTag": None})

    def evaluate(self, key: JobKey) -> Json:
        """Let the scheduler look at a job again."""
        with self._turns.turn() as world:
            stored = world.jobs.get(key)
            if stored is None:
                raise Refusal(500, "job not found")
            index = world.next_index()
            evaluation = self._servers.evaluate(key, "job-register", kind="EvaluationUpdated")
            return {**written(index, evaluation), "JobModifyIndex": stored["ModifyIndex"]}

    def _register(
        self,
        key: JobKey,
        stored: Json | None,
        job: Json,
        *,
        source: Mapping[str, Any] | None = None,
    ) -> Json:
        world = self._world
        index = world.next_index()
        job = with_policy_ids(job, stored, new_id=self._new_id)
        if stored is None or spec_changed(stored, job):
            job = with_policy_indexes(job, stored, index=index)
            new = next_version(stored, job, index=index, now_ns=self._now_ns())
            world.put_job(new, "JobRegistered")
            world.tell()
            if source:
                world.sources[key, new["Version"]] = dict(source)
        answered = world.jobs[key]["ModifyIndex"]
        evaluation = self._servers.evaluate(key, "job-register", kind="JobRegistered")
        return {
            **written(index, evaluation),
            "JobModifyIndex": answered,
            "Warnings": warnings(job),
        }

    # -- namespaces

    def put_namespace(
        self, name: str, description: str = "", capabilities: Mapping[str, Any] | None = None
    ) -> None:
        """Create or describe a namespace, and say which drivers its tasks may use."""
        with self._turns.turn() as world:
            held = world.namespaces.get(name)
            if held is not None and (held["Description"], held["Capabilities"]) == (
                description,
                capabilities,
            ):
                return
            index = world.next_index()
            world.touch("namespaces")
            world.namespaces[name] = {
                "Name": name,
                "Description": description,
                "Capabilities": capabilities,
                "Meta": None,
                "Quota": "",
                "CreateIndex": held["CreateIndex"] if held else index,
                "ModifyIndex": index,
            }

    def delete_namespace(self, name: str) -> None:
        """Remove a namespace that holds no jobs that run."""
        with self._turns.turn() as world:
            if name not in world.namespaces:
                raise Refusal(500, "namespace not found")
            if any(key[0] == name and job["Status"] != "dead" for key, job in world.jobs.items()):
                raise Refusal(500, f'namespace "{name}" has non-terminal jobs in regions: [global]')
            world.next_index()
            world.touch("namespaces")
            del world.namespaces[name]
