"""R23: a GPU more than there is, held or in line, through a drain, until one appears.

The GPUs are files that Nomad's example device plugin offers as devices.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import agent_with_devices
from tests.e2e.deployments import (
    Json,
    allocations_of,
    condition,
    job_of,
    live_allocations,
    put,
    running_allocation,
    runs_alone,
)
from tests.e2e.stream import BareStream
from tests.real import DevAgent, wait_until

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def devices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of the agent; the files in its folder `devices` are its GPUs."""
    return tmp_path_factory.mktemp("agent")


@pytest.fixture(scope="module")
def agent(image, device_plugin: Path | None, devices: Path) -> Iterator[DevAgent]:
    """A Nomad with one device."""
    if device_plugin is None:
        pytest.skip("no example device plugin beside `nomad`: set AI4PAPI_TEST_DEVICE_PLUGIN")
    with agent_with_devices(DevAgent, devices, device_plugin, ["gpu-1"]) as started:
        yield started


@pytest.fixture
def second_gpu(agent, devices: Path) -> Iterator[Path]:
    """A file that does not exist yet: made, it is a second GPU, until the test is over."""
    file = devices / "devices" / "gpu-2"
    wait_until(lambda: gpus_of(agent) == 1, within_s=30, what="one GPU")
    yield file
    file.unlink(missing_ok=True)
    wait_until(lambda: gpus_of(agent) == 1, within_s=60, what="one GPU again")


def test_a_second_gpu_is_held_survives_a_drain_in_the_old_version_and_comes_when_it_fits(
    server, agent, second_gpu
):
    uid = put(server, "held", hardware={"gpu_num": 1})
    server.wait_for("held", "Running")
    first = running_allocation(agent, uid)

    put(server, "held", hardware={"gpu_num": 2})
    status = server.wait_for("held", "Held")
    assert status["reason"] == "WouldNotPlace"
    assert "2" in status["message"]
    assert "GPU" in status["message"]
    held = condition(status, "Held")
    assert (held["status"], held["reason"]) == ("True", "WouldNotPlace")
    assert running_allocation(agent, uid)["ID"] == first["ID"]
    assert asked_gpus(job_of(agent, uid)) == 1, "Nomad was told of the version that does not fit"

    drain(agent)
    wait_until(lambda: not live_allocations(agent, uid), within_s=60, what="the drain")
    end_drain(agent)
    wait_until(lambda: runs_alone(agent, uid), within_s=60, what="the work after the drain")
    back = running_allocation(agent, uid)
    assert back["ID"] != first["ID"]
    assert back["JobVersion"] == first["JobVersion"]
    assert asked_gpus(job_of(agent, uid)) == 1
    assert server.wait_for("held", "Held")["reason"] == "WouldNotPlace"

    with BareStream(agent, "Node") as nodes:
        began = time.monotonic()
        second_gpu.touch()
        wait_until(lambda: runs_with(agent, uid, 2), within_s=60, what="the version with two GPUs")
        ended = time.monotonic()
        told = nodes.first_after(began, lambda event: gpus_in(event["Payload"]["Node"]) == 2)
    assert told is not None
    print(f"a GPU appeared: the new version runs {ended - told:.1f} s after Nomad's own event")
    assert ended - told < 20
    status = server.wait_for("held", "Running")
    assert condition(status, "Held")["status"] == "False"
    server.call("DELETE", "/v1/specs/held")
    wait_until(lambda: server.gone("held"), within_s=60)


def test_in_the_queue_the_old_version_goes_on_and_after_its_end_nothing_comes_until_it_fits(
    server, agent, second_gpu
):
    queue = {"policy": "queue"}
    uid = put(server, "queued", hardware={"gpu_num": 1}, update=queue)
    server.wait_for("queued", "Running")
    first = running_allocation(agent, uid)

    put(server, "queued", hardware={"gpu_num": 2}, update=queue)
    wait_until(lambda: asked_gpus(job_of(agent, uid)) == 2, within_s=30, what="a place in line")
    wait_until(
        lambda: "2 GPUs" in server.status("queued")["message"], within_s=30, what="why it waits"
    )
    status = server.status("queued")
    assert status["phase"] == "Running"
    assert condition(status, "Ready")["status"] == "False"
    assert running_allocation(agent, uid)["ID"] == first["ID"]

    drain(agent)
    wait_until(lambda: not live_allocations(agent, uid), within_s=60, what="the drain")
    end_drain(agent)
    server.wait_for("queued", "Queued")
    time.sleep(5)  # long enough for a scheduler that could place it
    assert not live_allocations(agent, uid), "the old version came back"
    assert server.status("queued")["phase"] == "Queued"

    with BareStream(agent, "Node") as nodes:
        began = time.monotonic()
        second_gpu.touch()
        wait_until(lambda: runs_with(agent, uid, 2), within_s=60, what="the version with two GPUs")
        ended = time.monotonic()
        told = nodes.first_after(began, lambda event: gpus_in(event["Payload"]["Node"]) == 2)
    assert told is not None
    print(f"a GPU appeared: what waited in line runs {ended - told:.1f} s after Nomad's own event")
    assert ended - told < 20
    server.wait_for("queued", "Running")
    assert len(allocations_of(agent, uid)) == 2
    server.call("DELETE", "/v1/specs/queued")
    wait_until(lambda: server.gone("queued"), within_s=60)


def node_of(agent: DevAgent) -> Json:
    (node,) = agent.call("GET", "/v1/nodes?resources=true")
    return dict(agent.call("GET", f"/v1/node/{node['ID']}"))


def gpus_of(agent: DevAgent) -> int:
    return gpus_in(node_of(agent))


def gpus_in(node: Json) -> int:
    groups = node["NodeResources"]["Devices"] or []
    return sum(len(group["Instances"]) for group in groups)


def asked_gpus(job: Json) -> int:
    devices = job["TaskGroups"][0]["Tasks"][0]["Resources"]["Devices"] or []
    return sum(device["Count"] for device in devices)


def runs_with(agent: DevAgent, uid: str, gpus: int) -> bool:
    """Whether one allocation runs, and holds so many GPUs."""
    if not runs_alone(agent, uid):
        return False
    whole = agent.call("GET", f"/v1/allocation/{running_allocation(agent, uid)['ID']}")
    tasks = whole["AllocatedResources"]["Tasks"]["usertask"]
    return sum(len(device["DeviceIDs"]) for device in tasks["Devices"] or []) == gpus


def drain(agent: DevAgent) -> None:
    """What `nomad node drain -enable -self -ignore-system -yes` asks for."""
    body = {"DrainSpec": {"Deadline": int(30e9), "IgnoreSystemJobs": True}, "MarkEligible": False}
    agent.call("POST", f"/v1/node/{node_of(agent)['ID']}/drain", body)


def end_drain(agent: DevAgent) -> None:
    """What `nomad node drain -disable -self` asks for: the node takes work again."""
    node_id = node_of(agent)["ID"]
    agent.call("POST", f"/v1/node/{node_id}/drain", {"DrainSpec": None, "MarkEligible": True})
