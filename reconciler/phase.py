"""The phase of a deployment with its reason and sentence, after one look at it (pure)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, assert_never

from reconciler.drift import Drift, left_as_found
from reconciler.errors import ClusterError, JobRejected
from reconciler.jobs import Allocation, Evaluation
from reconciler.lease import has_ended
from reconciler.reasons import Reason, why_failed, why_not_placed, why_waiting
from reconciler.steps import USUAL, Observed, Plan, Rules
from specs.model import Applied, Deployment, Phase

READY: Final = frozenset({Phase.RUNNING, Phase.COMPLETE})

HELD_WHILE_IT_RUNS: Final = frozenset({"WouldNotPlace", "JobNotOurs", "QuotaExceeded"})
"""Holds that are the whole story, whatever else runs."""


@dataclass(frozen=True, slots=True)
class Look:
    """One look at one deployment. `observed` None: nothing could be seen; `plan` None: nor decided.

    `applied` is what is recorded as last written after this look.
    """

    observed: Observed | None = None
    plan: Plan | None = None
    applied: Applied | None = None
    error: ClusterError | None = None
    rules: Rules = USUAL

    @property
    def plan_reason(self) -> str:
        """What was decided, in words; "" where nothing was."""
        return self.plan.reason if self.plan else ""


@dataclass(frozen=True, slots=True)
class Doing:
    """The phase with its reason and sentence.

    `ready` False: although the phase is Running, it is not the present wish that runs.
    """

    phase: Phase
    reason: str
    message: str
    ready: bool = True


def current_allocation(allocations: Sequence[Allocation]) -> Allocation | None:
    """Return the allocation that counts: the newest live one, else the newest of all."""
    live = [a for a in allocations if not a.terminal and a.desired_status == "run"]
    return max(live or allocations, key=lambda a: a.create_index, default=None)


def doing_of(deployment: Deployment, look: Look, now: datetime) -> Doing:
    """Return where `deployment` stands after `look`."""
    before = deployment.status
    if deployment.being_deleted:
        return Doing(Phase.DELETING, "Deleting", look.plan_reason or before.message)
    if isinstance(look.error, JobRejected):
        return Doing(Phase.FAILED, "JobRejected", str(look.error))
    if look.plan is None or look.observed is None:
        return Doing(before.phase, before.reason, before.message)
    hold = look.plan.hold
    if hold is not None and hold.reason == "QuotaExceeded" and not _lives(look.observed):
        return Doing(Phase.QUEUED, hold.reason, hold.message)
    if hold is not None and (hold.reason in HELD_WHILE_IT_RUNS or not _lives(look.observed)):
        return Doing(Phase.HELD, hold.reason, hold.message)
    stalled = before.condition("Stalled")
    if stalled and stalled.status == "True" and _same_generation(deployment):
        return Doing(before.phase, before.reason, before.message)
    if deployment.spec.suspend:
        return _stopped(look.observed, "Suspended", "its owner suspended it")
    if has_ended(deployment, now):
        return _stopped(look.observed, "Expired", f"its time was up at {deployment.expires_at}")
    if look.applied is None:
        return Doing(Phase.ACCEPTED, "Accepted", "accepted; not registered with Nomad yet")
    failed = _failed_placement(deployment, look.observed.evaluation, look.rules)
    return _running(deployment, look.applied, look.plan, look.observed, failed=failed)


def runs_no_more_than_wished(deployment: Deployment, look: Look, now: datetime) -> bool:
    """Whether nothing can run any more that an earlier wish, or a lease that is over, asked for."""
    seen = look.observed is not None and look.plan is not None and look.error is None
    if not seen or look.plan is None or look.observed is None or look.plan.hold is not None:
        return False
    if deployment.being_deleted:
        return False
    job = look.observed.job
    if deployment.spec.suspend or has_ended(deployment, now):
        return _rests(look.observed)
    if job is None or job.stopped:
        return not look.plan.actions and not _lives(look.observed)
    # As it is on record: what a crash leaves behind as last written may be set right later.
    return deployment.applied is not None and deployment.applied.generation == deployment.generation


def _rests(observed: Observed) -> bool:
    # The job was read for this look (`plan.wants_owner_check`). Nomad calls it dead once the
    # scheduler has seen the stop; what it started before is known when its answer is.
    job, evaluation = observed.job, observed.evaluation
    if job is None:
        return True
    heard_index = observed.heard_index if evaluation is None else evaluation.modify_index
    heard = heard_index >= job.job_modify_index
    return job.stopped and job.status == "dead" and heard and not _lives(observed)


def _same_generation(deployment: Deployment) -> bool:
    return deployment.status.observed_generation == deployment.generation


def _lives(observed: Observed) -> bool:
    return any(not allocation.terminal for allocation in observed.allocations)


def _stopped(observed: Observed, reason: str, why: str) -> Doing:
    if _lives(observed):
        return Doing(Phase.SUSPENDED, "Stopping", f"the work is ending: {why}; its spec is kept")
    return Doing(Phase.SUSPENDED, reason, f"nothing runs: {why}; its spec is kept")


def _running(
    deployment: Deployment,
    applied: Applied,
    plan: Plan,
    observed: Observed,
    *,
    failed: Reason | None,
) -> Doing:
    allocation = current_allocation(observed.allocations)
    if allocation is not None and allocation.desired_status != "run":
        allocation = None if allocation.client_status != "lost" else allocation
    if plan.drift is not None and (allocation is None or allocation.terminal):
        return _drifted(plan.drift)
    if not _decided(applied, observed):
        return _undecided(allocation)
    if allocation is not None and _is_lost(allocation, observed):
        return _lost(allocation, failed)
    if allocation is None:
        return _unplaced(deployment, observed, failed)
    match allocation.client_status:
        case "running":
            return _up(allocation, failed)
        case "pending":
            return _coming_up(allocation)
        case "complete":
            return Doing(Phase.COMPLETE, "Complete", "the work ended by itself")
        case _:
            why = why_failed(allocation)
            if failed is not None:
                return Doing(Phase.QUEUED, failed.reason, f"{why.message}; {failed.message}")
            return Doing(Phase.FAILED, why.reason, why.message)


def _drifted(drift: Drift) -> Doing:
    match drift.handled:
        case "repaired":
            return Doing(Phase.STARTING, "DriftRepaired", f"{drift.sentence}; set right again")
        case "reported":
            return Doing(Phase.DEGRADED, "LeftAsFound", f"{drift.sentence}; left as it was found")
        case "waits":
            return Doing(Phase.DEGRADED, "FightingWithAnother", drift.sentence)
        case _:
            assert_never(drift.handled)


def _decided(applied: Applied, observed: Observed) -> bool:
    # Until the scheduler has seen what we wrote, what runs may be the version before. Its answer
    # moves an allocation or an evaluation past our write.
    seen = [a.modify_index for a in observed.allocations]
    seen += [part.modify_index for part in (observed.evaluation, observed.rollout) if part]
    return max(seen, default=0) >= applied.index


def _undecided(allocation: Allocation | None) -> Doing:
    if allocation is not None and allocation.client_status == "running":
        message = f"running on node {allocation.node_name}; a change is on its way"
        return Doing(Phase.RUNNING, "Running", message, ready=False)
    return Doing(Phase.STARTING, "Placing", "registered; waiting for Nomad's scheduler")


def _is_lost(allocation: Allocation, observed: Observed) -> bool:
    if allocation.client_status in ("lost", "unknown"):
        return True
    return not allocation.terminal and allocation.node_id in observed.lost_nodes


def _lost(allocation: Allocation, failed: Reason | None) -> Doing:
    message = f"node {allocation.node_name} does not answer"
    if allocation.client_status == "lost":
        message = why_failed(allocation).message
    then = failed.message if failed else "Nomad moves the work"
    return Doing(Phase.DEGRADED, "NodeDown", f"{message}; {then}")


def _unplaced(deployment: Deployment, observed: Observed, failed: Reason | None) -> Doing:
    if failed is not None:
        return Doing(Phase.QUEUED, failed.reason, failed.message)
    left = left_as_found(deployment.status)
    if left is not None and (observed.job is None or observed.job.stopped):
        return Doing(Phase.DEGRADED, left.reason, left.message)
    return Doing(Phase.STARTING, "Placing", "registered; waiting for Nomad to place it")


def _up(allocation: Allocation, failed: Reason | None) -> Doing:
    if any(task.state == "pending" for task in allocation.tasks):
        return _coming_up(allocation)
    if allocation.healthy is False:
        why = why_failed(allocation)
        return Doing(Phase.DEGRADED, why.reason, why.message)
    message = f"running on node {allocation.node_name}"
    if failed is not None:
        message += f"; a newer version waits: {failed.message}"
        return Doing(Phase.RUNNING, "Running", message, ready=False)
    return Doing(Phase.RUNNING, "Running", message)


def _coming_up(allocation: Allocation) -> Doing:
    why = why_waiting(allocation)
    return Doing(Phase.STARTING, why.reason, why.message)


def _failed_placement(
    deployment: Deployment, evaluation: Evaluation | None, rules: Rules
) -> Reason | None:
    if evaluation is None or not evaluation.failures:
        return None
    hardware = deployment.target.hardware
    return why_not_placed(evaluation.failures, hardware, gpu_model=rules.gpu_model)
