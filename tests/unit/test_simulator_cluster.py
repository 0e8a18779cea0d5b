"""What only the door in process has; everything that Nomads share is in the contract."""

import threading

import pytest

from reconciler.cluster.simulator.cluster import SimulatedCluster
from reconciler.cluster.simulator.nodes import default_nodes
from reconciler.cluster.simulator.state import SimulatedNomad
from reconciler.errors import ClusterForbidden
from reconciler.jobs import Allocation, Job, JobRef
from tests.simulated import Pretend, a_job, a_node

MANAGED = {"managed_by": "ai4papi"}
REF = JobRef("default", "job")


def managed(job_id="job", **changed):
    return a_job(job_id, Namespace="default", Meta=MANAGED, **changed)


@pytest.fixture
def cluster():
    return SimulatedCluster(Pretend().nomad, ["default"])


def test_it_says_that_it_is_simulated(cluster):
    assert "simulated" in cluster.title
    assert all("simulated" in node["Name"] for node in default_nodes())


def test_the_default_nodes_have_the_models_that_the_form_offers():
    nodes = SimulatedCluster(SimulatedNomad(), []).list_nodes().items
    models = {name for node in nodes for name in node.devices}
    assert models == {"nvidia/gpu/Tesla K80", "nvidia/gpu/Tesla V100", "nvidia/gpu/NVIDIA A100"}


def test_its_namespaces_are_created_and_others_are_refused():
    cluster = SimulatedCluster(Pretend().nomad, ["ai4eosc"])
    assert cluster.read_job(JobRef("ai4eosc", "x")) is None
    with pytest.raises(ClusterForbidden):
        cluster.read_job(JobRef("nope", "x"))


def test_what_is_read_may_be_changed_without_harm(cluster):
    cluster.register_job(managed(), if_index=0)
    cluster.read_job(REF)["Meta"]["owner"] = "changed"
    assert cluster.read_job(REF)["Meta"] == MANAGED


def test_events_arrive_in_order_and_end_with_the_stop(cluster):
    stop = threading.Event()
    stream = cluster.changes(after=0, stop=stop)
    assert next(stream).changes == ()
    index = cluster.register_job(managed(), if_index=0).index
    told = [next(stream) for _ in range(5)]
    assert [message.index for message in told] == [1, index, index, index + 1, index + 2]
    kinds = [type(change) for message in told for change in message.changes]
    assert (Job in kinds, Allocation in kinds) == (True, True)
    stop.set()
    assert list(stream) == []


def test_many_threads_write_and_none_is_lost():
    pretend = Pretend([a_node(cores=1000, memory_mb=10**6, disk_mb=10**6)])
    cluster = SimulatedCluster(pretend.nomad, ["default"])

    def write(worker):
        for number in range(20):
            cluster.register_job(managed(f"{worker}-{number}"), if_index=0)
            cluster.list_jobs()

    threads = [threading.Thread(target=write, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    jobs = cluster.list_jobs().items
    assert len({job.ref for job in jobs}) == 160
    assert len({job.job_modify_index for job in jobs}) == 160
