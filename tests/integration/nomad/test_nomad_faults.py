"""The real adapter against the fault rows (R…) and the traps that live at this door.

Each test names its row. Those of the event stream are in `test_nomad_stream`, those that a healthy
Nomad shows are in the contract of the cluster.
"""

import gzip
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from reconciler.cluster import session
from reconciler.errors import ClusterUnavailable, JobConflict
from tests.pretender import JOB, REF, STUB, WRITTEN, Answer, a_cluster, a_page


def test_a_lost_answer_is_no_answer_and_is_not_sent_again(server):
    """Row R2: Nomad did write, and the connection ended before it said so. Whoever sends again by
    himself meets his own write; what became of it only a read can tell."""
    server.answer = lambda _: Answer(lambda out: out.write(b"{"))
    cluster = a_cluster(server)
    for call in (
        lambda: cluster.register_job(JOB, if_index=0),
        lambda: cluster.stop_job(REF),
        lambda: cluster.purge_job(REF),
        lambda: cluster.restart_allocation(REF, "a1"),
        lambda: cluster.evaluate_job(REF),
        lambda: cluster.put_variable(REF, {"a": "b"}, if_index=0),
    ):
        server.asked.clear()
        with pytest.raises(ClusterUnavailable):
            call()
        assert len(server.asked) == 1


def test_the_same_register_once_more_meets_the_first(server):
    """Row R4: a duplicate of a register is a conflict, never a second job."""
    server.will(Answer(WRITTEN), Answer("Enforcing job modify index 0: job already exists", 500))
    cluster = a_cluster(server)
    cluster.register_job(JOB, if_index=0)
    with pytest.raises(JobConflict):
        cluster.register_job(JOB, if_index=0)


@pytest.mark.parametrize("if_index", [0, 7])
def test_every_register_enforces_its_index(server, if_index):
    """Traps "index passed without the enforcing flag" and "0 = create only lost by a truthiness
    check"; and "preserve-counts bumps versions for ever": that flag is never sent."""
    server.answer = lambda _: Answer(WRITTEN)
    a_cluster(server).register_job(JOB, if_index=if_index)
    (asked,) = server.asked
    assert asked.body == {"Job": JOB, "EnforceIndex": True, "JobModifyIndex": if_index}


def test_no_call_waits_at_nomad_for_news(server):
    """Trap "one blocking query per job": none of ours blocks, one stream tells of everything."""
    server.answer = lambda asked: (
        Answer([{"Name": "ns"}])
        if asked.path == "/v1/namespaces"
        else a_page()
        if asked.path.endswith("s")
        else Answer({**STUB, "Name": "ns"})
    )
    cluster = a_cluster(server)
    cluster.list_jobs()
    cluster.list_allocations()
    cluster.list_evaluations()
    cluster.list_rollouts()
    cluster.list_nodes()
    cluster.read_job(REF)
    assert len(server.asked) > 6
    assert not any({"index", "wait"} & set(asked.query) for asked in server.asked)


def test_an_answer_that_trickles_is_cut_off(server):
    """Row R6: bytes keep coming, each in time, and the answer never ends."""

    def trickle(out):
        while not server.gone.wait(0.02):
            out.write(b" ")
            out.flush()

    server.answer = lambda _: Answer(trickle)
    began = time.monotonic()
    with pytest.raises(ClusterUnavailable, match="too slowly"):
        a_cluster(server, timeout_s=0.2).list_jobs()
    assert time.monotonic() - began < session.CONNECT_S + 2


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
def test_an_answer_without_end_is_cut_off(server, monkeypatch, packed):
    """Row R6: a gigabyte, or a small body that unpacks to one."""
    monkeypatch.setattr(session, "BODY_BYTES_MAX", 1 << 20)
    body = b"[" + b" " * (1 << 22)
    headers = {"Content-Encoding": "gzip"} if packed else {}
    server.answer = lambda _: Answer(gzip.compress(body) if packed else body, headers=headers)
    with pytest.raises(ClusterUnavailable, match="longer than 1048576 bytes"):
        a_cluster(server).list_jobs()


def test_a_packed_answer_is_read_however_it_is_cut(server):
    """Nomad packs its answers where they are asked for so, as ours are."""
    packed = gzip.compress(b'{"ID": "j1", "Namespace": "ns", "JobModifyIndex": 5, "ModifyIndex": 6,'
                           b' "Stop": false, "Status": "running"}')  # fmt: skip

    def drip(out):
        for byte in packed:
            out.write(bytes([byte]))
            out.flush()

    server.answer = lambda _: Answer(drip, headers={"Content-Encoding": "gzip"})
    assert a_cluster(server).read_job(REF) == STUB


def test_one_slow_answer_does_not_hold_up_the_others(server):
    """Row R6: one slow call does not stall others."""
    slow = threading.Event()

    def answer(asked):
        if asked.path.endswith("/slow"):
            slow.set()
            server.gone.wait(5)
        return Answer({**STUB, "ID": asked.path.rpartition("/")[2]})

    server.answer = answer
    cluster = a_cluster(server, timeout_s=0.5)
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(cluster.read_job, REF._replace(id="slow"))
        assert slow.wait(5)
        for _ in range(20):
            cluster.read_job(REF)
        assert not waiting.done()
        assert isinstance(waiting.exception(), ClusterUnavailable)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(STUB, headers={"X-Nomad-KnownLeader": "false"}),
        Answer("job not found", 404, {"X-Nomad-KnownLeader": "false"}),
        a_page(STUB, leader="false"),
    ],
    ids=["there", "not there", "a list"],
)
def test_what_a_server_without_a_leader_says_is_no_answer(server, answer):
    """Row R8: nothing is created or deleted on a stale read, and absence in one is not absence."""
    server.answer = lambda _: answer
    cluster = a_cluster(server)
    for call in (lambda: cluster.read_job(REF), cluster.list_jobs, cluster.list_nodes):
        with pytest.raises(ClusterUnavailable, match="knows no leader"):
            call()
