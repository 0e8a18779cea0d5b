"""How a job version is rolled out: what Nomad calls a deployment (pure).

A rollout begins with the first placement or update of a version, counts what it placed and what of
that is healthy, and ends when everything is, when its time is up, or when the job moves on.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from reconciler.cluster.simulator.sorting import Sorted
from reconciler.cluster.simulator.tasks import instant_ns, timestamp

Json = Mapping[str, Any]


def current(job: Json, active: Json | None) -> tuple[Json | None, dict[str, Any] | None]:
    """Return the active rollout if it is still this version's, and else its cancelled form."""
    if active is None:
        return None, None
    if job["Stop"]:
        return None, _ended(active, "cancelled", "Cancelled because job is stopped")
    same = (active["JobVersion"], active["JobCreateIndex"]) == (job["Version"], job["CreateIndex"])
    if not same:
        return None, _ended(active, "cancelled", "Cancelled due to newer version of job")
    return active, None


def begin(
    job: Json,
    groups: Mapping[str, Sorted],
    allocations: Sequence[Json],
    *,
    new_id: Callable[[], str],
    now_ns: int,
) -> dict[str, Any] | None:
    """Return a new rollout of the job's version, None where this is not the start of one."""
    if job["Stop"] or job["Type"] != "service":
        return None
    states = {
        group["Name"]: _state(group)
        for group in job["TaskGroups"]
        if _begins(job, group, groups[group["Name"]], allocations)
    }
    if not states:
        return None
    return {
        "ID": new_id(),
        "Namespace": job["Namespace"],
        "JobID": job["ID"],
        "JobVersion": job["Version"],
        "JobCreateIndex": job["CreateIndex"],
        "JobModifyIndex": job["ModifyIndex"],
        "JobSpecModifyIndex": job["JobModifyIndex"],
        "Status": "running",
        "StatusDescription": "Deployment is running",
        "TaskGroups": states,
        "EvalPriority": job["Priority"],
        "IsMultiregion": False,
        "CreateTime": now_ns,
    }


def free_slots(group: Json, rollout: Json, unchanged: Sequence[Json]) -> int:
    """Return how many more allocations of the group may be replaced now."""
    most: int = group["Update"]["MaxParallel"]
    if not most or group["Name"] not in rollout["TaskGroups"]:
        return int(group["Count"])
    unproven = [
        allocation
        for allocation in unchanged
        if allocation.get("DeploymentID") == rollout["ID"]
        and not (allocation.get("DeploymentStatus") or {}).get("Healthy")
    ]
    return max(0, most - len(unproven))


def with_placed(rollout: Json, group_name: str, *, now_ns: int) -> dict[str, Any]:
    """Count one more allocation that the rollout placed or updated."""
    return _counted(rollout, group_name, "PlacedAllocs", now_ns=now_ns)


def with_health(rollout: Json, group_name: str, *, healthy: bool, now_ns: int) -> dict[str, Any]:
    """Count one more allocation that proved healthy, or did not."""
    counter = "HealthyAllocs" if healthy else "UnhealthyAllocs"
    return _counted(rollout, group_name, counter, now_ns=now_ns)


def all_healthy(rollout: Json) -> bool:
    """Tell whether every group has all that it wants, healthy."""
    return all(
        state["HealthyAllocs"] >= state["DesiredTotal"] for state in rollout["TaskGroups"].values()
    )


def succeeded(rollout: Json) -> dict[str, Any]:
    """Everything is healthy."""
    return _ended(rollout, "successful", "Deployment completed successfully")


def out_of_time(rollout: Json) -> dict[str, Any]:
    """Not everything was healthy in time."""
    return _ended(rollout, "failed", "Failed due to progress deadline")


def progress_by_ns(rollout: Json) -> int | None:
    """Return until when a rollout must get on (Unix ns); None for ever, or before anything ran."""
    if rollout["Status"] != "running":
        return None
    deadlines = [
        instant_ns(state["RequireProgressBy"])
        for state in rollout["TaskGroups"].values()
        if state["RequireProgressBy"] and state["HealthyAllocs"] < state["DesiredTotal"]
    ]
    return min(deadlines, default=None)


def _ended(rollout: Json, status: str, why: str) -> dict[str, Any]:
    return {**rollout, "Status": status, "StatusDescription": why}


def _begins(job: Json, group: Json, found: Sorted, allocations: Sequence[Json]) -> bool:
    update = group["Update"]
    if not update or not update["MaxParallel"] or not group["Count"]:
        return False
    if found.in_place or found.destructive:
        return True
    return found.places > 0 and not any(
        allocation["TaskGroup"] == group["Name"]
        and allocation["DesiredStatus"] == "run"
        and (allocation["Job"]["Version"], allocation["Job"]["CreateIndex"])
        == (job["Version"], job["CreateIndex"])
        for allocation in allocations
    )


def _state(group: Json) -> dict[str, Any]:
    update = group["Update"]
    return {
        "AutoPromote": update["AutoPromote"],
        "AutoRevert": update["AutoRevert"],
        "DesiredCanaries": 0,
        "DesiredTotal": group["Count"],
        "HealthyAllocs": 0,
        "PlacedAllocs": 0,
        "PlacedCanaries": None,
        "ProgressDeadline": update["ProgressDeadline"],
        "Promoted": False,
        "RequireProgressBy": None,
        "UnhealthyAllocs": 0,
    }


def _counted(rollout: Json, group_name: str, counter: str, *, now_ns: int) -> dict[str, Any]:
    state = rollout["TaskGroups"].get(group_name)
    if state is None:
        return dict(rollout)
    moved = {**state, counter: state[counter] + 1}
    first = counter == "PlacedAllocs" and not state["RequireProgressBy"]
    if state["ProgressDeadline"] and (first or counter == "HealthyAllocs"):
        moved["RequireProgressBy"] = timestamp(now_ns + state["ProgressDeadline"])
    return {**rollout, "TaskGroups": {**rollout["TaskGroups"], group_name: moved}}
