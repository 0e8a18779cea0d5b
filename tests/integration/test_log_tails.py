"""The ends of the logs of what failed, kept by a source of its own."""

from collections.abc import Iterator

import pytest

from reconciler.errors import ClusterUnavailable, LogMissing
from reconciler.log_tails import TAIL_LINES, TRIES, LogTails
from specs.model import AllocationStatus, DeploymentStatus, JobStatus, Phase
from specs.store import SpecStore
from tests.builders import ALICE
from tests.contract.stores import a_wish


@pytest.fixture
def store(open_store) -> Iterator[SpecStore]:
    return open_store


def failed(store: SpecStore, *places: str, status: str = "failed", uid: str = "") -> str:
    if not uid:
        record, _ = store.create(a_wish(), owner=ALICE, owner_name="A", source={"type": "test"})
        uid = record.uid
    allocations = tuple(AllocationStatus(id=place, client_status=status) for place in places)
    told = DeploymentStatus(
        phase=Phase.FAILED, nomad=JobStatus(job_id=uid, allocations=allocations)
    )
    assert store.put_status(uid, told, applied=None, seen_index=1)
    return uid


class Reading:
    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str]] = []
        self.error: Exception | None = None

    def __call__(self, _record, allocation_id, *, task, kind) -> bytes:
        self.asked.append((allocation_id, task, kind))
        if self.error:
            raise self.error
        return f"{allocation_id} {kind}\n".encode() * (TAIL_LINES + 5)


@pytest.fixture
def reading() -> Reading:
    return Reading()


@pytest.fixture
def tails(store, reading) -> LogTails:
    return LogTails(store, reading, lambda _: ("usertask",))


def test_the_end_of_what_failed_is_kept_once(store, reading, tails):
    uid = failed(store, "b", "a")
    tails.look(None, {})
    tails.look([uid], {})
    assert reading.asked == [
        (place, "usertask", kind) for place in "ab" for kind in ("stdout", "stderr")
    ]
    kept = store.log_tails(uid)
    assert {tail.allocation_id for tail in kept} == {"a", "b"}
    assert kept[0].text.count("\n") == TAIL_LINES


def test_what_runs_or_ended_well_is_left_alone(store, reading, tails):
    failed(store, "a", status="running")
    tails.look(None, {})
    assert reading.asked == []


def test_what_has_no_log_is_not_asked_for_again(store, reading, tails):
    uid = failed(store, "a")
    reading.error = LogMissing("Unknown allocation")
    tails.look([uid], {})
    tails.look([uid], {})
    assert len(reading.asked) == 2
    assert [tail.text for tail in store.log_tails(uid)] == ["", ""]


def test_a_cluster_that_does_not_answer_is_asked_a_few_times(store, reading, tails):
    uid = failed(store, "a")
    reading.error = ClusterUnavailable("no answer")
    tries: dict[str, int] = {}
    for _ in range(TRIES):
        tails.look([uid], tries)
    assert tries == {}
    assert len(reading.asked) == TRIES
    assert store.log_tails(uid) == []


def test_a_later_failure_is_found_by_the_feed(store, reading, tails):
    uid = failed(store, "a", status="running")
    position = tails._pass(None, {})
    failed(store, "a", uid=uid)
    tails._pass(position, {})
    assert [tail.allocation_id for tail in store.log_tails(uid)] == ["a", "a"]


def test_tails_go_with_the_trash(store, reading, tails, monkeypatch):
    uid = failed(store, "a")
    tails.look(None, {})
    record = store.request_deletion(uid, actor="A", source={"type": "test"})
    for finalizer in record.finalizers:
        store.remove_finalizer(uid, finalizer)
    assert store.log_tails(uid)
    late = record.created_at.replace(year=record.created_at.year + 1)
    store.clean_up(trash_before=late, events_before=late)
    assert store.log_tails(uid) == []
