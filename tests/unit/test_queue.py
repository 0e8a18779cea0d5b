import threading
from time import monotonic

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.queue import (
    FIRST_RETRY_S,
    LAST_RETRY_S,
    QueueShutDown,
    Urgency,
    WorkQueue,
    backoff_s,
)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> WorkQueue[str]:
    return WorkQueue(clock=clock, random=lambda: 1.0)


def take(queue: WorkQueue[str]) -> str | None:
    return queue.get(timeout_s=0)


def test_a_key_added_twice_is_handed_out_once(queue):
    queue.add("a")
    queue.add("a")
    assert take(queue) == "a"
    queue.done("a")
    assert take(queue) is None


def test_a_key_in_work_is_not_handed_out_again(queue):
    queue.add("a")
    take(queue)
    queue.add("a")
    assert take(queue) is None


def test_a_key_that_was_moved_forward_is_still_with_one_worker_only(queue):
    queue.add("a", Urgency.DRIFT)
    queue.add("a", Urgency.USER)
    take(queue)
    queue.add("a", Urgency.DRIFT)  # the rank of the entry that the move left behind
    assert take(queue) is None
    queue.done("a")
    assert take(queue) == "a"


def test_a_key_added_while_in_work_comes_back_when_done(queue):
    queue.add("a")
    take(queue)
    queue.add("a")
    queue.done("a")
    assert take(queue) == "a"


def test_a_users_change_overtakes_a_resync(queue):
    queue.add("resync", Urgency.RESYNC)
    queue.add("drift", Urgency.DRIFT)
    queue.add("user", Urgency.USER)
    assert [take(queue) for _ in range(3)] == ["user", "drift", "resync"]


def test_a_resync_that_waited_long_goes_before_a_new_change(queue, clock):
    queue.add("old", Urgency.RESYNC)
    clock.now = Urgency.RESYNC.value + 1
    queue.add("new", Urgency.USER)
    assert take(queue) == "old"


def test_a_more_urgent_reason_moves_a_waiting_key_forward(queue):
    queue.add("a", Urgency.RESYNC)
    queue.add("b", Urgency.DRIFT)
    queue.add("a", Urgency.USER)
    assert [take(queue), take(queue), take(queue)] == ["a", "b", None]


def test_a_less_urgent_reason_does_not_move_a_key_back(queue):
    queue.add("a", Urgency.USER)
    queue.add("a", Urgency.RESYNC)
    queue.add("b", Urgency.DRIFT)
    assert take(queue) == "a"


def test_a_delayed_key_comes_when_due_and_not_before(queue, clock):
    queue.add_after("a", 5)
    clock.now = 4.9
    assert take(queue) is None
    clock.now = 5
    assert take(queue) == "a"


def test_of_several_delays_the_earliest_counts_once(queue, clock):
    queue.add_after("a", 9)
    queue.add_after("a", 3)
    queue.add_after("a", 6)
    clock.now = 3
    assert take(queue) == "a"
    queue.done("a")
    clock.now = 20
    assert take(queue) is None


def test_retries_of_a_key_are_ever_further_apart_until_it_is_forgotten(queue):
    delays = [queue.retry("a") for _ in range(4)]
    assert delays == [FIRST_RETRY_S * 2**n for n in range(4)]
    queue.forget("a")
    assert queue.retry("a") == FIRST_RETRY_S


@pytest.mark.parametrize("failures", [1, 2, 5, 12, 1000])
def test_backoff_stays_between_half_and_all_of_its_step(failures):
    whole = min(LAST_RETRY_S, FIRST_RETRY_S * 2 ** min(failures - 1, 16))
    assert backoff_s(failures, random=lambda: 0.0) == whole / 2
    assert backoff_s(failures, random=lambda: 1.0) == whole


def test_a_look_stands_for_the_delayed_one_that_was_to_come(queue, clock):
    queue.add_after("a", 5)
    queue.add("a")
    assert queue.get(timeout_s=0) == "a"
    queue.forget("a")
    queue.done("a")
    clock.now = 60
    assert take(queue) is None


def test_what_is_asked_for_during_a_look_is_not_forgotten_with_it(queue, clock):
    queue.add("a")
    assert queue.get(timeout_s=0) == "a"
    queue.add_after("a", 5)
    queue.forget("a")
    queue.done("a")
    clock.now = 60
    assert take(queue) == "a"
    assert queue.state().delayed == 0


def test_the_state_tells_counts_and_the_oldest_wait(queue, clock):
    queue.add("a")
    clock.now = 7
    queue.add("b")
    queue.add_after("c", 5)
    assert take(queue) == "a"
    state = queue.state()
    assert (state.waiting, state.working, state.delayed, state.oldest_s) == (1, 1, 1, 0)


def test_a_worker_that_waits_is_woken_by_an_add():
    queue: WorkQueue[str] = WorkQueue(clock=monotonic, random=lambda: 0.0)
    taken: list[str | None] = []
    worker = threading.Thread(target=lambda: taken.append(queue.get(timeout_s=5)))
    worker.start()
    queue.add("a")
    worker.join(timeout=5)
    assert taken == ["a"]


def test_a_shut_down_queue_sends_every_worker_home(queue):
    queue.add("a")
    queue.shut_down()
    with pytest.raises(QueueShutDown):
        queue.get()


def test_many_workers_never_have_one_key_at_the_same_time():
    queue: WorkQueue[int] = WorkQueue(clock=monotonic, random=lambda: 0.0)
    held: set[int] = set()
    lock = threading.Lock()
    clashes: list[int] = []

    def work() -> None:
        while (key := queue.get(timeout_s=0.05)) is not None:
            with lock:
                if key in held:
                    clashes.append(key)
                held.add(key)
            with lock:
                held.discard(key)
            queue.done(key)

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for number in range(2000):
        queue.add(number % 50)
    for worker in workers:
        worker.join()
    assert clashes == []


def test_r25_one_users_ten_thousand_changes_do_not_stand_before_anothers(queue, clock):
    """R25: a fair queue per owner."""
    for number in range(10_000):
        queue.add(f"many-{number}", flow="alice")
    queue.add("one", flow="bob")
    taken = [take(queue) for _ in range(3)]
    assert "one" in taken


def test_within_one_flow_the_order_is_that_of_adding(queue):
    for key in ("a", "b", "c"):
        queue.add(key, flow="alice")
    assert [take(queue) for _ in range(3)] == ["a", "b", "c"]


def test_a_flow_that_has_had_its_turn_begins_anew(queue):
    for number in range(1000):
        queue.add(f"many-{number}", flow="alice")
    while take(queue) is not None:
        pass
    queue.add("late", flow="alice")
    queue.add("other", flow="bob")
    assert take(queue) == "late"


def test_a_resync_is_not_starved_by_a_flow_that_never_ends(queue, clock):
    """Peers' trap: low-priority items starve."""
    queue.add("resync", Urgency.RESYNC)
    for number in range(5000):
        queue.add(f"user-{number}", flow="alice")
        clock.now += 0.01
        if take(queue) == "resync":
            break
    assert number <= 1100, "10 s of handicap, 10 ms apart"


def test_flows_take_turns_however_slowly_the_work_goes(queue, clock):
    for number in range(1000):
        queue.add(f"many-{number}", Urgency.RESYNC, flow="alice")
    for _ in range(200):
        clock.now += 1  # a look takes a second, longer than any handicap
        take(queue)
    queue.add("one", flow="bob")
    queue.add("two", Urgency.RESYNC, flow="carol")
    taken = [take(queue) for _ in range(3)]
    assert "one" in taken[:2]
    clock.now += Urgency.RESYNC.value
    assert "two" in [take(queue) for _ in range(3)]


def test_a_more_urgent_key_of_a_flow_has_its_turn_and_the_flow_no_second_one(queue, clock):
    queue.add("a-1", Urgency.RESYNC, flow="alice")
    queue.add("a-2", flow="alice")
    queue.add("a-3", flow="alice")
    queue.add("b-1", flow="bob")
    assert [take(queue) for _ in range(5)] == ["a-2", "b-1", "a-3", "a-1", None]


def test_a_key_that_a_worker_has_does_not_stop_its_flow(queue):
    queue.add("a-1", flow="alice")
    assert take(queue) == "a-1"
    queue.add("a-1", flow="alice")
    queue.add("a-2", flow="alice")
    assert [take(queue), take(queue)] == ["a-2", None]
    queue.done("a-1")
    assert [take(queue), take(queue)] == ["a-1", None]


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from(list(Urgency)), st.integers(0, 3))))
def test_whatever_is_added_comes_out_once(added):
    queue: WorkQueue[int] = WorkQueue(clock=lambda: 0.0, random=lambda: 0.0)
    for key, urgency, flow in added:
        queue.add(key, urgency, flow=str(flow) if flow else "")
    taken = []
    while (key := queue.get(timeout_s=0)) is not None:
        taken.append(key)
    assert sorted(taken) == sorted({key for key, _, _ in added})


def test_a_look_in_ten_thousand_years_does_not_end_the_worker_that_waits(queue):
    queue.add_after("far", 1e12)
    got = []
    worker = threading.Thread(target=lambda: got.append(queue.get()))
    worker.start()
    queue.add("near")
    worker.join(timeout=10)
    assert got == ["near"]
