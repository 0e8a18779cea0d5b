"""The tables as Nomad's lists tell them: stubs, summaries, statuses (pure, of a held world)."""

from collections.abc import Mapping
from typing import Any, Final

from reconciler.cluster.simulator.world import JobKey, Json, World

_JOB_STUB: Final = (
    "CreateIndex",
    "Datacenters",
    "ID",
    "JobModifyIndex",
    "ModifyIndex",
    "Multiregion",
    "Name",
    "Namespace",
    "NodePool",
    "ParentID",
    "Priority",
    "Status",
    "StatusDescription",
    "Stop",
    "SubmitTime",
    "Type",
)
_NOT_IN_ALLOC_STUB: Final = frozenset({"Job", "Metrics", "AllocModifyIndex", "DeploymentID"})
_ALLOC_DEFAULTS: Final = {
    "DeploymentStatus": None,
    "FollowupEvalID": "",
    "NextAllocation": "",
    "PreemptedAllocations": None,
    "PreemptedByAllocation": "",
    "RescheduleTracker": None,
}
_NODE_STUB: Final = (
    "Address",
    "CreateIndex",
    "Datacenter",
    "Drain",
    "Drivers",
    "HostVolumes",
    "ID",
    "LastDrain",
    "ModifyIndex",
    "Name",
    "NodeClass",
    "NodePool",
    "SchedulingEligibility",
    "Status",
    "StatusDescription",
    "Version",
)
_COUNTED_AS: Final = {
    "pending": "Starting",
    "running": "Running",
    "complete": "Complete",
    "failed": "Failed",
    "lost": "Lost",
}


def job_stub(world: World, job: Json, *, meta: bool) -> Json:
    """Return an entry of the job list."""
    stub = {name: job[name] for name in _JOB_STUB}
    stub["Periodic"] = stub["ParameterizedJob"] = False
    stub["JobSummary"] = summary(world, (job["Namespace"], job["ID"]), job)
    if meta and job["Meta"]:
        stub["Meta"] = job["Meta"]
    return stub


def summary(world: World, key: JobKey, job: Json) -> Json:
    """Return the counts of a job's allocations by group and state."""
    groups = {
        group["Name"]: dict.fromkeys([*_COUNTED_AS.values(), "Queued", "Unknown"], 0)
        for group in job["TaskGroups"]
    }
    newest = job["ModifyIndex"]
    for alloc_id in world.allocs_of.get(key, ()):
        allocation = world.allocs[alloc_id]
        newest = max(newest, allocation["ModifyIndex"])
        counts = groups.get(allocation["TaskGroup"])
        if counts is not None:
            counts[_COUNTED_AS[allocation["ClientStatus"]]] += 1
    for eval_id in world.evals_of.get(key, ()):
        evaluation = world.evals[eval_id]
        if evaluation["Status"] == "blocked":
            for name in evaluation.get("FailedTGAllocs") or ():
                if name in groups:
                    groups[name]["Queued"] += 1
    return {
        "JobID": key[1],
        "Namespace": key[0],
        "Summary": groups,
        "Children": {"Dead": 0, "Pending": 0, "Running": 0},
        "CreateIndex": job["CreateIndex"],
        "ModifyIndex": newest,
    }


def alloc_stub(allocation: Json, *, resources: bool = False) -> Json:
    """Return an entry of an allocation list; only with `resources` it tells its ports."""
    stub = {
        **_ALLOC_DEFAULTS,
        **{name: value for name, value in allocation.items() if name not in _NOT_IN_ALLOC_STUB},
        "JobType": allocation["Job"]["Type"],
        "JobVersion": allocation["Job"]["Version"],
    }
    if not resources:
        del stub["AllocatedResources"]
    return stub


def node_stub(node: Json, *, resources: bool = False) -> Json:
    """Return an entry of the node list."""
    stub = {name: node[name] for name in _NODE_STUB}
    if resources:
        stub |= {name: node[name] for name in ("NodeResources", "ReservedResources")}
    return stub


def whole_alloc(allocation: Json) -> Json:
    """Return one allocation in full, with the sums that Nomad's CLI prints."""
    allocated = allocation["AllocatedResources"]
    tasks = {
        name: {
            "CPU": task["Cpu"]["CpuShares"],
            "MemoryMB": task["Memory"]["MemoryMB"],
            "DiskMB": 0,
            "Networks": None,
            "Devices": None,
        }
        for name, task in allocated["Tasks"].items()
    }
    total = {
        "CPU": sum(task["CPU"] for task in tasks.values()),
        "MemoryMB": sum(task["MemoryMB"] for task in tasks.values()),
        "DiskMB": allocated["Shared"]["DiskMB"],
        "Networks": None,
    }
    return {**allocation, "Resources": total, "TaskResources": tasks}


def scale_status(world: World, job: Json) -> Json:
    """Return what `GET /v1/job/:id/scale` tells."""
    key = job["Namespace"], job["ID"]
    counts = summary(world, key, job)["Summary"]
    return {
        "JobID": job["ID"],
        "Namespace": job["Namespace"],
        "JobCreateIndex": job["CreateIndex"],
        "JobModifyIndex": job["ModifyIndex"],
        "JobStopped": job["Stop"],
        "TaskGroups": {
            group["Name"]: {
                "Desired": group["Count"],
                "Placed": _alive(counts[group["Name"]]),
                "Running": counts[group["Name"]]["Running"],
                "Healthy": counts[group["Name"]]["Running"],
                "Unhealthy": 0,
                "Events": [],
            }
            for group in job["TaskGroups"]
        },
    }


def job_status(world: World, job: Json) -> Json:
    """Return an entry of `/v1/jobs/statuses`: a job with its allocations and latest rollout."""
    key = job["Namespace"], job["ID"]
    latest = next(iter(of_job(world, "rollouts", key)), None)
    names = (
        "Datacenters",
        "ID",
        "ModifyIndex",
        "Name",
        "Namespace",
        "NodePool",
        "ParentID",
        "Priority",
        "Status",
        "Stop",
        "SubmitTime",
        "Type",
        "Version",
    )
    return {
        **{name: job[name] for name in names},
        "GroupCountSum": sum(group["Count"] for group in job["TaskGroups"]),
        "ChildStatuses": None,
        "IsPack": False,
        "Allocs": [_short_alloc(item) for item in of_job(world, "allocs", key)],
        "LatestDeployment": _short_rollout(latest) if latest else None,
    }


def of_job(world: World, table: str, key: JobKey) -> list[Json]:
    """Return one job's "allocs", "evals" or "rollouts", newest first."""
    by_id: Mapping[str, Any] = getattr(world, table)
    ids = getattr(world, f"{table}_of").get(key, ())
    return sorted((by_id[item_id] for item_id in ids), key=lambda item: -item["CreateIndex"])


def _short_alloc(allocation: Json) -> Json:
    names = ("ClientStatus", "ID", "NodeID")
    return {
        **{name: allocation[name] for name in names},
        "Group": allocation["TaskGroup"],
        "JobVersion": allocation["Job"]["Version"],
        "FollowupEvalID": allocation.get("FollowupEvalID", ""),
        "HasPausedTask": False,
        "DeploymentStatus": allocation.get("DeploymentStatus")
        or {"Canary": False, "Healthy": None},
    }


def _short_rollout(rollout: Json) -> Json:
    names = ("ID", "JobVersion", "Status", "StatusDescription")
    return {
        **{name: rollout[name] for name in names},
        "IsActive": rollout["Status"] == "running",
        "AllAutoPromote": False,
        "RequiresPromotion": False,
    }


def _alive(counts: Mapping[str, int]) -> int:
    return counts["Running"] + counts["Starting"]
