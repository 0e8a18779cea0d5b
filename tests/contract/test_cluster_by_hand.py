"""What others do to our jobs by hand, and how it shows: asserted alike on a real Nomad and on the
simulator. Drift is told from these events, so each case names the event and the indexes."""

import pytest

from reconciler.errors import JobConflict, JobRejected
from reconciler.jobs import Job, JobGone
from tests.contract.conftest import on_the_wire
from tests.contract.doors import Case, group_of, quoted, ref_of, watching

SCALE = {"Count": 3, "Target": {"Group": "usergroup"}}


def a_standing_job(case: Case):
    """Return a job of no allocations, which no rollout keeps from being scaled, and its index."""
    job = case.a_job(count=0)
    return job, case.register(job).index


def the_event(watch, job, index) -> Job:
    """Return the first job event of the write at this index."""
    return watch.change(Job, lambda j: j.ref == ref_of(job) and j.job_modify_index == index)


@on_the_wire
def test_a_scale_is_a_new_version_at_a_new_index(case: Case):
    """`nomad job scale`: `JobRegistered`, version and `JobModifyIndex` move, the count is there."""
    job, index = a_standing_job(case)
    before = case.read(job)
    with watching(case.cluster) as watch:
        answer = case.wire("POST", f"job/{quoted(job)}/scale", {**SCALE, "Count": 1})
        assert answer.status_code == 200
        moved = answer.json()["JobModifyIndex"]
        told = the_event(watch, job, moved)
    after = case.read(job)
    assert moved > index
    assert (told.version, told.stopped, told.managed) == (1, False, True)
    assert (after["Version"], after["JobModifyIndex"]) == (1, moved)
    assert group_of(after)["Count"] == 1
    assert after["SubmitTime"] > before["SubmitTime"]


@on_the_wire
def test_the_answer_to_a_scale_counts_three_writes(case: Case):
    """The job, its evaluation and the scaling event are a write each."""
    job, _ = a_standing_job(case)
    told = case.wire("POST", f"job/{quoted(job)}/scale", SCALE).json()
    assert told["JobModifyIndex"] < told["EvalCreateIndex"] < told["Index"]


@on_the_wire
def test_a_run_by_hand_is_a_new_version_at_a_new_index(case: Case):
    """`nomad job run` of an edited file enforces nothing and takes effect."""
    job, index = a_standing_job(case)
    before = case.read(job)
    with watching(case.cluster) as watch:
        answer = case.wire("POST", "jobs", {"Job": {**job, "Priority": 70}}).json()
        moved = answer["JobModifyIndex"]
        told = the_event(watch, job, moved)
    after = case.read(job)
    assert moved > index
    assert (told.version, after["Version"], after["Priority"]) == (1, 1, 70)
    assert after["SubmitTime"] > before["SubmitTime"]


@on_the_wire
def test_a_revert_is_the_old_text_in_a_new_version(case: Case):
    """`nomad job revert`: version and index go on, the content goes back."""
    job, first = a_standing_job(case)
    second = case.register({**job, "Priority": 70}, if_index=first).index
    body = {"JobID": job["ID"], "JobVersion": 0}
    with watching(case.cluster) as watch:
        moved = case.wire("POST", f"job/{quoted(job)}/revert", body).json()["JobModifyIndex"]
        told = the_event(watch, job, moved)
    after = case.read(job)
    assert moved > second > first
    assert (told.version, after["Version"], after["Priority"]) == (2, 2, 50)


@on_the_wire
def test_a_stop_by_hand_moves_the_time_of_submission(case: Case):
    """`nomad job stop`: the stop is a version of its own with a `SubmitTime` of its own."""
    job, index = a_standing_job(case)
    before = case.read(job)
    with watching(case.cluster) as watch:
        moved = case.wire("DELETE", f"job/{quoted(job)}").json()["JobModifyIndex"]
        told = the_event(watch, job, moved)
    after = case.read(job)
    assert moved > index
    assert (told.version, told.stopped) == (1, True)
    assert (after["Version"], after["Stop"]) == (1, True)
    assert after["SubmitTime"] > before["SubmitTime"]


@on_the_wire
def test_a_purge_by_hand_is_told_at_the_purges_index(case: Case):
    """`nomad job stop -purge`: the event says that it is gone, and at which index."""
    job, _ = a_standing_job(case)
    with watching(case.cluster) as watch:
        query = {"purge": "true"}
        moved = case.wire("DELETE", f"job/{quoted(job)}", **query).json()["JobModifyIndex"]
        assert watch.change(JobGone, lambda j: j.ref == ref_of(job)) == JobGone(ref_of(job), moved)


def test_without_acls_nobody_is_named(case: Case):
    """A job version says who wrote it: `NomadTokenID`, the token's accessor, "" without ACLs."""
    job, _ = a_standing_job(case)
    read = case.read(job)
    assert (read["NomadTokenID"], read["Version"]) == ("", 0)
    assert read["SubmitTime"] > 0


@on_the_wire
def test_the_versions_say_what_each_write_made_of_the_job(case: Case):
    """`GET /v1/job/:id/versions`, newest first, each with its `SubmitTime` and `NomadTokenID`."""
    job, index = a_standing_job(case)
    case.register({**job, "Priority": 70}, if_index=index)
    versions = case.wire("GET", f"job/{quoted(job)}/versions").json()["Versions"]
    assert [(v["Version"], v["Priority"], v["NomadTokenID"]) for v in versions] == [
        (1, 70, ""),
        (0, 50, ""),
    ]
    assert versions[0]["SubmitTime"] > versions[1]["SubmitTime"]


# The type


@pytest.mark.parametrize("stopped", [False, True], ids=["running", "stopped"])
def test_a_jobs_type_never_changes_until_it_was_purged(case: Case, stopped):
    """`cannot update job from type "service" to "batch"`, of a stopped job too."""
    job, index = a_standing_job(case)
    if stopped:
        index = case.cluster.stop_job(ref_of(job)).index
    words = 'cannot update job from type "service" to "batch"'
    with pytest.raises(JobRejected, match=words):
        case.register({**job, "Type": "batch"}, if_index=index)
    assert (case.read(job)["Type"], case.read(job)["JobModifyIndex"]) == ("service", index)
    case.cluster.purge_job(ref_of(job))
    assert case.register({**job, "Type": "batch"}).index > index
    assert case.read(job)["Type"] == "batch"


def test_neither_plan_nor_validation_mind_a_changed_type(case: Case):
    """Only the register refuses it: whoever plans first must compare the types himself."""
    job, index = a_standing_job(case)
    verdict = case.cluster.plan_job({**job, "Type": "batch"})
    assert verdict.index == index
    assert verdict.diff["Type"] == "Edited"


# The scaling block

SCALED = """
job "x" {
  group "usergroup" {
    count = 2
    scaling {
      enabled = true
      min     = 1
      max     = 5
    }
    task "t" {
      driver = "docker"
    }
  }
}
"""


def test_a_scaling_block_is_parsed(case: Case):
    """`scaling { enabled, min, max }` is the group's `Scaling`."""
    scaling = group_of(case.cluster.parse_job(SCALED))["Scaling"]
    assert (scaling["Enabled"], scaling["Min"], scaling["Max"]) == (True, 1, 5)
    assert (scaling["Type"], scaling["Policy"], scaling["Target"]) == ("horizontal", None, None)
    bare = SCALED.replace("min     = 1", "").replace("enabled = true", "")
    scaling = group_of(case.cluster.parse_job(bare))["Scaling"]
    assert (scaling["Enabled"], scaling["Min"], scaling["Max"]) == (None, None, 5)
    with pytest.raises(JobRejected, match="max"):
        case.cluster.parse_job(SCALED.replace("max     = 5", ""))


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ({"Enabled": True, "Min": 0, "Max": 5}, (True, 0, 5)),
        ({"Enabled": False, "Max": 5}, (False, 0, 5)),
        ({"Max": 1}, (True, 0, 1)),
    ],
)
def test_a_scaling_block_is_kept(case: Case, sent, kept):
    """Enabled unless it says not; the least is the count unless it says another."""
    job = case.a_job(count=0)
    group_of(job)["Scaling"] = sent
    case.register(job)
    scaling = group_of(case.read(job))["Scaling"]
    assert (scaling["Enabled"], scaling["Min"], scaling["Max"]) == kept
    assert scaling["Target"] == {
        "Namespace": job["Namespace"],
        "Job": job["ID"],
        "Group": "usergroup",
    }


def test_a_scaling_block_that_is_sent_again_makes_one_version_more(case: Case):
    """Nomad writes an id and indexes into the block, and misses them in what was sent: a plan calls
    it an update in place, a register makes a new version. Sent as it is read it is the same job.

    A row of the traps: versions are bumped for ever by what reads as unchanged.
    """
    job = case.a_job(count=0)
    group_of(job)["Scaling"] = {"Max": 5}
    index = case.register(job).index
    assert group_of(case.read(job))["Scaling"]["ID"]
    verdict = case.cluster.plan_job(job)
    assert (verdict.effect, verdict.index) == ("in place", index)
    index = case.register(job, if_index=index).index
    assert case.read(job)["Version"] == 1
    for sent in (case.read(job), job):
        assert case.register(sent, if_index=index).index == index
    assert case.read(job)["Version"] == 1
    assert case.cluster.plan_job(case.read(job)).effect == "none"


def test_changed_bounds_leave_running_work_alone(case: Case):
    """`Scaling` edited on a running job: in place."""
    job, _, _ = case.standing()
    group_of(job)["Scaling"] = {"Max": 5}
    assert case.cluster.plan_job(job).effect == "in place"


def test_a_count_outside_its_bounds_is_rejected(case: Case):
    """`task group count must not be greater than maximum count in scaling policy`."""
    job = case.a_job(count=2)
    group_of(job)["Scaling"] = {"Max": 1}
    with pytest.raises(JobRejected, match="must not be greater than maximum count"):
        case.register(job)


@on_the_wire
@pytest.mark.parametrize(("count", "words"), [(9, "greater than"), (0, "less than")])
def test_a_scale_outside_the_bounds_is_refused(case: Case, count, words):
    """400 `group count was greater than scaling policy maximum: 9 > 5`."""
    job = case.a_job(count=1, Type="batch", Datacenters=["no-such-datacenter"])
    group_of(job)["Scaling"] = {"Min": 1, "Max": 5}
    case.register(job)
    body = {"Count": count, "Target": {"Group": "usergroup"}}
    refused = case.wire("POST", f"job/{quoted(job)}/scale", body)
    assert refused.status_code == 400
    assert f"group count was {words} scaling policy" in refused.text


# Traps of others


def test_who_wrote_between_a_plan_and_its_register_wins(case: Case):
    """Trap "index passed without the enforcing flag": the register made on the plan is a conflict,
    and what was written meanwhile stands."""
    job, index = a_standing_job(case)
    planned = case.cluster.plan_job({**job, "Priority": 60})
    case.register({**job, "Priority": 70}, if_index=index)
    with pytest.raises(JobConflict):
        case.register({**job, "Priority": 60}, if_index=planned.index)
    assert case.read(job)["Priority"] == 70


def test_one_id_in_two_namespaces_is_two_jobs(case: Case):
    """Trap "name or prefix match across namespaces"."""
    mine = case.a_job(count=0)
    others = case.a_job(job_id=mine["ID"], namespace="imagine", count=0)
    longer = case.a_job(job_id=mine["ID"] + "-2", count=0)
    index = case.register(mine).index
    kept = {ref_of(job): case.register(job).index for job in (others, longer)}
    assert case.register({**mine, "Priority": 70}, if_index=index).index > index
    case.cluster.stop_job(ref_of(mine))
    case.cluster.purge_job(ref_of(mine))
    assert case.cluster.read_job(ref_of(mine)) is None
    for job in (others, longer):
        left = case.read(job)
        assert (left["Stop"], left["JobModifyIndex"]) == (False, kept[ref_of(job)])
    listed = {job.ref for job in case.cluster.list_jobs().items}
    assert set(kept) <= listed
    assert ref_of(mine) not in listed


@on_the_wire
def test_a_scaled_job_that_is_sent_with_its_live_count_keeps_its_version(case: Case):
    """Trap "preserve-counts bumps versions for ever": the count is copied from what runs, so a
    register changes nothing, however often; the flag that would is never sent."""
    job, _ = a_standing_job(case)
    scaled = case.wire("POST", f"job/{quoted(job)}/scale", {**SCALE, "Count": 1}).json()
    group_of(job)["Count"] = group_of(case.read(job))["Count"]
    for _ in range(5):
        assert case.cluster.plan_job(job).effect == "none"
        index = case.register(job, if_index=scaled["JobModifyIndex"]).index
        assert index == scaled["JobModifyIndex"]
    assert case.read(job)["Version"] == 1
