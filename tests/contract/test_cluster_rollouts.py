"""Rollouts and restarts, asserted alike on a real Nomad and on the simulator."""

import pytest

from reconciler.jobs import Rollout
from tests.contract.conftest import on_the_wire
from tests.contract.doors import Case, group_of, ref_of, task_of, watching

NOBODY = "11111111-1111-4111-8111-111111111111"


def rollouts(case: Case, job) -> list[Rollout]:
    found = [r for r in case.cluster.list_rollouts().items if r.ref == ref_of(job)]
    return sorted(found, key=lambda rollout: rollout.job_version)


def at_once_healthy(case: Case):
    job = case.a_job()
    group_of(job)["Update"] = {"MinHealthyTime": 0}
    return job


def test_a_rollout_is_listed_from_its_start_and_after_its_end(case: Case):
    """A version that was placed in full and is healthy has a successful rollout; it stays listed,
    beside that of the next version."""
    job = at_once_healthy(case)
    with watching(case.cluster) as watch:
        first = case.register(job).index
        told = watch.change(
            Rollout, lambda r: (r.ref, r.job_version, r.status) == (ref_of(job), 0, "successful")
        )
        assert rollouts(case, job) == [told]
        assert case.cluster.list_rollouts().index >= told.modify_index > first
        task_of(job)["Env"] = {"a": "b"}
        case.register(job, if_index=first)
        watch.until(lambda: [r.job_version for r in rollouts(case, job)] == [0, 1])
    assert rollouts(case, job)[0] == told


def test_a_rollout_that_a_newer_version_overtakes_is_cancelled(case: Case):
    """`Cancelled due to newer version of job`."""
    job, index, _ = case.running()
    task_of(job)["Env"] = {"a": "b"}
    with watching(case.cluster) as watch:
        case.register(job, if_index=index)
        ended = watch.change(
            Rollout, lambda r: (r.ref, r.job_version, r.status) == (ref_of(job), 0, "cancelled")
        )
    assert ended.description == "Cancelled due to newer version of job"


def test_rollouts_of_other_namespaces_are_listed_too_and_keep_theirs(case: Case):
    """One id in two namespaces is two jobs."""
    job = case.a_job()
    other = case.a_job(job_id=job["ID"], namespace="imagine")
    with watching(case.cluster) as watch:
        case.register(job)
        case.register(other)
        watch.until(lambda: rollouts(case, job) and rollouts(case, other))


def test_a_restart_keeps_the_allocation_and_counts_for_every_task(case: Case):
    """`PUT /v1/client/allocation/:id/restart` with `AllTasks`: same allocation, same job version,
    one restart more, told by the stream; the policy's own restarts are not asked."""
    job = case.a_job()
    group_of(job)["RestartPolicy"] = {"Attempts": 0, "Mode": "fail"}
    second = {**task_of(job), "Name": "second"}
    group_of(job)["Tasks"].append(second)

    def restarted(times):
        now = case.allocation(job, "running")
        return now if now and {task.restarts for task in now.tasks} == {times} else None

    with watching(case.cluster) as watch:
        index = case.register(job).index
        old = watch.until(lambda: restarted(0))
        for times in (1, 2):
            case.cluster.restart_allocation(ref_of(job), old.id)
            again = watch.until(lambda times=times: restarted(times))
            assert again.id == old.id
    for task in again.tasks:
        assert task.state == "running"
        assert [(e.type, e.message) for e in task.events[-4:]] == [
            ("Restart Signaled", "User requested all tasks to restart"),
            ("Terminated", "Exit Code: 0"),
            ("Restarting", "Task restarting in 0s"),
            ("Started", "Task started by client"),
        ]
    kept = case.read(job)
    assert (kept["Version"], kept["JobModifyIndex"]) == (0, index)
    assert [a.id for a in case.allocations(job)] == [old.id]


def test_what_does_not_run_has_nothing_to_restart(case: Case):
    """Unknown, stopped, failed or purged: a restart that comes too late is no error."""
    job, _, old = case.running()
    failing = case.a_job(config={"run_for": "10ms", "exit_code": 3})
    group_of(failing)["RestartPolicy"] = {"Attempts": 0, "Mode": "fail"}
    group_of(failing)["ReschedulePolicy"] = {"Attempts": 0, "Unlimited": False}
    case.cluster.restart_allocation(ref_of(job), NOBODY)
    with watching(case.cluster) as watch:
        case.register(failing)
        failed = watch.until(lambda: case.allocation(failing, "failed"))
        case.cluster.restart_allocation(ref_of(failing), failed.id)
        case.cluster.stop_job(ref_of(job))
        watch.until(lambda: case.allocation(job, "complete"))
        case.cluster.restart_allocation(ref_of(job), old.id)
    case.cluster.purge_job(ref_of(job))
    case.cluster.restart_allocation(ref_of(job), old.id)
    assert case.allocation(failing, "failed") == failed


@on_the_wire
@pytest.mark.parametrize(
    ("ended", "status", "words"),
    [
        (False, 404, f'Unknown allocation "{NOBODY}"'),
        (True, 500, "restart of an alloc that should not run"),
    ],
)
def test_a_restart_that_comes_too_late_is_refused_in_these_words(case: Case, ended, status, words):
    """404 `Unknown allocation`, 500 `restart of an alloc that should not run`."""
    job, _, old = case.running()
    if ended:
        with watching(case.cluster) as watch:
            case.cluster.stop_job(ref_of(job))
            watch.until(lambda: case.allocation(job, "complete"))
    path = f"client/allocation/{old.id if ended else NOBODY}/restart"
    refused = case.wire("PUT", path, {"AllTasks": True})
    assert (refused.status_code, refused.text) == (status, words)
