"""The conditions of a deployment after one look at it, in the Kubernetes form (pure)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, assert_never

from reconciler.drift import left_as_found
from reconciler.errors import ClusterError, ClusterForbidden, JobConflict, JobRejected
from reconciler.lease import ends_soon
from reconciler.phase import READY, Doing, Look, current_allocation
from reconciler.steps import Observed, Plan
from specs.model import Condition, Deployment, Phase
from specs.provenance import declared_in

Truth = Literal["True", "False", "Unknown"]


def conditions_after(
    deployment: Deployment, look: Look, doing: Doing, now: datetime
) -> tuple[Condition, ...]:
    """Return the conditions of `deployment` after `look`, which found it `doing` so."""
    conditions = _Conditions(deployment.status.conditions, now)
    conditions.set("Accepted", "True", "Accepted", "the spec is stored")
    _set_source(conditions, deployment)
    _set_synced(conditions, deployment, look, doing)
    _set_stalled(conditions, deployment, look)
    if look.plan is None or look.observed is None:
        return conditions.all()
    _set_quota(conditions, deployment, look.observed)
    _set_held(conditions, deployment, look.plan, doing)
    _set_expiring(conditions, deployment, now)
    _set_pinned(conditions, deployment)
    _set_drifted(conditions, deployment, look.plan, look.observed)
    allocation = current_allocation(look.observed.allocations)
    placed = allocation is not None and allocation.desired_status == "run"
    placed = placed and allocation is not None and not allocation.terminal
    where = f"on node {allocation.node_name}" if placed and allocation else doing.message
    conditions.set(
        "Placed", "True" if placed else "False", "Placed" if placed else doing.reason, where
    )
    ready = doing.phase in READY and doing.ready
    conditions.set("Ready", "True" if ready else "False", doing.reason, doing.message)
    return conditions.all()


def _set_synced(
    conditions: "_Conditions", deployment: Deployment, look: Look, doing: Doing
) -> None:
    if look.error is not None:
        conditions.set("Synced", "False", type(look.error).__name__, _error_text(look.error))
        return
    applied = look.applied
    if deployment.being_deleted or doing.phase is Phase.SUSPENDED:
        conditions.set("Synced", "True", "Stopped", look.plan_reason)
    elif applied is None or applied.generation != deployment.generation:
        conditions.set("Synced", "False", "Pending", look.plan_reason)
    else:
        conditions.set("Synced", "True", "Synced", "Nomad has the job as declared")


def _set_source(conditions: "_Conditions", deployment: Deployment) -> None:
    if deployment.source_fault:
        message = f"the last good spec stays: {deployment.source_fault}"
        conditions.set("SourceValid", "False", "InvalidFile", message)
    elif where := declared_in(deployment.source):
        conditions.set("SourceValid", "True", "Valid", f"declared in {where}")
    else:
        conditions.drop("SourceValid")


def _set_stalled(conditions: "_Conditions", deployment: Deployment, look: Look) -> None:
    if isinstance(look.error, JobRejected):
        conditions.set("Stalled", "True", "JobRejected", str(look.error))
    elif (
        conditions.has("Stalled") and deployment.status.observed_generation != deployment.generation
    ):
        conditions.set("Stalled", "False", "WishChanged", "a newer generation is being tried")


def _set_quota(conditions: "_Conditions", deployment: Deployment, observed: Observed) -> None:
    if deployment.over_quota:
        conditions.set("QuotaReserved", "False", "QuotaExceeded", observed.quota)
    else:
        conditions.set("QuotaReserved", "True", "QuotaReserved", "within the quota")


def _set_held(conditions: "_Conditions", deployment: Deployment, plan: Plan, doing: Doing) -> None:
    hold = plan.hold
    if hold is not None and doing.phase is not Phase.QUEUED:
        conditions.set("Held", "True", hold.reason, hold.message)
    elif deployment.deletion_held:
        conditions.set("Held", "True", "DeletionHeld", deployment.deletion_held)
    elif conditions.true("Held"):
        conditions.set("Held", "False", "Released", conditions.message("Held"))


def _set_expiring(conditions: "_Conditions", deployment: Deployment, now: datetime) -> None:
    if ends_soon(deployment, now):
        message = f"its time is up at {deployment.expires_at}; a later expiresAt or ttl extends it"
        conditions.set("Expiring", "True", "ExpiresSoon", message)
    elif conditions.true("Expiring"):
        conditions.set("Expiring", "False", "NotSoon", conditions.message("Expiring"))


def _set_pinned(conditions: "_Conditions", deployment: Deployment) -> None:
    pin = deployment.pin
    if pin is not None:
        message = f"generation {pin.generation} runs until the spec is changed, by {pin.by}"
        conditions.set("Pinned", "True", "RolledBack", message)
    elif conditions.true("Pinned"):
        conditions.set("Pinned", "False", "Lifted", conditions.message("Pinned"))


def _set_drifted(
    conditions: "_Conditions", deployment: Deployment, plan: Plan, observed: Observed
) -> None:
    drift = plan.drift
    if drift is None:
        # What was reported stays true until the job is compared anew or written again.
        compared = plan.applied or observed.live is not None
        left = left_as_found(deployment.status) is not None
        if conditions.true("Drifted") and (not left or compared):
            conditions.set("Drifted", "False", "Repaired", conditions.message("Drifted"))
        return
    match drift.handled:
        case "repaired":
            message = f"{drift.sentence}; set right again"
            conditions.set("Drifted", "True", "ChangedByHand", message)
        case "reported":
            conditions.set("Drifted", "True", "LeftAsFound", drift.sentence)
        case "waits":
            conditions.set("Drifted", "True", "FightingWithAnother", drift.sentence)
        case _:
            assert_never(drift.handled)


def _error_text(error: ClusterError) -> str:
    # What Nomad said about the job is its owner's business; addresses and token trouble are not.
    if isinstance(error, JobRejected):
        return str(error)
    if isinstance(error, ClusterForbidden):
        return "the platform may not do this in Nomad; its operator has been told"
    if isinstance(error, JobConflict):
        return "somebody else changed the job at the same moment; looking again"
    return "Nomad does not answer or is busy; the platform keeps trying"


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

    def drop(self, kind: str) -> None:
        self._by_type.pop(kind, None)

    def has(self, kind: str) -> bool:
        return kind in self._by_type

    def true(self, kind: str) -> bool:
        return kind in self._by_type and self._by_type[kind].status == "True"

    def message(self, kind: str) -> str:
        return self._by_type[kind].message

    def all(self) -> tuple[Condition, ...]:
        return tuple(self._by_type.values())
