from dataclasses import replace
from datetime import timedelta

import pytest

from reconciler.drift import STOPPED, Drift
from reconciler.errors import ClusterForbidden, ClusterUnavailable, JobRejected
from reconciler.jobs import TaskEvent, TaskState
from reconciler.phase import Look
from reconciler.render import render
from reconciler.status import status_of
from reconciler.steps import Hold, Observed, Plan
from specs.model import Phase, Pin
from tests.builders import (
    NOW,
    SITE,
    TEMPLATE,
    a_deployment,
    a_failure,
    a_job,
    a_rollout,
    a_spec,
    an_allocation,
    an_evaluation,
    applied_as,
)

DRIFT = Drift((STOPPED,))


def looked(deployment, *, plan=None, error=None, applied=True, at=NOW, **observed):
    record = applied_as(render(deployment, TEMPLATE, SITE)) if applied else None
    look = Look(Observed(**observed), plan or Plan("in sync"), record, error)
    return status_of(
        deployment, look, endpoints={"deepaas": "http://x"}, namespace="ai4eosc", now=at
    )


def told(status, kind):
    condition = status.condition(kind)
    return (condition.status, condition.reason)


def test_running_work_is_ready_and_tells_where_it_answers():
    status = looked(a_deployment(), job=a_job(), allocations=(an_allocation(),))
    assert status.phase is Phase.RUNNING
    assert status.endpoints == {"deepaas": "http://x"}
    assert told(status, "Ready") == ("True", "Running")
    assert told(status, "Synced") == ("True", "Synced")
    assert status.observed_generation == 1
    assert status.observed_at == NOW


@pytest.mark.parametrize(
    ("allocation", "phase", "reason"),
    [
        (an_allocation("pending"), Phase.STARTING, "Starting"),
        (an_allocation("running", healthy=False), Phase.DEGRADED, "Unhealthy"),
        (an_allocation("unknown"), Phase.DEGRADED, "NodeDown"),
        (an_allocation("lost"), Phase.DEGRADED, "NodeDown"),
        (an_allocation("complete"), Phase.COMPLETE, "Complete"),
        (an_allocation("failed"), Phase.FAILED, "Failed"),
    ],
)
def test_the_phase_follows_the_allocation_that_counts(allocation, phase, reason):
    status = looked(a_deployment(), job=a_job(), allocations=(allocation,))
    assert (status.phase, status.reason) == (phase, reason)


def test_endpoints_are_told_only_while_it_runs():
    status = looked(a_deployment(), job=a_job(), allocations=(an_allocation("pending"),))
    assert status.endpoints == {}


def test_the_newest_live_allocation_counts():
    old = an_allocation("failed", id="old", create_index=5)
    status = looked(a_deployment(), job=a_job(), allocations=(old, an_allocation("running")))
    assert status.phase is Phase.RUNNING


@pytest.mark.parametrize(
    ("failure", "reason", "says"),
    [
        (
            a_failure(constraint_filtered={"missing devices": 3}),
            "NoSuchGPU",
            "none of 3 nodes has them",
        ),
        (
            a_failure(
                nodes_exhausted=2, dimension_exhausted={"devices: no devices match request": 2}
            ),
            "GPUsTaken",
            "2 nodes have them, none has 2 free",
        ),
        (a_failure(dimension_exhausted={"memory": 3}), "ResourcesTaken", "8000 MB of memory"),
        (a_failure(nodes_evaluated=0), "NoNodes", "no node"),
        (a_failure(constraint_filtered={"${attr.x} = y": 3}), "ConstraintsNotMet", "${attr.x} = y"),
    ],
)
def test_a_queued_deployment_says_why_in_words(failure, reason, says):
    spec = a_spec(gpu_num=2, gpu_type="Tesla K80")
    status = looked(a_deployment(spec), job=a_job(), evaluation=an_evaluation(failure))
    assert (status.phase, status.reason) == (Phase.QUEUED, reason)
    assert says in status.message
    assert told(status, "Placed") == ("False", reason)


def test_gpus_are_told_by_number_and_model():
    failure = a_failure(constraint_filtered={"missing devices": 3})
    spec = a_spec(gpu_num=2, gpu_type="Tesla K80")
    status = looked(a_deployment(spec), job=a_job(), evaluation=an_evaluation(failure))
    assert "needs 2 GPUs (preferably of model Tesla K80)" in status.message


def test_running_work_with_a_newer_version_in_line_is_running_and_says_so():
    failure = a_failure(dimension_exhausted={"memory": 3})
    status = looked(
        a_deployment(),
        job=a_job(),
        allocations=(an_allocation(),),
        evaluation=an_evaluation(failure),
    )
    assert status.phase is Phase.RUNNING
    assert "a newer version waits" in status.message


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (TaskEvent("Driver Failure", "Failed to pull `x/y:z`: not found", 0), "ImagePullFailed"),
        (TaskEvent("Driver Failure", "container name clash", 0), "DriverFailure"),
        (TaskEvent("Terminated", "Exit Code: 137", 0, exit_code=137, oom=True), "OutOfMemory"),
        (TaskEvent("Terminated", "Exit Code: 3", 0, exit_code=3), "Exited"),
    ],
)
def test_failed_work_says_why_from_its_tasks_events(event, reason):
    task = TaskState("usertask", "dead", failed=True, restarts=0, events=(event,))
    status = looked(
        a_deployment(), job=a_job(), allocations=(an_allocation("failed", tasks=(task,)),)
    )
    assert (status.phase, status.reason) == (Phase.FAILED, reason)
    assert "usertask" in status.message


def test_while_nomad_does_not_answer_the_last_sight_stays_and_synced_says_no():
    before = looked(a_deployment(), job=a_job(), allocations=(an_allocation(),))
    later = NOW + timedelta(minutes=5)
    look = Look(applied=None, error=ClusterUnavailable("connection refused to 10.1.2.3"))
    status = status_of(
        a_deployment(status=before), look, endpoints={}, namespace="ai4eosc", now=later
    )
    assert (status.phase, status.observed_at) == (Phase.RUNNING, NOW)
    assert told(status, "Synced") == ("False", "ClusterUnavailable")
    assert "10.1.2.3" not in status.model_dump_json()


def test_a_new_deployment_while_nomad_is_down_is_accepted():
    look = Look(error=ClusterUnavailable("down"))
    status = status_of(a_deployment(), look, endpoints={}, namespace="ai4eosc", now=NOW)
    assert status.phase is Phase.ACCEPTED
    assert told(status, "Synced") == ("False", "ClusterUnavailable")


def test_a_refused_job_is_stalled_in_nomads_own_words():
    error = JobRejected("1 error occurred: missing datacenters")
    status = looked(a_deployment(), error=error, applied=False)
    assert status.phase is Phase.FAILED
    assert told(status, "Stalled") == ("True", "JobRejected")
    assert "missing datacenters" in status.message


def test_a_refused_job_stays_failed_while_the_wish_stands_and_recovers_when_it_changes():
    refused = looked(a_deployment(), error=JobRejected("no"), applied=False)
    again = looked(a_deployment(status=refused), applied=False)
    assert again.phase is Phase.FAILED
    newer = looked(
        a_deployment(status=refused, generation=2), job=a_job(), allocations=(an_allocation(),)
    )
    assert newer.phase is Phase.RUNNING
    assert told(newer, "Stalled") == ("False", "WishChanged")


def test_what_the_token_may_not_do_is_the_operators_and_says_no_more():
    status = looked(
        a_deployment(), error=ClusterForbidden("token abc lacks submit-job"), applied=False
    )
    assert told(status, "Synced") == ("False", "ClusterForbidden")
    assert "abc" not in status.model_dump_json()


def test_a_held_change_is_told_and_released():
    hold = Plan("held", hold=Hold("WouldNotPlace", "no room; the old version runs on"))
    held = looked(a_deployment(), plan=hold, job=a_job(), allocations=(an_allocation(),))
    assert held.phase is Phase.HELD
    assert told(held, "Held") == ("True", "WouldNotPlace")
    after = looked(a_deployment(status=held), job=a_job(), allocations=(an_allocation(),))
    assert told(after, "Held") == ("False", "Released")


def test_drift_is_told_while_repaired_and_remembered_afterwards():
    plan = Plan("drift", drift=DRIFT)
    found = looked(a_deployment(), plan=plan, job=a_job())
    assert told(found, "Drifted") == ("True", "ChangedByHand")
    later = looked(a_deployment(status=found), job=a_job(), allocations=(an_allocation(),))
    assert told(later, "Drifted") == ("False", "Repaired")
    assert "the job is stopped" in later.condition("Drifted").message
    assert found.repairs == later.repairs == (NOW,)


def test_repairs_are_forgotten_when_they_no_longer_count():
    before = looked(a_deployment(), plan=Plan("drift", drift=DRIFT), job=a_job())
    later = looked(a_deployment(status=before), job=a_job(), at=NOW + timedelta(hours=1))
    assert later.repairs == ()


def test_a_repair_that_nomad_refused_counts_as_none():
    error = ClusterUnavailable("x")
    assert looked(a_deployment(), plan=Plan("drift", drift=DRIFT), error=error).repairs == ()


def test_drift_that_runs_on_is_running():
    plan = Plan("drift", drift=DRIFT)
    status = looked(a_deployment(), plan=plan, job=a_job(), allocations=(an_allocation(),))
    assert status.phase is Phase.RUNNING


def test_reported_drift_stays_told_until_the_job_is_compared_or_written_again():
    plan = Plan("reported", drift=replace(DRIFT, handled="reported"))
    found = looked(a_deployment(), plan=plan, job=a_job(stopped=True))
    assert (found.phase, found.reason) == (Phase.DEGRADED, "LeftAsFound")
    ended = an_allocation("complete", desired_status="stop")
    later = looked(a_deployment(status=found), job=a_job(stopped=True), allocations=(ended,))
    assert told(later, "Drifted") == ("True", "LeftAsFound")
    assert (later.phase, later.reason) == (Phase.DEGRADED, "LeftAsFound")
    compared = looked(a_deployment(status=later), live={}, job=a_job())
    assert told(compared, "Drifted") == ("False", "Repaired")


def test_a_fight_is_told_and_work_that_is_down_meanwhile_is_not_called_running():
    hold = Hold("FightingWithAnother", "somebody undoes every repair")
    plan = Plan("fight", hold=hold, drift=replace(DRIFT, handled="waits"))
    down = looked(a_deployment(), plan=plan, job=a_job(stopped=True))
    assert (down.phase, down.reason) == (Phase.HELD, "FightingWithAnother")
    assert told(down, "Held") == told(down, "Drifted") == ("True", "FightingWithAnother")
    up = looked(a_deployment(), plan=plan, job=a_job(), allocations=(an_allocation(),))
    assert up.phase is Phase.RUNNING
    assert told(up, "Held") == ("True", "FightingWithAnother")


def test_a_deletion_that_waits_for_a_yes_is_held_while_the_work_goes_on():
    waiting = a_deployment(deletion_held="its file is gone, with 40 others")
    status = looked(waiting, job=a_job(), allocations=(an_allocation(),))
    assert status.phase is Phase.RUNNING
    assert told(status, "Held") == ("True", "DeletionHeld")


def test_a_deployment_of_a_file_says_whether_the_file_is_valid():
    """R15: the last good spec stays, and the status says what is wrong and where."""
    source = {"type": "git", "id": "team", "path": "deploy/a.yaml", "line": "3"}
    status = looked(a_deployment(source=source))
    assert told(status, "SourceValid") == ("True", "Valid")
    assert status.condition("SourceValid").message == "declared in deploy/a.yaml:3"
    fault = "deploy/a.yaml:7:5: bad"
    broken = looked(a_deployment(source=source, source_fault=fault, status=status))
    assert told(broken, "SourceValid") == ("False", "InvalidFile")
    assert "deploy/a.yaml:7:5: bad" in broken.condition("SourceValid").message
    taken = looked(a_deployment(source={"type": "http"}, status=broken))
    assert taken.condition("SourceValid") is None


def test_what_was_just_written_is_not_ready_before_the_scheduler_has_seen_it():
    old = an_allocation(modify_index=9)
    status = looked(a_deployment(), job=a_job(), allocations=(old,))
    assert (status.phase, told(status, "Ready")) == (Phase.RUNNING, ("False", "Running"))
    assert "a change is on its way" in status.message
    status = looked(a_deployment(), job=a_job())
    assert (status.phase, status.reason) == (Phase.STARTING, "Placing")


def test_a_version_in_line_behind_the_one_that_runs_is_not_ready():
    failure = a_failure(dimension_exhausted={"memory": 3})
    status = looked(
        a_deployment(),
        job=a_job(),
        allocations=(an_allocation(),),
        evaluation=an_evaluation(failure),
    )
    assert told(status, "Ready") == ("False", "Running")
    assert status.ready_generation == 0


def test_work_on_a_node_that_does_not_answer_is_down_before_nomad_gives_it_up():
    status = looked(
        a_deployment(),
        job=a_job(),
        allocations=(an_allocation(),),
        lost_nodes=frozenset({"n1"}),
    )
    assert (status.phase, status.reason) == (Phase.DEGRADED, "NodeDown")


def test_lost_work_that_has_no_other_place_says_both():
    lost = an_allocation("lost", desired_status="stop")
    failure = a_failure(dimension_exhausted={"memory": 3})
    status = looked(
        a_deployment(), job=a_job(), allocations=(lost,), evaluation=an_evaluation(failure)
    )
    assert (status.phase, status.reason) == (Phase.DEGRADED, "NodeDown")
    assert "node-1" in status.message
    assert "8000 MB of memory" in status.message


@pytest.mark.parametrize(
    ("rollout", "generation"),
    [
        (None, 1),
        (a_rollout("successful"), 1),
        (a_rollout("running"), 0),
        (a_rollout("failed"), 0),
    ],
)
def test_a_generation_was_good_when_it_ran_and_its_rollout_says_so(rollout, generation):
    status = looked(a_deployment(), job=a_job(), allocations=(an_allocation(),), rollout=rollout)
    assert (status.ran_generation, status.ready_generation) == (1, generation)


def test_a_pin_is_told_and_so_is_its_end():
    pinned = a_deployment(pin=Pin(1, a_spec(), "Alice"), generation=2)
    status = looked(pinned, job=a_job(), allocations=(an_allocation(),))
    assert told(status, "Pinned") == ("True", "RolledBack")
    assert "by Alice" in status.condition("Pinned").message
    after = looked(a_deployment(status=status), job=a_job(), allocations=(an_allocation(),))
    assert told(after, "Pinned") == ("False", "Lifted")
    assert after.pinned_generation is None


@pytest.mark.parametrize(
    ("minutes", "phase", "reason", "expiring"),
    [
        (120, Phase.RUNNING, "Running", None),
        (30, Phase.RUNNING, "Running", ("True", "ExpiresSoon")),
        (-1, Phase.SUSPENDED, "Stopping", None),
    ],
)
def test_the_end_of_its_time_is_told_before_and_after(minutes, phase, reason, expiring):
    ends_at = NOW + timedelta(minutes=minutes)
    deployment = a_deployment(a_spec(expires_at=ends_at))
    status = looked(deployment, job=a_job(), allocations=(an_allocation(),))
    assert (status.phase, status.reason) == (phase, reason)
    assert status.expires_at == ends_at
    assert (told(status, "Expiring") if expiring else None) == expiring
    assert expiring or status.condition("Expiring") is None


def test_expired_work_that_has_ended_says_so():
    deployment = a_deployment(a_spec(expires_at=NOW))
    status = looked(deployment, job=a_job(stopped=True))
    assert (status.phase, status.reason) == (Phase.SUSPENDED, "Expired")
    assert told(status, "Synced") == ("True", "Stopped")


def test_a_transition_time_moves_only_when_the_status_does():
    first = looked(a_deployment(), job=a_job(), allocations=(an_allocation(),))
    again = looked(
        a_deployment(status=first),
        job=a_job(),
        allocations=(an_allocation(),),
        at=NOW + timedelta(hours=1),
    )
    assert again.condition("Ready").last_transition_time == NOW


def test_suspended_work_says_so():
    deployment = a_deployment(a_spec(suspend=True))
    assert looked(deployment, job=a_job(stopped=True)).phase is Phase.SUSPENDED


def test_a_deletion_says_what_it_waits_for():
    deployment = replace(a_deployment(), deletion_requested_at=NOW)
    status = looked(deployment, plan=Plan("deleting: allocations are ending"), job=a_job())
    assert (status.phase, status.message) == (Phase.DELETING, "deleting: allocations are ending")
