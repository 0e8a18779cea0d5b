from dataclasses import replace
from datetime import timedelta

import pytest

from reconciler.diff import FieldChange
from reconciler.errors import ClusterForbidden, ClusterUnavailable, JobRejected
from reconciler.jobs import TaskEvent, TaskState
from reconciler.plan import Hold, Observed, Plan
from reconciler.render import render
from reconciler.status import Look, status_of
from specs.model import Phase
from tests.builders import (
    NOW,
    SITE,
    TEMPLATE,
    a_deployment,
    a_failure,
    a_job,
    a_spec,
    an_allocation,
    an_evaluation,
    applied_as,
)


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
            "none of 3 nodes has it",
        ),
        (
            a_failure(
                nodes_exhausted=2, dimension_exhausted={"devices: no devices match request": 2}
            ),
            "GPUsTaken",
            "2 nodes have it, none has it free",
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
    assert "needs 2 GPUs of model Tesla K80" in status.message


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
    plan = Plan("drift", drift=(FieldChange("Stop", wanted=False, actual=True),))
    found = looked(a_deployment(), plan=plan, job=a_job())
    assert told(found, "Drifted") == ("True", "ChangedByHand")
    later = looked(a_deployment(status=found), job=a_job(), allocations=(an_allocation(),))
    assert told(later, "Drifted") == ("False", "Repaired")
    assert "Stop" in later.condition("Drifted").message


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
