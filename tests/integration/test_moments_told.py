"""The moments of deployments as the whole loop lives through them, in the outbox."""

import pytest

from specs.moments import Subscription
from tests.builders import a_spec
from tests.simulated import a_node
from tests.whole import Whole


@pytest.fixture
def whole(tmp_path):
    whole = Whole(tmp_path)
    whole.store.subscriptions = [Subscription("hook")]
    yield whole
    whole.store.close()


def told(whole, uid):
    """Return what a webhook would be told of one deployment, in order."""
    rows = whole.store.outbox.line("hook", uid, limit=99)
    return [(row.notice.moment.value, row.notice.reason) for row in rows]


def test_who_waited_for_room_is_told_when_it_runs_and_who_did_not_is_not(whole):
    small, big = whole.put("small"), whole.put("big", a_spec(ram=64_000))
    whole.settle()
    assert told(whole, big) == []
    whole.pretend.nomad.machines.put_node(a_node("large", memory_mb=128_000, disk_mb=500_000))
    whole.pass_time(30)
    assert told(whole, big) == [("Started", "Running")]
    assert told(whole, small) == []
    whole.with_spec(big, title="another")
    whole.pass_time(30)
    assert len(told(whole, big)) == 1


def test_a_held_change_a_refused_job_and_the_end_of_a_lease_are_told_once(whole):
    uid = whole.put("train-a")
    whole.pass_time(30)
    whole.with_spec(uid, ram=64_000)
    whole.pass_time(120)
    assert told(whole, uid) == [("Held", "WouldNotPlace")]
    whole.with_spec(uid, ram=8_000, ttl="2h")
    for _ in range(130):
        whole.pretend.move(60)
        whole.settle()
    assert told(whole, uid) == [("Held", "WouldNotPlace"), ("ExpiresSoon", "ExpiresSoon")]
    whole._template["TaskGroups"][0]["Tasks"][0]["LogConfig"] = {
        "MaxFiles": 10,
        "MaxFileSizeMB": 100,
    }
    refused = whole.put("r", a_spec(disk=256))
    whole.pass_time(30)
    assert told(whole, refused) == [("Failed", "JobRejected")]
