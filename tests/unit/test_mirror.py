from dataclasses import replace

import pytest

from reconciler.cluster.protocol import Listing
from reconciler.errors import ClusterUnavailable
from reconciler.jobs import Changes, JobGone, JobRef
from reconciler.mirror import KEPT_TERMINAL, Mirror, Snapshot
from tests.builders import (
    REF,
    a_failure,
    a_job,
    a_node,
    a_rollout,
    an_allocation,
    an_evaluation,
)


def listed(*jobs, index=10, allocations=(), evaluations=(), rollouts=(), nodes=()):
    return Snapshot(
        jobs=Listing(index, jobs),
        allocations=Listing(index, allocations),
        evaluations=Listing(index, evaluations),
        rollouts=Listing(index, rollouts),
        nodes=Listing(index, nodes),
    )


@pytest.fixture
def mirror():
    mirror = Mirror()
    mirror.replace(listed(a_job(10), index=10), known_index=0)
    return mirror


def test_before_the_first_list_nobody_gets_an_answer():
    with pytest.raises(ClusterUnavailable):
        Mirror().look(REF)


def test_a_list_answers_looks(mirror):
    assert mirror.look(REF).job == a_job(10)


def test_a_job_that_is_in_no_list_is_absent(mirror):
    assert mirror.look(REF._replace(id="other")).job is None


def test_a_lost_connection_stops_answers_until_the_next_list(mirror):
    mirror.lose("stream ended")
    with pytest.raises(ClusterUnavailable, match="stream ended"):
        mirror.look(REF)
    mirror.replace(listed(index=12), known_index=0)
    assert mirror.look(REF).job is None


def test_an_event_changes_what_is_seen_and_names_the_job(mirror):
    assert mirror.apply(Changes(12, (a_job(12, stopped=True),))) == {REF}
    assert mirror.look(REF).job.stopped


@pytest.mark.parametrize("index", [5, 10])
def test_an_event_from_before_the_list_is_ignored(mirror, index):
    assert mirror.apply(Changes(index, (a_job(index, stopped=True),))) == frozenset()
    assert not mirror.look(REF).job.stopped


def test_an_event_twice_is_news_once(mirror):
    event = Changes(12, (an_allocation(modify_index=12),))
    assert mirror.apply(event) == {REF}
    assert mirror.apply(event) == frozenset()


def test_reordered_events_leave_the_newest(mirror):
    mirror.apply(Changes(14, (an_allocation("running", modify_index=14),)))
    mirror.apply(Changes(12, (an_allocation("pending", modify_index=12),)))
    assert mirror.look(REF).allocations[0].client_status == "running"


def test_a_status_change_of_the_job_alone_is_no_news(mirror):
    assert mirror.apply(Changes(12, (a_job(10, modify_index=12, status="dead"),))) == frozenset()


def test_a_purge_is_news(mirror):
    assert mirror.apply(Changes(12, (JobGone(REF, 12),))) == {REF}
    assert mirror.look(REF).job is None


def test_a_purge_from_before_a_new_register_is_ignored(mirror):
    mirror.note_registered(REF, {"Meta": {}}, 20)
    assert mirror.apply(Changes(12, (JobGone(REF, 12),))) == frozenset()
    assert mirror.look(REF).job.job_modify_index == 20


def test_foreign_jobs_and_what_belongs_to_them_are_not_kept(mirror):
    other = REF._replace(id="foreign")
    changes = (a_job(12, ref=other, meta={}), an_allocation(ref=other), an_evaluation(ref=other))
    assert mirror.apply(Changes(12, changes)) == frozenset()
    assert mirror.look(other).job is None


def test_a_job_and_its_allocation_in_one_message_are_both_taken_whatever_their_order(mirror):
    other = REF._replace(id="new")
    changes = (an_allocation(ref=other), a_job(12, ref=other))
    assert mirror.apply(Changes(12, changes)) == {other}
    assert mirror.look(other).allocations


def test_what_belongs_to_a_job_that_came_between_the_lists_is_taken_from_the_stream():
    new = REF._replace(id="new")
    snapshot = listed(a_job(10), index=10)
    placed = an_allocation(ref=new, create_index=13, modify_index=13)
    mirror = Mirror()
    mirror.replace(replace(snapshot, allocations=Listing(13, [placed])), known_index=0)
    assert mirror.heard_index == 10
    mirror.apply(Changes(12, (a_job(12, ref=new),)))
    mirror.apply(Changes(13, (placed,)))
    assert mirror.look(new).allocations == (placed,)


def test_after_our_own_write_older_news_is_ignored_until_the_echo(mirror):
    mirror.note_registered(REF, {"Meta": {"managed_by": "ai4papi"}}, 20)
    assert mirror.apply(Changes(15, (a_job(15, stopped=True),))) == frozenset()
    assert mirror.look(REF).job.job_modify_index == 20


def test_the_echo_of_our_own_write_is_no_news_but_fills_in_the_version(mirror):
    mirror.note_registered(REF, {"Meta": {}}, 20)
    assert mirror.apply(Changes(20, (a_job(20, version=3),))) == frozenset()
    assert mirror.look(REF).job.version == 3


def test_a_list_from_before_our_own_write_does_not_undo_it(mirror):
    mirror.note_registered(REF, {"Meta": {}}, 20)
    mirror.replace(listed(index=15), known_index=0)
    assert mirror.look(REF).job.job_modify_index == 20


def test_an_index_that_went_backwards_makes_the_list_the_only_truth(mirror):
    mirror.note_registered(REF, {"Meta": {}}, 20)
    mirror.replace(listed(index=3), known_index=mirror.job_index)
    assert mirror.look(REF).job is None
    assert mirror.job_index == 3


def test_a_nomad_that_lost_its_state_is_noticed_even_where_the_first_list_was_as_empty():
    mirror = Mirror()
    mirror.replace(listed(index=1), known_index=0)
    mirror.note_registered(REF, {"Meta": {}}, 20)
    mirror.replace(listed(index=1), known_index=mirror.job_index)
    assert mirror.look(REF).job is None


def test_a_compare_with_a_nomad_that_went_back_in_time_asks_for_a_new_list(mirror):
    assert mirror.compare(Listing(3, ()), known_index=mirror.job_index) == frozenset()
    assert not mirror.connected


def test_placement_failures_are_news_and_so_is_their_end(mirror):
    assert mirror.apply(Changes(12, (an_evaluation(a_failure(), modify_index=12),))) == {REF}
    blocked = an_evaluation(a_failure(), modify_index=13, id="e2")
    assert mirror.apply(Changes(13, (blocked,))) == frozenset()
    assert mirror.apply(Changes(14, (an_evaluation(modify_index=14),))) == {REF}
    assert mirror.apply(Changes(15, (an_evaluation(modify_index=15),))) == frozenset()


def test_who_stands_in_nomads_line_is_counted_until_a_scheduler_has_had_it(mirror):
    for number in range(3):
        waits = an_evaluation(modify_index=12, id=f"e{number}", status="pending")
        mirror.apply(Changes(12, (waits,)))
    assert mirror.line() == (3, 0)
    foreign = an_evaluation(ref=JobRef("ai4eosc", "theirs"), id="e0", modify_index=13)
    mirror.apply(Changes(13, (foreign,)))
    mirror.apply(Changes(14, (an_evaluation(id="e1", modify_index=14, status="canceled"),)))
    assert mirror.line() == (1, 2)
    mirror.lose("gone")
    assert mirror.line() == (0, 2)


def test_evaluations_that_decided_nothing_are_ignored(mirror):
    mirror.apply(Changes(12, (an_evaluation(a_failure(), modify_index=12),)))
    mirror.apply(Changes(13, (an_evaluation(modify_index=13, status="canceled"),)))
    assert mirror.look(REF).evaluation.failures


def test_only_the_newest_ended_allocations_are_kept(mirror):
    for number in range(9):
        ended = an_allocation("failed", id=str(number), create_index=20 + number)
        mirror.apply(Changes(20 + number, (ended,)))
    kept = [a.id for a in mirror.look(REF).allocations]
    assert kept == [str(n) for n in range(9 - KEPT_TERMINAL, 9)]


def test_a_compare_finds_what_the_stream_had_missed(mirror):
    gone = REF._replace(id="gone")
    mirror.replace(listed(a_job(10), a_job(10, ref=gone), index=10), known_index=0)
    new = REF._replace(id="new")
    missed = mirror.compare(Listing(30, (a_job(25), a_job(26, ref=new))), known_index=10)
    assert missed == {REF, gone, new}
    assert mirror.look(gone).job is None


def test_a_compare_with_an_older_list_changes_nothing(mirror):
    mirror.note_registered(REF, {"Meta": {}}, 40)
    assert mirror.compare(Listing(30, ()), known_index=30) == frozenset()


def test_what_was_read_in_a_conflict_is_seen_even_when_it_is_not_ours(mirror):
    mirror.note_read(REF, a_job(50, meta={}))
    assert not mirror.look(REF).job.managed
    mirror.note_read(REF, None)
    assert mirror.look(REF).job is None


def test_a_rollout_that_moved_on_is_news_and_is_seen(mirror):
    assert mirror.apply(Changes(12, (a_rollout(modify_index=12),))) == {REF}
    assert mirror.apply(Changes(13, (a_rollout(modify_index=13),))) == frozenset()
    assert mirror.apply(Changes(14, (a_rollout("failed", modify_index=14),))) == {REF}
    assert mirror.look(REF).rollout.status == "failed"


@pytest.fixture
def placed():
    mirror = Mirror()
    allocations = (an_allocation(modify_index=8),)
    mirror.replace(listed(a_job(10), allocations=allocations, nodes=(a_node(),)), known_index=0)
    mirror.took_room()
    return mirror


@pytest.mark.parametrize("status", ["down", "disconnected"])
def test_a_node_that_is_lost_is_news_for_the_jobs_on_it(placed, status):
    assert placed.look(REF).lost_nodes == frozenset()
    assert placed.apply(Changes(12, (a_node(status, modify_index=12),))) == {REF}
    assert placed.look(REF).lost_nodes == {"n1"}
    assert placed.apply(Changes(13, (a_node(modify_index=13),))) == {REF}
    assert placed.look(REF).lost_nodes == frozenset()


@pytest.mark.parametrize(
    ("before", "change", "room"),
    [
        (a_node(), a_node(id="n2", modify_index=12), True),
        (a_node("down"), a_node(modify_index=12), True),
        (a_node(eligible=False), a_node(modify_index=12), True),
        (a_node(), a_node(devices={"gpu": 1}, modify_index=12), True),
        (a_node(memory_mb=1), a_node(memory_mb=2, modify_index=12), True),
        (a_node(devices={"gpu": 2}), a_node(devices={"gpu": 1}, modify_index=12), False),
        (a_node(), a_node("down", modify_index=12), False),
        (a_node(), a_node(eligible=False, modify_index=12), False),
        (a_node(), a_node(devices={"gpu": 1}, modify_index=4), False),
        (a_node(), an_allocation("complete", modify_index=12), True),
        (a_node(), an_allocation("complete", ref=REF._replace(id="foreign")), True),
        (a_node(), an_allocation("running", modify_index=12), False),
    ],
)
def test_room_may_have_appeared_where_a_node_offers_more_or_work_ended(before, change, room):
    mirror = Mirror()
    mirror.replace(listed(a_job(10), nodes=(before,)), known_index=0)
    mirror.took_room()
    mirror.apply(Changes(12, (change,)))
    assert mirror.took_room() is room
    assert mirror.took_room() is False


BLOCKED = an_evaluation(a_failure(), modify_index=8)


def waiting_beside(*nodes):
    """A mirror of one job that waits for room, and these nodes; the list is of index 10."""
    mirror = Mirror()
    snapshot = listed(a_job(10), evaluations=(BLOCKED,), nodes=nodes)
    mirror.replace(snapshot, known_index=0)
    return mirror


@pytest.mark.parametrize(
    ("before", "after", "gained"),
    [
        (a_node(), a_node(devices={"gpu": 1}), True),
        (a_node(devices={"gpu": 1}), a_node(devices={"gpu": 2}), True),
        (a_node(devices={"gpu": 1}), a_node(devices={"gpu": 1, "fpga": 1}), True),
        (a_node("down", devices={"gpu": 1}), a_node(devices={"gpu": 1}), True),
        (a_node(eligible=False, devices={"gpu": 1}), a_node(devices={"gpu": 1}), True),
        (a_node(), a_node(id="n2", devices={"gpu": 1}), True),
        (a_node(), a_node(id="n2"), False),
        (a_node("down"), a_node(), False),
        (a_node(memory_mb=1), a_node(memory_mb=2), False),
        (a_node(devices={"gpu": 1}), a_node(devices={"gpu": 1}), False),
        (a_node(devices={"gpu": 2}), a_node(devices={"gpu": 1}), False),
        (a_node(devices={"gpu": 1}), a_node("down", devices={"gpu": 2}), False),
        (a_node(devices={"gpu": 1}), a_node(eligible=False, devices={"gpu": 2}), False),
    ],
)
def test_who_waits_is_looked_at_where_a_node_that_takes_work_gained_devices(before, after, gained):
    """The same by an event and by a list after a break."""
    after = replace(after, modify_index=12)
    told, again = waiting_beside(before), waiting_beside(before)
    at_first = told.look(REF).devices_index
    assert told.apply(Changes(12, (after,))) == ({REF} if gained else set())
    news = listed(a_job(10), index=12, evaluations=(BLOCKED,), nodes=(after,))
    again.replace(news, known_index=10)
    for mirror in (told, again):
        assert mirror.look(REF).devices_index == (12 if gained else at_first)
        assert mirror.indexes()[REF][1] == mirror.look(REF).index == (12 if gained else 10)


def test_to_the_first_list_every_device_is_a_gain_and_to_that_of_a_restored_nomad_none():
    mirror = waiting_beside(a_node(devices={"gpu": 1}, modify_index=9))
    assert mirror.look(REF).devices_index == 9
    mirror.apply(Changes(12, (a_node(devices={"gpu": 2}, modify_index=12),)))
    restored = listed(
        a_job(3),
        index=4,
        evaluations=(replace(BLOCKED, modify_index=3),),
        nodes=(a_node(devices={"gpu": 3}, modify_index=4),),
    )
    mirror.replace(restored, known_index=mirror.job_index)
    assert mirror.look(REF).devices_index == 0


@pytest.mark.parametrize(
    "evaluation", [None, an_evaluation(modify_index=8), replace(BLOCKED, status="complete")]
)
def test_who_waits_for_nothing_is_not_looked_at_when_devices_appear(evaluation):
    mirror = Mirror()
    evaluations = [evaluation] if evaluation else []
    mirror.replace(listed(a_job(10), evaluations=evaluations, nodes=(a_node(),)), known_index=0)
    gain = a_node(devices={"gpu": 1}, modify_index=12)
    assert mirror.apply(Changes(12, (gain,))) == frozenset()
    assert mirror.look(REF).index == 10


def test_a_pass_that_left_a_blocked_one_waits_too():
    mirror = Mirror()
    mirror.replace(listed(a_job(10), nodes=(a_node(),)), known_index=0)
    mirror.apply(
        Changes(11, (replace(BLOCKED, status="complete", blocked_eval="e2", modify_index=11),))
    )
    gain = a_node(devices={"gpu": 1}, modify_index=12)
    assert mirror.apply(Changes(12, (gain,))) == {REF}
