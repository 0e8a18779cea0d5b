"""What the tests declare, and what Nomad has of it."""

from typing import Any

from tests.e2e.server import Server
from tests.real import TERMINAL, DevAgent

NS = "namespace=ai4eosc"

Json = dict[str, Any]


def manifest(name: str, **spec: Any) -> Json:
    """Return a small deployment of the test's image; `spec` are groups and switches on top."""
    groups = {
        "general": {"docker_image": "deephdc/deep-oc-image-classification-tf:cpu"},
        "hardware": {"ram": 300, "disk": 300},
    }
    merged = {
        key: {**groups.get(key, {}), **value} if isinstance(value, dict) else value
        for key, value in {**groups, **spec}.items()
    }
    head = {"apiVersion": "ai4papi/v1", "kind": "Deployment"}
    return {**head, "metadata": {"name": name}, "spec": merged}


def put(server: Server, name: str, **spec: Any) -> str:
    """Declare it; return its uid, which is the job's id."""
    code, answer = server.call("PUT", f"/v1/specs/{name}", manifest(name, **spec))
    assert code in (200, 201), answer
    return str(answer["metadata"]["uid"])


def job_of(agent: DevAgent, uid: str) -> Any:
    return agent.call("GET", f"/v1/job/{uid}?{NS}")


def jobs_of(agent: DevAgent) -> dict[str, Json]:
    """Return the list of jobs by id, stopped ones included."""
    return {job["ID"]: job for job in agent.call("GET", f"/v1/jobs?{NS}")}


def allocations_of(agent: DevAgent, uid: str) -> list[Json]:
    """Return all allocations of the job that Nomad remembers, the oldest first."""
    found = agent.call("GET", f"/v1/job/{uid}/allocations?{NS}&all=true")
    return sorted(found, key=lambda allocation: int(allocation["CreateIndex"]))


def live_allocations(agent: DevAgent, uid: str) -> list[Json]:
    return [a for a in allocations_of(agent, uid) if a["ClientStatus"] not in TERMINAL]


def running_allocation(agent: DevAgent, uid: str) -> Json:
    """Return the one allocation that lives, which must run."""
    (allocation,) = live_allocations(agent, uid)
    assert allocation["ClientStatus"] == "running"
    return allocation


def runs_alone(agent: DevAgent, uid: str) -> bool:
    """Whether one allocation lives and runs; a replaced one takes seconds to end."""
    return [a["ClientStatus"] for a in live_allocations(agent, uid)] == ["running"]


def condition(status: Json, kind: str) -> Json:
    """Return the condition, `{}` where it was never set."""
    return next((c for c in status["conditions"] if c["type"] == kind), {})


def events_of(server: Server, name: str, reason: str = "") -> list[Json]:
    """Return the timeline of a deployment, oldest first; only of `reason` where one is given."""
    code, answer = server.call("GET", f"/v1/specs/{name}/events")
    assert code == 200, answer
    return [event for event in answer["items"] if reason in ("", event["reason"])]
