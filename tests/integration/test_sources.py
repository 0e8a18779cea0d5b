"""Losing the cluster and finding it again, without a thread and without waiting."""

import threading

import pytest

from reconciler.sources import OUTAGE_TRIES, ClusterChanges
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
        whole.cluster, whole.mirror, whole.store, whole.queue, NAMESPACES, lambda: 0.0
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


def test_a_short_break_costs_no_look(whole, changes):
    whole.put()
    whole.pass_time(20)
    whole.cluster.down = True
    changes.run(Impatient(OUTAGE_TRIES - 1))
    assert whole.queue.state().waiting == 0
