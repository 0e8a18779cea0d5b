"""Nodes that go and come, devices that appear and vanish, and a whole cluster that goes back."""

import threading
import time

import pytest

from reconciler.cluster.simulator.cluster import SimulatedCluster
from reconciler.errors import ClusterUnavailable
from tests.simulated import Pretend, a_job, a_node

GPU = "nvidia/gpu"


@pytest.fixture
def pretend():
    return Pretend([a_node("one", gpus={"Tesla": 1})])


def the_node(pretend):
    with pretend.nomad.reading() as world:
        (node,) = world.nodes.values()
        return node


def test_work_of_the_only_node_waits_while_it_is_drained_and_is_back_after(pretend):
    old = pretend.running(a_job())
    pretend.nomad.machines.drain_node(old["NodeID"])
    pretend.move(30)
    assert pretend.live() == []
    assert len(pretend.blocked()) == 1
    pretend.nomad.machines.return_node(old["NodeID"])
    pretend.move(1)
    (new,) = pretend.live()
    assert (new["ClientStatus"], new["ID"] != old["ID"]) == ("running", True)


def test_a_lost_node_that_comes_back_stops_what_was_given_up(pretend):
    old = pretend.running(a_job())
    pretend.nomad.machines.lose_node(old["NodeID"])
    pretend.move(60)
    assert [item["ClientStatus"] for item in pretend.allocations()] == ["lost"]
    pretend.nomad.machines.return_node(old["NodeID"])
    pretend.move(60)
    states = [(item["ID"] == old["ID"], item["ClientStatus"]) for item in pretend.allocations()]
    assert states == [(True, "complete"), (False, "running")]


def test_a_node_lost_while_it_stops_something_stops_it_when_it_is_back(pretend):
    old = pretend.running(a_job())
    pretend.nomad.deregister(("default", "job"))
    pretend.nomad.machines.lose_node(old["NodeID"])
    pretend.move(60)
    assert pretend.allocations()[0]["ClientStatus"] == "lost"
    pretend.nomad.machines.return_node(old["NodeID"])
    pretend.move(60)
    assert pretend.allocations()[0]["ClientStatus"] == "complete"


def test_a_device_that_appears_is_told_and_taken_and_one_that_vanishes_stops_nothing(pretend):
    holder = pretend.running(a_job("holder", gpus=1, device=GPU))
    pretend.register(a_job("waiting", gpus=1, device=GPU))
    pretend.move(30)
    assert (pretend.live("waiting"), len(pretend.blocked("waiting"))) == ([], 1)
    pretend.nomad.machines.set_devices(the_node(pretend)["ID"], {"Tesla": 2})
    with pretend.nomad.reading() as world:
        told = [event["Topic"] for message in world.ring for event in message.events]
    assert "Node" in told[-8:]
    pretend.move(1)
    assert len(pretend.live("waiting")) == 1
    pretend.nomad.machines.set_devices(the_node(pretend)["ID"], {})
    pretend.move(30)
    assert [item["ID"] for item in pretend.live("holder")] == [holder["ID"]]
    pretend.register(a_job("late", gpus=1, device=GPU))
    (blocked,) = pretend.blocked("late")
    assert blocked["FailedTGAllocs"]["g"]["ConstraintFiltered"] == {"missing devices": 1}


def test_who_asked_for_more_devices_than_a_node_had_is_not_woken_by_one_more(pretend):
    node_id = the_node(pretend)["ID"]
    pretend.register(a_job(gpus=2, device=GPU))
    pretend.nomad.machines.set_devices(node_id, {"Tesla": 2})
    pretend.nomad.machines.set_eligibility(node_id, eligible=False)
    pretend.nomad.machines.set_eligibility(node_id, eligible=True)
    pretend.move(60)
    assert pretend.live() == []
    pretend.nomad.evaluate(("default", "job"))
    assert len(pretend.live()) == 1


def test_who_asked_for_more_devices_is_woken_by_a_kind_that_the_node_did_not_have(pretend):
    pretend.register(a_job(gpus=2, device=GPU))
    pretend.nomad.machines.set_devices(the_node(pretend)["ID"], {"Tesla": 1, "Tesla K80": 2})
    assert len(pretend.live()) == 1


def test_what_was_found_when_it_was_looked_at_in_vain_decides_who_is_woken_next(pretend):
    """It met the node only when that took work again, and was refused then."""
    node_id = the_node(pretend)["ID"]
    pretend.nomad.machines.set_eligibility(node_id, eligible=False)
    pretend.register(a_job(gpus=2, device=GPU))
    pretend.nomad.machines.set_eligibility(node_id, eligible=True)
    pretend.nomad.machines.set_devices(node_id, {"Tesla": 2})
    assert pretend.live() == []


def test_a_restored_cluster_is_what_it_was_and_its_indexes_go_backwards(pretend):
    pretend.running(a_job("kept"))
    pretend.register(a_job("waiting", gpus=2, device=GPU))
    with pretend.nomad.reading() as world:
        before = world.tables()
    snapshot = pretend.nomad.snapshot()
    for _ in range(3):
        pretend.running(a_job("later"))
        pretend.nomad.deregister(("default", "kept"), purge=True)
        pretend.nomad.machines.set_devices(the_node(pretend)["ID"], {"Tesla": 2})
        pretend.nomad.evaluate(("default", "waiting"))
        pretend.move(60)
        assert len(pretend.live("waiting")) == 1
        pretend.nomad.restore(snapshot)
        with pretend.nomad.reading() as world:
            assert world.tables() == before
            assert world.index == before.at_index
        assert len(pretend.live("kept")) == 1
        assert len(pretend.blocked("waiting")) == 1


def test_a_restored_cluster_goes_on_with_what_was_to_come(pretend):
    pretend.register(a_job())
    snapshot = pretend.nomad.snapshot()
    pretend.move(30)
    pretend.nomad.restore(snapshot)
    assert [item["ClientStatus"] for item in pretend.allocations()] in (["pending"], ["running"])
    pretend.move(30)
    assert [item["ClientStatus"] for item in pretend.live()] == ["running"]


def test_the_streams_of_a_cluster_that_is_restored_end(pretend):
    cluster = SimulatedCluster(pretend.nomad, ("default",))
    stream = cluster.changes(after=0, stop=threading.Event())
    assert next(stream).index == 0
    pretend.nomad.restore(pretend.nomad.snapshot())
    with pytest.raises(ClusterUnavailable, match="restored"):
        list(stream)


def test_going_back_costs_little(pretend):
    """It is done thousands of times in a simulation: far below a millisecond for ten jobs."""
    for number in range(10):
        pretend.running(a_job(f"job-{number}", count=1, memory_mb=20))
    began = time.perf_counter()
    for _ in range(100):
        pretend.nomad.restore(pretend.nomad.snapshot())
    assert (time.perf_counter() - began) / 100 < 0.005
