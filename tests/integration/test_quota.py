"""Quotas with everything in place: what waits starts nothing, and starts when there is room."""

import pytest

from reconciler import loop
from specs.model import Owner, Phase
from specs.quota import Quotas, UserScope
from tests.builders import VO, a_spec
from tests.simulated import a_node
from tests.whole import ALICE, Whole

BOB = Owner("https://idp.example", "bob")


@pytest.fixture
def limited(tmp_path):
    """A process whose VO may have 6 CPUs, and nodes with room for more."""
    whole = Whole(tmp_path, [a_node(memory_mb=64_000, disk_mb=900_000)])
    whole.quotas = Quotas(vo={VO: {"cpu_num": 6}})
    whole.store.close()
    whole.restart()
    yield whole
    whole.store.close()


@pytest.fixture
def full(limited):
    """Alice has 4 of the 6 CPUs, Bob asks for 3."""
    first = limited.put("a", a_spec(cpu_num=4))
    limited.pass_time(20)
    assert limited.status(first).phase is Phase.RUNNING
    second = limited.put("b", a_spec(cpu_num=3), owner=BOB)
    limited.pass_time(5)
    return limited, first, second


def jobs_of(whole):
    return {job.ref.id: job for job in whole.cluster.list_jobs().items}


def test_what_is_over_quota_is_queued_and_says_why_and_where(full):
    whole, _, second = full
    status = whole.status(second)
    assert (status.phase, status.reason) == (Phase.QUEUED, "QuotaExceeded")
    assert status.message == (
        "over quota: vo.ai4eosc.eu uses 4 of 6 CPUs, and this asks for 3 more; position 1 in line"
    )
    assert status.hint
    reserved = status.condition("QuotaReserved")
    assert (reserved.status, reserved.reason) == ("False", "QuotaExceeded")
    assert status.condition("Held") is None
    assert second not in jobs_of(whole)


def test_waiting_costs_the_cluster_nothing(full):
    whole, _, second = full
    whole.cluster.calls.clear()
    whole.pass_time(300)
    assert whole.cluster.calls == []
    assert whole.status(second).reason == "QuotaExceeded"


def test_a_deletion_makes_room_only_when_nothing_runs_any_more(full):
    whole, first, second = full
    whole.store.request_deletion(first, actor="Alice", source={"type": "http"})
    whole.settle()
    assert second not in jobs_of(whole)
    whole.pass_time(60)
    assert whole.store.get(first) is None
    assert whole.status(second).phase is Phase.RUNNING
    assert whole.status(second).condition("QuotaReserved").status == "True"


def test_a_suspension_makes_room_only_when_nothing_runs_any_more(full):
    whole, first, second = full
    whole.put("a", a_spec(cpu_num=4, suspend=True))
    whole.settle()
    assert whole.record(second).over_quota
    whole.pass_time(60)
    assert whole.status(first).phase is Phase.SUSPENDED
    assert whole.status(second).phase is Phase.RUNNING
    assert whole.store.used([UserScope(ALICE)])[UserScope(ALICE)] == {}
    whole.put("a", a_spec(cpu_num=4))
    whole.pass_time(20)
    assert whole.status(first).reason == "QuotaExceeded"
    assert jobs_of(whole)[first].stopped


def test_what_was_started_and_not_heard_of_is_counted_on(limited):
    first = limited.put("a", a_spec(cpu_num=4))
    limited.reconciler.reconcile(first)
    limited.put("a", a_spec(cpu_num=4, suspend=True))
    for _ in range(3):
        limited.reconciler.reconcile(first)
    assert limited.live(first)
    assert limited.store.used([UserScope(ALICE)])[UserScope(ALICE)]["cpu_num"] == 4
    limited.pass_time(60)
    assert limited.store.used([UserScope(ALICE)])[UserScope(ALICE)] == {}


def test_a_process_that_starts_anew_makes_the_room_that_is_still_to_be_made(full):
    whole, first, second = full
    whole.put("a", a_spec(cpu_num=4, suspend=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "runs_no_more_than_wished", lambda *_: False)
        whole.pass_time(60)
    assert whole.status(first).reason == "Suspended"
    assert whole.record(second).over_quota
    whole.restart()
    whole.pass_time(20)
    assert not whole.record(second).over_quota
    assert whole.store.heads()[0].wake_at is None


def test_a_crash_before_the_status_brings_nothing_back_that_is_not_counted(full):
    whole, first, second = full
    whole.store.request_deletion(second, actor="Bob", source={"type": "http"})
    whole.pass_time(30)
    whole.put("b", a_spec(cpu_num=1), owner=BOB)
    whole.put("a", a_spec(cpu_num=1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(whole.store, "put_status", lambda *_, **__: False)
        whole.settle()
    whole.put("a", a_spec(cpu_num=6))
    whole.restart()
    whole.pass_time(20)
    assert whole.record(first).over_quota
    runs = whole.job(first)["TaskGroups"][0]["Tasks"][0]["Resources"]["CPU"] // 100
    assert runs <= whole.record(first).reservation.counted["cpu_num"]


def test_the_end_of_a_lease_makes_room(limited):
    first = limited.put("a", a_spec(cpu_num=4, ttl="1m"))
    second = limited.put("b", a_spec(cpu_num=3), owner=BOB)
    limited.pass_time(55)
    assert limited.status(second).reason == "QuotaExceeded"
    limited.pass_time(60)
    assert limited.status(first).reason == "Expired"
    assert limited.status(second).phase is Phase.RUNNING


def test_what_a_lease_ends_counts_until_nothing_runs_any_more(limited):
    first = limited.put("a", a_spec(cpu_num=4, ttl="1m"))
    second = limited.put("b", a_spec(cpu_num=3), owner=BOB)
    limited.pass_time(20)
    limited.pretend.move(41)
    limited.queue.add(first)
    limited.settle()
    assert limited.live(first)
    assert limited.status(first).reason == "Stopping"
    assert limited.record(second).over_quota
    limited.pass_time(60)
    assert limited.status(second).phase is Phase.RUNNING


def test_who_waits_when_their_time_is_up_makes_way(limited):
    limited.put("a", a_spec(cpu_num=4))
    large = limited.put("b", a_spec(cpu_num=3, ttl="1m"), owner=BOB)
    small = limited.put("c", a_spec(cpu_num=2), owner=BOB)
    limited.pass_time(30)
    assert limited.record(small).over_quota
    limited.pass_time(60)
    assert limited.status(large).reason == "Expired"
    assert not limited.record(large).over_quota
    assert limited.status(small).phase is Phase.RUNNING


def test_a_change_beyond_the_quota_is_held_and_what_runs_goes_on(full):
    whole, first, second = full
    whole.store.request_deletion(second, actor="Bob", source={"type": "http"})
    whole.pass_time(30)
    before = jobs_of(whole)[first]
    whole.put("b", a_spec(cpu_num=2), owner=BOB)
    whole.pass_time(20)
    whole.put("a", a_spec(cpu_num=5))
    whole.pass_time(20)
    status = whole.status(first)
    assert (status.phase, status.reason) == (Phase.HELD, "QuotaExceeded")
    assert status.condition("Held").reason == "QuotaExceeded"
    assert status.condition("Ready").status == "False"
    assert jobs_of(whole)[first].job_modify_index == before.job_modify_index
    whole.put("a", a_spec(cpu_num=4))
    whole.pass_time(20)
    assert whole.status(first).phase is Phase.RUNNING


def test_what_runs_while_its_change_waits_is_still_repaired(full):
    whole, first, _ = full
    whole.put("a", a_spec(cpu_num=6))
    whole.pass_time(5)
    assert whole.status(first).reason == "QuotaExceeded"
    whole.cluster.stop_job(jobs_of(whole)[first].ref)
    whole.pass_time(60)
    assert not jobs_of(whole)[first].stopped


def test_a_smaller_change_makes_room_once_it_is_made(full):
    whole, _, second = full
    whole.put("a", a_spec(cpu_num=1))
    whole.pass_time(60)
    assert whole.status(second).phase is Phase.RUNNING
    assert whole.store.used([UserScope(ALICE)])[UserScope(ALICE)]["cpu_num"] == 1


@pytest.mark.parametrize(("limit", "second_is"), [(7, Phase.RUNNING), (1, Phase.QUEUED)])
def test_a_raised_limit_lets_in_at_the_next_pass_and_a_lowered_one_stops_nothing(
    full, limit, second_is
):
    whole, first, second = full
    whole.quotas = Quotas(vo={VO: {"cpu_num": limit}})
    whole.store.close()
    whole.restart()
    whole.resync().run_once()
    whole.pass_time(60)
    assert whole.status(first).phase is Phase.RUNNING
    assert whole.status(second).phase is second_is
