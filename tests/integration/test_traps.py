"""Traps that other controllers fell into, each a case here: the names are theirs.

Those at other doors are beside them: reads of sources in `tests/contract/test_intake.py`, Nomad's
own behaviour in `tests/contract/test_cluster*.py`, the queue in `tests/unit/test_queue.py`.
"""

from types import SimpleNamespace

import pytest

from reconciler.controller import Controller, Rhythm
from reconciler.errors import JobRejected
from reconciler.jobs import Changes, Job
from specs.model import Phase


@pytest.fixture
def running(whole):
    uid = whole.put()
    whole.settle()
    whole.pass_time(20)
    assert whole.status(uid).phase is Phase.RUNNING
    return uid


def test_event_payload_id_mistaken_for_another_id(whole, running):
    """A job's event brings a look at the very deployment that owns it, at once."""
    ref = whole.ref(running)
    live = whole.job(running)
    event = Job(
        ref,
        job_modify_index=live["JobModifyIndex"] + 100,
        modify_index=live["ModifyIndex"] + 100,
        stopped=True,
        status="dead",
        meta=live["Meta"],
    )
    assert whole.mirror.apply(Changes(event.modify_index, (event,))) == {ref}
    assert ref.id == running


def test_commit_or_version_in_meta_restarts_everything(whole, running):
    """The same wish from a newer commit is no new version of the job."""
    record = whole.record(running)
    whole.store.put(
        whole.wish(record.name),
        owner=record.owner,
        owner_name="Alice",
        source={"type": "git", "commit": "b" * 40},
    )
    whole.pass_time(20)
    assert whole.job(running)["Version"] == 0
    assert len(whole.allocations(running)) == 1


def test_rollback_that_purges_what_existed_before(whole, running, monkeypatch):
    """What Nomad refuses leaves the version before as it was."""

    def refuse(_job):
        raise JobRejected("no such thing")

    before = whole.job(running)["JobModifyIndex"]
    monkeypatch.setattr(whole.cluster, "plan_job", refuse, raising=False)
    whole.with_spec(running, ram=9000)
    whole.pass_time(60)
    assert whole.job(running)["JobModifyIndex"] == before
    assert len(whole.live(running)) == 1


def test_handlers_dropped_memory_of_seen_kept(whole, running):
    """After a break everything is seen again, also what did not change meanwhile."""
    later = whole.put("later")
    whole.settle()
    whole.mirror.lose("connection reset")
    whole.pretend.move(30)
    whole.relist()
    whole.settle()
    assert whole.status(later).phase is Phase.RUNNING
    assert whole.status(running).phase is Phase.RUNNING


def test_token_rotation_bumps_versions(whole, running):
    """Passes with nothing to do register nothing, whosever token they carry."""
    whole.resync().run_once()
    whole.cluster.calls.clear()
    for _ in range(10):
        whole.resync().run_once()
        whole.settle()
    assert set(whole.cluster.calls) == {"list_jobs"}
    assert whole.job(running)["Version"] == 0


def test_queue_stuck_while_probes_are_green(whole):
    """What has been due for too long turns liveness red, even though every thread lives."""
    controller = Controller(
        targets=[SimpleNamespace(queue=whole.queue, changes=whole.cluster_changes())],
        sources=(),
        clean_up=lambda: 0,
        rhythm=Rhythm(workers=0, resync_s=300, audit_s=3600),
    )
    whole.queue.add("stuck")
    unstarted = ["thread source-cluster has ended", "the timers have stopped"]
    assert controller.faults() == unstarted
    whole.pretend.clock.now_ns += 500 * 10**9
    *_, fault = controller.faults()
    assert "the workers are stuck" in fault


def test_prune_before_the_replacement_is_healthy(whole, running):
    """A version that can't be placed does not cost the one that runs."""
    whole.with_spec(running, ram=64_000)
    whole.pass_time(300)
    assert whole.status(running).phase is Phase.HELD
    assert [a["Job"]["Version"] for a in whole.live(running)] == [0]


def test_r5_while_nomad_is_away_nothing_is_deleted_and_tries_are_rare(whole, running):
    """R5: no deletion decisions, at most one try a second, recovery when it answers."""
    whole.mirror.lose("connection refused")
    whole.cluster.down = True
    whole.store.request_deletion(running, actor="Alice", source={"type": "http"})
    whole.cluster.calls.clear()
    whole.pass_time(600)
    assert whole.cluster.calls == []
    assert not whole.job(running)["Stop"]
    whole.cluster.down = False
    whole.relist()
    whole.pass_time(60)
    assert whole.store.get(running) is None


def test_r22_foreign_jobs_are_byte_identical_afterwards(whole, running):
    """R22: also one that somebody registered under an id of ours."""
    uid = whole.put("taken")
    for job_id, meta in (("traefik", None), (uid, {}), ("prefix-" + running, {"x": "1"})):
        foreign = {**whole._template, "ID": job_id, "Namespace": "ai4eosc", "Meta": meta}
        whole.pretend.nomad.register(foreign)
    before = {i: whole.job(i) for i in ("traefik", uid, "prefix-" + running)}
    whole.pass_time(60)
    whole.with_spec(running, ram=9000)
    whole.with_spec(uid, ram=9000)
    whole.resync(orphans="stop").run_once()
    whole.pass_time(60)
    whole.store.request_deletion(uid, actor="Alice", source={"type": "http"})
    whole.pass_time(60)
    for job_id, job in before.items():
        now = whole.job(job_id)
        assert {**now, "ModifyIndex": 0, "Status": ""} == {**job, "ModifyIndex": 0, "Status": ""}
    assert whole.store.get(uid) is None
