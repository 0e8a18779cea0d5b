"""A store that hangs is told from one that answers and from one that refuses."""

import threading

from reconciler.alive import STUCK_S, StoreProbe
from specs.faults import StoreUnavailable


class Clock:
    now_s = 0.0

    def __call__(self):
        return self.now_s


def test_a_store_that_answers_is_well():
    probe = StoreProbe(lambda: 1, clock=Clock())
    assert (probe.trouble(), probe.stuck()) == ("", "")


def test_a_store_that_refuses_says_so_and_is_asked_again():
    answers = [StoreUnavailable("the disk is gone"), None]

    def ask():
        if (error := answers.pop(0)) is not None:
            raise error

    probe = StoreProbe(ask, clock=Clock())
    assert probe.trouble() == "the disk is gone"
    assert probe.trouble() == ""


def test_a_store_that_hangs_is_asked_once_and_is_a_fault_in_time():
    clock, answer, asked = Clock(), threading.Event(), []

    def ask():
        asked.append(1)
        answer.wait()

    probe = StoreProbe(ask, clock=clock)
    assert probe.trouble(within_s=0) == "the spec store has not answered for 0 s"
    assert probe.stuck() == ""
    clock.now_s = STUCK_S + 1
    assert probe.trouble(within_s=0) == "the spec store has not answered for 61 s"
    assert probe.stuck() == "a read of the spec store has hung for 61 s"
    assert len(asked) == 1
    answer.set()
    while probe.stuck():
        pass
    assert probe.trouble() == ""


def test_a_bug_is_told_by_its_class_only():
    def ask():
        raise ValueError("with a password in it")

    told = StoreProbe(ask, clock=Clock()).trouble()
    assert told == "the spec store can't be read: ValueError"
