"""R5: Nomad stopped and started again from its data, as in a planned outage of its servers."""

import os
import time
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import agent_with_devices
from tests.e2e.deployments import (
    allocations_of,
    events_of,
    job_of,
    jobs_of,
    put,
    running_allocation,
)
from tests.real import DevAgent, KeptAgent, wait_until

pytestmark = pytest.mark.e2e

OUTAGE_S = float(os.environ.get("AI4PAPI_OUTAGE_S", "10"))
"""How long Nomad is away; 60 is the full proof."""


@pytest.fixture(scope="module")
def agent(image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevAgent]:
    """A Nomad whose state is on disk."""
    home = tmp_path_factory.mktemp("agent")
    with agent_with_devices(KeptAgent, home, None, []) as started:
        yield started


def test_nomad_stopped_and_started_from_its_data_restarts_and_deletes_nothing(server, agent):
    uids = {name: put(server, name) for name in ("kept-1", "kept-2", "changed", "dropped")}
    for name in uids:
        server.wait_for(name, "Running")
    # Told healthy, or the rollout's end would be news after the outage.
    wait_until(
        lambda: all(is_healthy(agent, uid) for uid in uids.values()), within_s=60, what="health"
    )
    before = {name: what_runs(agent, uid) for name, uid in uids.items()}

    agent.stop()
    away_until = time.monotonic() + OUTAGE_S
    uids["new"] = put(server, "new")
    put(server, "changed", general={"title": "changed meanwhile"})
    assert server.call("DELETE", "/v1/specs/dropped")[0] == 202
    time.sleep(max(0.0, away_until - time.monotonic()))
    agent.start()

    took_s = wait_until(
        lambda: (
            server.gone("dropped")
            and server.status("new")["phase"] == "Running"
            and job_of(agent, uids["changed"])["UI"]["Description"] == "changed meanwhile"
        ),
        within_s=120,
        what="what was written meanwhile",
    )
    print(f"Nomad away for {OUTAGE_S:g} s: what was written meanwhile is so {took_s:.1f} s later")
    for name in ("kept-1", "kept-2"):
        assert what_runs(agent, uids[name]) == before[name], "restarted or written by the outage"
        server.wait_for(name, "Running")
        assert events_of(server, name, "DriftRepaired") == []
    changed, unchanged = what_runs(agent, uids["changed"]), before["changed"]
    assert changed[1:] == unchanged[1:], "a title restarted the work"
    assert set(jobs_of(agent)) == {uids[n] for n in ("kept-1", "kept-2", "changed", "new")}
    for name in ("kept-1", "kept-2", "changed", "new"):
        server.call("DELETE", f"/v1/specs/{name}")
    wait_until(lambda: all(server.gone(name) for name in uids), within_s=60, what="the end")


def is_healthy(agent: DevAgent, uid: str) -> bool:
    (allocation,) = allocations_of(agent, uid)
    return bool((allocation["DeploymentStatus"] or {}).get("Healthy"))


def what_runs(agent: DevAgent, uid: str) -> tuple[object, ...]:
    """Return the version of the job, then its allocation, since when it runs, how often anew."""
    assert len(allocations_of(agent, uid)) == 1, "there was another allocation"
    allocation = running_allocation(agent, uid)
    task = allocation["TaskStates"]["usertask"]
    version = job_of(agent, uid)["Version"]
    return version, allocation["ID"], task["StartedAt"], task["Restarts"]
