from dataclasses import replace

from reconciler.diff import FieldChange
from reconciler.drift import Drift
from reconciler.errors import ClusterUnavailable
from reconciler.phase import Look
from reconciler.steps import Observed, Plan, RestartAllocation
from reconciler.timeline import events_of
from specs.model import Condition, DeploymentStatus, Phase
from tests.builders import NOW, REF, a_deployment

RUNNING = DeploymentStatus(phase=Phase.RUNNING, reason="Running", message="running on node-1")
DRIFT = Drift((FieldChange("Priority", 50, 90),), by="accessor")


def told(before, after, plan=None, error=None):
    look = Look(Observed(), plan or Plan("in sync"), None, error)
    return events_of(a_deployment(status=before), look, after)


def test_a_look_that_changed_nothing_tells_nothing():
    assert told(RUNNING, RUNNING) == ()


def test_a_change_of_phase_is_told_with_both_phases():
    lost = replace_status(RUNNING, phase=Phase.DEGRADED, reason="NodeDown", message="gone")
    (event,) = told(RUNNING, lost)
    assert (event.reason, event.kind, event.message) == ("NodeDown", "Warning", "gone")
    assert (event.from_phase, event.to_phase) == ("Running", "Degraded")


def test_a_new_reason_in_the_same_phase_is_told_without_phases():
    queued = DeploymentStatus(phase=Phase.QUEUED, reason="GPUsTaken")
    (event,) = told(queued, replace_status(queued, reason="NoSuchGPU"))
    assert (event.reason, event.from_phase, event.to_phase) == ("NoSuchGPU", "", "")


def test_repaired_drift_is_told_with_what_and_by_whom():
    (event,) = told(RUNNING, RUNNING, Plan("drift", drift=DRIFT))
    assert event.reason == "DriftRepaired"
    assert event.actor == "nomad token accessor"
    assert "Priority is 90, not 50" in event.message


def test_a_repair_that_failed_is_not_told_as_done():
    assert told(RUNNING, RUNNING, Plan("drift", drift=DRIFT), ClusterUnavailable("x")) == ()


def test_reported_drift_is_told_once():
    reported = Plan("drift", drift=replace(DRIFT, handled="reported"))
    (event,) = told(RUNNING, RUNNING, reported)
    assert event.reason == "DriftReported"
    found = Condition(
        type="Drifted",
        status="True",
        reason="LeftAsFound",
        message=DRIFT.sentence,
        last_transition_time=NOW,
    )
    seen = replace_status(RUNNING, conditions=(found,))
    assert told(seen, seen, reported) == ()


def test_a_restart_is_told():
    (event,) = told(RUNNING, RUNNING, Plan("restart", (RestartAllocation(REF, "a1"),)))
    assert (event.reason, "a1" in event.message) == ("Restarted", True)


def test_the_warning_before_the_end_is_told_once():
    soon = Condition(
        type="Expiring",
        status="True",
        reason="ExpiresSoon",
        message="its time is up soon",
        last_transition_time=NOW,
    )
    after = replace_status(RUNNING, conditions=(soon,))
    (event,) = told(RUNNING, after)
    assert (event.reason, event.kind) == ("ExpiresSoon", "Warning")
    assert told(after, after) == ()


def replace_status(status, **changes):
    return status.model_copy(update=changes)
