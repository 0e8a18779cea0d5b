"""Nodes that are drained and come back, and devices that vanish: asserted alike on a real Nomad and
on the simulator. Every door has one node only, so what leaves it has nowhere to go."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from reconciler.errors import ClusterForbidden
from reconciler.jobs import Allocation, Evaluation, JobRef, Node
from tests.contract.conftest import on_the_wire
from tests.contract.doors import DEVICE, NO_SUCH_DEVICE, Case, ref_of, task_of, watching

NO_SUCH_JOB = "nobody"


def the_node(case: Case) -> Node:
    (node,) = case.cluster.list_nodes().items
    return node


@contextmanager
def drained(case: Case) -> Iterator[None]:
    """Drain the one node; it is eligible again afterwards. Whatever runs through all cases goes."""
    case.leave_standing()
    path = f"node/{the_node(case).id}/drain"
    spec = {"Deadline": 60 * 10**9, "IgnoreSystemJobs": False}
    assert case.wire("POST", path, {"DrainSpec": spec}).status_code == 200
    try:
        yield
    finally:
        back = {"DrainSpec": None, "MarkEligible": True}
        assert case.wire("POST", path, back).status_code == 200


@on_the_wire
def test_work_that_a_drain_ends_waits_and_is_back_with_the_node(case: Case):
    """Drained: the allocation completes, an evaluation is blocked and the node is told ineligible.
    Eligible again: the job is placed without our doing, in the version it was in."""
    job, index, old = case.running()
    with watching(case.cluster) as watch:
        with drained(case):
            watch.change(Node, lambda n: not n.eligible)
            watch.until(lambda: case.allocation(job, "complete"))
            blocked = watch.until(lambda: case.blocked(job))
            assert not the_node(case).eligible
        new = watch.until(lambda: case.allocation(job, "running"))
        watch.until(lambda: case.blocked(job) is None)
        assert watch.change(Node, lambda n: n.eligible).id == old.node_id
    assert blocked.ref == ref_of(job)
    assert (new.id != old.id, new.job_version) == (True, 0)
    assert case.read(job)["JobModifyIndex"] == index


@on_the_wire
def test_a_version_that_does_not_fit_loses_the_work_in_a_drain(case: Case):
    """The price of handing it over at once: what the drain ended is not placed again in the version
    that ran, and the one that is there fits nowhere."""
    job, index, old = case.running()
    task_of(job)["Resources"]["Devices"] = [{"Name": NO_SUCH_DEVICE, "Count": 1}]
    with watching(case.cluster) as watch:
        case.register(job, if_index=index)
        watch.until(lambda: case.blocked(job))
        with drained(case):
            watch.until(lambda: case.allocation(job, "complete"))
        watch.change(Node, lambda n: n.eligible)
    assert [a.id for a in case.allocations(job)] == [old.id]
    assert case.blocked(job)


def second_device(case: Case) -> None:
    """Let the node have its second device, or skip the case where it can't have any."""
    if case.door.add_device is None or case.door.remove_device is None:
        pytest.skip("this Nomad has no device plugin (AI4PAPI_TEST_DEVICE_PLUGIN)")
    case.door.add_device()
    with watching(case.cluster) as watch:
        watch.until(lambda: the_node(case).devices.get(DEVICE) == 2)


def test_a_device_that_vanishes_is_told_and_no_longer_given(case: Case):
    """A node event tells of it. Who holds the other keeps it, who comes now waits, and is placed
    when the device is back."""
    second_device(case)
    holder = case.running(device=DEVICE)
    waiting = case.a_job(device=DEVICE)
    with watching(case.cluster) as watch:
        case.door.remove_device()
        watch.change(Node, lambda n: n.devices.get(DEVICE) == 1)
        case.register(waiting)
        assert watch.until(lambda: case.blocked(waiting) or case.allocation(waiting, "running"))
    if case.allocation(waiting, "running"):
        pytest.skip("the holder was given the device that vanished, and the other one was free")
    assert case.allocation(holder.job, "running")
    with watching(case.cluster) as watch:
        case.door.add_device()
        assert watch.until(lambda: case.allocation(waiting, "running"))


def test_what_holds_a_device_says_so_in_the_list_and_in_the_stream(case: Case):
    """By vendor, type and name, with their number; when it has ended it holds nothing any more."""
    second_device(case)
    job, index, listed = case.running(device=DEVICE)
    assert listed.devices == {DEVICE: 1}
    with watching(case.cluster) as watch:
        task_of(job)["Resources"]["Devices"] = [{"Name": DEVICE, "Count": 2}]
        case.register(job, if_index=index)
        told = watch.change(
            Allocation,
            lambda a: (a.ref, a.client_status, a.id != listed.id) == (ref_of(job), "running", True),
        )
        assert told.devices == {DEVICE: 2}
        assert case.allocation(job, "running").devices == {DEVICE: 2}
        case.cluster.stop_job(ref_of(job))
        watch.change(Allocation, lambda a: (a.id, a.terminal) == (told.id, True))
    assert all(a.terminal for a in case.allocations(job))
    assert not case.running().allocation.devices
    case.door.remove_device()


def test_one_more_device_wakes_nobody_who_asked_for_more_than_there_were(case: Case):
    """The node's computed class does not count them, and Nomad remembers that its class was unfit:
    the evaluation stays blocked. Asked again, the job is placed."""
    waiting = case.a_job()
    task_of(waiting)["Resources"]["Devices"] = [{"Name": DEVICE, "Count": 2}]
    if case.door.remove_device is not None:
        second_device(case)
        case.door.remove_device()
    with watching(case.cluster) as watch:
        watch.until(lambda: the_node(case).devices.get(DEVICE, 0) < 2)
        index = case.register(waiting).index
        blocked = watch.until(lambda: case.blocked(waiting))
        (failure,) = blocked.failures
        assert failure.constraint_filtered == {"missing devices": 1}
    second_device(case)
    case.running()  # whoever is woken by the device has been by now
    assert case.blocked(waiting) == blocked
    with watching(case.cluster) as watch:
        case.cluster.evaluate_job(ref_of(waiting))
        assert watch.until(lambda: case.allocation(waiting, "running"))
        watch.until(lambda: case.blocked(waiting) is None)
    assert case.read(waiting)["JobModifyIndex"] == index
    case.door.remove_device()


def test_a_blocked_job_that_is_evaluated_again_waits_with_a_newer_evaluation(case: Case):
    job = case.a_job(device=NO_SUCH_DEVICE)
    with watching(case.cluster) as watch:
        case.register(job)
        before = watch.until(lambda: case.blocked(job))
        case.cluster.evaluate_job(ref_of(job))

        def newer():
            now = case.blocked(job)
            return now if now and now.id != before.id else None

        after = watch.until(newer)
    assert after.modify_index > before.modify_index
    assert after.failures == before.failures


def test_running_work_that_is_evaluated_again_is_left_alone(case: Case):
    job, index, allocation = case.running()
    with watching(case.cluster) as watch:
        case.cluster.evaluate_job(ref_of(job))
        asked = watch.change(
            Evaluation,
            lambda e: (
                (e.ref, e.triggered_by) == (ref_of(job), "job-register")
                and e.create_index > allocation.modify_index
            ),
        )
        watch.change(Evaluation, lambda e: (e.id, e.status) == (asked.id, "complete"))
    assert [a.id for a in case.allocations(job)] == [allocation.id]
    kept = case.read(job)
    assert (kept["Version"], kept["JobModifyIndex"]) == (0, index)


def test_a_job_that_is_not_there_has_nothing_to_evaluate(case: Case):
    case.cluster.evaluate_job(ref_of(case.a_job(job_id=NO_SUCH_JOB)))


def test_in_a_namespace_that_is_not_there_nothing_is_evaluated(case: Case):
    with pytest.raises(ClusterForbidden):
        case.cluster.evaluate_job(JobRef("nowhere", NO_SUCH_JOB))


@on_the_wire
def test_an_evaluation_of_no_job_is_refused_in_these_words(case: Case):
    """500 `job not found`."""
    refused = case.wire("POST", f"job/{NO_SUCH_JOB}/evaluate", {"JobID": NO_SUCH_JOB})
    assert (refused.status_code, refused.text.strip()) == (500, "job not found")
