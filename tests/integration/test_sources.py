"""Losing the cluster and finding it again, without a thread and without waiting."""

import threading

import pytest

from reconciler.errors import ClusterForbidden
from reconciler.sources import OUTAGE_TRIES, ClusterChanges, WishChanges
from specs.faults import StoreUnavailable
from specs.model import Phase
from tests.whole import NAMESPACES


class Impatient(threading.Event):
    """A stop that never waits, and is set after so many waits."""

    def __init__(self, waits: int) -> None:
        super().__init__()
        self._waits = waits

    def wait(self, timeout: float | None = None) -> bool:
        self._waits -= 1
        if self._waits <= 0:
            self.set()
        return self.is_set()


@pytest.fixture
def changes(whole):
    return ClusterChanges(
        whole.cluster,
        whole.mirror,
        whole.store.heads,
        whole.queue,
        NAMESPACES,
        random=lambda: 0.0,
        now=whole.now,
        waiting=whole.waiting,
        guard=whole.guard,
    )


def synced(whole, uid):
    return whole.status(uid).condition("Synced").reason


def test_an_outage_is_told_by_every_status_and_so_is_its_end(whole, changes):
    uid = whole.put()
    whole.pass_time(20)
    assert synced(whole, uid) == "Synced"
    whole.cluster.down = True
    changes.run(Impatient(OUTAGE_TRIES))
    whole.settle()
    assert synced(whole, uid) == "ClusterUnavailable"
    assert whole.status(uid).phase is Phase.RUNNING
    whole.cluster.down = False
    stream = changes._follow(threading.Event())
    next(stream)
    stream.close()
    whole.settle()
    assert synced(whole, uid) == "Synced"


def test_a_refusal_is_loud_and_told_as_what_it_is(whole, changes, monkeypatch, caplog):
    """C52: a token that was revoked, or that a namespace was taken from."""

    def refuse():
        raise ClusterForbidden("Nomad has no namespace ai4eosc: run `nomad namespace apply`")

    uid = whole.put()
    whole.pass_time(20)
    before = whole.job(uid)
    monkeypatch.setattr(whole.cluster, "ensure_namespaces", refuse, raising=False)
    changes.run(Impatient(OUTAGE_TRIES))
    whole.settle()
    synced = whole.status(uid).condition("Synced")
    assert synced.reason == "ClusterForbidden"
    assert "its operator has been told" in synced.message
    assert whole.job(uid) == before
    said = [r for r in caplog.records if r.levelname == "ERROR" and r.message == "cluster forbids"]
    assert "nomad namespace apply" in said[0].error


def test_a_short_break_costs_no_look(whole, changes):
    whole.put()
    whole.pass_time(20)
    whole.cluster.down = True
    changes.run(Impatient(OUTAGE_TRIES - 1))
    assert whole.queue.state().waiting == 0


def test_r16_a_locked_store_does_not_end_the_feed(whole, monkeypatch):
    """R16: what was wished while the database was locked is found when it is free."""
    wishes = WishChanges(whole.store, lambda _: whole.queue, position=whole.store.newest_version())
    uid = whole.put()
    read = whole.store.wishes_after
    locked = [StoreUnavailable("database is locked")]

    def once(position):
        if locked:
            raise locked.pop()
        return read(position)

    monkeypatch.setattr(whole.store, "wishes_after", once)
    monkeypatch.setattr(whole.store, "wait_for_wishes", lambda *_, **__: stop.set())
    stop = Impatient(10)
    wishes.run(stop)
    assert whole.queue.get(timeout_s=0) == uid
