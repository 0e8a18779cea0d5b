"""The loop from wish to job and back, on the pretend Nomad and a virtual clock."""

import pytest

from reconciler.errors import ClusterUnavailable, JobRejected
from specs.model import SECRET_SET, Phase, Update
from tests.builders import a_spec
from tests.simulated import a_node


@pytest.fixture
def running(whole):
    uid = whole.put()
    whole.settle()
    whole.pass_time(20)
    assert whole.status(uid).phase is Phase.RUNNING
    return uid


def test_a_wish_becomes_one_running_job_with_endpoints(whole):
    uid = whole.put()
    whole.settle()
    assert whole.job(uid)["Meta"]["managed_by"] == "ai4papi"
    assert whole.status(uid).phase in (Phase.STARTING, Phase.RUNNING)
    whole.pass_time(20)
    status = whole.status(uid)
    assert status.phase is Phase.RUNNING
    assert set(status.endpoints) == {"deepaas", "monitor", "lab"}
    assert status.observed_generation == 1
    assert len(whole.live(uid)) == 1


def test_settled_deployments_cost_no_look_no_call_and_no_write(whole, running):
    whole.resync().run_once()
    version = whole.store.newest_version()
    whole.cluster.calls.clear()
    assert whole.settle() == 0
    assert whole.resync().run_once() == 0
    assert whole.cluster.calls == ["list_jobs"]
    assert whole.store.newest_version() == version


def test_after_a_restart_what_is_settled_is_not_even_looked_at(whole, running):
    whole.store.close()
    whole.restart()
    assert whole.settle() == 0
    assert whole.job(running)["Version"] == 0


def test_a_new_title_updates_in_place(whole, running):
    (before,) = whole.live(running)
    whole.with_spec(running, title="another")
    whole.settle()
    whole.pass_time(20)
    assert whole.job(running)["UI"]["Description"] == "another"
    assert whole.job(running)["Meta"]["title"] == "My training"
    assert [a["ID"] for a in whole.live(running)] == [before["ID"]]


def test_new_memory_makes_exactly_one_new_allocation(whole, running):
    whole.with_spec(running, ram=9000)
    whole.settle()
    whole.pass_time(30)
    assert len(whole.allocations(running)) == 2
    assert len(whole.live(running)) == 1
    assert whole.status(running).phase is Phase.RUNNING


def test_a_change_that_would_lose_the_work_is_held_and_applied_when_it_fits(whole, running):
    (before,) = whole.live(running)
    whole.with_spec(running, ram=64_000)
    whole.settle()
    status = whole.status(running)
    assert (status.phase, status.reason) == (Phase.HELD, "WouldNotPlace")
    assert "64000 MB of memory" in status.message
    assert whole.job(running)["Version"] == 0
    whole.pass_time(120)
    assert [a["ID"] for a in whole.live(running)] == [before["ID"]]

    whole.pretend.nomad.machines.put_node(a_node("large", memory_mb=128_000, disk_mb=500_000))
    whole.pass_time(90)
    assert whole.job(running)["Version"] == 1
    assert whole.status(running).phase is Phase.RUNNING
    assert whole.status(running).condition("Held").status == "False"


def test_a_held_change_is_still_held_after_a_restart_and_applied_when_it_fits(whole, running):
    whole.with_spec(running, ram=64_000)
    whole.settle()
    whole.store.close()
    whole.restart()
    whole.settle()
    assert whole.status(running).phase is Phase.HELD
    whole.pretend.nomad.machines.put_node(a_node("large", memory_mb=128_000, disk_mb=500_000))
    whole.pass_time(90)
    assert whole.status(running).phase is Phase.RUNNING


def test_with_policy_queue_the_change_waits_in_nomads_line(whole, running):
    whole.with_spec(running, ram=64_000, update=Update(policy="queue"))
    whole.settle()
    assert whole.job(running)["Version"] == 1
    status = whole.status(running)
    assert status.phase is Phase.RUNNING
    assert "a newer version waits" in status.message


def test_a_job_stopped_by_hand_runs_again_and_the_status_told_it(whole, running):
    whole.pretend.nomad.deregister(whole.ref(running))
    whole.settle()
    whole.pass_time(30)
    assert not whole.job(running)["Stop"]
    assert whole.status(running).phase is Phase.RUNNING
    drifted = whole.status(running).condition("Drifted")
    assert (drifted.status, drifted.reason) == ("False", "Repaired")
    assert "the job is stopped" in drifted.message


def test_a_job_purged_by_hand_is_made_again(whole, running):
    whole.pretend.nomad.deregister(whole.ref(running), purge=True)
    whole.settle()
    whole.pass_time(30)
    assert len(whole.live(running)) == 1
    assert whole.status(running).condition("Drifted").reason == "Repaired"


def test_a_job_edited_by_hand_is_set_right(whole, running):
    whole.edit(running, Priority=90)
    whole.settle()
    assert whole.job(running)["Priority"] == 50


def test_an_edit_that_no_event_told_is_found_by_the_resync(whole, running):
    whole.edit(running, Priority=90)
    whole._told += 1000  # the stream's messages are lost
    resync = whole.resync()
    assert resync.run_once() >= 1
    whole.settle()
    assert whole.job(running)["Priority"] == 50


def test_what_somebody_changed_where_we_said_nothing_is_left_to_them(whole, running):
    whole.edit(running, Meta={**whole.job(running)["Meta"], "theirs": "1"})
    version = whole.job(running)["Version"]
    whole.settle()
    assert whole.job(running)["Version"] == version


def test_deletion_ends_with_job_variable_and_record_gone(whole):
    uid = whole.put("s", a_spec(jupyter_password=SECRET_SET), general__jupyter_password="pw" * 8)
    whole.settle()
    whole.pass_time(20)
    assert whole.cluster.read_variable(whole.ref(uid)) is not None
    whole.store.request_deletion(uid, actor="Alice", source={"type": "http"})
    whole.settle()
    whole.pass_time(60)
    assert whole.job(uid) is None
    assert whole.cluster.read_variable(whole.ref(uid)) is None
    assert whole.store.get(uid) is None


def test_a_deleted_name_can_be_used_again_and_is_another_job(whole, running):
    whole.store.request_deletion(running, actor="Alice", source={"type": "http"})
    whole.pass_time(60)
    again = whole.put()
    whole.pass_time(20)
    assert again != running
    assert whole.status(again).phase is Phase.RUNNING


def test_secrets_are_in_the_variable_and_nowhere_in_the_job(whole):
    secret = 'x"${attr.kernel.name}%{if}\n{{'
    uid = whole.put("s", a_spec(jupyter_password=SECRET_SET), general__jupyter_password=secret)
    whole.settle()
    assert whole.cluster.read_variable(whole.ref(uid))[0] == {"jupyterPASSWORD": secret}
    assert secret not in str(whole.job(uid))


def test_a_changed_secret_changes_the_variable_and_not_the_job(whole):
    spec = a_spec(jupyter_password=SECRET_SET)
    uid = whole.put("s", spec, general__jupyter_password="first-password")
    whole.settle()
    index = whole.job(uid)["JobModifyIndex"]
    whole.put("s", spec, general__jupyter_password="second-password")
    whole.settle()
    assert whole.cluster.read_variable(whole.ref(uid))[0] == {"jupyterPASSWORD": "second-password"}
    assert whole.job(uid)["JobModifyIndex"] == index


def test_suspend_frees_the_resources_and_resume_brings_the_work_back(whole, running):
    whole.with_spec(running, suspend=True)
    whole.pass_time(60)
    assert whole.live(running) == []
    assert whole.status(running).phase is Phase.SUSPENDED
    whole.with_spec(running)
    whole.pass_time(30)
    assert len(whole.live(running)) == 1
    assert whole.status(running).condition("Drifted") is None


def test_while_nomad_is_away_wishes_are_kept_and_converge_when_it_is_back(whole, running):
    whole.mirror.lose("connection refused")
    whole.cluster.down = True
    late = whole.put("late")
    looks = whole.settle()
    assert looks == 1
    synced = whole.status(late).condition("Synced")
    assert (synced.status, synced.reason) == ("False", "ClusterUnavailable")
    with pytest.raises(ClusterUnavailable):
        whole.relist()
    whole.cluster.down = False
    whole.relist()
    whole.settle()
    whole.pass_time(20)
    assert whole.status(late).phase is Phase.RUNNING
    assert whole.job(running)["Version"] == 0


def test_a_refused_job_is_stalled_in_nomads_words_and_waits_for_the_next_wish(whole):
    small = a_spec(disk=256)
    whole._template["TaskGroups"][0]["Tasks"][0]["LogConfig"] = {
        "MaxFiles": 10,
        "MaxFileSizeMB": 100,
    }
    uid = whole.put("r", small)
    whole.settle()
    stalled = whole.status(uid).condition("Stalled")
    assert stalled.status == "True"
    assert "log storage" in stalled.message
    whole.cluster.calls.clear()
    whole.pass_time(300)
    whole.relist()
    whole.settle()
    assert "register_job" not in whole.cluster.calls
    whole.put("r", a_spec(disk=5000))
    whole.pass_time(20)
    assert whole.status(uid).phase is Phase.RUNNING


def test_a_foreign_job_under_our_id_is_left_alone_and_told(whole):
    uid = whole.put()
    foreign = {**whole._template, "ID": uid, "Name": "theirs", "Namespace": "ai4eosc", "Meta": {}}
    whole.pretend.nomad.register(foreign)
    before = whole.job(uid)["JobModifyIndex"]
    whole.pass_time(60)
    assert whole.job(uid)["JobModifyIndex"] == before
    assert (whole.status(uid).phase, whole.status(uid).reason) == (Phase.HELD, "JobNotOurs")
    whole.store.request_deletion(uid, actor="Alice", source={"type": "http"})
    whole.pass_time(60)
    assert whole.job(uid)["JobModifyIndex"] == before
    assert whole.store.get(uid) is None


def test_a_register_whose_record_was_lost_is_not_repeated(whole):
    uid = whole.put()
    lost = whole.store.put_status
    whole.store.put_status = lambda *_, **__: True  # killed before the record
    whole.settle()
    whole.store.put_status = lost
    whole.store.close()
    whole.restart()
    whole.settle()
    whole.pass_time(20)
    assert whole.job(uid)["Version"] == 0
    assert whole.status(uid).phase is Phase.RUNNING


def test_a_queued_deployment_says_why_and_runs_when_there_is_room(whole):
    uid = whole.put("big", a_spec(ram=64_000))
    whole.settle()
    status = whole.status(uid)
    assert (status.phase, status.reason) == (Phase.QUEUED, "ResourcesTaken")
    whole.pretend.nomad.machines.put_node(a_node("large", memory_mb=128_000, disk_mb=500_000))
    whole.pass_time(30)
    assert whole.status(uid).phase is Phase.RUNNING


def test_a_lost_node_is_never_told_as_running(whole, running):
    whole.pretend.nomad.machines.lose_node(whole.live(running)[0]["NodeID"])
    whole.settle()
    assert whole.status(running).phase is not Phase.RUNNING


def test_refusals_keep_the_version_before_running(whole, running, monkeypatch):
    def refuse(_job):
        raise JobRejected("no such thing")

    whole.with_spec(running, ram=9000)
    monkeypatch.setattr(whole.cluster, "plan_job", refuse, raising=False)
    whole.settle()
    assert whole.status(running).condition("Stalled").status == "True"
    assert len(whole.live(running)) == 1
