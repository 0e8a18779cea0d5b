"""R22: jobs with our marker and no record are told, and stopped only by the operator's word."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import etc_with
from tests.e2e.deployments import NS, Json, job_of, jobs_of, put
from tests.e2e.server import Server
from tests.real import DevAgent, wait_until

pytestmark = pytest.mark.e2e

ORPHAN = "0fa20000-0000-4000-8000-000000000000"
STRANGER = "somebody-elses"
RESYNC_S = "1"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the store is; every server of this module opens the same."""
    return tmp_path_factory.mktemp("server")


@pytest.fixture
def server_of(agent, device_plugin, home, tmp_path_factory) -> Iterator[object]:
    """Start a server with the given policy on that store, one at a time."""
    started: list[Server] = []

    def start(policy: str) -> Server:
        end_all()
        etc = etc_with(
            tmp_path_factory.mktemp("etc"),
            device_plugin,
            main_conf={"orphans: report": f"orphans: {policy}"},
        )
        environ = {**os.environ, "NOMAD_ADDR": agent.address, "AI4PAPI_ETC": str(etc)}
        server = Server(home, {**environ, "AI4PAPI_RESYNC_S": RESYNC_S})
        server.start()
        started.append(server)
        return server

    def end_all() -> None:
        while started:
            started.pop().stop()

    yield start
    end_all()


def test_an_orphan_is_reported_and_stopped_only_where_the_operator_says_so(server_of, agent):
    server = server_of("report")
    uid = put(server, "declared")
    server.wait_for("declared", "Running")
    # Our own job without its record, as an older copy of the store would leave it; and another's.
    register(agent, ORPHAN, {**job_of(agent, uid)["Meta"], "ai4papi_uid": ORPHAN})
    register(agent, STRANGER, {"owner": "somebody", "managed_by": "somebody-else"})
    stranger, orphan = job_of(agent, STRANGER), job_of(agent, ORPHAN)

    wait_until(lambda: reported(server) == [ORPHAN], within_s=20, what="the report")
    wait_until(lambda: logged(server, "orphan job"), within_s=20, what="the operator's log")
    assert job_of(agent, ORPHAN) == orphan

    server = server_of("stop")
    wait_until(lambda: job_of(agent, ORPHAN)["Stop"], within_s=30, what="the orphan's stop")
    server.wait_for("declared", "Running")
    assert job_of(agent, STRANGER) == stranger, "a foreign job was touched"
    assert not job_of(agent, uid)["Stop"]
    assert ORPHAN in jobs_of(agent), "an orphan's job and history are its operator's to purge"
    server.call("DELETE", "/v1/specs/declared")
    wait_until(lambda: server.gone("declared"), within_s=60)
    for job_id in (ORPHAN, STRANGER):
        agent.call("DELETE", f"/v1/job/{job_id}?{NS}&purge=true")


def register(agent: DevAgent, job_id: str, meta: Json) -> None:
    """Register a job by hand that starts nothing, so that nothing about it moves by itself."""
    task = {"Name": "t", "Driver": "raw_exec", "Config": {"command": "/bin/true"}}
    groups = [{"Name": "g", "Count": 0, "Tasks": [task]}]
    job = {"ID": job_id, "Type": "service", "Namespace": "ai4eosc", "Datacenters": ["*"]}
    agent.call("POST", f"/v1/jobs?{NS}", {"Job": {**job, "Meta": meta, "TaskGroups": groups}})
    wait_until(lambda: job_of(agent, job_id)["Status"] == "dead", within_s=10)


def reported(server: Server) -> list[str]:
    code, answer = server.call("GET", "/v1/orphans")
    assert code == 200, answer
    return [item["jobID"] for item in answer["items"]]


def logged(server: Server, message: str) -> bool:
    return message in (server.home / "server.log").read_text()
