"""What a Nomad does, asserted alike on the real one and on the simulator.

Every measured fact that the loop relies on is a case here. Cases in terms of the protocol run on
three doors; those on the wire (status, text, headers) on the two that have one.
"""

from copy import deepcopy

import pytest

from reconciler.errors import JobConflict, JobRejected
from reconciler.jobs import Evaluation, Registered
from tests.contract.conftest import on_the_wire
from tests.contract.doors import (
    DEVICE,
    NO_SUCH_DEVICE,
    Case,
    group_of,
    quoted,
    ref_of,
    task_of,
    watching,
)


def test_index_0_creates_and_a_second_time_it_is_a_conflict(case: Case):
    """`EnforceIndex: true, JobModifyIndex: 0` creates; a second time it is refused."""
    job = case.a_job()
    created = case.register(job)
    assert created.index == case.read(job)["JobModifyIndex"]
    assert created.eval_id
    with pytest.raises(JobConflict, match="Enforcing job modify index 0: job already exists"):
        case.register(job)


def test_a_stopped_job_counts_as_existing(case: Case):
    """Index 0 means that there is no such job, not that it is stopped."""
    job = case.a_job(count=0)
    case.register(job)
    case.cluster.stop_job(ref_of(job))
    with pytest.raises(JobConflict, match="already exists"):
        case.register(job)


@pytest.mark.parametrize("index", [1, 10**9])
def test_a_wrong_index_is_a_conflict_and_changes_nothing(case: Case, index):
    """Never overwrite: a register at another index than the job's is refused."""
    job = case.a_job(count=0)
    case.register(job)
    before = case.read(job)
    with pytest.raises(JobConflict, match=f"Enforcing job modify index {index}: .*conflicting"):
        case.register({**job, "Priority": 70}, if_index=index)
    assert case.read(job) == before


def test_an_index_for_a_job_that_is_not_there_is_a_conflict(case: Case):
    """What was purged meanwhile is not made again by a late write."""
    with pytest.raises(JobConflict, match="does not exist"):
        case.register(case.a_job(), if_index=5)


@on_the_wire
def test_a_lost_compare_and_set_answers_500_with_text(case: Case):
    """A second time it answers 500 `Enforcing job modify index 0: job already exists`."""
    body = {"Job": case.a_job(count=0), "EnforceIndex": True, "JobModifyIndex": 0}
    assert case.wire("POST", "jobs", body).status_code == 200
    refused = case.wire("POST", "jobs", body)
    assert refused.status_code == 500
    assert refused.text == "Enforcing job modify index 0: job already exists"


@on_the_wire
def test_the_index_without_the_flag_enforces_nothing(case: Case):
    """The index alone, without the flag, enforces nothing."""
    job = case.a_job(count=0)
    for priority in (50, 60):
        body = {"Job": {**job, "Priority": priority}, "JobModifyIndex": 0}
        assert case.wire("POST", "jobs", body).status_code == 200
    assert case.read(job)["Priority"] == 60


def test_registering_an_unchanged_job_keeps_version_and_index(case: Case):
    """An unchanged job keeps version and `JobModifyIndex`; our answer says the job's own."""
    job, index, _ = case.standing()
    again = case.register(job, if_index=index)
    kept = case.read(job)
    assert (kept["Version"], kept["JobModifyIndex"]) == (0, index)
    assert again.index == index
    assert again.eval_id


@on_the_wire
def test_the_answer_to_an_unchanged_register_is_not_the_jobs_index(case: Case):
    """It writes an evaluation, and the answer's `JobModifyIndex` is the job's `ModifyIndex`."""
    job, index, _ = case.standing()
    moved = case.read(job)["ModifyIndex"]
    assert moved > index
    answer = case.wire("POST", "jobs", {"Job": job}).json()
    assert answer["JobModifyIndex"] == moved
    assert answer["EvalCreateIndex"] == answer["Index"] > moved


@pytest.mark.parametrize(
    ("change", "effect"),
    [
        (lambda job: None, "none"),
        (lambda job: job["Meta"].update(owner="bob"), "restarts"),
        (lambda job: group_of(job).update(Meta={"a": "b"}), "restarts"),
        (lambda job: task_of(job).update(Meta={"a": "b"}), "restarts"),
        (lambda job: task_of(job)["Resources"].update(MemoryMB=20), "restarts"),
        (lambda job: job.update(UI={"Description": "a title"}), "in place"),
        (lambda job: job.update(Priority=60), "in place"),
        (lambda job: group_of(job).update(Count=2), "in place"),
    ],
    ids=["nothing", "job meta", "group meta", "task meta", "memory", "ui", "priority", "count"],
)
def test_a_plan_says_what_a_change_does_to_running_work(case: Case, change, effect):
    """Changed meta of job, group or task: `DestructiveUpdate`; `UI`, priority: `InPlaceUpdate`."""
    job, index, _ = case.standing()
    changed = deepcopy(job)
    change(changed)
    verdict = case.cluster.plan_job(changed)
    assert (verdict.effect, verdict.index, verdict.fits) == (effect, index, True)
    assert (verdict.diff["Type"] == "None") is (effect == "none")


@on_the_wire
def test_a_plan_counts_what_would_be_placed(case: Case):
    """A raised count plans `InPlaceUpdate` and `Place`."""
    job, _, _ = case.standing()
    group_of(job)["Count"] = 2
    body = {"Job": job, "Diff": True}
    plan = case.wire("POST", f"job/{quoted(job)}/plan", body).json()
    updates = plan["Annotations"]["DesiredTGUpdates"]["usergroup"]
    assert (updates["InPlaceUpdate"], updates["Place"], updates["DestructiveUpdate"]) == (1, 1, 0)


def test_a_plan_of_a_new_job_creates_and_leaves_nothing_behind(case: Case):
    """Index 0 is "no such job"; planning writes none."""
    job = case.a_job()
    verdict = case.cluster.plan_job(job)
    assert (verdict.effect, verdict.index, verdict.fits) == ("creates", 0, True)
    assert case.cluster.read_job(ref_of(job)) is None


def test_a_device_that_no_node_has_is_a_restart_that_does_not_fit(case: Case):
    """`DestructiveUpdate` and `ConstraintFiltered {"missing devices": 1}`."""
    job, _, _ = case.standing()
    task_of(job)["Resources"]["Devices"] = [{"Name": NO_SUCH_DEVICE, "Count": 1}]
    verdict = case.cluster.plan_job(job)
    assert verdict.effect == "restarts"
    assert [dict(f.constraint_filtered) for f in verdict.failures] == [{"missing devices": 1}]


def _ask_for_a_device(job):
    task_of(job)["Resources"]["Devices"] = [{"Name": NO_SUCH_DEVICE, "Count": 1}]


def _ask_for_all_memory(job):
    task_of(job)["Resources"]["MemoryMB"] = 10**9


@pytest.mark.parametrize("grow", [_ask_for_a_device, _ask_for_all_memory], ids=["device", "memory"])
def test_what_can_not_be_placed_keeps_the_old_work_until_it_ends_and_then_nothing(case: Case, grow):
    """The old allocation goes on and an evaluation is blocked; when the old one ends, nothing
    comes back: the job exists only in the version that can't be placed."""
    job, index, old = case.running()
    grow(job)
    with watching(case.cluster) as watch:
        case.register(job, if_index=index)
        watch.until(lambda: case.blocked(job))
        assert [a.id for a in case.allocations(job) if not a.terminal] == [old.id]
        case.door.stop_allocation(old.id)
        watch.until(lambda: case.allocation(job, "complete"))
        watch.change(
            Evaluation,
            lambda e: (e.ref, e.triggered_by, e.status) == (ref_of(job), "alloc-stop", "complete"),
        )
    assert [a.id for a in case.allocations(job)] == [old.id]
    assert case.blocked(job)


def test_what_did_not_fit_replaces_the_old_work_when_it_fits(case: Case):
    """An evaluation is blocked and replaces the old allocation when it fits."""
    job, index, old = case.running()
    _ask_for_all_memory(job)
    with watching(case.cluster) as watch:
        stuck = case.register(job, if_index=index).index
        watch.until(lambda: case.blocked(job))
        task_of(job)["Resources"]["MemoryMB"] = 30
        case.register(job, if_index=stuck)
        new = watch.until(
            lambda: case.allocation(job, "running") if case.allocation(job, "complete") else None
        )
    assert new.id != old.id
    assert case.blocked(job) is None


def test_a_taken_device_is_exhausted_and_one_that_appears_is_used(case: Case):
    """All taken: `DimensionExhausted {"devices: no devices match request": 1}`; one that appears
    later unblocks the evaluation and the job is placed without our doing."""
    if case.door.add_device is None:
        pytest.skip("this Nomad has no device plugin (AI4PAPI_TEST_DEVICE_PLUGIN)")
    with watching(case.cluster) as watch:
        watch.until(lambda: any(DEVICE in n.devices for n in case.cluster.list_nodes().items))
    case.running(device=DEVICE)
    waiting = case.a_job(device=DEVICE)
    with watching(case.cluster) as watch:
        case.register(waiting)
        blocked = watch.until(lambda: case.blocked(waiting))
        assert [dict(f.dimension_exhausted) for f in blocked.failures] == [
            {"devices: no devices match request": 1}
        ]
        case.door.add_device()
        assert watch.until(lambda: case.allocation(waiting, "running"))
    assert case.blocked(waiting) is None


def test_a_stop_bumps_version_and_index_and_a_register_starts_it_again(case: Case):
    """A stopped job stays with `Stop: true, Status: dead`; a register starts it again."""
    job, index, old = case.running()
    with watching(case.cluster) as watch:
        stopped = case.cluster.stop_job(ref_of(job))
        watch.until(lambda: case.read(job)["Status"] == "dead")
        watch.until(lambda: case.allocation(job, "complete"))
        kept = case.read(job)
        assert (kept["Stop"], kept["Version"], kept["JobModifyIndex"]) == (True, 1, stopped.index)
        assert stopped.index > index
        case.register(job, if_index=stopped.index)
        assert watch.until(lambda: case.allocation(job, "running")).id != old.id
    assert case.read(job)["Stop"] is False


def test_stopping_or_purging_what_is_not_there_is_fine(case: Case):
    """Purge of a missing job answers 200 with zeroes."""
    missing = ref_of(case.a_job())
    assert case.cluster.stop_job(missing) == Registered(0, "")
    assert case.cluster.purge_job(missing) == Registered(0, "")


@on_the_wire
def test_a_purge_of_what_is_not_there_answers_200_with_zeroes(case: Case):
    """Purge of a missing job answers 200 with zeroes."""
    answer = case.wire("DELETE", f"job/{quoted(case.a_job())}", purge="true")
    assert answer.status_code == 200
    told = answer.json()
    assert (told["JobModifyIndex"], told["EvalCreateIndex"], told["EvalID"]) == (0, 0, "")


@on_the_wire
def test_a_namespace_that_is_not_there_looks_like_an_empty_one(case: Case):
    """404 "job not found" and an empty list, in a namespace that does not exist."""
    nowhere = {"namespace": "no-such-namespace"}
    read = case.wire("GET", f"job/{quoted(case.a_job())}", **nowhere)
    assert (read.status_code, read.text) == (404, "job not found")
    listed = case.wire("GET", "jobs", **nowhere)
    assert (listed.status_code, listed.json()) == (200, [])
    asked = case.wire("GET", "namespace/no-such-namespace")
    assert (asked.status_code, asked.text) == (404, "Namespace not found")


def test_a_stopped_job_may_be_stopped_again_and_a_purged_one_is_gone(case: Case):
    """Every step of a deletion may be repeated."""
    job = case.a_job(count=0)
    case.register(job)
    case.cluster.stop_job(ref_of(job))
    again = case.cluster.stop_job(ref_of(job))
    assert case.read(job)["JobModifyIndex"] == again.index
    assert case.cluster.purge_job(ref_of(job)).index > again.index
    assert case.cluster.read_job(ref_of(job)) is None


@on_the_wire
def test_a_scale_is_refused_while_a_rollout_is_active(case: Case):
    """Scale is refused (400) while a Nomad rollout is active."""
    job, _, _ = case.running()
    body = {"Count": 2, "Target": {"Group": "usergroup"}}
    refused = case.wire("POST", f"job/{quoted(job)}/scale", body)
    assert refused.status_code == 400
    assert "job scaling blocked due to active deployment" in refused.text


ODD_IDS = ["a/b-{}", "a\nb-{}", "é-ß-{}", "{}-" + "x" * 200]


@pytest.mark.parametrize("odd", ODD_IDS, ids=["slash", "newline", "letters", "long"])
def test_odd_ids_are_accepted_and_reach_the_job_they_name(case: Case, odd):
    """Ids with `/`, with a newline, of 200 characters and with non-ASCII letters are accepted."""
    job = case.a_job(count=0)
    job["ID"] = odd.format(job["ID"])
    case.register(job)
    assert case.read(job)["ID"] == job["ID"]
    assert case.cluster.plan_job(job).effect == "none"
    assert case.cluster.stop_job(ref_of(job)).index


def test_an_id_with_a_space_is_rejected(case: Case):
    """Job ids with a space are refused (500, text)."""
    job = case.a_job(job_id="a b")
    for refused in (lambda: case.register(job), lambda: case.cluster.plan_job(job)):
        with pytest.raises(JobRejected, match="Job ID contains a space"):
            refused()


@on_the_wire
def test_a_bad_job_answers_500_and_only_validation_tells(case: Case):
    """Invalid jobs answer 500 with text, as conflicts and faults do; validate answers 200."""
    job = case.a_job(job_id="a b")
    refused = case.wire("POST", "jobs", {"Job": job})
    assert (refused.status_code, "Job ID contains a space" in refused.text) == (500, True)
    judged = case.wire("POST", "validate/job", {"Job": job})
    assert judged.status_code == 200
    assert "Job ID contains a space" in judged.json()["Error"]
    assert case.wire("POST", "validate/job", {"Job": case.a_job()}).json()["Error"] == ""


def test_a_ui_description_is_measured_in_bytes(case: Case):
    """`UI description must be under 1000 characters`: 1000 bytes are taken, 1001 are not."""
    job = case.a_job(count=0)
    case.register({**job, "UI": {"Description": "ü" * 500}})
    for longer in ("ü" * 500 + "x", "x" * 1001):
        too_long = {**case.a_job(count=0), "UI": {"Description": longer}}
        with pytest.raises(JobRejected, match="under 1000 characters, currently 1001"):
            case.register(too_long)


def test_a_disk_below_the_tasks_logs_is_rejected(case: Case):
    """`log storage (100 MB) must be less than requested disk capacity`."""
    job = case.a_job(disk_mb=50, log_mb=100)
    words = r"log storage \(100 MB\) must be less than requested disk capacity \(50 MB\)"
    for refused in (lambda: case.register(job), lambda: case.cluster.plan_job(job)):
        with pytest.raises(JobRejected, match=words):
            refused()
    assert case.cluster.read_job(ref_of(job)) is None


def test_nomad_fills_in_what_was_not_said(case: Case):
    """Default reschedule is unlimited, restart 2 in 30 min; dozens of defaults are filled in."""
    job = case.a_job(count=0)
    case.register(job)
    group = group_of(case.read(job))
    minute_ns = 60 * 10**9
    assert group["ReschedulePolicy"]["Unlimited"] is True
    assert (group["RestartPolicy"]["Attempts"], group["RestartPolicy"]["Interval"]) == (
        2,
        30 * minute_ns,
    )
    assert len(group) - len(group_of(job)) > 10
