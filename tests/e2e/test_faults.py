"""What an operator fears: Nomad away or out of room, a job that Nomad refuses, a secret told."""

import json

import pytest

from tests.e2e.deployments import NS, job_of, jobs_of, live_allocations, put
from tests.real import wait_until

pytestmark = pytest.mark.e2e


def test_a_queued_deployment_says_why_with_numbers(server):
    put(server, "large", hardware={"ram": 999_999})
    # The agent offers 4,000,000 MB: four times a quarter fit, the fifth does not.
    for number in range(4):
        put(server, f"large-{number}", hardware={"ram": 999_999})
    wait_until(
        lambda: any(
            server.status(name)["phase"] == "Queued"
            for name in ("large", *(f"large-{n}" for n in range(4)))
        ),
        within_s=30,
        what="one queued deployment",
    )
    queued = next(
        s
        for name in ("large", *(f"large-{n}" for n in range(4)))
        if (s := server.status(name))["phase"] == "Queued"
    )
    assert queued["reason"] == "ResourcesTaken"
    assert "999999 MB of memory" in queued["message"]
    for name in ("large", *(f"large-{n}" for n in range(4))):
        server.call("DELETE", f"/v1/specs/{name}")


def test_a_job_that_nomad_refuses_is_stalled_in_its_words_and_not_tried_again(server, agent, etc):
    # The smallest disk that a user may ask for, less than the logs of a careless template.
    template = etc / "job.nomad"
    shipped = template.read_text()
    template.write_text(shipped.replace("max_file_size = 10", "max_file_size = 1000"))
    server.stop()
    server.start()
    try:
        uid = put(server, "refused")
        status = server.wait_for("refused", "Failed")
        stalled = next(c for c in status["conditions"] if c["type"] == "Stalled")
        assert stalled["status"] == "True"
        assert "log storage" in stalled["message"]
        assert "log storage" in status["message"]
        assert all(job["ID"] != uid for job in agent.call("GET", f"/v1/jobs?{NS}"))
        server.call("POST", "/v1/specs/refused/reconcile")
        assert server.status("refused")["phase"] == "Failed"
    finally:
        template.write_text(shipped)
        server.stop()
        server.start()
    put(server, "refused", hardware={"disk": 5000})
    server.wait_for("refused", "Running")
    server.call("DELETE", "/v1/specs/refused")


def test_while_nomad_is_away_specs_are_taken_and_run_when_it_is_back(server, agent):
    put(server, "before")
    server.wait_for("before", "Running")
    agent.stop()
    put(server, "during")

    def synced(name: str) -> str:
        conditions = server.status(name)["conditions"]
        return next((c["reason"] for c in conditions if c["type"] == "Synced"), "")

    def all_say(reason: str) -> bool:
        return all(synced(name) == reason for name in ("before", "during"))

    took_s = wait_until(
        lambda: all_say("ClusterUnavailable"), within_s=20, what="the outage in every status"
    )
    print(f"outage told after {took_s:.1f} s")
    assert server.call("GET", "/v1/deployments")[0] == 200
    assert server.call("GET", "/livez")[0] == 200
    assert server.call("GET", "/readyz")[0] == 503

    agent.start()
    took_s = wait_until(
        lambda: all(server.status(n)["phase"] == "Running" for n in ("before", "during")),
        within_s=120,
        what="both running",
    )
    print(f"both run {took_s:.1f} s after Nomad answers again")
    wait_until(lambda: all_say("Synced"), within_s=20, what="no outage in any status")
    for name in ("before", "during"):
        assert (
            len(
                live_allocations(
                    agent, server.call("GET", f"/v1/specs/{name}")[1]["metadata"]["uid"]
                )
            )
            == 1
        )
        server.call("DELETE", f"/v1/specs/{name}")


def test_no_password_is_in_any_output_or_log(server):
    marker = "s3cr3t-marker-0123456789"
    put(server, "hidden", general={"service": "jupyterlab", "jupyter_password": marker})
    server.wait_for("hidden", "Running")
    seen = [
        json.dumps(server.call("GET", path)[1])
        for path in ("/v1/specs", "/v1/specs/hidden", "/v1/specs/hidden/status", "/v1/deployments")
    ]
    seen.append((server.home / "server.log").read_text())
    seen.append(server.cli("get", "hidden", "-o", "yaml").stdout)
    assert not any(marker in text for text in seen)
    server.call("DELETE", "/v1/specs/hidden")


@pytest.mark.parametrize("signals", [1, 2])
def test_r26_a_stop_with_work_in_flight_ends_soon_with_code_0_and_loses_nothing(
    server, agent, signals
):
    """R26: SIGTERM in the middle of it, once and twice; the next start goes on where it ended."""
    names = [f"stop-{signals}-{number}" for number in range(30)]
    uids = {put(server, name, hardware={"gpu_num": 8}) for name in names}
    process = server.process
    for _ in range(signals):
        process.terminate()
    assert process.wait(timeout=20) == 0
    server.start()
    wait_until(lambda: uids <= set(jobs_of(agent)), within_s=30, what="every spec a job")
    assert {job_of(agent, uid)["Version"] for uid in uids} == {0}
    for name in names:
        server.call("DELETE", f"/v1/specs/{name}")
    wait_until(lambda: not uids & set(jobs_of(agent)), within_s=60, what="every job gone")
