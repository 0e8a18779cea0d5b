"""Jobs of the platform before this one are taken over on a real Nomad while they run.

What is measured is what their users have: the containers that were started, and since when.
"""

import json
import os
import time
from typing import Any

import pytest

from tests.e2e.conftest import etc_with
from tests.e2e.deployments import (
    NS,
    Json,
    condition,
    job_of,
    jobs_of,
    live_allocations,
    runs_alone,
)
from tests.e2e.server import Server
from tests.papi import MAIL, PASSWORD, RCLONE, a_new_job, an_old_job
from tests.real import DevAgent, wait_until

pytestmark = pytest.mark.e2e

OLD, NEW = range(1, 7), range(7, 13)
ODD = "module-of/somebody"
STRANGER = "traefik"
PATCH = "application/merge-patch+json"


@pytest.fixture(scope="module")
def etc(tmp_path_factory, device_plugin):
    quick = {'min_healthy_time  = "10s"': 'min_healthy_time  = "1s"'}
    return etc_with(tmp_path_factory.mktemp("etc"), device_plugin, template=quick)


@pytest.fixture(scope="module")
def server(agent, etc, tmp_path_factory):
    """A server whose resync and audit come every few seconds."""
    often = {"AI4PAPI_RESYNC_S": "2", "AI4PAPI_AUDIT_S": "6"}
    environ = {**os.environ, **often, "NOMAD_ADDR": agent.address, "AI4PAPI_ETC": str(etc)}
    with Server(tmp_path_factory.mktemp("server"), environ) as started:
        yield started


@pytest.fixture(scope="module")
def theirs(agent) -> list[str]:
    """Twelve jobs in both shapes that run and whose rollouts are over, and two that stay theirs."""
    jobs = [an_old_job(n, owner="local") for n in OLD] + [a_new_job(n, owner="local") for n in NEW]
    for job in (*jobs, a_new_job(20, owner="local", ID=ODD), a_new_job(21, ID=STRANGER, Name="x")):
        agent.call("POST", f"/v1/jobs?{NS}", {"Job": small(job)})
    uids = [job["ID"] for job in jobs]
    for uid in (*uids, STRANGER):
        wait_until(lambda uid=uid: at_rest(agent, uid), within_s=180, what=f"{uid} at rest")
    return uids


@pytest.fixture(scope="module")
def before(agent, theirs) -> Json:
    return {uid: footprint(agent, uid) for uid in (*theirs, STRANGER)}


@pytest.fixture(scope="module")
def evaluated(agent, before) -> int:
    return newest_evaluation(agent)


@pytest.fixture(scope="module")
def adopted(server, agent, theirs, before, evaluated) -> list[str]:
    """The twelve, taken over on the command line beside the running server."""
    shown = server.cli("adopt", "--dry-run", "-o", "json")
    items = {one["id"]: one for one in json.loads(shown.stdout)["items"]}
    assert (shown.returncode, set(items)) == (7, {*theirs, ODD}), shown.stderr
    assert "its id" in items[ODD]["whyNot"]
    assert not any(items[uid]["whyNot"] or items[uid]["adopted"] for uid in theirs)
    unasked = server.cli("adopt", text="")
    assert (unasked.returncode, "nobody to ask" in unasked.stderr) == (2, True)
    began = time.monotonic()
    run = server.cli("adopt", "-y", *theirs)
    took_s = time.monotonic() - began
    assert run.returncode == 0, run.stderr
    for told in (shown.stdout, unasked.stdout, run.stdout, run.stderr):
        assert [word for word in (PASSWORD, RCLONE, MAIL) if word in told] == []
    running_s = [time.monotonic() for uid in theirs if server.wait_for(uid, "Running")][-1] - began
    print(f"12 jobs taken over in {took_s:.1f} s, all told as Running after {running_s:.1f} s")
    return theirs


def test_nothing_restarts_and_nothing_is_evaluated(server, agent, adopted, before, evaluated):
    unmoved(agent, adopted, before)
    time.sleep(10)  # some resyncs and an audit
    server.stop()
    server.start()
    for uid in adopted:
        assert condition(server.wait_for(uid, "Running"), "Synced")["status"] == "True"
    time.sleep(8)
    unmoved(agent, adopted, before)
    assert newest_evaluation(agent) == evaluated
    assert server.cli("adopt", "--dry-run", "--owner", "nobody").returncode == 0
    log = (server.home / "server.log").read_text()
    store = (server.home / "ai4papi.db").read_bytes() + log.encode()
    assert [word for word in (PASSWORD, RCLONE, MAIL) if word.encode() in store] == []


def test_a_title_restarts_nothing(server, agent, adopted, before, evaluated):
    uid = adopted[0]
    patch(server, uid, {"general": {"title": "another"}})
    wait_until(lambda: server.status(uid)["observedGeneration"] == 2, within_s=10)
    unmoved(agent, [uid], before)
    assert newest_evaluation(agent) == evaluated


def test_a_real_change_says_so_before_and_writes_our_own_job(server, agent, adopted, before):
    uid = adopted[-1]
    _, asked = patch(server, uid, {"hardware": {"ram": 270}}, dry_run=True)
    assert "restarts" in json.dumps(asked)
    unmoved(agent, [uid], before)
    patch(server, uid, {"hardware": {"ram": 270}})
    wait_until(lambda: "managed_by" in job_of(agent, uid)["Meta"], within_s=30, what="our job")

    def replaced() -> bool:
        # For a moment the old one runs alone, then both are there.
        live = live_allocations(agent, uid)
        return len(live) == 1 and live[0]["ID"] not in str(before[uid])

    wait_until(replaced, within_s=60, what="one allocation, and another one")
    server.wait_for(uid, "Running")
    task = job_of(agent, uid)["TaskGroups"][0]["Tasks"][0]
    assert (task["Resources"]["MemoryMB"], task["Env"].get("jupyterPASSWORD")) == (270, None)


def test_suspend_and_resume(server, agent, adopted):
    uid = adopted[1]
    patch(server, uid, {"suspend": True})
    wait_until(lambda: not live_allocations(agent, uid), within_s=60, what="the end of the work")
    patch(server, uid, {"suspend": False})
    wait_until(lambda: runs_alone(agent, uid), within_s=60, what="the work again")
    assert job_of(agent, uid)["Meta"]["managed_by"] == "ai4papi"


def test_what_is_stopped_by_hand_comes_back_as_ours(server, agent, adopted):
    uid = adopted[2]
    agent.call("DELETE", f"/v1/job/{uid}?{NS}&purge=true")
    wait_until(lambda: uid in jobs_of(agent) and runs_alone(agent, uid), within_s=60)
    assert job_of(agent, uid)["Meta"]["ai4papi_uid"] == uid


def test_a_deletion_ends_it(server, agent, adopted):
    uid = adopted[3]
    server.call("DELETE", f"/v1/specs/{uid}")
    wait_until(lambda: uid not in jobs_of(agent) and server.gone(uid), within_s=60, what="its end")


def test_all_others_and_strangers_are_as_they_were(agent, adopted, before):
    unmoved(agent, [*adopted[4:-1], adopted[0], STRANGER], before)
    assert "managed_by" not in agent.call("GET", f"/v1/job/module-of%2Fsomebody?{NS}")["Meta"]


def small(job: Json) -> Json:
    """Return the job so small that a dozen of them fit on one machine."""
    for task in job["TaskGroups"][0]["Tasks"]:
        task["Resources"] = {"CPU": 20, "MemoryMB": 32}
    job["TaskGroups"][0]["Update"] = {"MinHealthyTime": 10**9}
    return job


def patch(server: Server, uid: str, spec: Json, *, dry_run: bool = False) -> tuple[int, Any]:
    query = "?dryRun=true" if dry_run else ""
    code, answer = server.call(
        "PATCH", f"/v1/specs/{uid}{query}", {"spec": spec}, content_type=PATCH
    )
    assert code == 200, answer
    return code, answer


def at_rest(agent: DevAgent, uid: str) -> bool:
    rollout = agent.call("GET", f"/v1/job/{uid}/deployment?{NS}")
    return runs_alone(agent, uid) and rollout is not None and rollout["Status"] == "successful"


def footprint(agent: DevAgent, uid: str) -> Any:
    """Return what must not move: the job's definition, its allocations, when its tasks started."""
    job = job_of(agent, uid)
    definition = {k: v for k, v in job.items() if k not in ("Status", "Stable", "ModifyIndex")}
    started = {
        a["ID"]: {name: (s["StartedAt"], s["Restarts"]) for name, s in a["TaskStates"].items()}
        for a in live_allocations(agent, uid)
    }
    return definition, started


def unmoved(agent: DevAgent, uids: list[str], before: Json) -> None:
    for uid in uids:
        assert footprint(agent, uid) == before[uid]


def newest_evaluation(agent: DevAgent) -> int:
    evaluations = agent.call("GET", f"/v1/evaluations?{NS}")
    return max(int(evaluation["ModifyIndex"]) for evaluation in evaluations)
