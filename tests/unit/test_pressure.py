"""Back-pressure: as many registers as the cluster takes, and a short line in front of it."""

import threading

import pytest

from reconciler.errors import ClusterUnavailable, JobConflict
from reconciler.pressure import SHORTEST_LINE, SLOW_S, Pace, Pressure

QUICK_S = 0.01


def note(pace, now_s, took_s=QUICK_S, failed=False):
    pace.note_register(began_at_s=now_s - took_s, now_s=now_s, failed=failed)


def test_a_quick_cluster_gets_as_many_at_once_as_there_may_be():
    pace = Pace(most=16)
    assert pace.limit == 4
    for number in range(20):
        note(pace, number)
    assert pace.limit == 16


@pytest.mark.parametrize("trouble", [{"took_s": 2 * SLOW_S}, {"failed": True}])
def test_a_slow_or_failing_cluster_gets_ever_fewer_down_to_one(trouble):
    pace = Pace(most=16)
    for number in range(20):
        note(pace, number)
    limits = []
    for number in range(100, 160, 5):
        note(pace, number, **trouble)
        limits.append(pace.limit)
    assert limits[0] == 11
    assert limits == sorted(limits, reverse=True)
    assert limits[-1] == 1


def test_what_was_under_way_together_shrinks_the_limit_once():
    pace = Pace(most=16)
    for number in range(20):
        note(pace, number)
    for number in range(16):
        pace.note_register(began_at_s=100, now_s=103 + number / 100, failed=False)
    assert pace.limit == 11


def test_after_a_slow_one_the_limit_grows_by_one_a_round():
    pace = Pace(most=16)
    note(pace, 10, took_s=2)
    assert pace.limit == 2
    for number in range(3):
        note(pace, 20 + number)
    assert pace.limit == 3


def test_the_line_is_as_long_as_the_schedulers_do_in_two_seconds():
    pace = Pace(most=16)
    assert pace.line == SHORTEST_LINE
    for number in range(41):
        pace.note_line(waiting=5, done=number * 100, now_s=number / 4)
    assert pace.line == pytest.approx(800, rel=0.01)


def test_an_idle_scheduler_is_no_slow_one():
    pace = Pace(most=16)
    for number in range(20):
        pace.note_line(waiting=5, done=number * 100, now_s=number / 4)
    fast = pace.line
    pace.note_line(waiting=0, done=2000, now_s=100)
    pace.note_line(waiting=1, done=2000, now_s=1000)
    assert pace.line == fast


class Site:
    """A pressure on a clock that stands until a test moves it."""

    def __init__(self, most=16):
        self.now_s, self.waiting, self.done = 0.0, 0, 0
        self.pressure = Pressure(
            line=lambda: (self.waiting, self.done), clock=self.clock, most=most
        )

    def clock(self):
        self.now_s += 0.5  # every look at the clock takes a while, so patience ends
        return self.now_s


def test_who_gets_no_turn_in_time_is_told_when_to_come_back():
    site = Site(most=1)
    with (
        site.pressure.turn(),
        pytest.raises(ClusterUnavailable, match="Nomad is slow: 1 jobs") as refused,
        site.pressure.turn(),
    ):
        pass
    assert refused.value.again_s == 1.0
    with site.pressure.turn():
        pass


def test_a_long_line_lets_nobody_through_and_a_shorter_one_does():
    site = Site()
    site.waiting = SHORTEST_LINE + 1
    said = f"{SHORTEST_LINE + 1} evaluations wait"
    with pytest.raises(ClusterUnavailable, match=said), site.pressure.turn():
        pass
    site.waiting = 3
    with site.pressure.turn():
        pass


def test_a_turn_is_given_back_whatever_happened():
    site = Site(most=1)
    for error in (JobConflict("moved"), ClusterUnavailable("down"), KeyError("bug")):
        with pytest.raises(type(error)), site.pressure.turn():
            raise error
    with site.pressure.turn():
        pass


def test_never_more_at_once_than_the_limit():
    pressure = Pressure(line=lambda: (0, 0), clock=lambda: 0.0, most=3)
    at_once, most, lock = [0], [0], threading.Lock()

    def register():
        for _ in range(200):
            with pressure.turn():
                with lock:
                    at_once[0] += 1
                    most[0] = max(most[0], at_once[0])
                with lock:
                    at_once[0] -= 1

    threads = [threading.Thread(target=register) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] <= 3
