"""How a deployment is doing, in its owner's words (pure).

`status_of` is the only maker of statuses; the API, the command line and the page show what it
wrote. It is called after every look, also when Nomad did not answer: then what was last seen stays,
and `Synced` says since when it may be old.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from reconciler.conditions import conditions_after
from reconciler.drift import recent_repairs
from reconciler.jobs import Evaluation
from reconciler.phase import READY, Doing, Look, doing_of
from reconciler.reasons import hint_of
from reconciler.steps import Observed
from specs.model import AllocationStatus, Deployment, DeploymentStatus, JobStatus, Phase

SHOWN_ALLOCATIONS: Final = 5


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
    doing = doing_of(deployment, look, now)
    status = before.model_copy(
        update={
            "observed_generation": deployment.generation,
            "pinned_generation": deployment.pin.generation if deployment.pin else None,
            "phase": doing.phase,
            "reason": doing.reason,
            "message": doing.message,
            "hint": hint_of(doing.reason),
            "conditions": conditions_after(deployment, look, doing, now),
            "resources": _resources(deployment),
            "expires_at": deployment.expires_at,
            "repairs": _repairs(before, look, now),
            "observed_at": now if look.observed is not None else before.observed_at,
            **_generations(deployment, look, doing),
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


def _repairs(before: DeploymentStatus, look: Look, now: datetime) -> tuple[datetime, ...]:
    drift = look.plan.drift if look.plan else None
    repaired = drift is not None and drift.handled == "repaired" and look.error is None
    return (*recent_repairs(before.repairs, now), *((now,) if repaired else ()))


def _generations(deployment: Deployment, look: Look, doing: Doing) -> dict[str, int]:
    applied = look.applied
    told = applied is not None and applied.generation == deployment.generation
    if look.observed is None or not told or doing.phase not in READY or not doing.ready:
        return {}
    rollout = look.observed.rollout
    unproven = rollout is not None and rollout.status not in ("successful", "cancelled")
    ran = {"ran_generation": deployment.generation}
    return ran if unproven else {**ran, "ready_generation": deployment.generation}


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
    hardware = deployment.target.hardware
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
