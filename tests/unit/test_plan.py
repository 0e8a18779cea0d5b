import copy
from dataclasses import replace
from datetime import timedelta

import pytest

from reconciler.jobs import Verdict
from reconciler.plan import make_plan, wants_live_job, wants_verdict
from reconciler.render import render
from reconciler.steps import (
    EvaluateJob,
    ForgetSecrets,
    Observed,
    PinLastGood,
    PurgeJob,
    RegisterJob,
    RemoveFinalizer,
    RestartAllocation,
    Rules,
    StopJob,
    WriteSecrets,
)
from specs.model import JOB_FINALIZER, SECRET_SET, Condition, DeploymentStatus, Pin, Update
from tests.builders import (
    NOW,
    REF,
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

REPAIR, REPORT = Rules(), Rules(drift="report")


def wanted_of(deployment):
    return render(deployment, TEMPLATE, SITE)


def settled(spec=None, *, index=10, **changes):
    """A deployment whose current generation was written at `index`."""
    deployment = a_deployment(spec)
    return replace(deployment, applied=applied_as(wanted_of(deployment), index=index), **changes)


def changed(spec, *, before=None, index=10):
    """A deployment whose wish changed to `spec` after generation 1 was written."""
    return replace(settled(before, index=index), spec=spec, generation=2)


def plan_for(deployment, observed, *, now=NOW, rules=REPAIR):
    return make_plan(deployment, wanted_of(deployment), observed, now=now, rules=rules)


def wants_live(deployment, job, *, audit=False):
    return wants_live_job(deployment, wanted_of(deployment), job, audit=audit)


def live_job(deployment, **changes):
    return {**copy.deepcopy(dict(wanted_of(deployment).job)), "JobModifyIndex": 17, **changes}


def test_a_new_deployment_is_registered_only_if_no_such_job_exists():
    deployment = a_deployment()
    plan = plan_for(deployment, Observed())
    assert plan.actions == (RegisterJob(wanted_of(deployment).job, 0),)
    assert plan.applied.generation == 1
    assert plan.drift is None


def test_secrets_are_written_before_the_job_that_reads_them():
    deployment = a_deployment(a_spec(jupyter_password=SECRET_SET), secrets_generation=1)
    plan = plan_for(deployment, Observed())
    assert [type(action) for action in plan.actions] == [WriteSecrets, RegisterJob]


def test_nothing_changed_means_nothing_to_do_and_nothing_to_read():
    deployment = settled()
    plan = plan_for(deployment, Observed(job=a_job(10)))
    assert (plan.actions, plan.applied) == ((), None)
    assert not wants_live(deployment, a_job(10))
    assert not wants_verdict(deployment, wanted_of(deployment), a_job(10))


def test_a_purged_job_is_registered_again_and_called_drift():
    plan = plan_for(settled(), Observed(job=None))
    assert isinstance(plan.actions[0], RegisterJob)
    assert plan.actions[0].if_index == 0
    assert plan.drift


def test_a_job_whose_index_moved_is_read_in_full():
    assert wants_live(settled(), a_job(11))


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
    assert [change.path for change in plan.drift.changes] == ["Datacenters[0]"]


def test_a_job_stopped_by_hand_is_registered_again():
    deployment = settled()
    stopped = Observed(job=a_job(17, stopped=True), live=live_job(deployment, Stop=True))
    plan = plan_for(deployment, stopped)
    assert isinstance(plan.actions[0], RegisterJob)
    assert plan.drift.changes[0].path == "Stop"


def test_a_step_cut_short_by_a_crash_is_finished_without_a_second_register():
    deployment = a_deployment()  # registered, but the record of it was lost
    assert wants_live(deployment, a_job(17))
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
        assert plan.look_again_s is None, "room in the cluster brings the next look"


def test_with_policy_queue_nomad_gets_the_change_at_once():
    deployment = changed(a_spec(ram=16000, update=Update(policy="queue")))
    verdict = Verdict("restarts", 10, failures=(a_failure(),))
    assert plan_for(deployment, Observed(a_job(10), (an_allocation(),), verdict=verdict)).actions


def test_a_change_of_work_that_never_ran_is_never_held():
    deployment = changed(a_spec(ram=16000))
    verdict = Verdict("in place", 10, failures=(a_failure(),))
    assert plan_for(deployment, Observed(a_job(10), (), verdict=verdict)).actions


@pytest.mark.parametrize("ended", ["complete", "lost", "failed"])
def test_a_change_is_held_while_the_work_is_down_so_that_its_old_version_comes_back(ended):
    ready = DeploymentStatus(observed_generation=1, ran_generation=1)
    deployment = replace(changed(a_spec(ram=16000)), status=ready)
    verdict = Verdict("in place", 10, failures=(a_failure(),))
    drained = Observed(a_job(10), (an_allocation(ended),), verdict=verdict)
    assert plan_for(deployment, drained).hold.reason == "WouldNotPlace"
    stopped = replace(drained, job=a_job(10, stopped=True))
    assert plan_for(deployment, stopped).actions
    fits = replace(drained, verdict=Verdict("in place", 10))
    assert plan_for(deployment, fits).actions


def test_a_version_in_line_that_never_ran_makes_way_for_a_newer_wish():
    ready = DeploymentStatus(observed_generation=2, ran_generation=1)
    deployment = replace(changed(a_spec(ram=16000)), generation=3, status=ready)
    in_line = replace(deployment.applied, generation=2)
    verdict = Verdict("in place", 10, failures=(a_failure(),))
    observed = Observed(a_job(10), (an_allocation("complete"),), verdict=verdict)
    assert plan_for(replace(deployment, applied=in_line), observed).actions


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
    assert plan.drift is None


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
    assert any(isinstance(a, ForgetSecrets) for a in plan.actions) is deleting


def test_an_audit_reads_the_job_although_no_index_moved_and_finds_what_was_wrong():
    deployment = settled()
    assert wants_live(deployment, a_job(10), audit=True)
    tampered = live_job(deployment, JobModifyIndex=10, Priority=90, Datacenters=["x"])
    assert plan_for(deployment, Observed(job=a_job(10), live=tampered)).drift


def edited(deployment, **changes):
    return Observed(job=a_job(17), live=live_job(deployment, **changes))


def test_under_report_what_was_changed_by_hand_is_told_and_left():
    deployment = settled()
    plan = plan_for(deployment, edited(deployment, Priority=90, Datacenters=["x"]), rules=REPORT)
    assert plan.actions == ()
    assert plan.drift.handled == "reported"
    assert plan.applied.index == 17, "quiet until somebody changes something again"
    assert plan.applied.job == deployment.applied.job


def test_under_report_a_purged_job_is_told_and_left():
    plan = plan_for(settled(), Observed(job=None), rules=REPORT)
    assert (plan.actions, plan.drift.handled) == ((), "reported")


def left_as_found(deployment):
    found = Condition(type="Drifted", status="True", reason="LeftAsFound", last_transition_time=NOW)
    status = DeploymentStatus(observed_generation=1, conditions=(found,))
    return replace(deployment, status=status)


def test_a_job_left_stopped_stays_so_until_the_wish_changes():
    deployment = left_as_found(settled())
    stopped = Observed(job=a_job(10, stopped=True))
    assert plan_for(deployment, stopped, rules=REPORT).actions == ()
    assert plan_for(replace(deployment, generation=2), stopped, rules=REPORT).actions


def test_the_nomad_token_that_edited_a_job_is_named():
    deployment = settled()
    told = edited(
        deployment, Datacenters=["x"], NomadTokenID="accessor", SubmitTime=1_800_000_000 * 10**9
    )
    drift = plan_for(deployment, told).drift
    assert drift.by == "accessor"
    assert drift.sentence == (
        "Datacenters[0] is 'x', not '*', submitted 2027-01-15T08:00:00Z,"
        " by the Nomad token accessor"
    )


def test_a_stop_says_nothing_of_who_submitted_the_job_before():
    deployment = settled()
    drift = plan_for(deployment, edited(deployment, Stop=True, NomadTokenID="ours")).drift
    assert (drift.by, drift.sentence) == ("", "the job is stopped")


def test_a_scale_says_nothing_of_who_submitted_the_job_before():
    deployment = settled()
    groups = copy.deepcopy(wanted_of(deployment).job["TaskGroups"])
    groups[0]["Count"] = 4
    drift = plan_for(deployment, edited(deployment, TaskGroups=groups, NomadTokenID="ours")).drift
    assert drift.by == ""


def repaired_times(times, *, last_s):
    instants = tuple(NOW - timedelta(seconds=last_s + 5 * n) for n in reversed(range(times)))
    return replace(settled(), status=DeploymentStatus(observed_generation=1, repairs=instants))


@pytest.mark.parametrize(
    ("times", "last_s", "repairs"),
    [(2, 1, True), (3, 1, False), (3, 6, True), (4, 6, False), (4, 18, True), (7, 299, False)],
)
def test_a_repair_that_is_undone_again_and_again_waits_longer_each_time(times, last_s, repairs):
    deployment = repaired_times(times, last_s=last_s)
    plan = plan_for(deployment, edited(deployment, Datacenters=["x"]))
    assert bool(plan.actions) is repairs
    if not repairs:
        assert plan.hold.reason == "FightingWithAnother"
        assert plan.look_again_s > 0


def test_a_store_that_is_not_trusted_writes_nothing_whatever_is_wished():
    frozen = Rules(frozen="older than it was")
    for deployment, observed in (
        (a_deployment(), Observed()),
        (settled(deletion_requested_at=NOW), Observed(a_job(10))),
        (changed(a_spec(suspend=True)), Observed(a_job(10))),
    ):
        plan = plan_for(deployment, observed, rules=frozen)
        assert (plan.actions, plan.hold.reason) == ((), "StoreNotRecognised")


def test_another_type_is_stop_then_create():
    before = settled()
    batch = {**TEMPLATE, "Type": "batch"}
    deployment = replace(before, spec=a_spec(ram=9000), generation=2)
    wanted = render(deployment, batch, SITE)
    assert not wants_verdict(deployment, wanted, a_job(10))
    assert not wants_live_job(deployment, wanted, a_job(17), audit=False)

    def step(observed):
        return make_plan(deployment, wanted, observed, now=NOW)

    assert step(Observed(a_job(10), (an_allocation(),))).actions == (StopJob(REF),)
    assert step(Observed(a_job(12, stopped=True), (an_allocation(),))).actions == ()
    last = step(Observed(a_job(12, stopped=True), (an_allocation("complete"),)))
    assert last.actions == (PurgeJob(REF), RegisterJob(wanted.job, 0))
    gone = step(Observed())
    assert gone.actions == (RegisterJob(wanted.job, 0),)
    assert gone.drift is None


def test_a_higher_restart_counter_restarts_what_runs_and_nothing_else():
    deployment = changed(a_spec(restart=1))
    allocations = (an_allocation(), an_allocation("complete", id="old"))
    plan = plan_for(deployment, Observed(a_job(10), allocations))
    assert plan.actions == (RestartAllocation(REF, an_allocation().id),)
    assert plan.applied.restart == 1


def test_a_restart_and_a_change_that_restarts_are_one_restart():
    deployment = changed(a_spec(restart=1, ram=16000))
    observed = Observed(a_job(10), (an_allocation(),), verdict=Verdict("restarts", 10))
    assert [type(a) for a in plan_for(deployment, observed).actions] == [RegisterJob]
    in_place = replace(observed, verdict=Verdict("in place", 10))
    actions = plan_for(deployment, in_place).actions
    assert [type(a) for a in actions] == [RegisterJob, RestartAllocation]


def test_a_lower_restart_counter_restarts_nothing():
    deployment = changed(a_spec(), before=a_spec(restart=3))
    deployment = replace(deployment, applied=replace(deployment.applied, restart=3))
    plan = plan_for(deployment, Observed(a_job(10), (an_allocation(),)))
    assert (plan.actions, plan.applied.restart) == ((), 0)


def test_at_the_end_of_its_time_the_work_is_stopped_and_a_later_end_brings_it_back():
    deployment = settled(a_spec(expires_at=NOW))
    plan = plan_for(deployment, Observed(a_job(10), (an_allocation(),)))
    assert plan.actions == (StopJob(REF),)
    stopped = replace(deployment, applied=replace(deployment.applied, index=12))
    observed = Observed(a_job(12, stopped=True))
    assert plan_for(stopped, observed).actions == ()
    later = replace(stopped, spec=a_spec(expires_at=NOW + timedelta(days=1)), generation=2)
    assert [type(a) for a in plan_for(later, observed).actions] == [RegisterJob]
    assert plan_for(later, observed).drift is None


def failing(**changes):
    """A second generation whose rollout failed after it was registered at 20."""
    spec = a_spec(update=Update(rollback_on_failure=True), docker_tag="broken")
    deployment = a_deployment(spec, generation=2)
    applied = applied_as(wanted_of(deployment), generation=2, index=20)
    status = DeploymentStatus(observed_generation=2, ready_generation=1)
    return replace(deployment, **{"applied": applied, "status": status, **changes})


FAILED_ROLLOUT = Observed(a_job(20), rollout=a_rollout("failed", modify_index=25))


def test_a_failed_generation_makes_way_for_the_last_good_one_where_its_owner_wished_so():
    (pin,) = plan_for(failing(), FAILED_ROLLOUT).actions
    assert isinstance(pin, PinLastGood)
    assert (pin.failed_generation, pin.good_generation) == (2, 1)


@pytest.mark.parametrize(
    "deployment",
    [
        failing(status=DeploymentStatus(observed_generation=2)),
        failing(status=DeploymentStatus(observed_generation=2, ready_generation=2)),
        failing(pin=Pin(1, a_spec(), "Alice")),
        replace(failing(), spec=a_spec(docker_tag="broken")),
    ],
    ids=["nothing was ever good", "it was good itself", "rolled back already", "not wished"],
)
def test_nothing_is_rolled_back_unasked(deployment):
    assert plan_for(deployment, FAILED_ROLLOUT).actions == ()


def test_a_rollout_that_failed_before_the_last_write_says_nothing():
    observed = replace(FAILED_ROLLOUT, rollout=a_rollout("failed", modify_index=19))
    assert plan_for(failing(), observed).actions == ()


SCALED = {**TEMPLATE, "TaskGroups": [{**TEMPLATE["TaskGroups"][0], "Scaling": {"Enabled": True}}]}


def test_a_count_that_is_handed_over_is_no_drift_and_survives_a_change():
    deployment = a_deployment()
    wanted = render(deployment, SCALED, SITE)
    deployment = replace(deployment, applied=applied_as(wanted))
    groups = copy.deepcopy(wanted.job["TaskGroups"])
    groups[0]["Count"] = 4
    live = {**wanted.job, "TaskGroups": groups, "JobModifyIndex": 17}
    plan = make_plan(deployment, wanted, Observed(a_job(17), live=live), now=NOW)
    assert (plan.actions, plan.drift) == ((), None)

    changed_ = replace(deployment, spec=a_spec(ram=9000), generation=2)
    wanted = render(changed_, SCALED, SITE)
    assert wants_live_job(changed_, wanted, a_job(17), audit=False)
    observed = Observed(a_job(17), live=live, verdict=Verdict("restarts", 17))
    (register,) = make_plan(changed_, wanted, observed, now=NOW).actions
    assert register.job["TaskGroups"][0]["Count"] == 4
    assert register.job["TaskGroups"][0]["Tasks"][0]["Resources"]["MemoryMB"] == 9000


def test_a_count_that_nobody_handed_over_is_drift():
    deployment = settled()
    groups = copy.deepcopy(wanted_of(deployment).job["TaskGroups"])
    groups[0]["Count"] = 4
    plan = plan_for(deployment, edited(deployment, TaskGroups=groups))
    assert [c.path for c in plan.drift.changes] == ["TaskGroups[usergroup].Count"]


def test_a_pinned_generation_runs_with_the_switches_of_the_wish():
    pinned = a_deployment(
        a_spec(docker_tag="new", suspend=True), pin=Pin(1, a_spec(docker_tag="old"), "Alice")
    )
    assert pinned.target.general.docker_tag == "old"
    assert pinned.target.suspend
    config = wanted_of(pinned).job["TaskGroups"][0]["Tasks"][0]["Config"]
    assert config["image"].endswith(":old")


def test_a_new_type_that_is_there_already_is_not_stopped_again():
    """A process died between the register of the new type and its record."""
    deployment = changed(a_spec(ram=9000))
    wanted = wanted_of(deployment)
    wanted = replace(wanted, job={**wanted.job, "Type": "batch"})
    live = {**copy.deepcopy(dict(wanted.job)), "JobModifyIndex": 17}
    plan = make_plan(deployment, wanted, Observed(job=a_job(17), live=live), now=NOW)
    assert plan.actions == ()
    assert plan.applied.index == 17


WAITS = an_evaluation(a_failure(), modify_index=20)
ON_GPUS = a_spec(gpu_num=2)
ASK_AGAIN = "devices appeared: ask the scheduler again"


def waiting(evaluation=WAITS, *, devices_index=21, **seen):
    """What is seen of a job that waits, where devices appeared at `devices_index`."""
    return Observed(job=a_job(10), evaluation=evaluation, devices_index=devices_index, **seen)


def test_who_waits_has_the_scheduler_asked_when_devices_appeared():
    plan = plan_for(settled(ON_GPUS), waiting())
    assert (plan.reason, plan.actions) == (ASK_AGAIN, (EvaluateJob(REF),))


@pytest.mark.parametrize("devices_index", [0, 19, 20])
def test_a_scheduler_that_has_seen_the_devices_is_not_asked_again(devices_index):
    assert plan_for(settled(ON_GPUS), waiting(devices_index=devices_index)).actions == ()


@pytest.mark.parametrize(
    "evaluation", [None, an_evaluation(modify_index=20), replace(WAITS, status="complete")]
)
def test_who_waits_for_nothing_has_nobody_asked(evaluation):
    assert plan_for(settled(ON_GPUS), waiting(evaluation)).actions == ()


def test_a_pass_that_left_a_blocked_evaluation_is_asked_about_too():
    left = replace(WAITS, status="complete", blocked_eval="e2")
    assert plan_for(settled(ON_GPUS), waiting(left)).actions == (EvaluateJob(REF),)


def test_who_asked_for_no_device_has_nobody_asked():
    assert plan_for(settled(), waiting()).actions == ()


def test_a_job_whose_index_moved_without_a_difference_is_recorded_and_asked_about():
    deployment = settled(ON_GPUS)
    plan = plan_for(deployment, waiting(live=live_job(deployment)))
    assert (plan.actions, plan.applied.index) == ((EvaluateJob(REF),), 17)


@pytest.mark.parametrize(
    "deployment",
    [
        settled(a_spec(gpu_num=2, suspend=True)),
        settled(ON_GPUS, deletion_requested_at=NOW, finalizers=(JOB_FINALIZER,)),
        replace(
            settled(ON_GPUS),
            status=DeploymentStatus(
                observed_generation=1,
                conditions=(
                    Condition(
                        type="Stalled",
                        status="True",
                        reason="JobRejected",
                        last_transition_time=NOW,
                    ),
                ),
            ),
        ),
        changed(a_spec(gpu_num=2, ram=9000), before=ON_GPUS),
    ],
    ids=["suspended", "being deleted", "refused", "changed"],
)
def test_what_is_not_in_sync_has_other_things_to_do(deployment):
    verdict = Verdict("restarts", 10) if deployment.generation > 1 else None
    plan = plan_for(deployment, waiting(verdict=verdict))
    assert not any(isinstance(action, EvaluateJob) for action in plan.actions)


def test_of_a_change_that_is_held_nothing_is_asked():
    deployment = changed(a_spec(gpu_num=2, ram=9000), before=ON_GPUS)
    seen = waiting(verdict=Verdict("restarts", 10, (a_failure(),)))
    plan = plan_for(deployment, replace(seen, allocations=(an_allocation(),)))
    assert (plan.hold.reason, plan.actions) == ("WouldNotPlace", ())


def test_a_job_that_is_not_ours_is_not_asked_about():
    theirs = replace(waiting(), job=a_job(10, meta={}))
    assert plan_for(settled(ON_GPUS), theirs).actions == ()


def test_nothing_is_asked_while_nothing_may_be_written():
    plan = plan_for(settled(ON_GPUS), waiting(), rules=Rules(frozen="an older store"))
    assert plan.actions == ()
