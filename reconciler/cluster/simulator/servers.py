"""What Nomad's servers do: make and work off evaluations, watch rollouts, give jobs their status.

Works on the tables under the caller's lock. The order of writes and events is Nomad's.
"""

from collections.abc import Callable, Container, Iterable
from typing import Final

from reconciler.cluster.simulator import rollouts
from reconciler.cluster.simulator.blocked import Ask, Blocked
from reconciler.cluster.simulator.planning import Decision, decide
from reconciler.cluster.simulator.scheduler import unfit_classes
from reconciler.cluster.simulator.tasks import restarts_so_far, timestamp
from reconciler.cluster.simulator.timers import Timers
from reconciler.cluster.simulator.world import JobKey, Json, World

START_NS: Final = 2 * 10**8
"""From placement to running; about what a real client takes without an image to pull."""

STOP_NS: Final = 2 * 10**8
"""From being told to stop to having stopped."""


class Servers:
    """Evaluations and rollouts over one world."""

    def __init__(self, world: World, timers: Timers, *, new_id: Callable[[], str]) -> None:
        self._world = world
        self._timers = timers
        self._new_id = new_id
        self.blocked = Blocked()

    def evaluate(
        self, key: JobKey, trigger: str, *, kind: str = "AllocationUpdateDesiredStatus"
    ) -> Json:
        """Create an evaluation at the current index and work it off; return it as created."""
        created = self._world.put_eval(self._new_eval(key, trigger), kind)
        self.refresh_status(key, kind)
        self._world.tell()
        self.work_off(created)
        return created

    def work_off(self, evaluation: Json) -> None:
        """Decide what an evaluation asks for, and do it."""
        job = self._world.jobs.get((evaluation["Namespace"], evaluation["JobID"]))
        decision = self.decide(job, eval_id=evaluation["ID"]) if job else Decision()
        self._carry_out(evaluation, decision)

    def decide(self, job: Json, *, eval_id: str) -> Decision:
        """Decide what an evaluation of this job, stored or only planned, would do now."""
        key = job["Namespace"], job["ID"]
        world = self._world
        return decide(
            job,
            [world.allocs[alloc_id] for alloc_id in world.allocs_of.get(key, ())],
            self.active_rollout(key),
            world.ground,
            eval_id=eval_id,
            now_ns=self._timers.now_ns(),
            new_id=self._new_id,
        )

    def active_rollout(self, key: JobKey) -> Json | None:
        """Return the job's running rollout, if any."""
        for rollout_id in self._world.rollouts_of.get(key, ()):
            rollout = self._world.rollouts[rollout_id]
            if rollout["Status"] == "running":
                return rollout
        return None

    def look_for_room(self, on_class: str = "") -> None:
        """Work off the blocked evaluations that can place something now, by priority, then age.

        As Nomad does, leave out those for which nodes of the class that changed were unfit: what
        does not count for a class, as the number of its devices, may have changed all the same.
        """
        hopeless: set[Ask] = set()
        while heads := [h for h in self.blocked.heads() if _may_hope(h[0], hopeless, on_class)]:
            heads.sort(key=lambda head: -self._world.jobs[head[1]]["Priority"])
            for ask, key, eval_id in heads:
                job = self._world.jobs[key]
                decision = self.decide(job, eval_id=eval_id)
                if decision.placed:
                    self._carry_out(self._world.evals[eval_id], decision)
                else:
                    unfit = self._unfit(job, decision.failures)
                    hopeless.add(self.blocked.block_again(ask, unfit))

    def with_health(self, allocation: Json, *, healthy: bool) -> Json:
        """Count the allocation's health in its rollout, if that still runs, and note it."""
        now_ns = self._timers.now_ns()
        rollout = self._world.rollouts.get(allocation.get("DeploymentID", ""))
        if rollout is None or rollout["Status"] != "running":
            return allocation
        group_name = allocation["TaskGroup"]
        counted = rollouts.with_health(rollout, group_name, healthy=healthy, now_ns=now_ns)
        self._put_rollout(counted, "AllocationUpdated")
        status = {
            "Canary": False,
            "Healthy": healthy,
            "Timestamp": timestamp(now_ns),
            "ModifyIndex": self._world.index,
        }
        return {**allocation, "DeploymentStatus": status}

    def watch_health(self, allocation: Json) -> None:
        """Let a running allocation of a rollout be healthy when it has run for long enough."""
        if allocation.get("DeploymentStatus") or not allocation.get("DeploymentID"):
            return
        update = group_of(allocation)["Update"]
        after_ns = update["MinHealthyTime"] if update else 0
        mark = restarts_so_far(allocation)
        self._timers.set(after_ns, "ready", allocation["ID"], mark=mark)

    def end_rollout(self, rollout: Json) -> None:
        """Let a rollout fail because its time is up."""
        self._put_rollout(rollouts.out_of_time(rollout), "DeploymentStatusUpdate")
        self.refresh_status((rollout["Namespace"], rollout["JobID"]), "DeploymentStatusUpdate")

    def refresh_status(self, key: JobKey, kind: str, *, stable: bool = False) -> None:
        """Let the job's status follow from its rollouts, allocations and evaluations."""
        job = self._world.jobs.get(key)
        if job is None:
            return
        status = self._status(key, job)
        if status != job["Status"] or (stable and not job["Stable"]):
            index = self._world.index
            stable = stable or job["Stable"]
            changed = {**job, "Status": status, "Stable": stable, "ModifyIndex": index}
            self._world.put_job(changed, kind)

    def _carry_out(self, evaluation: Json, decision: Decision) -> None:
        world = self._world
        key = evaluation["Namespace"], evaluation["JobID"]
        was_blocked = evaluation["Status"] == "blocked"
        blocked = None
        if decision.failures and not was_blocked:
            blocked = self._block(evaluation, decision)
        if not decision.empty:
            world.next_index()
            if not was_blocked:
                evaluation = world.put_eval(evaluation, "PlanResult")
            self._apply(key, decision)
            self.refresh_status(key, "PlanResult", stable=decision.stable)
            world.tell()
        world.next_index()
        self._settle_blocked(key, evaluation, blocked)
        world.put_eval(self._finished(evaluation, decision, blocked), "EvaluationUpdated")
        self.refresh_status(key, "EvaluationUpdated")
        world.tell()

    def _block(self, evaluation: Json, decision: Decision) -> Json:
        """Create the evaluation that waits for room."""
        self._world.next_index()
        key = evaluation["Namespace"], evaluation["JobID"]
        blocked = self._world.put_eval(
            {
                **self._new_eval(key, "queued-allocs"),
                "Status": "blocked",
                "StatusDescription": "created to place remaining allocations",
                "PreviousEval": evaluation["ID"],
                "FailedTGAllocs": decision.failures,
            },
            "EvaluationUpdated",
        )
        self._world.tell()
        return blocked

    def _settle_blocked(self, key: JobKey, evaluation: Json, blocked: Json | None) -> None:
        """Keep one blocked evaluation per job: the newest, and none after a full success."""
        older = self.blocked.take(key)
        if blocked is not None:
            job, runs = self._world.jobs[key], any(self._claims(key))
            unfit = self._unfit(job, blocked["FailedTGAllocs"])
            self.blocked.put(key, blocked["ID"], job, runs=runs, unfit=unfit)
            why = f'existing blocked evaluation exists for job "{key[1]}"'
        else:
            why = f'evaluation "{evaluation["ID"]}" successful'
        if older is not None and older != evaluation["ID"]:
            canceled = {**self._world.evals[older], "Status": "canceled", "StatusDescription": why}
            self._world.put_eval(canceled, "EvaluationUpdated")

    def _finished(self, evaluation: Json, decision: Decision, blocked: Json | None) -> Json:
        key = evaluation["Namespace"], evaluation["JobID"]
        ended = {
            **evaluation,
            "Status": "complete",
            "QueuedAllocations": decision.queued,
            "PlanAnnotations": {"DesiredTGUpdates": decision.counts, "PreemptedAllocs": None},
            "SnapshotIndex": evaluation["ModifyIndex"],
            "ModifyTime": self._timers.now_ns(),
        }
        for gone in ("StatusDescription", "FailedTGAllocs"):
            ended.pop(gone, None)
        rollout = self.active_rollout(key)
        if rollout is not None:
            ended["DeploymentID"] = rollout["ID"]
        if decision.failures:
            ended["FailedTGAllocs"] = decision.failures
        if blocked is not None:
            ended["BlockedEval"] = blocked["ID"]
        elif decision.failures:  # It was blocked, placed a part, and waits on for the rest.
            job = self._world.jobs[key]
            unfit = self._unfit(job, decision.failures)
            self.blocked.put(key, evaluation["ID"], job, runs=True, unfit=unfit)
            ended |= {"Status": "blocked", "StatusDescription": evaluation["StatusDescription"]}
        return ended

    def _unfit(self, job: Json, failures: Container[str]) -> frozenset[str]:
        return unfit_classes(job, failures, self._world.ground.nodes.values())

    def _new_eval(self, key: JobKey, trigger: str) -> Json:
        job = self._world.jobs.get(key)
        now_ns = self._timers.now_ns()
        return {
            "ID": self._new_id(),
            "Namespace": key[0],
            "JobID": key[1],
            "Type": job["Type"] if job else "service",
            "Priority": job["Priority"] if job else 50,
            "JobModifyIndex": job["JobModifyIndex"] if job else self._world.index,
            "TriggeredBy": trigger,
            "Status": "pending",
            "CreateTime": now_ns,
            "ModifyTime": now_ns,
        }

    def _apply(self, key: JobKey, decision: Decision) -> None:
        """Write what was decided, and set up what follows from it."""
        world, now_ns = self._world, self._timers.now_ns()
        for rollout in decision.rollouts:
            self._put_rollout(rollout, "PlanResult")
        for allocation in decision.changed.values():
            before = world.allocs[allocation["ID"]]
            stored = world.put_alloc(allocation, "PlanResult", now_ns=now_ns)
            if stored["DesiredStatus"] == "stop" and before["DesiredStatus"] == "run":
                self._timers.set(STOP_NS, "stopped", stored["ID"])
            elif stored["ClientStatus"] == "running":
                self.watch_health(stored)
        for allocation in decision.placed:
            stored = world.put_alloc(allocation, "PlanResult", now_ns=now_ns)
            self._timers.set(START_NS, "start", stored["ID"])
        for due_ns, alloc_id in decision.due_later:
            self._follow_up(key, due_ns, alloc_id)

    def _follow_up(self, key: JobKey, due_ns: int, alloc_id: str) -> None:
        """Let a failed allocation be placed anew when its delay is over."""
        allocation = self._world.allocs[alloc_id]
        later = {
            **self._new_eval(key, "alloc-reschedule"),
            "StatusDescription": "created for delayed rescheduling",
            "WaitUntil": timestamp(due_ns),
        }
        stored = self._world.put_eval(later, "EvaluationUpdated")
        now_ns = self._timers.now_ns()
        followed = {**allocation, "FollowupEvalID": stored["ID"]}
        self._world.put_alloc(followed, "PlanResult", now_ns=now_ns)
        self._timers.set(due_ns - now_ns, "again", stored["ID"])

    def _put_rollout(self, rollout: Json, kind: str) -> None:
        now_ns = self._timers.now_ns()
        stored = self._world.put_rollout(rollout, kind, now_ns=now_ns)
        by_ns = rollouts.progress_by_ns(stored)
        if by_ns is not None:
            self._timers.set(by_ns - now_ns, "deadline", stored["ID"])

    def _claims(self, key: JobKey) -> Iterable[bool]:
        return (alloc_id in self._world.claims for alloc_id in self._world.allocs_of.get(key, ()))

    def _status(self, key: JobKey, job: Json) -> str:
        world = self._world
        if self.active_rollout(key) is not None or any(self._claims(key)):
            return "running"
        evaluations = [world.evals[eval_id] for eval_id in world.evals_of.get(key, ())]
        if any(item["Status"] in {"pending", "blocked"} for item in evaluations):
            return "pending"
        return "dead" if evaluations or job["Stop"] else "pending"


def _may_hope(ask: Ask, hopeless: set[Ask], on_class: str) -> bool:
    return ask not in hopeless and on_class not in ask.unfit


def group_of(allocation: Json) -> Json:
    """Return the task group of an allocation, as of the version that it runs."""
    groups: list[Json] = allocation["Job"]["TaskGroups"]
    return next(group for group in groups if group["Name"] == allocation["TaskGroup"])
