"""Seeded histories of the whole system: nothing that was promised is broken (R32, R33).

Among what happens: lost answers (R2), a broken stream (R9), an index that goes backwards (R10), two
reconcilers at once (R11), foreign jobs (R22). Most histories have quotas that bind (P6): what is
counted is held against the limits and against what runs after every write.

`make simulate-histories` plays ten thousand; here are some, and those that once found a bug.
"""

import pytest

from tests.simulation.history import play
from tests.simulation.mutations import MUTATIONS

SEEDS = range(1, 41)

PAST = {
    20: "a job that somebody put under our id was purged with our record",
    104: "an audit wrote over a job that somebody had put under our id",
    153: "an allocation's event that never came left the status behind for ever",
    20472: "secrets that a restored Nomad had lost were never written again",
    21233: "a suspension that began in an outage was told as running for ever",
    13: "the end of a lease gave its room away with the stop, before the work had ended",
    29: "a wish whose time was up stayed in line, and nobody behind it was let in",
    1095: "a stop whose last event was lost was counted for ever",
    3080: "a stop was counted for ever where the process died before the next look",
    100625: "a reconciler that was paused made a job again whose record was gone",
    101861: "a reconciler that was paused wrote an older wish over a newer one",
}
"""Seeds of bugs that were there once."""


@pytest.fixture(autouse=True)
def _quiet(caplog):
    caplog.set_level("CRITICAL")


@pytest.mark.parametrize("seed", SEEDS)
def test_a_history_breaks_no_promise(seed):
    assert play(seed).violations == ()


@pytest.mark.parametrize("seed", PAST, ids=lambda seed: f"{seed}-{PAST[seed].replace(' ', '-')}")
def test_what_once_broke_a_promise_does_so_no_more(seed):
    assert play(seed).violations == ()


def test_the_same_seed_is_the_same_history():
    first, second = play(7, tracing=True), play(7, tracing=True)
    assert first.trace == second.trace


@pytest.mark.parametrize(
    "name",
    [
        "drop-if-index",
        "skip-relist",
        "prune-on-empty",
        "release-at-the-suspend",
        "let-in-uncounted",
        "register-what-waits",
        "write-at-once",
        "repair-what-was-adopted",
    ],
)
def test_a_deliberate_bug_is_caught(name):
    with MUTATIONS[name][0]():
        assert any(play(seed).violations for seed in range(1, 201))
