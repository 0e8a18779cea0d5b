"""What people do by hand, what nodes do by themselves, and what the loop makes of it.

On the pretend Nomad and a virtual clock. A test that covers a row of the lists of traps and faults
names it.
"""

import itertools
import threading

import pytest

from reconciler.jobs import JobRef
from specs.model import SECRET_SET, Phase, Update
from tests.builders import a_spec
from tests.simulated import a_job, a_node
from tests.whole import ALICE_REACH, Whole


@pytest.fixture
def running(whole):
    uid = whole.put()
    whole.settle()
    whole.pass_time(20)
    assert whole.status(uid).phase is Phase.RUNNING
    return uid


def happened(whole, uid):
    return [entry.event.reason for entry in whole.store.events(uid)]


def test_the_timeline_tells_the_whole_story_in_order(whole, running):
    whole.pretend.nomad.deregister(whole.ref(running))
    whole.pass_time(30)
    told = happened(whole, running)
    assert told[0] == "Created"
    assert told.index("Running") < told.index("DriftRepaired")
    assert told[-1] == "Running"


def test_drift_is_told_with_field_and_values(whole, running):
    whole.edit(running, Priority=90)
    whole.pass_time(5)
    (event,) = [e.event for e in whole.store.events(running) if e.event.reason == "DriftRepaired"]
    assert "Priority is 90, not 50" in event.message


def test_an_edit_that_leaves_the_work_running_never_tells_of_a_restart(whole, running):
    whole.edit(running, Priority=90)
    whole.settle()
    assert whole.status(running).phase is not Phase.DEGRADED
    whole.pass_time(5)
    assert whole.status(running).phase is Phase.RUNNING
    assert len(whole.allocations(running)) == 1


def test_r21_a_fight_backs_off_is_told_and_ends_when_the_other_one_stops(whole, running):
    """R21: no fight loop; peers §5.10: self-heal back-off."""
    registers = 0
    for _ in range(120):
        whole.pretend.nomad.deregister(whole.ref(running))
        whole.cluster.calls.clear()
        whole.pass_time(5)
        registers += whole.cluster.calls.count("register_job")
    assert registers <= 12, "600 s against somebody who undoes every repair at once"
    told = whole.status(running).condition("Drifted")
    assert (told.status, told.reason) == ("True", "FightingWithAnother")
    assert whole.status(running).phase is not Phase.RUNNING
    whole.pass_time(330)
    assert whole.status(running).phase is Phase.RUNNING
    assert whole.status(running).condition("Held").status == "False"


def test_r21_under_report_what_was_stopped_by_hand_stays_stopped_until_the_wish_changes(
    whole, running
):
    whole.drift = "report"
    whole.pretend.nomad.deregister(whole.ref(running))
    whole.pass_time(60)
    assert whole.live(running) == []
    status = whole.status(running)
    assert (status.phase, status.reason) == (Phase.DEGRADED, "LeftAsFound")
    whole.cluster.calls.clear()
    whole.resync().run_once()
    whole.pass_time(60)
    assert set(whole.cluster.calls) <= {"list_jobs", "read_variable", "put_variable"}
    assert happened(whole, running).count("DriftReported") == 1
    whole.with_spec(running, title="wanted again")
    whole.pass_time(30)
    assert whole.status(running).phase is Phase.RUNNING


def test_r21_under_report_an_edit_is_told_and_left(whole, running):
    whole.drift = "report"
    whole.edit(running, Priority=90)
    whole.pass_time(10)
    assert whole.job(running)["Priority"] == 90
    drifted = whole.status(running).condition("Drifted")
    assert (drifted.status, drifted.reason) == ("True", "LeftAsFound")
    whole.edit(running, Priority=50)
    whole.pass_time(10)
    assert whole.status(running).condition("Drifted").status == "False"


def test_a_held_change_asks_again_when_room_appears_and_not_by_the_clock(whole, running):
    whole.with_spec(running, ram=64_000)
    whole.settle()
    whole.cluster.calls.clear()
    whole.pass_time(600)
    assert "plan_job" not in whole.cluster.calls
    whole.pretend.nomad.machines.put_node(a_node("large", memory_mb=128_000, disk_mb=500_000))
    whole.settle()
    whole.pass_time(3)
    assert whole.job(running)["Version"] == 1


def test_a_held_change_that_asks_in_vain_asks_ever_more_rarely(whole, running):
    whole.with_spec(running, ram=64_000)
    whole.settle()
    whole.cluster.calls.clear()
    for number in range(60):
        whole.pretend.nomad.machines.put_node(a_node(f"small-{number}", memory_mb=300))
        whole.pass_time(5)
    assert whole.cluster.calls.count("plan_job") <= 12


def test_r23_drained_work_comes_back_in_its_old_version_while_the_new_one_is_held(whole, running):
    whole.with_spec(running, ram=64_000)
    whole.settle()
    assert whole.status(running).phase is Phase.HELD
    whole.pretend.nomad.machines.put_node(a_node("second", memory_mb=16_000, disk_mb=500_000))
    (before,) = whole.live(running)
    whole.pretend.nomad.machines.drain_node(before["NodeID"])
    whole.pass_time(60)
    (after,) = whole.live(running)
    assert after["NodeID"] != before["NodeID"]
    assert whole.job(running)["Version"] == 0


def test_a_restart_restarts_the_allocation_once_and_writes_no_job(whole, running):
    (before,) = whole.live(running)
    index = whole.job(running)["JobModifyIndex"]
    whole.with_spec(running, restart=1)
    whole.pass_time(30)
    (after,) = whole.live(running)
    assert after["ID"] == before["ID"]
    assert after["TaskStates"]["usertask"]["Restarts"] == 1
    assert whole.job(running)["JobModifyIndex"] == index
    whole.resync().run_once()
    whole.pass_time(60)
    (after,) = whole.live(running)
    assert after["TaskStates"]["usertask"]["Restarts"] == 1
    assert happened(whole, running).count("Restarted") == 1


def test_at_the_end_of_its_time_the_work_stops_with_a_warning_before_and_its_spec_stays(
    whole, running
):
    whole.with_spec(running, ttl="2h")
    whole.settle()
    # Passing hours second by second would be slow: the queue's delayed looks do it.
    for _ in range(130):
        whole.pretend.move(60)
        whole.settle()
    status = whole.status(running)
    assert (status.phase, status.reason) == (Phase.SUSPENDED, "Expired")
    assert whole.live(running) == []
    told = happened(whole, running)
    assert told.index("ExpiresSoon") < told.index("Stopping")
    whole.with_spec(running, ttl="2d")
    whole.pass_time(30)
    assert whole.status(running).phase is Phase.RUNNING
    assert "DriftRepaired" not in happened(whole, running)


def test_a_lease_that_ended_while_nobody_looked_ends_with_the_next_start(whole, running):
    whole.with_spec(running, ttl="2h")
    whole.settle()
    whole.store.close()
    whole.pretend.move(3 * 3600)
    whole.restart()
    whole.pass_time(30)
    assert whole.status(running).reason == "Expired"


def test_another_type_in_the_template_is_stop_then_create_with_the_next_wish(whole, running):
    whole._template["Type"] = "batch"
    whole._template["TaskGroups"][0].pop("Update", None)
    whole._template["TaskGroups"][0]["ReschedulePolicy"] = None
    whole.relist()
    whole.settle()
    assert whole.job(running)["Type"] == "service", "an upgrade restarts nothing"
    whole.with_spec(running, ram=9000)
    whole.pass_time(60)
    assert whole.job(running)["Type"] == "batch"
    assert len(whole.live(running)) == 1
    assert "DriftRepaired" not in happened(whole, running)


def test_a_rollback_sticks_and_a_newer_wish_lifts_it(whole, running):
    whole.with_spec(running, docker_tag="new")
    whole.pass_time(30)
    whole.store.rollback(running, 1, actor="Alice", source={"type": "http"})
    whole.pass_time(30)
    image = whole.job(running)["TaskGroups"][0]["Tasks"][0]["Config"]["image"]
    assert image.endswith(":cpu")
    assert whole.status(running).pinned_generation == 1
    whole.with_spec(running, docker_tag="new")  # the same wish again, as a source repeats it
    whole.pass_time(30)
    assert whole.status(running).pinned_generation == 1
    whole.with_spec(running, docker_tag="newer")
    whole.pass_time(30)
    assert whole.status(running).pinned_generation is None
    image = whole.job(running)["TaskGroups"][0]["Tasks"][0]["Config"]["image"]
    assert image.endswith(":newer")


def test_a_failed_generation_is_rolled_back_where_its_owner_wished_so_and_only_once(whole, running):
    update = whole._template["TaskGroups"][0]["Update"]
    update |= {"ProgressDeadline": 120 * 10**9, "HealthyDeadline": 60 * 10**9}
    wished = Update(rollback_on_failure=True)
    whole.with_spec(running, update=wished)
    whole.pass_time(20)
    whole.with_spec(running, docker_tag="broken", update=wished)
    whole.settle()
    # Every allocation of the broken version fails for good, until Nomad's rollout fails.
    for _ in range(60):
        for allocation in whole.live(running):
            if whole.status(running).pinned_generation is None:
                whole.pretend.nomad.machines.fail_allocation(allocation["ID"])
        whole.pretend.move(5)
        whole.settle()
    status = whole.status(running)
    assert status.pinned_generation == 2
    assert status.phase is Phase.RUNNING
    assert happened(whole, running).count("RolledBack") == 1
    image = whole.job(running)["TaskGroups"][0]["Tasks"][0]["Config"]["image"]
    assert image.endswith(":cpu")


def test_undelete_brings_back_what_was_deleted_as_it_was(whole, running):
    whole.store.request_deletion(running, actor="Alice", source={"type": "http"})
    whole.pass_time(60)
    assert whole.store.get(running) is None
    back = whole.store.undelete(
        ALICE_REACH, vo=None, name="train-a", actor="Alice", source={"type": "http"}
    )
    assert back.uid == running
    whole.pass_time(30)
    assert whole.status(running).phase is Phase.RUNNING
    assert {"Deleted", "Undeleted"} <= set(happened(whole, running))


def test_undelete_while_the_work_is_ending_brings_it_back(whole, running):
    whole.store.request_deletion(running, actor="Alice", source={"type": "http"})
    whole.settle()
    whole.store.undelete(
        ALICE_REACH, vo=None, name="train-a", actor="Alice", source={"type": "http"}
    )
    whole.pass_time(60)
    assert whole.status(running).phase is Phase.RUNNING
    assert whole.record(running).finalizers


def orphaned(whole, uid):
    """Lose the record of `uid` as no face can: its job is an orphan then."""
    with whole.store._database.write() as connection:
        connection.exec_driver_sql("DELETE FROM deployments")
        connection.commit()
    return uid


def test_an_orphan_is_reported_and_left_alone(whole, running):
    orphaned(whole, running)
    index = whole.job(running)["JobModifyIndex"]
    whole.resync().run_once()
    assert whole.job(running)["JobModifyIndex"] == index


def test_an_orphan_of_this_store_is_stopped_where_the_operator_says_so(whole, running):
    orphaned(whole, running)
    foreign = {**whole._template, "ID": "foreign", "Namespace": "ai4eosc", "Meta": {}}
    whole.pretend.nomad.register(foreign)
    whole.resync(orphans="stop").run_once()
    whole.pass_time(10)
    assert whole.live(running) == []
    assert not whole.job("foreign")["Stop"]


def test_r13_a_store_that_is_older_than_it_was_changes_nothing_in_nomad(whole, running):
    """R13, R18: the mark in Nomad is ahead of the store."""
    whole.resync().run_once()
    before = whole.job(running)["JobModifyIndex"]
    mark = JobRef("ai4eosc", f"ai4papi-store-{whole.store.identity().store_id}")
    _, index = whole.cluster.read_variable(mark)
    whole.cluster.put_variable(mark, {"durable": "999999"}, if_index=index)
    whole.store.close()
    whole.restart()
    whole.with_spec(running, ram=9000)
    whole.store.request_deletion(running, actor="Alice", source={"type": "http"})
    late = whole.put("late")
    whole.pass_time(60)
    assert whole.job(running)["JobModifyIndex"] == before
    assert whole.job(late) is None
    assert whole.status(late).reason == "StoreNotRecognised"
    whole.guard.accept()
    whole.relist()
    whole.pass_time(60)
    assert whole.status(late).phase is Phase.RUNNING
    assert whole.job(running) is None


def test_r10_a_nomad_that_went_back_in_time_gets_back_what_is_wanted_and_keeps_what_runs(
    whole, running
):
    """R10: the index went backwards; nothing is deleted, what is missing is created again."""
    snapshot = whole.pretend.nomad.snapshot()
    later = whole.put("later")
    whole.pass_time(20)
    (kept,) = whole.live(running)
    whole.pretend.nomad.restore(snapshot)
    whole.mirror.lose("Nomad was restored")
    whole.relist()
    whole.pass_time(60)
    assert [a["ID"] for a in whole.live(running)] == [kept["ID"]]
    assert whole.status(running).phase is Phase.RUNNING
    assert whole.status(later).phase is Phase.RUNNING
    assert whole.job(later)["Version"] == 0


def test_r24_a_crash_loop_costs_no_register(whole, running):
    """R24: identical registers would cost an evaluation each."""
    whole.cluster.calls.clear()
    (allocation,) = whole.live(running)
    whole.pretend.nomad.machines.lose_node(allocation["NodeID"])
    whole.pass_time(120)
    assert "register_job" not in whole.cluster.calls
    assert whole.status(running).phase is not Phase.RUNNING


def test_r27_an_upgrade_that_renders_the_same_wish_differently_restarts_nothing(whole, running):
    """R27: the template changed; running work stays as it was sent."""
    whole._template["TaskGroups"][0]["Tasks"][0]["KillTimeout"] = 99 * 10**9
    version = whole.job(running)["Version"]
    whole.store.close()
    whole.restart()
    whole.resync().run_once()
    whole.reconciler.audits.add(running)
    whole.queue.add(running)
    whole.pass_time(30)
    assert whole.job(running)["Version"] == version


def test_r30_a_deletion_while_its_update_is_on_the_way_wins(whole, running):
    """R30: the last accepted intent by generation."""
    whole.with_spec(running, ram=9000)
    whole.store.request_deletion(running, actor="Alice", source={"type": "http"})
    whole.pass_time(90)
    assert whole.store.get(running) is None
    assert whole.job(running) is None


def test_a_strangers_job_under_our_id_outlives_the_deletion_of_our_record(whole, running):
    take_over(whole, running)
    whole.settle()
    whole.resync().run_once()  # the list leaves out what is not managed: ours looks gone
    whole.store.request_deletion(running, actor="Alice", source={"type": "http"})
    whole.pass_time(60)
    assert whole.job(running)["Name"] == "theirs"
    assert whole.store.get(running) is None


def test_an_audit_that_finds_a_strangers_job_leaves_it_alone(whole, running):
    take_over(whole, running)
    whole._told += 1000  # nothing was heard of it
    whole.reconciler.audits.add(running)
    whole.queue.add(running)
    whole.settle()
    assert whole.job(running)["Name"] == "theirs"
    assert whole.status(running).reason == "JobNotOurs"


def test_a_change_that_was_planned_on_a_strangers_job_is_not_written(whole, running):
    take_over(whole, running)
    whole._told += 1000
    whole.with_spec(running, ram=9000)
    whole.pass_time(5)
    assert whole.job(running)["Name"] == "theirs"
    assert whole.status(running).reason == "JobNotOurs"


def test_an_allocation_event_that_never_came_is_made_up_for_by_the_audit(whole):
    uid = whole.put()
    whole.settle()
    whole.pretend.move(20)
    whole._told += 1000  # nothing was heard of the start
    whole.settle()
    assert whole.status(uid).phase is Phase.STARTING
    whole.audit().run_once(over_s=1)
    changes = whole.cluster_changes()
    list(itertools.islice(changes._follow(threading.Event()), 1))
    whole.settle()
    assert whole.status(uid).phase is Phase.RUNNING


def test_a_suspension_that_was_carried_out_while_nomad_was_away_is_told_afterwards(whole, running):
    whole.cluster.down = True
    whole.with_spec(running, suspend=True)
    whole.settle()
    whole.pretend.nomad.deregister(whole.ref(running), purge=True)
    whole.cluster.down = False
    whole.store.close()
    whole.restart()
    whole.settle()
    assert whole.status(running).phase is Phase.SUSPENDED


def test_an_audit_puts_back_the_secrets_that_a_restored_nomad_lost(whole):
    uid = whole.put("s", a_spec(jupyter_password=SECRET_SET), general__jupyter_password="first-pw")
    whole.settle()
    before = whole.pretend.nomad.snapshot()
    whole.put("s", a_spec(jupyter_password=SECRET_SET), general__jupyter_password="second-pw")
    whole.settle()
    whole.pretend.nomad.restore(before)
    whole.reconciler.audits.add(uid)
    whole.queue.add(uid)
    whole.settle()
    assert whole.cluster.read_variable(whole.ref(uid))[0] == {"jupyterPASSWORD": "second-pw"}


def take_over(whole, uid):
    theirs = {**a_job(uid), "Namespace": "ai4eosc", "Name": "theirs"}
    whole.pretend.nomad.register(theirs)


@pytest.fixture
def in_line(tmp_path):
    """A process beside one node with one GPU, and a deployment that waits in line for two."""
    whole = Whole(tmp_path, [a_node(memory_mb=32_000, disk_mb=500_000, gpus={"Tesla": 1})])
    uid = whole.put(spec=a_spec(gpu_num=2))
    whole.pass_time(5)
    assert whole.status(uid).phase is Phase.QUEUED
    whole.cluster.calls.clear()
    yield whole, uid
    whole.store.close()


def second_gpu(whole):
    with whole.pretend.nomad.reading() as world:
        (node_id,) = world.nodes
    whole.pretend.nomad.machines.set_devices(node_id, {"Tesla": 2})


def test_what_waits_in_line_runs_when_the_device_that_it_lacked_appears(in_line):
    whole, uid = in_line
    second_gpu(whole)
    whole.pass_time(20)
    assert whole.status(uid).phase is Phase.RUNNING
    assert whole.cluster.calls.count("evaluate_job") == 1
    assert "register_job" not in whole.cluster.calls


def test_a_device_that_is_too_few_is_asked_for_once(in_line):
    whole, uid = in_line
    whole.with_spec(uid, gpu_num=3, update=Update(policy="queue"))
    whole.settle()
    second_gpu(whole)
    for _ in range(5):
        whole.pass_time(60)
        whole.resync().run_once()
        whole.queue.add(uid)
    assert whole.cluster.calls.count("evaluate_job") == 1
    assert whole.status(uid).phase is Phase.QUEUED


def test_a_device_that_appears_while_nomad_is_out_of_reach_is_asked_for_afterwards(in_line):
    whole, uid = in_line
    whole.mirror.lose("the stream ended")
    second_gpu(whole)
    whole.pass_time(5)
    assert whole.live(uid) == []
    whole.relist()
    whole.pass_time(20)
    assert whole.status(uid).phase is Phase.RUNNING


def test_a_question_that_is_not_answered_is_asked_again_with_back_off(in_line):
    whole, uid = in_line
    whole.cluster.down = True
    second_gpu(whole)
    whole.pass_time(60)
    assert 3 <= whole.cluster.calls.count("evaluate_job") <= 12
    whole.cluster.down = False
    whole.pass_time(60)
    assert whole.status(uid).phase is Phase.RUNNING


def test_work_that_a_drain_ended_is_told_what_it_waits_for_now(in_line):
    """Nomad blocks it again without writing down what it found."""
    whole, uid = in_line
    with whole.pretend.nomad.reading() as world:
        (node_id,) = world.nodes
    whole.pretend.nomad.machines.drain_node(node_id)
    whole.with_spec(uid, gpu_num=3, update=Update(policy="queue"))
    whole.pass_time(5)
    before = whole.status(uid).reason
    whole.pretend.nomad.machines.return_node(node_id)
    whole.pass_time(5)
    assert whole.status(uid).reason != before
