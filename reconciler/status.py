"""How a deployment is doing, in its owner's words (pure).

`status_of` is the only maker of phases and conditions; the API, the command line and the page show
what it wrote. It is called after every look, also when Nomad did not answer: then what was last
seen stays, and `Synced` says since when it may be old.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from reconciler.errors import ClusterError, ClusterForbidden, JobConflict, JobRejected
from reconciler.jobs import Allocation, Evaluation
from reconciler.plan import Observed, Plan
from reconciler.reasons import Reason, why_failed, why_not_placed
from specs.model import (
    AllocationStatus,
    Applied,
    Condition,
    Deployment,
    DeploymentStatus,
    JobStatus,
    Phase,
)

SHOWN_ALLOCATIONS: Final = 5

Truth = Literal["True", "False", "Unknown"]


@dataclass(frozen=True, slots=True)
class Look:
    """One look at one deployment. `observed` None: nothing could be seen; `plan` None: nor decided.

    `applied` is what is recorded as last written after this look.
    """

    observed: Observed | None = None
    plan: Plan | None = None
    applied: Applied | None = None
    error: ClusterError | None = None


@dataclass(frozen=True, slots=True)
class Doing:
    """The phase with its reason and sentence."""

    phase: Phase
    reason: str
    message: str


def status_of(
    deployment: Deployment,
    look: Look,
    *,
    endpoints: Mapping[str, str],
    namespace: str,
    now: datetime,
) -> DeploymentStatus:
    """Return the status after `look`; `endpoints` are the URLs of the running allocation."""
    before = deployment.status
    doing = _doing(deployment, look)
    conditions = _Conditions(before.conditions, now)
    _set_conditions(conditions, deployment, look, doing)
    status = before.model_copy(
        update={
            "observed_generation": deployment.generation,
            "phase": doing.phase,
            "reason": doing.reason,
            "message": doing.message,
            "conditions": conditions.all(),
            "resources": _resources(deployment),
            "observed_at": now if look.observed is not None else before.observed_at,
        }
    )
    if look.observed is None:
        return status
    return status.model_copy(
        update={
            "nomad": _job_status(deployment, look, look.observed, namespace),
            "endpoints": dict(endpoints) if doing.phase is Phase.RUNNING else {},
            "placement": _placement(look.observed.evaluation),
        }
    )


def current_allocation(allocations: Sequence[Allocation]) -> Allocation | None:
    """Return the allocation that counts: the newest live one, else the newest of all."""
    live = [a for a in allocations if not a.terminal and a.desired_status == "run"]
    return max(live or allocations, key=lambda a: a.create_index, default=None)


def _doing(deployment: Deployment, look: Look) -> Doing:
    before = deployment.status
    if deployment.being_deleted:
        return Doing(Phase.DELETING, "Deleting", _reason_text(look) or before.message)
    if isinstance(look.error, JobRejected):
        return Doing(Phase.FAILED, "JobRejected", str(look.error))
    if look.plan is None or look.observed is None:
        return Doing(before.phase, before.reason, before.message)
    if look.plan.hold is not None:
        return Doing(Phase.HELD, look.plan.hold.reason, look.plan.hold.message)
    stalled = before.condition("Stalled")
    if stalled and stalled.status == "True" and _same_generation(deployment):
        return Doing(before.phase, before.reason, before.message)
    if deployment.spec.suspend:
        return _suspended(look.observed)
    if look.applied is None:
        return Doing(Phase.ACCEPTED, "Accepted", "accepted; not registered with Nomad yet")
    return _running(deployment, look.plan, look.observed)


def _same_generation(deployment: Deployment) -> bool:
    return deployment.status.observed_generation == deployment.generation


def _suspended(observed: Observed) -> Doing:
    if any(not a.terminal for a in observed.allocations):
        return Doing(Phase.SUSPENDED, "Suspending", "the work is ending; its spec is kept")
    return Doing(Phase.SUSPENDED, "Suspended", "nothing runs; its spec is kept")


def _running(deployment: Deployment, plan: Plan, observed: Observed) -> Doing:
    allocation = current_allocation(observed.allocations)
    failed = _failed_placement(deployment, observed.evaluation)
    if plan.drift:
        what = ", ".join(change.path or "the job" for change in plan.drift[:5])
        return Doing(Phase.STARTING, "DriftRepaired", f"changed by hand ({what}); set right again")
    if allocation is None or allocation.desired_status != "run":
        if failed is not None:
            return Doing(Phase.QUEUED, failed.reason, failed.message)
        return Doing(Phase.STARTING, "Placing", "registered; waiting for Nomad to place it")
    match allocation.client_status:
        case "running":
            return _up(allocation, failed)
        case "pending":
            trouble = _trouble(allocation)
            message = trouble or f"starting on node {allocation.node_name}"
            return Doing(Phase.STARTING, "Starting", message)
        case "complete":
            return Doing(Phase.COMPLETE, "Complete", "the work ended by itself")
        case "lost" | "unknown":
            message = f"node {allocation.node_name} does not answer"
            return Doing(Phase.DEGRADED, "NodeDown", message)
        case _:
            why = why_failed(allocation)
            if failed is not None:
                return Doing(Phase.QUEUED, failed.reason, f"{why.message}; {failed.message}")
            return Doing(Phase.FAILED, why.reason, why.message)


def _up(allocation: Allocation, failed: Reason | None) -> Doing:
    waiting = [task.name for task in allocation.tasks if task.state == "pending"]
    if waiting:
        message = f"starting {', '.join(waiting)} on node {allocation.node_name}"
        return Doing(Phase.STARTING, "Starting", _trouble(allocation) or message)
    if allocation.healthy is False:
        return Doing(Phase.DEGRADED, "Unhealthy", "running, but its health checks fail")
    message = f"running on node {allocation.node_name}"
    if failed is not None:
        message += f"; a newer version waits: {failed.message}"
    return Doing(Phase.RUNNING, "Running", message)


def _trouble(allocation: Allocation) -> str | None:
    if any(task.restarts for task in allocation.tasks):
        return f"{why_failed(allocation).message}; Nomad tries again"
    for task in allocation.tasks:
        if task.events and task.events[-1].type in ("Driver", "Template"):
            return task.events[-1].message
    return None


def _failed_placement(deployment: Deployment, evaluation: Evaluation | None) -> Reason | None:
    if evaluation is None or not evaluation.failures:
        return None
    return why_not_placed(evaluation.failures, deployment.spec.hardware)


def _set_conditions(
    conditions: "_Conditions", deployment: Deployment, look: Look, doing: Doing
) -> None:
    conditions.set("Accepted", "True", "Accepted", "the spec is stored")
    _set_synced(conditions, deployment, look)
    _set_stalled(conditions, deployment, look)
    if look.plan is None or look.observed is None:
        return
    hold = look.plan.hold
    if hold is not None or conditions.has("Held"):
        held: Truth = "True" if hold else "False"
        conditions.set("Held", held, hold.reason if hold else "Released", doing.message)
    _set_drifted(conditions, look.plan)
    allocation = current_allocation(look.observed.allocations)
    placed = allocation is not None and allocation.desired_status == "run"
    placed = placed and allocation is not None and not allocation.terminal
    where = f"on node {allocation.node_name}" if placed and allocation else doing.message
    conditions.set(
        "Placed", "True" if placed else "False", "Placed" if placed else doing.reason, where
    )
    ready = doing.phase in (Phase.RUNNING, Phase.COMPLETE)
    conditions.set("Ready", "True" if ready else "False", doing.reason, doing.message)


def _set_synced(conditions: "_Conditions", deployment: Deployment, look: Look) -> None:
    if look.error is not None:
        conditions.set("Synced", "False", type(look.error).__name__, _error_text(look.error))
        return
    applied = look.applied
    if deployment.being_deleted or deployment.spec.suspend:
        conditions.set("Synced", "True", "Stopped", _reason_text(look))
    elif applied is None or applied.generation != deployment.generation:
        conditions.set("Synced", "False", "Pending", _reason_text(look))
    else:
        conditions.set("Synced", "True", "Synced", "Nomad has the job as declared")


def _set_stalled(conditions: "_Conditions", deployment: Deployment, look: Look) -> None:
    if isinstance(look.error, JobRejected):
        conditions.set("Stalled", "True", "JobRejected", str(look.error))
    elif conditions.has("Stalled") and not _same_generation(deployment):
        conditions.set("Stalled", "False", "WishChanged", "a newer generation is being tried")


def _set_drifted(conditions: "_Conditions", plan: Plan) -> None:
    if plan.drift:
        what = "; ".join(f"{c.path or 'job'}: {c.actual!r}" for c in plan.drift[:5])
        conditions.set("Drifted", "True", "ChangedByHand", f"found {what}; set right again")
    elif conditions.true("Drifted"):
        conditions.set("Drifted", "False", "Repaired", conditions.message("Drifted"))


def _error_text(error: ClusterError) -> str:
    # What Nomad said about the job is its owner's business; addresses and token trouble are not.
    if isinstance(error, JobRejected):
        return str(error)
    if isinstance(error, ClusterForbidden):
        return "the platform may not do this in Nomad; its operator has been told"
    if isinstance(error, JobConflict):
        return "somebody else changed the job at the same moment; looking again"
    return "Nomad does not answer or is busy; the platform keeps trying"


def _reason_text(look: Look) -> str:
    return look.plan.reason if look.plan else ""


def _job_status(
    deployment: Deployment, look: Look, observed: Observed, namespace: str
) -> JobStatus:
    newest = sorted(observed.allocations, key=lambda a: -a.create_index)[:SHOWN_ALLOCATIONS]
    return JobStatus(
        job_id=deployment.uid,
        namespace=namespace,
        version=observed.job.version if observed.job else None,
        job_modify_index=look.applied.index if look.applied else None,
        eval_id=observed.evaluation.id if observed.evaluation else None,
        allocations=tuple(
            AllocationStatus(
                id=a.id,
                client_status=a.client_status,
                node_name=a.node_name,
                job_version=a.job_version or 0,
            )
            for a in newest
        ),
    )


def _resources(deployment: Deployment) -> dict[str, int]:
    hardware = deployment.spec.hardware
    return {
        "cpu_num": hardware.cpu_num,
        "gpu_num": hardware.gpu_num,
        "memoryMB": hardware.ram,
        "diskMB": hardware.disk,
    }


def _placement(evaluation: Evaluation | None) -> dict[str, object]:
    if evaluation is None or not evaluation.failures:
        return {}
    failure = evaluation.failures[0]
    return {
        "nodesEvaluated": failure.nodes_evaluated,
        "nodesFiltered": failure.nodes_filtered,
        "nodesExhausted": failure.nodes_exhausted,
        "constraintFiltered": dict(failure.constraint_filtered),
        "dimensionExhausted": dict(failure.dimension_exhausted),
    }


class _Conditions:
    """Conditions being set: a transition time moves only when the status does."""

    def __init__(self, before: Sequence[Condition], now: datetime) -> None:
        self._by_type = {condition.type: condition for condition in before}
        self._now = now

    def set(self, kind: str, status: Truth, reason: str, message: str) -> None:
        before = self._by_type.get(kind)
        since = before.last_transition_time if before and before.status == status else self._now
        self._by_type[kind] = Condition(
            type=kind, status=status, reason=reason, message=message, last_transition_time=since
        )

    def has(self, kind: str) -> bool:
        return kind in self._by_type

    def true(self, kind: str) -> bool:
        return kind in self._by_type and self._by_type[kind].status == "True"

    def message(self, kind: str) -> str:
        return self._by_type[kind].message

    def all(self) -> tuple[Condition, ...]:
        return tuple(self._by_type.values())
