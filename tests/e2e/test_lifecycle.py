"""What an owner may do with a deployment on a real Nomad, besides changing it."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.e2e.conftest import etc_with
from tests.e2e.deployments import (
    NS,
    allocations_of,
    events_of,
    job_of,
    jobs_of,
    live_allocations,
    manifest,
    put,
    running_allocation,
)
from tests.real import wait_until

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def etc(tmp_path_factory, device_plugin):
    """A template whose broken rollouts are given up within half a minute, not an hour."""
    quick = {
        'min_healthy_time  = "10s"': 'min_healthy_time  = "1s"',
        'healthy_deadline  = "55m"': 'healthy_deadline  = "10s"',
        'progress_deadline = "1h"': 'progress_deadline = "15s"',
        "attempts = 2": "attempts = 0",
    }
    return etc_with(tmp_path_factory.mktemp("etc"), device_plugin, template=quick)


def test_suspended_it_frees_its_place_and_resumed_it_runs_again(server, agent):
    uid = put(server, "nap")
    server.wait_for("nap", "Running")
    put(server, "nap", suspend=True)
    assert server.wait_for("nap", "Suspended")["reason"] in ("Stopping", "Suspended")
    wait_until(lambda: not live_allocations(agent, uid), within_s=30, what="the end of the work")
    wait_until(lambda: server.status("nap")["reason"] == "Suspended", within_s=20)
    assert job_of(agent, uid)["Stop"] is True
    assert server.call("GET", "/v1/specs/nap")[1]["spec"]["hardware"]["ram"] == 300

    put(server, "nap", suspend=False)
    server.wait_for("nap", "Running")
    assert job_of(agent, uid)["Stop"] is False
    assert running_allocation(agent, uid)
    assert len(allocations_of(agent, uid)) == 2
    assert events_of(server, "nap", "DriftRepaired") == []
    server.call("DELETE", "/v1/specs/nap")


def test_a_higher_restart_counter_restarts_the_container_once_where_it_is(server, agent):
    uid = put(server, "again")
    server.wait_for("again", "Running")
    before, version = running_allocation(agent, uid), job_of(agent, uid)["Version"]
    put(server, "again", restart=1)
    wait_until(lambda: len(asked_restarts(agent, uid)) == 1, within_s=30, what="the restart")
    wait_until(lambda: restarted_since(agent, uid, before), within_s=30, what="a new container")

    # A server that forgot it would do it again.
    server.kill()
    server.start()
    server.wait_for("again", "Running")
    put(server, "again", restart=1, general={"title": "another title"})
    wait_until(
        lambda: job_of(agent, uid)["UI"]["Description"] == "another title",
        within_s=30,
        what="a later look",
    )
    assert [a["ID"] for a in allocations_of(agent, uid)] == [before["ID"]]
    assert len(asked_restarts(agent, uid)) == 1
    assert job_of(agent, uid)["Version"] == version + 1
    assert len(events_of(server, "again", "Restarted")) == 1
    server.call("DELETE", "/v1/specs/again")


def test_a_priority_class_moves_the_job_in_line_and_leaves_the_container_alone(server, agent):
    uid = put(server, "patient")
    server.wait_for("patient", "Running")
    before = running_allocation(agent, uid)

    def has_priority(number: int) -> bool:
        return bool(job_of(agent, uid)["Priority"] == number)

    for switch, priority in (
        ({"priorityClass": "low"}, 30),
        ({}, 50),
        ({"priorityClass": "low"}, 30),
    ):
        code, answer = server.call(
            "PUT", "/v1/specs/patient?dryRun=true", manifest("patient", **switch)
        )
        assert (code, answer["plan"]["effect"]) == (200, "in place"), answer
        put(server, "patient", **switch)
        wait_until(lambda p=priority: has_priority(p), within_s=30, what="the priority")
    by_hand = job_of(agent, uid)
    agent.call("POST", f"/v1/jobs?{NS}", {"Job": {**by_hand, "Priority": 90}})
    wait_until(lambda: has_priority(30), within_s=30, what="the repair")
    assert "Priority is 90, not 30" in str(events_of(server, "patient", "DriftRepaired"))

    after = running_allocation(agent, uid)
    assert (after["ID"], not restarted_since(agent, uid, before)) == (before["ID"], True)
    assert len(allocations_of(agent, uid)) == 1
    server.call("DELETE", "/v1/specs/patient")


def test_at_its_end_it_is_warned_of_then_stopped_and_a_later_end_brings_it_back(server, agent):
    uid = put(server, "leased", expiresAt=in_seconds(12))
    server.wait_for("leased", "Running", within_s=10)
    wait_until(lambda: server.status("leased")["reason"] == "Expired", within_s=40, what="the end")
    status = server.status("leased")
    assert status["phase"] == "Suspended"
    assert job_of(agent, uid)["Stop"] is True
    assert not live_allocations(agent, uid)
    reasons = [event["reason"] for event in events_of(server, "leased")]
    assert reasons.index("ExpiresSoon") < reasons.index("Expired")
    assert reasons.count("ExpiresSoon") == 1

    put(server, "leased", expiresAt=in_seconds(3600))
    server.wait_for("leased", "Running")
    assert running_allocation(agent, uid)
    server.call("DELETE", "/v1/specs/leased")


def test_a_deleted_deployment_comes_back_from_the_trash_as_it_was(server, agent):
    uid = put(server, "missed", general={"title": "missed"})
    server.wait_for("missed", "Running")
    server.call("DELETE", "/v1/specs/missed")
    wait_until(lambda: server.gone("missed"), within_s=60, what="its end")
    assert uid not in jobs_of(agent)
    trash = server.call("GET", "/v1/trash")[1]["items"]
    assert [item["uid"] for item in trash if item["name"] == "missed"] == [uid]

    code, back = server.call("POST", "/v1/specs/missed/undelete")
    assert code == 200, back
    assert back["metadata"]["uid"] == uid
    assert back["spec"]["general"]["title"] == "missed"
    server.wait_for("missed", "Running")
    assert running_allocation(agent, uid)
    assert job_of(agent, uid)["UI"]["Description"] == "missed"
    server.call("DELETE", "/v1/specs/missed")


def test_a_version_that_fails_gives_way_to_the_last_good_one_which_stays_pinned(server, agent):
    safe = {"rollbackOnFailure": True}
    uid = put(server, "pinned", update=safe)
    server.wait_for("pinned", "Running")
    wait_until(
        lambda: server.status("pinned")["readyGeneration"] == 1, within_s=60, what="a good one"
    )
    broken = {"docker_image": "deephdc/no-such-image", "docker_tag": "broken"}
    put(server, "pinned", update=safe, general=broken)
    wait_until(
        lambda: server.status("pinned").get("pinnedGeneration") == 1,
        within_s=120,
        what="the rollback",
    )
    server.wait_for("pinned", "Running", within_s=90)
    image = job_of(agent, uid)["TaskGroups"][0]["Tasks"][0]["Config"]["image"]
    assert image == "deephdc/deep-oc-image-classification-tf:cpu"
    assert server.call("GET", "/v1/specs/pinned")[1]["spec"]["general"]["docker_tag"] == "broken"
    failed = [e for e in events_of(server, "pinned") if e["type"] == "Warning"]
    assert failed, "nobody was told"

    # A newer wish lifts the pin.
    put(server, "pinned", update=safe, general={"title": "repaired"})
    wait_until(
        lambda: (
            server.status("pinned").get("pinnedGeneration") is None
            and job_of(agent, uid)["UI"]["Description"] == "repaired"
        ),
        within_s=60,
        what="the newer wish",
    )
    server.wait_for("pinned", "Running")
    server.call("DELETE", "/v1/specs/pinned")


def in_seconds(seconds: int) -> str:
    return f"{datetime.now(UTC) + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}"


def asked_restarts(agent, uid: str) -> list:
    """Return the requests to restart that the newest allocation's task was sent."""
    events = allocations_of(agent, uid)[-1]["TaskStates"]["usertask"]["Events"]
    return [event for event in events if event["Type"] == "Restart Signaled"]


def restarted_since(agent, uid: str, before) -> bool:
    """Whether the newest allocation runs in another container than `before`."""
    allocation = allocations_of(agent, uid)[-1]
    task, was = (a["TaskStates"]["usertask"] for a in (allocation, before))
    return allocation["ClientStatus"] == "running" and task["StartedAt"] > was["StartedAt"]
