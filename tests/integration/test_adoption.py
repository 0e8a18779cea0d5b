"""Jobs that another platform started are taken over in place, on the whole loop with a simulated
Nomad."""

import json
import sqlite3
from typing import Any

import pytest

from reconciler.takeover import Takeover
from specs.model import Phase
from specs.quota import Quotas
from tests.builders import a_spec
from tests.papi import MAIL, PASSWORD, RCLONE, a_new_job, an_old_job
from tests.simulation.users import changed
from tests.whole import ALICE, Whole


@pytest.fixture
def whole(tmp_path):
    return Whole(tmp_path)


def started(whole: Whole, *jobs: dict[str, Any]) -> list[str]:
    for job in jobs:
        whole.pretend.nomad.register(job)
    whole.pass_time(30)
    return [job["ID"] for job in jobs]


def takeover(whole: Whole) -> Takeover:
    return Takeover(whole.cluster, whole.store, whole.reconciler.site, (ALICE.iss,))  # type: ignore[arg-type]


def take(whole: Whole, uids: list[str]) -> None:
    over = takeover(whole)
    for found in over.find(ids=uids):
        assert over.take(found, actor="operator").why_not == ""
    whole.settle()
    whole.relist()
    whole.settle()


def adopted(whole: Whole, job: dict[str, Any] | None = None) -> str:
    (uid,) = started(whole, job or a_new_job())
    take(whole, [uid])
    assert whole.status(uid).phase is Phase.RUNNING
    return uid


def written(whole: Whole) -> list[str]:
    reads = ("list_", "read_", "parse_", "ensure_", "plan_")
    return [c for c in whole.cluster.calls if not c.startswith(reads) and c != "put_variable"]


def wish(whole: Whole, uid: str, **changes: Any) -> None:
    record = whole.record(uid)
    secrets = {"general__jupyter_password": "(set)"} if record.spec.general.jupyter_password else {}
    if record.spec.storage.rclone_password:
        secrets["storage__rclone_password"] = "(set)"
    whole.put(record.name, changed(record.spec, **changes), **secrets)
    whole.settle()


def footprint(whole: Whole, uid: str) -> Any:
    job = whole.job(uid)
    assert job is not None
    return json.dumps(job, default=str), [a["ID"] for a in whole.live(uid)]


def test_a_job_that_was_taken_over_runs_on_untouched(whole):
    jobs = [an_old_job(1), a_new_job(2)]
    before = {uid: footprint(whole, uid) for uid in started(whole, *jobs)}
    with whole.pretend.nomad.reading() as world:
        evaluations = len(world.evals)
    take(whole, list(before))
    whole.audit().run_once(over_s=1)
    whole.pass_time(10)
    whole.resync().run_once()
    whole.settle()
    whole.restart()
    whole.settle()
    for uid, footprint_before in before.items():
        assert whole.status(uid).phase is Phase.RUNNING
        assert whole.status(uid).condition("Synced").status == "True"
        assert footprint(whole, uid) == footprint_before
    assert written(whole) == []
    with whole.pretend.nomad.reading() as world:
        assert len(world.evals) == evaluations


def test_a_new_title_or_lease_writes_nothing(whole):
    uid = adopted(whole)
    before = footprint(whole, uid)
    wish(whole, uid, title="another", ttl="7d")
    assert (footprint(whole, uid), written(whole)) == (before, [])
    record = whole.record(uid)
    assert record.applied.generation == record.generation == 2
    assert record.status.condition("Synced").status == "True"


def test_a_change_of_what_runs_writes_our_own_job_with_our_marker(whole):
    uid = adopted(whole)
    (old,) = whole.live(uid)
    wish(whole, uid, ram=500)
    whole.pass_time(30)
    job = whole.job(uid)
    assert (job["Meta"]["managed_by"], job["Meta"]["ai4papi_uid"]) == ("ai4papi", uid)
    assert job["Meta"]["ai4papi_store"] == whole.store.identity().store_id
    (new,) = whole.live(uid)
    assert new["ID"] != old["ID"]
    assert whole.cluster.read_variable(whole.ref(uid))[0] == {
        "jupyterPASSWORD": PASSWORD,
        "RCLONE_CONFIG_RSHARE_PASS": RCLONE,
    }
    assert not whole.record(uid).adopted
    assert whole.status(uid).phase is Phase.RUNNING


def test_a_change_that_does_not_fit_leaves_the_work_alone(whole):
    uid = adopted(whole)
    before = footprint(whole, uid)
    wish(whole, uid, ram=500_000)
    whole.pass_time(60)
    assert (footprint(whole, uid), whole.status(uid).reason) == (before, "WouldNotPlace")


def test_suspend_stops_it_and_resume_starts_our_own(whole):
    uid = adopted(whole)
    wish(whole, uid, suspend=True)
    whole.pass_time(30)
    assert (whole.live(uid), whole.status(uid).phase) == ([], Phase.SUSPENDED)
    assert "managed_by" not in whole.job(uid)["Meta"]
    wish(whole, uid, suspend=False)
    whole.pass_time(30)
    assert whole.job(uid)["Meta"]["managed_by"] == "ai4papi"
    assert whole.status(uid).phase is Phase.RUNNING


def test_a_restart_is_in_place(whole):
    uid = adopted(whole)
    wish(whole, uid, restart=1)
    assert written(whole) == ["restart_allocation"]


def test_a_deletion_stops_and_purges_it(whole):
    uid = adopted(whole)
    whole.store.request_deletion(uid, actor="Alice", source={"type": "api"})
    whole.pass_time(60)
    assert (whole.job(uid), whole.store.get(uid)) == (None, None)


def test_what_was_changed_by_hand_is_told_and_left(whole):
    uid = adopted(whole)
    groups = json.loads(json.dumps(whole.job(uid)["TaskGroups"]))
    groups[0]["Tasks"][0]["Resources"]["MemoryMB"] = 600
    groups[0]["Tasks"][0]["Env"]["jupyterPASSWORD"] = "a newer password"
    whole.edit(uid, TaskGroups=groups)
    whole.pass_time(30)
    before = footprint(whole, uid)
    whole.audit().run_once(over_s=1)
    whole.pass_time(30)
    drifted = whole.status(uid).condition("Drifted")
    assert (drifted.status, drifted.reason) == ("True", "LeftAsFound")
    assert "MemoryMB is 600, not 300" in drifted.message
    assert "password" not in drifted.message
    assert (footprint(whole, uid), written(whole)) == (before, [])


@pytest.mark.parametrize("purge", [False, True])
def test_what_was_stopped_by_hand_comes_back_as_our_own(whole, purge):
    uid = adopted(whole)
    whole.pretend.nomad.deregister(("ai4eosc", uid), purge=purge)
    whole.pass_time(30)
    assert whole.job(uid)["Meta"]["managed_by"] == "ai4papi"
    assert len(whole.live(uid)) == 1
    assert whole.status(uid).condition("Drifted").reason == "Repaired"


def test_another_meta_means_that_it_is_somebody_elses_now(whole):
    uid = adopted(whole)
    whole.edit(uid, Meta={**whole.job(uid)["Meta"], "owner": "mallory"})
    whole.pass_time(30)
    before = footprint(whole, uid)
    wish(whole, uid, ram=500)
    whole.pass_time(30)
    assert (footprint(whole, uid), written(whole)) == (before, [])
    assert whole.status(uid).reason == "JobNotOurs"


def test_a_job_that_another_store_took_over_and_wrote_is_left_to_it(whole):
    uid = adopted(whole)
    meta = {"managed_by": "ai4papi", "ai4papi_uid": uid, "ai4papi_store": "another"}
    whole.edit(uid, Meta=meta)
    whole.pass_time(30)
    wish(whole, uid, ram=500)
    whole.pass_time(30)
    assert (whole.status(uid).reason, written(whole)) == ("JobNotOurs", [])


def test_a_crash_after_the_first_write_is_not_taken_for_drift(whole):
    uid = adopted(whole)
    applied = whole.record(uid).applied
    whole.pretend.nomad.deregister(("ai4eosc", uid), purge=True)
    whole.pass_time(30)
    before = whole.job(uid)["JobModifyIndex"]
    whole.store.put_status(uid, whole.status(uid), applied=applied, seen_index=0)
    assert whole.record(uid).adopted
    whole.restart()
    whole.settle()
    assert not whole.record(uid).adopted
    assert whole.job(uid)["JobModifyIndex"] == before


def test_a_read_that_fails_is_no_absence(whole):
    uid = adopted(whole)
    before = footprint(whole, uid)
    whole.cluster.down = True
    whole.audit().run_once(over_s=1)
    whole.pass_time(30)
    whole.cluster.down = False
    whole.relist()
    whole.pass_time(30)
    assert (footprint(whole, uid), written(whole)) == (before, [])


def test_a_process_that_does_not_know_it_yet_reads_before_it_decides(whole):
    (uid,) = started(whole, a_new_job())
    before = footprint(whole, uid)
    over = takeover(whole)
    over.take(over.find()[0], actor="operator")
    whole.settle()
    assert whole.mirror.doubted
    assert whole.status(uid).condition("Synced").status == "False"
    whole.relist()
    whole.pass_time(10)
    assert whole.status(uid).phase is Phase.RUNNING
    assert (footprint(whole, uid), written(whole)) == (before, [])


def test_no_password_is_kept_but_sealed(whole):
    uid = adopted(whole)
    wish(whole, uid, title="another")
    whole.pass_time(5)
    with sqlite3.connect(whole.folder / "store.db") as connection:
        dump = "\n".join(connection.iterdump())
    assert "deephdc/deep-oc-image-classification-tf" in dump
    assert [word for word in (PASSWORD, RCLONE, MAIL) if word in dump] == []
    secrets = whole.store.secrets(uid)
    assert secrets == {"general.jupyter_password": PASSWORD, "storage.rclone_password": RCLONE}


def test_it_is_taken_over_once_and_not_after_it_changed(whole):
    (uid,) = started(whole, a_new_job())
    over = takeover(whole)
    (found,) = over.find()
    whole.edit(uid, Priority=60)
    assert "changed" in over.take(found, actor="operator").why_not
    (found,) = over.find()
    assert over.take(found, actor="operator").why_not == ""
    assert "nothing is taken over" in over.take(found, actor="operator").why_not
    assert over.find() == []


def test_what_runs_is_counted_beyond_a_limit_too(whole):
    whole.quotas = Quotas(user={"deployments": 1})
    whole.restart()
    jobs = [an_old_job(1), a_new_job(2)]
    uids = started(whole, *jobs)
    take(whole, uids)
    assert all(whole.status(uid).phase is Phase.RUNNING for uid in uids)
    assert all(whole.record(uid).reservation.counted["deployments"] == 1 for uid in uids)


def test_what_was_brought_back_by_hand_is_told_also_of_one_that_waits_in_line(whole):
    uid = adopted(whole)
    theirs = whole.job(uid)
    wish(whole, uid, ram=500)
    whole.put("another", a_spec(ram=300))
    whole.pass_time(30)
    whole.pretend.nomad.register(theirs)
    whole.quotas = Quotas(user={"ram": 900})
    whole.restart()
    whole.relist()
    wish(whole, uid, ram=650)
    whole.pass_time(60)
    assert whole.record(uid).over_quota
    assert (whole.status(uid).phase, whole.status(uid).reason) == (Phase.HELD, "JobNotOurs")
