import copy
from dataclasses import replace

import pytest

from reconciler.jobs import Verdict
from reconciler.plan import (
    Observed,
    PurgeJob,
    RegisterJob,
    RemoveFinalizer,
    StopJob,
    WriteSecrets,
    make_plan,
    wants_live_job,
    wants_verdict,
)
from reconciler.render import render
from specs.model import JOB_FINALIZER, SECRET_SET, Condition, DeploymentStatus, Update
from tests.builders import (
    NOW,
    REF,
    SITE,
    TEMPLATE,
    a_deployment,
    a_failure,
    a_job,
    a_spec,
    an_allocation,
    applied_as,
)


def wanted_of(deployment):
    return render(deployment, TEMPLATE, SITE)


def settled(spec=None, *, index=10, **changes):
    """A deployment whose current generation was written at `index`."""
    deployment = a_deployment(spec)
    return replace(deployment, applied=applied_as(wanted_of(deployment), index=index), **changes)


def changed(spec, *, before=None, index=10):
    """A deployment whose wish changed to `spec` after generation 1 was written."""
    return replace(settled(before, index=index), spec=spec, generation=2)


def plan_for(deployment, observed):
    return make_plan(deployment, wanted_of(deployment), observed)


def live_job(deployment, **changes):
    return {**copy.deepcopy(dict(wanted_of(deployment).job)), "JobModifyIndex": 17, **changes}


def test_a_new_deployment_is_registered_only_if_no_such_job_exists():
    deployment = a_deployment()
    plan = plan_for(deployment, Observed())
    assert plan.actions == (RegisterJob(wanted_of(deployment).job, 0),)
    assert plan.applied.generation == 1
    assert plan.drift == ()


def test_secrets_are_written_before_the_job_that_reads_them():
    deployment = a_deployment(a_spec(jupyter_password=SECRET_SET), secrets_generation=1)
    plan = plan_for(deployment, Observed())
    assert [type(action) for action in plan.actions] == [WriteSecrets, RegisterJob]


def test_nothing_changed_means_nothing_to_do_and_nothing_to_read():
    deployment = settled()
    plan = plan_for(deployment, Observed(job=a_job(10)))
    assert (plan.actions, plan.applied) == ((), None)
    assert not wants_live_job(deployment, a_job(10))
    assert not wants_verdict(deployment, wanted_of(deployment), a_job(10))


def test_a_purged_job_is_registered_again_and_called_drift():
    plan = plan_for(settled(), Observed(job=None))
    assert isinstance(plan.actions[0], RegisterJob)
    assert plan.actions[0].if_index == 0
    assert plan.drift


def test_a_job_whose_index_moved_is_read_in_full():
    assert wants_live_job(settled(), a_job(11))


def test_a_moved_index_with_the_same_content_is_only_recorded():
    deployment = settled()
    plan = plan_for(deployment, Observed(job=a_job(17), live=live_job(deployment)))
    assert plan.actions == ()
    assert plan.applied.index == 17


def test_a_job_edited_by_hand_is_set_right_at_the_index_it_was_read_at():
    deployment = settled()
    plan = plan_for(
        deployment, Observed(job=a_job(16), live=live_job(deployment, Datacenters=["x"]))
    )
    assert plan.actions == (RegisterJob(wanted_of(deployment).job, 17),)
    assert [change.path for change in plan.drift] == ["Datacenters[0]"]


def test_a_job_stopped_by_hand_is_registered_again():
    deployment = settled()
    stopped = Observed(job=a_job(17, stopped=True), live=live_job(deployment, Stop=True))
    plan = plan_for(deployment, stopped)
    assert isinstance(plan.actions[0], RegisterJob)
    assert plan.drift[0].path == "Stop"


def test_a_step_cut_short_by_a_crash_is_finished_without_a_second_register():
    deployment = a_deployment()  # registered, but the record of it was lost
    assert wants_live_job(deployment, a_job(17))
    plan = plan_for(deployment, Observed(job=a_job(17), live=live_job(deployment)))
    assert (plan.actions, plan.applied.index) == ((), 17)


@pytest.mark.parametrize(
    ("verdict", "registers"),
    [
        (Verdict("in place", 10), True),
        (Verdict("restarts", 10), True),
        (Verdict("restarts", 10, failures=(a_failure(),)), False),
        (Verdict("in place", 10, failures=(a_failure(),)), True),
    ],
)
def test_a_changed_wish_is_registered_unless_it_would_cost_running_work(verdict, registers):
    deployment = changed(a_spec(ram=16000))
    plan = plan_for(deployment, Observed(a_job(10), (an_allocation(),), verdict=verdict))
    assert bool(plan.actions) is registers
    assert (plan.hold is None) is registers
    if registers:
        assert plan.actions == (RegisterJob(wanted_of(deployment).job, 10),)
    else:
        assert plan.hold.reason == "WouldNotPlace"
        assert plan.applied is None
        assert plan.look_again_s


def test_with_policy_queue_nomad_gets_the_change_at_once():
    deployment = changed(a_spec(ram=16000, update=Update(policy="queue")))
    verdict = Verdict("restarts", 10, failures=(a_failure(),))
    assert plan_for(deployment, Observed(a_job(10), (an_allocation(),), verdict=verdict)).actions


def test_a_change_of_work_that_does_not_run_is_never_held():
    deployment = changed(a_spec(ram=16000))
    verdict = Verdict("restarts", 10, failures=(a_failure(),))
    assert plan_for(deployment, Observed(a_job(10), (), verdict=verdict)).actions


def test_a_changed_wish_that_renders_the_same_job_writes_nothing():
    deployment = replace(settled(), generation=2)
    plan = plan_for(deployment, Observed(job=a_job(10)))
    assert plan.actions == ()
    assert plan.applied.generation == 2


def test_a_changed_secret_alone_is_written_and_the_job_left_alone():
    spec = a_spec(jupyter_password=SECRET_SET)
    deployment = replace(settled(spec, secrets_generation=1), generation=2, secrets_generation=2)
    plan = plan_for(deployment, Observed(job=a_job(10)))
    assert plan.actions == (WriteSecrets(REF),)
    assert plan.applied.secrets_generation == 2


def test_a_refused_job_is_not_tried_again_until_the_wish_changes():
    refused = Condition(
        type="Stalled", status="True", reason="JobRejected", last_transition_time=NOW
    )
    status = DeploymentStatus(observed_generation=1, conditions=(refused,))
    assert plan_for(a_deployment(status=status), Observed()).actions == ()
    assert plan_for(a_deployment(status=status, generation=2), Observed()).actions


def test_suspend_stops_the_job_once():
    deployment = changed(a_spec(suspend=True))
    assert plan_for(deployment, Observed(job=a_job(10))).actions == (StopJob(REF),)
    assert plan_for(deployment, Observed(job=a_job(12, stopped=True))).actions == ()
    assert plan_for(deployment, Observed(job=None)).actions == ()


def test_resume_starts_the_job_again_and_is_not_called_drift():
    deployment = replace(settled(), generation=3)
    observed = Observed(job=a_job(17, stopped=True), live=live_job(deployment, Stop=True))
    plan = plan_for(deployment, observed)
    assert isinstance(plan.actions[0], RegisterJob)
    assert plan.drift == ()


@pytest.mark.parametrize(
    ("observed", "actions"),
    [
        (Observed(a_job(10), (an_allocation(),)), (StopJob(REF),)),
        (Observed(a_job(12, stopped=True), (an_allocation(),)), ()),
        (
            Observed(a_job(12, stopped=True), (an_allocation("complete"),)),
            (PurgeJob(REF), RemoveFinalizer(JOB_FINALIZER)),
        ),
        (Observed(), (PurgeJob(REF), RemoveFinalizer(JOB_FINALIZER))),
    ],
)
def test_deletion_stops_waits_for_the_work_to_end_and_only_then_lets_go(observed, actions):
    assert plan_for(settled(deletion_requested_at=NOW), observed).actions == actions


@pytest.mark.parametrize("meta", [{}, {"managed_by": "ai4papi", "ai4papi_uid": "another"}])
@pytest.mark.parametrize("deleting", [False, True])
def test_a_job_that_is_not_ours_is_never_touched(meta, deleting):
    deployment = settled(deletion_requested_at=NOW if deleting else None)
    plan = plan_for(deployment, Observed(job=a_job(10, meta=meta)))
    assert not any(isinstance(a, RegisterJob | StopJob | PurgeJob) for a in plan.actions)
    assert (plan.hold is not None) is not deleting


def test_an_audit_reads_the_job_although_no_index_moved_and_finds_what_was_wrong():
    deployment = settled()
    assert wants_live_job(deployment, a_job(10), audit=True)
    tampered = live_job(deployment, JobModifyIndex=10, Priority=90, Datacenters=["x"])
    assert plan_for(deployment, Observed(job=a_job(10), live=tampered)).drift
