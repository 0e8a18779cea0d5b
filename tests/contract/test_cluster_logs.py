"""Reading what tasks have written, alike on the simulator and on a real Nomad."""

import threading
from contextlib import closing

import pytest

from reconciler.errors import LogMissing
from tests.contract.doors import Case, ref_of

LINES = "one\ntwo\nthree\n"
NO_ALLOCATION = "00000000-0000-4000-8000-000000000000"


def read(case: Case, running, *, stop=None, **asked):
    asked = {"task": "usertask", "kind": "stdout", "tail_bytes": 1000, "follow": False, **asked}
    return case.cluster.read_log(
        ref_of(running.job), running.allocation.id, stop=stop or threading.Event(), **asked
    )


@pytest.fixture
def running(case: Case):
    return case.running(config={"run_for": "1h", "stdout_string": LINES})


def followed(case: Case, running, wanted: bytes, **asked) -> bytes:
    text = b""
    with closing(read(case, running, follow=True, **asked)) as log:
        for piece in log:
            text += piece
            if text.endswith(wanted):
                return text
    raise AssertionError(text)


def test_the_end_of_a_log_is_read(case: Case, running):
    assert followed(case, running, LINES.encode()) == LINES.encode()
    assert b"".join(read(case, running)) == LINES.encode()
    assert b"".join(read(case, running, tail_bytes=6)) == b"three\n"
    assert b"".join(read(case, running, kind="stderr")) == b""


def test_who_follows_hears_a_heartbeat_and_can_stop(case: Case, running):
    stop = threading.Event()
    with closing(read(case, running, follow=True, kind="stderr", stop=stop)) as log:
        assert next(log) == b""
        stop.set()
        assert list(log) == []


def test_an_unknown_allocation_has_no_log(case: Case):
    job, _, _ = case.standing()
    log = case.cluster.read_log(
        ref_of(job),
        NO_ALLOCATION,
        task="usertask",
        kind="stdout",
        tail_bytes=10,
        follow=False,
        stop=threading.Event(),
    )
    with pytest.raises(LogMissing, match="Unknown allocation"):
        next(log)
    log = read(case, case.standing(), task="nope")
    with pytest.raises(LogMissing, match='unknown task name "nope"'):
        next(log)
