"""What a Nomad tells, in lists and on its stream: asserted alike on the real one and on the
simulator."""

import threading
from uuid import uuid4

import pytest

from reconciler.cluster.nomad import NomadCluster
from reconciler.errors import ClusterForbidden, JobRejected
from reconciler.jobs import Allocation, Job, JobGone, JobRef
from reconciler.nomad_section import NomadSettings
from tests.contract.conftest import on_the_wire
from tests.contract.doors import (
    Case,
    group_of,
    ref_of,
    watching,
)


@on_the_wire
def test_one_list_is_the_whole_picture(case: Case):
    """`GET /v1/jobs?meta=true` carries everything that a resync compares."""
    job, index, _ = case.standing()
    answer = case.wire("GET", "jobs", meta="true", prefix=job["ID"])
    (stub,) = answer.json()
    assert {"ID", "Stop", "Status", "JobModifyIndex", "ModifyIndex", "Meta", "JobSummary"} <= set(
        stub
    )
    assert (stub["Meta"], stub["JobModifyIndex"]) == (job["Meta"], index)
    assert int(answer.headers["X-Nomad-Index"]) >= index


@on_the_wire
def test_lists_come_in_pages_over_all_namespaces(case: Case):
    """`namespace=*`, `filter` over the full job, `per_page`/`next_token` (`X-Nomad-Nexttoken`)."""
    jobs = [case.a_job(count=0), case.a_job(count=0), case.a_job(count=0, namespace="imagine")]
    before = {job.ref for job in case.cluster.list_jobs().items}
    for job in jobs:
        case.register(job)
    case.register(case.a_job(count=0, Meta=None))
    query = {"namespace": "*", "per_page": 1, "filter": 'Meta.managed_by == "ai4papi"'}
    seen, token = set(), ""
    while token is not None:
        answer = case.wire("GET", "jobs", **query, next_token=token)
        assert len(answer.json()) == 1
        seen |= {(stub["Namespace"], stub["ID"]) for stub in answer.json()}
        token = answer.headers.get("X-Nomad-Nexttoken")
    assert seen - before == {ref_of(job) for job in jobs}


def test_foreign_jobs_are_left_out_of_the_list_of_jobs(case: Case):
    """Only what carries our marker is listed, in all namespaces of ours; stopped ones too."""
    ours = [case.a_job(count=0), case.a_job(count=0, namespace="imagine")]
    before = {job.ref for job in case.cluster.list_jobs().items}
    for job in ours:
        case.register(job)
    for meta in (None, {}, {"managed_by": "somebody"}, {"Managed_By": "ai4papi"}):
        case.register(case.a_job(count=0, Meta=meta))
    stopped = case.cluster.stop_job(ref_of(ours[0])).index
    listing = case.cluster.list_jobs()
    found = {job.ref: job for job in listing.items}
    assert set(found) - before == {ref_of(job) for job in ours}
    first = found[ref_of(ours[0])]
    assert (first.stopped, first.job_modify_index, first.managed) == (True, stopped, True)
    assert listing.index >= stopped


def test_foreign_jobs_have_a_list_of_their_own(case: Case):
    """Whoever takes jobs over asks for what does not carry our marker, with its Meta."""
    ours, theirs = case.a_job(count=0), case.a_job(count=0, Meta={"owner": "alice", "title": ""})
    for job in (ours, theirs):
        case.register(job)
    found = {job.ref: job for job in case.cluster.list_foreign_jobs().items}
    assert ref_of(ours) not in found
    assert found[ref_of(theirs)].meta == {"owner": "alice", "title": ""}


def test_a_list_tells_of_an_allocation_what_the_stream_tells(case: Case):
    """Both are read into the same values, except the job version, which only the list has."""
    job = case.a_job(ports=("deepaas",))
    with watching(case.cluster) as watch:
        case.register(job)
        told = watch.change(
            Allocation, lambda a: (a.ref, a.client_status) == (ref_of(job), "running")
        )
    listed = case.allocation(job, "running")
    assert listed is not None
    assert (listed.id, listed.ports, listed.node_id) == (told.id, told.ports, told.node_id)
    assert listed.job_version == 0
    assert [(t.name, t.state) for t in listed.tasks] == [("usertask", "running")]


def test_a_missing_namespace_is_never_taken_for_absence(case: Case):
    """404 "job not found" in a namespace that does not exist must not read as absence."""
    nowhere = JobRef("no-such-namespace", "x")
    for call in (
        lambda: case.cluster.read_job(nowhere),
        lambda: case.cluster.stop_job(nowhere),
        lambda: case.cluster.purge_job(nowhere),
        lambda: case.cluster.read_variable(nowhere),
        lambda: case.cluster.register_job(
            case.a_job() | {"Namespace": nowhere.namespace}, if_index=0
        ),
    ):
        with pytest.raises(ClusterForbidden, match="amespace"):
            call()


def test_our_namespaces_are_there_before_anything_is_listed(case: Case):
    case.cluster.ensure_namespaces()
    assert case.cluster.list_jobs().index > 0


@on_the_wire
def test_a_missing_namespace_is_made_and_one_that_is_there_stays_as_it_is(case: Case):
    """C16: in a namespace of our making no task runs outside a container."""
    new, kept = f"new-{uuid4()}", f"kept-{uuid4()}"
    case.wire("PUT", "namespace", {"Name": kept, "Description": "the operator's own"})
    before = case.wire("GET", f"namespace/{kept}").json()
    ours = NomadCluster(NomadSettings(address=case.door.address), (new, kept))
    for _ in range(2):
        ours.ensure_namespaces()
    assert case.wire("GET", f"namespace/{kept}").json() == before
    made = case.wire("GET", f"namespace/{new}").json()
    assert "ai4papi" in made["Description"]
    job = case.a_job(namespace=new)
    job["TaskGroups"][0]["Tasks"][0]["Driver"] = "raw_exec"
    with pytest.raises(JobRejected, match='driver "raw_exec" is not allowed in namespace'):
        ours.register_job(job, if_index=0)
    case.refs.clear()
    for name in (new, kept):
        case.wire("DELETE", f"namespace/{name}")


# Following


def test_the_stream_begins_with_a_heartbeat_and_ends_when_it_is_told(case: Case):
    """Heartbeats are `{}` lines, the first at once."""
    stop = threading.Event()
    stream = case.cluster.changes(after=case.cluster.list_jobs().index, stop=stop)
    assert next(stream).changes == ()
    threading.Timer(0.1, stop.set).start()
    for _ in stream:
        pass


def test_the_stream_tells_of_a_job_from_its_creation_to_its_purge(case: Case):
    """A stop carries the stopped job, a purge says that it is gone."""
    job = case.a_job()
    with watching(case.cluster) as watch:
        created = case.register(job).index
        told = watch.change(Job, lambda j: j.ref == ref_of(job))
        assert (told.job_modify_index, told.stopped, told.managed) == (created, False, True)
        watch.until(lambda: case.allocation(job, "running"))
        stopped = case.cluster.stop_job(ref_of(job)).index
        told = watch.change(Job, lambda j: j.ref == ref_of(job) and j.stopped)
        assert told.job_modify_index == stopped
        purged = case.cluster.purge_job(ref_of(job)).index
        assert watch.change(JobGone, lambda j: j.ref == ref_of(job)) == JobGone(ref_of(job), purged)


def test_a_running_job_is_purged_in_one_step(case: Case):
    """The stream says that it is gone, not that it stopped."""
    job, _, _ = case.running()
    with watching(case.cluster) as watch:
        purged = case.cluster.purge_job(ref_of(job)).index
        assert watch.change(JobGone, lambda j: j.ref == ref_of(job)).modify_index == purged
        watch.until(lambda: all(a.terminal for a in case.allocations(job)))


def test_a_task_that_ends_badly_says_so(case: Case):
    """Exit code and Nomad's own word arrive with the allocation."""
    job = case.a_job(config={"run_for": "10ms", "exit_code": 3})
    group_of(job)["RestartPolicy"] = {"Attempts": 0, "Mode": "fail"}
    group_of(job)["ReschedulePolicy"] = {"Attempts": 0, "Unlimited": False}
    with watching(case.cluster) as watch:
        case.register(job)
        failed = watch.until(lambda: case.allocation(job, "failed"))
    (task,) = failed.tasks
    assert (task.state, task.failed) == ("dead", True)
    assert [(e.exit_code, e.message) for e in task.events if e.type == "Terminated"] == [
        (3, "Exit Code: 3")
    ]
