"""What one evaluation of a job decides: what stops, what starts where, what cannot (pure).

The same decision serves a register (it is carried out) and a plan call (it is only told).
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from reconciler.cluster.simulator import rollouts
from reconciler.cluster.simulator.room import Draft, Ground
from reconciler.cluster.simulator.scheduler import Placement, place
from reconciler.cluster.simulator.sorting import Sorted, next_number, sort_out

Json = Mapping[str, Any]
_COUNTERS: Final = [
    "Canary",
    "DestructiveUpdate",
    "Disconnect",
    "Ignore",
    "InPlaceUpdate",
    "Migrate",
    "Place",
    "Preemptions",
    "Reconnect",
    "RescheduleLater",
    "RescheduleNow",
    "Stop",
]
UPDATED: Final = "alloc is being updated due to job update"
NOT_NEEDED: Final = "alloc not needed due to job update"
MIGRATED: Final = "alloc is being migrated"
LOST: Final = "alloc is lost since its node is down"
RESCHEDULED: Final = "alloc was rescheduled because it failed"


@dataclass(slots=True)
class Decision:
    """What an evaluation decided. Allocations and rollouts are whole, but without their indexes."""

    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    """Per group, Nomad's `DesiredUpdates`."""
    changed: dict[str, dict[str, Any]] = field(default_factory=dict)
    placed: list[dict[str, Any]] = field(default_factory=list)
    failures: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Per group that could not be placed in full, the metrics that tell why."""
    queued: dict[str, int] = field(default_factory=dict)
    rollouts: list[dict[str, Any]] = field(default_factory=list)
    due_later: list[tuple[int, str]] = field(default_factory=list)
    """(instant in ns, allocation id) of failed allocations to look at again."""
    stable: bool = False
    """Whether this version's rollout has just succeeded."""

    @property
    def empty(self) -> bool:
        """Whether carrying it out would write nothing."""
        return not (self.changed or self.placed or self.rollouts or self.due_later)


def decide(
    job: Json,
    allocations: Sequence[Json],
    rollout: Json | None,
    ground: Ground,
    *,
    eval_id: str,
    now_ns: int,
    new_id: Callable[[], str],
) -> Decision:
    """Decide what to do for a job; `rollout` is its active one, if any."""
    plan = _Plan(job, ground, eval_id=eval_id, now_ns=now_ns, new_id=new_id)
    names = sorted(
        {group["Name"] for group in job["TaskGroups"]}
        | {allocation["TaskGroup"] for allocation in allocations}
    )
    groups = {
        name: sort_out(job, name, allocations, nodes=ground.nodes, now_ns=now_ns) for name in names
    }
    current, superseded = rollouts.current(job, rollout)
    if superseded is not None:
        plan.decision.rollouts.append(superseded)
    if current is None:
        current = rollouts.begin(job, groups, allocations, new_id=new_id, now_ns=now_ns)
    plan.begin_rollout(current, is_new=current is not None and current is not rollout)
    for name, found in groups.items():
        plan.settle(name, found)
    plan.end_rollout()
    return plan.decision


class _Plan:
    """A decision in the making: what it frees and takes on each node counts for the next step."""

    def __init__(
        self,
        job: Json,
        ground: Ground,
        *,
        eval_id: str,
        now_ns: int,
        new_id: Callable[[], str],
    ) -> None:
        self.decision = Decision()
        self._job = job
        self._nodes = len(ground.nodes)
        self._eval_id = eval_id
        self._now_ns = now_ns
        self._new_id = new_id
        self._draft = Draft(ground)
        self._rollout: dict[str, Any] | None = None
        self._rollout_moved = False

    def begin_rollout(self, rollout: Json | None, *, is_new: bool) -> None:
        """Work under this rollout."""
        self._rollout = dict(rollout) if rollout is not None else None
        self._rollout_moved = is_new

    def settle(self, name: str, found: Sorted) -> None:
        """Decide one group."""
        group = next((item for item in self._job["TaskGroups"] if item["Name"] == name), None)
        if group is None and not (found.surplus or found.replaced or found.ending):
            return
        counts = self.decision.counts.setdefault(name, dict.fromkeys(_COUNTERS, 0))
        self.decision.queued[name] = 0
        for allocation in found.kept:
            self._draft.count_neighbour(name, allocation["NodeID"], 1)
        for allocation in found.surplus:
            self._stop(allocation, NOT_NEEDED)
        self._leave(found)
        now, later = self._within_limit(group, found)
        for allocation in found.in_place:
            self._update_in_place(allocation)
        if group is not None:
            for allocation in now:
                self._replace(group, allocation)
            self._fill(group, found)
        self.decision.due_later += [
            (due, item["ID"]) for due, item in found.due_later if not item.get("FollowupEvalID")
        ]
        counts |= {
            "Ignore": len(found.unchanged) + len(found.due_later) + len(later),
            "InPlaceUpdate": len(found.in_place),
            "DestructiveUpdate": len(now),
            "Stop": len(found.surplus) + len(found.lost),
            "Migrate": len(found.migrating),
            "Place": max(0, found.places - len(found.migrating)),
            "RescheduleNow": len(found.due_again),
            "RescheduleLater": len(found.due_later),
        }

    def end_rollout(self) -> None:
        """Note what the rollout has placed, and whether it is through."""
        if self._rollout is None:
            return
        busy = bool(self.decision.placed or self.decision.changed or self.decision.failures)
        waiting = any(
            counts["Ignore"] and self._behind(name) for name, counts in self.decision.counts.items()
        )
        if not busy and not waiting and rollouts.all_healthy(self._rollout):
            self._rollout = rollouts.succeeded(self._rollout)
            self._rollout_moved = self.decision.stable = True
        if self._rollout_moved:
            self.decision.rollouts.append(self._rollout)

    def _behind(self, name: str) -> bool:
        assert self._rollout is not None  # noqa: S101 - only asked while there is one
        state = self._rollout["TaskGroups"].get(name)
        return state is not None and state["PlacedAllocs"] < state["DesiredTotal"]

    def _within_limit(self, group: Json | None, found: Sorted) -> tuple[list[Json], list[Json]]:
        if group is None or self._rollout is None:
            return found.destructive, []
        limit = rollouts.free_slots(group, self._rollout, found.unchanged)
        return found.destructive[:limit], found.destructive[limit:]

    def _leave(self, found: Sorted) -> None:
        """Stop what goes whether or not there is room for what comes in its place."""
        for allocation in found.migrating:
            self._stop(allocation, MIGRATED)
        for allocation in found.lost:
            self._stop(allocation, LOST, client_status="lost")
        for allocation in found.ending:
            self._stop(allocation, allocation["DesiredDescription"], client_status="lost")

    def _fill(self, group: Json, found: Sorted) -> None:
        """Place what is missing: first in the place of what goes, then under new names."""
        names = {allocation["Name"] for allocation in found.kept}
        replaced = [allocation for allocation in found.replaced if allocation["Name"] not in names]
        for number in range(found.places):
            previous = replaced[number] if number < len(replaced) else None
            name = (
                previous["Name"]
                if previous is not None
                else next_number(names, self._job["ID"], group["Name"])
            )
            names.add(name)
            placement = self._try(group, seed=_seed(name, self._job))
            if placement is None:
                continue
            new = self._place(group, placement, name=name, previous=previous)
            if previous is not None:
                self._succeed(previous, new)

    def _replace(self, group: Json, old: Json) -> None:
        """Swap an allocation for one of the new version, or leave it running where nothing fits."""
        self._draft.free(old)
        self._draft.count_neighbour(group["Name"], old["NodeID"], -1)
        placement = self._try(group, seed=_seed(old["Name"], self._job))
        if placement is None:
            self._draft.keep(old)
            self._draft.count_neighbour(group["Name"], old["NodeID"], 1)
            return
        new = self._place(group, placement, name=old["Name"], previous=old)
        self._changed(old).update(
            DesiredStatus="stop", DesiredDescription=UPDATED, NextAllocation=new["ID"]
        )

    def _succeed(self, old: Json, new: Json) -> None:
        changed = self._changed(old)
        changed["NextAllocation"] = new["ID"]
        if old["ClientStatus"] == "failed":
            changed.update(DesiredStatus="stop", DesiredDescription=RESCHEDULED)

    def _update_in_place(self, allocation: Json) -> None:
        changed = self._changed(allocation)
        changed.update(Job=self._job, EvalID=self._eval_id)
        changed.pop("DeploymentStatus", None)
        self._enlist(allocation["TaskGroup"], changed)

    def _stop(self, allocation: Json, why: str, *, client_status: str | None = None) -> None:
        changed = self._changed(allocation)
        changed.update(DesiredStatus="stop", DesiredDescription=why)
        if client_status is not None:
            changed["ClientStatus"] = client_status
        self._draft.free(allocation)

    def _try(self, group: Json, *, seed: int) -> Placement | None:
        outcome = place(self._job, group, self._draft.candidates(group["Name"]), seed=seed)
        if isinstance(outcome, Placement):
            return outcome
        name = group["Name"]
        self.decision.queued[name] += 1
        if name in self.decision.failures:
            self.decision.failures[name]["CoalescedFailures"] += 1
        else:
            self.decision.failures[name] = outcome.metrics()
        return None

    def _place(
        self, group: Json, placement: Placement, *, name: str, previous: Json | None
    ) -> dict[str, Any]:
        node = placement.node
        allocation: dict[str, Any] = {
            "ID": self._new_id(),
            "Name": name,
            "Namespace": self._job["Namespace"],
            "JobID": self._job["ID"],
            "Job": self._job,
            "TaskGroup": group["Name"],
            "EvalID": self._eval_id,
            "NodeID": node["ID"],
            "NodeName": node["Name"],
            "DesiredStatus": "run",
            "DesiredDescription": "",
            "DesiredTransition": {},
            "ClientStatus": "pending",
            "ClientDescription": "",
            "TaskStates": None,
            "AllocatedResources": placement.allocated,
            "Metrics": {"NodesEvaluated": self._nodes},
            "CreateTime": self._now_ns,
        }
        if previous is not None:
            allocation["PreviousAllocation"] = previous["ID"]
            if previous["ClientStatus"] == "failed":
                allocation["RescheduleTracker"] = _tracked(previous, self._now_ns)
        self._enlist(group["Name"], allocation)
        self._draft.take(node["ID"], placement.claim)
        self._draft.count_neighbour(group["Name"], node["ID"], 1)
        self.decision.placed.append(allocation)
        return allocation

    def _enlist(self, group_name: str, allocation: dict[str, Any]) -> None:
        """Count an allocation in the rollout, if there is one."""
        if self._rollout is None:
            return
        self._rollout = rollouts.with_placed(self._rollout, group_name, now_ns=self._now_ns)
        self._rollout_moved = True
        allocation["DeploymentID"] = self._rollout["ID"]

    def _changed(self, allocation: Json) -> dict[str, Any]:
        return self.decision.changed.setdefault(allocation["ID"], dict(allocation))


def _seed(name: str, job: Json) -> int:
    return zlib.crc32(f"{job['Namespace']}/{name}".encode())


def _tracked(previous: Json, now_ns: int) -> dict[str, Any]:
    earlier = (previous.get("RescheduleTracker") or {}).get("Events") or []
    event = {
        "PrevAllocID": previous["ID"],
        "PrevNodeID": previous["NodeID"],
        "RescheduleTime": now_ns,
    }
    return {"Events": [*earlier, event], "LastReschedule": "ok"}
