"""Our server on a Nomad with ACLs, with no more rights than `etc/nomad-policy.hcl` gives."""

import os
from pathlib import Path

import pytest

from tests.e2e.conftest import agent_with_devices
from tests.e2e.deployments import job_of, jobs_of, live_allocations, put, running_allocation
from tests.e2e.server import Server
from tests.real import GuardedAgent, wait_until

pytestmark = pytest.mark.e2e

ORPHAN = "0a7f4a52-7d0c-4f5e-9a0c-0d9a4f2f7f11"
POLICY = (Path(__file__).parents[2] / "etc/nomad-policy.hcl").read_text()


@pytest.fixture(scope="module")
def agent(image, tmp_path_factory):
    home = tmp_path_factory.mktemp("agent")
    with agent_with_devices(GuardedAgent, home, None, []) as started:
        yield started


@pytest.fixture(scope="module")
def made(agent):
    """Our token as Nomad made it."""
    return agent.token_for(POLICY)


@pytest.fixture(scope="module")
def server(agent, etc, made, tmp_path_factory):
    environ = {
        **os.environ,
        "NOMAD_ADDR": agent.address,
        "NOMAD_TOKEN": made["SecretID"],
        "AI4PAPI_ETC": str(etc),
        "AI4PAPI_RESYNC_S": "2",
    }
    with Server(tmp_path_factory.mktemp("server"), environ) as started:
        yield started


def test_a_whole_life_under_the_shipped_policy(server, agent):
    """C52: create, change, restart, suspend, resume, delete, with a password on the way."""
    lab = {"service": "jupyterlab", "jupyter_password": "a-long-password"}
    uid = put(server, "life", general=lab)
    server.wait_for("life", "Running")
    put(server, "life", general={**lab, "title": "renamed"})
    wait_until(lambda: job_of(agent, uid)["UI"]["Description"] == "renamed", within_s=30)
    put(server, "life", general=lab, restart=1)
    wait_until(lambda: restarts_of(agent, uid) == 1, within_s=30, what="the restart")
    put(server, "life", general=lab, suspend=True)
    server.wait_for("life", "Suspended")
    put(server, "life", general=lab, suspend=False)
    server.wait_for("life", "Running")
    job = job_of(agent, uid)
    orphan = {**job, "ID": ORPHAN, "Meta": {**job["Meta"], "ai4papi_uid": ORPHAN}}
    agent.call("POST", "/v1/jobs", {"Job": orphan})
    wait_until(lambda: orphans_of(server) == [ORPHAN], within_s=30, what="the orphan's report")
    agent.call("DELETE", f"/v1/job/{ORPHAN}?namespace=ai4eosc&purge=true")
    server.call("DELETE", "/v1/specs/life")
    wait_until(lambda: server.gone("life"), within_s=60, what="its end")
    assert uid not in jobs_of(agent)
    assert b"forbid" not in log_of(server)


def test_a_token_that_is_taken_away_deletes_nothing_and_is_told(server, agent, made):
    """C52: refused, loud, in words; nothing is stopped, and a new token takes up where it was."""
    uid = put(server, "kept")
    server.wait_for("kept", "Running")
    before = running_allocation(agent, uid)["ID"]
    agent.call("DELETE", f"/v1/acl/token/{made['AccessorID']}")
    put(server, "kept", general={"title": "not yet"})
    what = "the refusal in the status"
    wait_until(lambda: synced(server, "kept") == "ClusterForbidden", within_s=60, what=what)
    server.call("DELETE", "/v1/specs/kept")
    wait_until(lambda: b"cluster forbids" in log_of(server), within_s=30, what="a loud log")
    assert not server.gone("kept")
    assert [a["ID"] for a in live_allocations(agent, uid)] == [before]
    assert made["SecretID"].encode() not in log_of(server)

    server.stop()
    server.environ["NOMAD_TOKEN"] = agent.token_for(POLICY)["SecretID"]
    server.start()
    wait_until(lambda: server.gone("kept"), within_s=60, what="the end that was asked for")
    assert uid not in jobs_of(agent)


def restarts_of(agent: GuardedAgent, uid: str) -> int:
    states = running_allocation(agent, uid)["TaskStates"]["usertask"]
    return sum(event["Type"] == "Restart Signaled" for event in states["Events"])


def orphans_of(server: Server) -> list[str]:
    code, found = server.call("GET", "/v1/orphans")
    return [item["jobID"] for item in found["items"]] if code == 200 else []


def synced(server: Server, name: str) -> str:
    conditions = server.status(name)["conditions"]
    return str(next(c["reason"] for c in conditions if c["type"] == "Synced"))


def log_of(server: Server) -> bytes:
    return (server.home / "server.log").read_bytes()
