"""Quotas on a real Nomad: what waits starts nothing there, and starts when nothing else runs."""

import subprocess

import pytest

from tests.e2e.conftest import etc_with
from tests.e2e.deployments import jobs_of, live_allocations, put, running_allocation
from tests.real import wait_until

pytestmark = pytest.mark.e2e

PASSWORD = "sentinel-horse-battery"


@pytest.fixture(scope="module")
def etc(tmp_path_factory, device_plugin):
    return etc_with(
        tmp_path_factory.mktemp("etc"),
        device_plugin,
        main_conf={"  user: {}\n": "  user: {cpu_num: 1}\n"},
    )


def test_p6_the_next_in_line_starts_when_nothing_of_the_first_runs(server, agent):
    first = put(server, "first")
    server.wait_for("first", "Running")
    second = put(server, "second")
    status = server.wait_for("second", "Queued")
    assert status["reason"] == "QuotaExceeded"
    assert "you use 1 of 1 CPUs" in status["message"]
    assert second not in jobs_of(agent)

    put(server, "first", suspend=True)
    server.wait_for("second", "Running")
    assert not live_allocations(agent, first)
    assert running_allocation(agent, second)

    put(server, "first", suspend=False)
    assert server.wait_for("first", "Queued")["reason"] == "QuotaExceeded"
    server.call("DELETE", "/v1/specs/second")
    server.wait_for("first", "Running")
    assert not live_allocations(agent, second)
    server.call("DELETE", "/v1/specs/first")


def test_p9_a_password_reaches_the_container_and_nothing_else(server, agent):
    lab = {"service": "jupyterlab", "jupyter_password": PASSWORD}
    uid = put(server, "secret", general=lab)
    server.wait_for("secret", "Running")
    allocation = running_allocation(agent, uid)["ID"]
    read = subprocess.run(
        ["nomad", "alloc", "exec", "-address", agent.address, "-namespace", "ai4eosc",
         "-task", "usertask", allocation, "/bin/busybox", "cat", "/www/password"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert read.stdout == PASSWORD
    kept = [path.read_bytes() for path in server.home.iterdir() if path.is_file()]
    assert len(kept) >= 3
    assert not any(PASSWORD.encode() in content for content in kept)
    assert PASSWORD not in str(agent.call("GET", f"/v1/job/{uid}?namespace=ai4eosc"))
    for path in ("", "/status", "/events", "/history", "/plan"):
        assert PASSWORD not in str(server.call("GET", f"/v1/specs/secret{path}"))
    wait_until(lambda: server.call("DELETE", "/v1/specs/secret")[0] == 202, within_s=5)
