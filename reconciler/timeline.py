"""What one look adds to the timeline of a deployment (pure).

Writes of people are told by the store, in the transaction that makes them. Here is told what the
loop saw and did: every change of phase or reason, drift with its finder's words, warnings.
"""

from collections.abc import Iterator
from typing import Final

from reconciler.phase import Look
from reconciler.steps import RestartAllocation
from specs.model import Deployment, DeploymentStatus, Event, Phase

WARNINGS: Final = frozenset({Phase.DEGRADED, Phase.FAILED, Phase.HELD})

PASSING: Final = frozenset({"DriftRepaired", "LeftAsFound"})
"""Reasons that have an event of their own."""


def events_of(deployment: Deployment, look: Look, after: DeploymentStatus) -> tuple[Event, ...]:
    """Return what happened between the stored status of `deployment` and `after`, in order."""
    return (
        *_drift(deployment, look),
        *_restarts(look),
        *_expiring(deployment.status, after),
        *_phase(deployment.status, after),
    )


def _drift(deployment: Deployment, look: Look) -> Iterator[Event]:
    drift = look.plan.drift if look.plan else None
    if drift is None or look.error is not None:
        return
    actor = f"nomad token {drift.by}" if drift.by else "somebody"
    if drift.handled == "repaired":
        message = f"{drift.sentence}; set right again"
        yield Event("DriftRepaired", message, "Warning", actor=actor, source="nomad")
    before = deployment.status.condition("Drifted")
    told = before is not None and (before.status, before.message) == ("True", drift.sentence)
    if drift.handled == "reported" and not told:
        message = f"{drift.sentence}; left as it was found"
        yield Event("DriftReported", message, "Warning", actor=actor, source="nomad")


def _restarts(look: Look) -> Iterator[Event]:
    actions = look.plan.actions if look.plan and look.error is None else ()
    for action in actions:
        if isinstance(action, RestartAllocation):
            yield Event("Restarted", f"allocation {action.allocation_id} was restarted as wished")


def _expiring(before: DeploymentStatus, after: DeploymentStatus) -> Iterator[Event]:
    was, now = before.condition("Expiring"), after.condition("Expiring")
    if now and now.status == "True" and not (was and was.status == "True"):
        yield Event("ExpiresSoon", now.message, "Warning")


def _phase(before: DeploymentStatus, after: DeploymentStatus) -> Iterator[Event]:
    if (before.phase, before.reason) == (after.phase, after.reason) or after.reason in PASSING:
        return
    moved = before.phase != after.phase
    yield Event(
        after.reason,
        after.message,
        "Warning" if after.phase in WARNINGS else "Normal",
        from_phase=before.phase.value if moved else "",
        to_phase=after.phase.value if moved else "",
    )
