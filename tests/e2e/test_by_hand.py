"""R21: somebody changes our jobs with Nomad's own means: told, and set right in seconds."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.e2e.conftest import etc_with
from tests.e2e.deployments import (
    NS,
    Json,
    condition,
    events_of,
    job_of,
    jobs_of,
    live_allocations,
    put,
    runs_alone,
)
from tests.e2e.stream import BareStream
from tests.real import DevAgent, wait_until

pytestmark = pytest.mark.e2e

ROUNDS = 5


def stop(agent: DevAgent, job: Json) -> None:
    agent.call("DELETE", f"/v1/job/{job['ID']}?{NS}")


def purge(agent: DevAgent, job: Json) -> None:
    agent.call("DELETE", f"/v1/job/{job['ID']}?{NS}&purge=true")


def scale(agent: DevAgent, job: Json) -> None:
    body = {"Count": 2, "Target": {"Group": "usergroup"}}
    agent.call("POST", f"/v1/job/{job['ID']}/scale?{NS}", body)


def run_edited(agent: DevAgent, job: Json) -> None:
    edited = job_of(agent, job["ID"])
    edited["TaskGroups"][0]["Tasks"][0]["Resources"]["MemoryMB"] = 310
    agent.call("POST", f"/v1/jobs?{NS}", {"Job": edited})


def revert(agent: DevAgent, job: Json) -> None:
    body = {"JobID": job["ID"], "JobVersion": 0}
    agent.call("POST", f"/v1/job/{job['ID']}/revert?{NS}", body)


@dataclass(frozen=True)
class Hand:
    """Something done by hand, and the word by which we tell what it changed."""

    name: str
    act: Callable[[DevAgent, Json], None]
    told: str


HANDS = (
    Hand("stop", stop, "stopped"),
    Hand("scale", scale, "Count"),
    Hand("run of an edited job", run_edited, "MemoryMB"),
    Hand("revert", revert, "Description"),
    Hand("purge", purge, "gone"),
)


@pytest.fixture(scope="module")
def etc(tmp_path_factory, device_plugin):
    """A template whose rollouts end soon: Nomad refuses to scale while one is under way."""
    quick = {'min_healthy_time  = "10s"': 'min_healthy_time  = "1s"'}
    return etc_with(tmp_path_factory.mktemp("etc"), device_plugin, template=quick)


@pytest.mark.parametrize("hand", HANDS, ids=lambda hand: hand.name)
def test_a_job_changed_by_hand_is_set_right_in_seconds_and_it_is_told(server, agent, hand):
    names = [f"{hand.name.split()[0]}-{number}" for number in range(ROUNDS)]
    uids = {name: twice_declared(server, agent, name) for name in names}
    repaired_s, told_s = [], []
    with BareStream(agent, "Job") as stream:
        for uid in uids.values():
            before = job_of(agent, uid)
            began = time.monotonic()
            hand.act(agent, before)
            acted = time.monotonic()
            wait_until(
                lambda before=before: set_right(agent, before),
                within_s=30,
                every_s=0.01,
                what=f"the repair after a {hand.name}",
            )
            repaired_s.append(time.monotonic() - acted)
            told_s.append(arrival_s(stream, uid, began) - acted)
    for name, uid in uids.items():
        wait_until(lambda uid=uid: runs_alone(agent, uid), within_s=60, what="one allocation")
        status = server.wait_for(name, "Running")
        drifted = condition(status, "Drifted")
        assert (drifted["status"], drifted["reason"]) == ("False", "Repaired")
        assert hand.told in drifted["message"]
        (repair,) = events_of(server, name, "DriftRepaired")
        assert hand.told in repair["message"]
        server.call("DELETE", f"/v1/specs/{name}")
    print(
        f"{hand.name} by hand: registered again as declared {statistics.median(repaired_s):.3f} s"
        f" (max {max(repaired_s):.3f}) after the call returned; the bare stream told of it after"
        f" {statistics.median(told_s):.3f} s (max {max(told_s):.3f}); N={ROUNDS}"
    )


def test_whoever_undoes_every_repair_is_named_and_the_repairs_slow_down(server, agent):
    uid = put(server, "fought", general={"title": "fought"})
    server.wait_for("fought", "Running")
    undone = 0

    def undo() -> None:
        nonlocal undone
        if not job_of(agent, uid)["Stop"]:
            stop(agent, {"ID": uid})
            undone += 1

    def given_up() -> bool:
        undo()
        return bool(condition(server.status("fought"), "Drifted")["reason"] == fighting)

    fighting = "FightingWithAnother"
    wait_until(lambda: bool(undo() or condition(server.status("fought"), "Drifted")), within_s=30)
    took_s = wait_until(given_up, within_s=30, what=fighting)
    quiet_until = time.monotonic() + 8
    while time.monotonic() < quiet_until:
        undo()
        time.sleep(0.05)
    repairs = len(events_of(server, "fought", "DriftRepaired"))
    print(f"fight: told {took_s:.1f} s after it began; {repairs} repairs, undone {undone} times")
    assert repairs <= 5
    assert undone <= repairs + 1
    wait_until(lambda: server.status("fought")["reason"] == fighting, within_s=10, what=fighting)
    assert server.status("fought")["phase"] in ("Degraded", "Held")
    assert events_of(server, "fought", fighting)
    # Left alone, it is set right all the same.
    server.wait_for("fought", "Running", within_s=90)
    server.call("DELETE", "/v1/specs/fought")


def twice_declared(server, agent, name: str) -> str:
    """Declare a deployment, then another title; return its uid when no rollout is under way."""
    put(server, name, general={"title": "first"})
    server.wait_for(name, "Running")
    uid = put(server, name, general={"title": "second"})
    wait_until(
        lambda: job_of(agent, uid)["UI"]["Description"] == "second", within_s=30, what="the title"
    )
    wait_until(lambda: at_rest(agent, uid), within_s=60, what="the end of the rollout")
    server.wait_for(name, "Running")
    return uid


def at_rest(agent: DevAgent, uid: str) -> bool:
    rollout = agent.call("GET", f"/v1/job/{uid}/deployment?{NS}")
    live = live_allocations(agent, uid)
    return len(live) == 1 and (rollout is None or rollout["Status"] == "successful")


def set_right(agent: DevAgent, before: Json) -> bool:
    """Whether the job is there as it was `before`, written anew since."""
    uid = before["ID"]
    if uid not in jobs_of(agent):
        return False
    now = job_of(agent, uid)
    return now["JobModifyIndex"] > before["JobModifyIndex"] and declared(now) == declared(before)


def declared(job: Json) -> tuple[object, ...]:
    group = job["TaskGroups"][0]
    memory_mb = group["Tasks"][0]["Resources"]["MemoryMB"]
    return bool(job["Stop"]), job["UI"]["Description"], group["Count"], memory_mb


def arrival_s(stream: BareStream, uid: str, began_s: float) -> float:
    """Return when the first event on the job arrived after `began_s`; it may still be to come."""

    def arrived() -> float | None:
        return stream.first_after(began_s, lambda event: event["Key"] == uid)

    wait_until(lambda: arrived() is not None, within_s=10, what="the event")
    return arrived() or 0.0
