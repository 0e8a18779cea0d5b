"""Read Nomad's JSON into the values of `reconciler.jobs` (pure).

The real adapter and the simulator both go through here, so a look decides on the same values
whichever of them answered. A field that Nomad always sends is required: one of `UNREADABLE` means
that the answer did not come from a Nomad.
"""

from collections.abc import Callable
from typing import Any, Final

from reconciler.jobs import (
    NO_DEVICES,
    Allocation,
    Change,
    Changes,
    Evaluation,
    Job,
    JobGone,
    JobRef,
    Json,
    Node,
    PlacementFailure,
    Rollout,
    TaskEvent,
    TaskState,
    Verdict,
)

UNREADABLE: Final = (KeyError, TypeError, ValueError, AttributeError)
"""What these functions raise on JSON that is not Nomad's."""

DISTURBING: Final = ("DestructiveUpdate", "Stop", "Migrate", "Canary")
"""The scheduler's intentions that do not leave running work as it is."""


def job(json: Json) -> Job:
    """Read a whole job, as `GET /v1/job/:id` and the event stream give it."""
    return Job(
        ref=JobRef(json["Namespace"], json["ID"]),
        job_modify_index=json["JobModifyIndex"],
        modify_index=json["ModifyIndex"],
        stopped=json["Stop"],
        status=json["Status"],
        version=json.get("Version"),
        meta=json.get("Meta") or {},
    )


job_stub = job
"""Read an entry of `GET /v1/jobs?meta=true`: the same names, but no version."""


def allocation(json: Json) -> Allocation:
    """Read an allocation, from a list (with `resources=true`) or the stream (no job version)."""
    allocated = json.get("AllocatedResources") or {}
    shared = allocated.get("Shared") or {}
    tasks = allocated.get("Tasks") or {}
    version = json.get("JobVersion")
    return Allocation(
        id=json["ID"],
        ref=JobRef(json["Namespace"], json["JobID"]),
        job_version=(json.get("Job") or {}).get("Version") if version is None else version,
        create_index=json["CreateIndex"],
        modify_index=json["ModifyIndex"],
        client_status=json["ClientStatus"],
        desired_status=json["DesiredStatus"],
        node_id=json["NodeID"],
        node_name=json["NodeName"],
        healthy=(json.get("DeploymentStatus") or {}).get("Healthy"),
        ports={p["Label"]: (p["HostIP"], p["Value"]) for p in shared.get("Ports") or ()},
        tasks=tuple(_task(n, state) for n, state in (json.get("TaskStates") or {}).items()),
        devices=_given_devices(tasks) or NO_DEVICES,
        cpu_mhz=sum((task.get("Cpu") or {}).get("CpuShares", 0) for task in tasks.values()),
        memory_mb=sum((task.get("Memory") or {}).get("MemoryMB", 0) for task in tasks.values()),
    )


def evaluation(json: Json) -> Evaluation:
    """Read an evaluation."""
    return Evaluation(
        id=json["ID"],
        ref=JobRef(json["Namespace"], json["JobID"]),
        status=json["Status"],
        triggered_by=json["TriggeredBy"],
        create_index=json["CreateIndex"],
        modify_index=json["ModifyIndex"],
        blocked_eval=json.get("BlockedEval") or "",
        failures=_failures(json),
    )


def rollout(json: Json) -> Rollout:
    """Read what Nomad calls a deployment."""
    return Rollout(
        id=json["ID"],
        ref=JobRef(json["Namespace"], json["JobID"]),
        job_version=json["JobVersion"],
        status=json["Status"],
        description=json["StatusDescription"],
        modify_index=json["ModifyIndex"],
    )


def node(json: Json) -> Node:
    """Read a node, from a list (with `resources=true`) or from the stream.

    Unhealthy device instances are not counted: nothing is placed on them.
    """
    resources = json.get("NodeResources") or {}
    return Node(
        id=json["ID"],
        name=json["Name"],
        status=json["Status"],
        eligible=json["SchedulingEligibility"] == "eligible",
        modify_index=json["ModifyIndex"],
        cpu_mhz=(resources.get("Cpu") or {}).get("CpuShares", 0),
        memory_mb=(resources.get("Memory") or {}).get("MemoryMB", 0),
        disk_mb=(resources.get("Disk") or {}).get("DiskMB", 0),
        devices={
            _device(device): sum(instance["Healthy"] for instance in device.get("Instances") or ())
            for device in resources.get("Devices") or ()
        },
    )


def verdict(json: Json) -> Verdict:
    """Read the answer of a plan that was asked for with `Diff: true`."""
    diff = json["Diff"]
    return Verdict(
        effect=_effect(diff["Type"], json),
        index=json["JobModifyIndex"],
        failures=_failures(json),
        diff=diff,
    )


def changes(json: Json) -> Changes:
    """Read one line of the event stream; `{}` is a heartbeat. Topics we don't know are left out."""
    if not json:
        return Changes(0)
    read = (_change(event) for event in json.get("Events") or ())
    return Changes(json["Index"], tuple(change for change in read if change is not None))


def _change(event: Json) -> Change | None:
    topic = event["Topic"]
    payload = event["Payload"]
    if topic == "Job":
        return _job_change(event, payload)
    read = _READERS.get(topic)
    return read(payload[topic]) if read else None


_READERS: Final[dict[str, Callable[[Json], Change]]] = {
    "Allocation": allocation,
    "Evaluation": evaluation,
    "Deployment": rollout,
    "Node": node,
}


def _job_change(event: Json, payload: Json) -> Job | JobGone:
    changed = job(payload["Job"])
    # Older versions of Nomad send no `Deleted`. A purge there carries the job as it was before the
    # write, so with an older index than the event's; a stop carries the job that the write made.
    purged = payload.get("Deleted") or (
        event["Type"].endswith("Deregistered") and changed.modify_index < event["Index"]
    )
    return JobGone(changed.ref, event["Index"]) if purged else changed


def _effect(diff_type: str, json: Json) -> str:
    if diff_type == "None":
        return "none"
    if json["JobModifyIndex"] == 0:
        return "creates"
    groups = ((json.get("Annotations") or {}).get("DesiredTGUpdates") or {}).values()
    disturbs = any(group.get(intention) for group in groups for intention in DISTURBING)
    return "restarts" if disturbs else "in place"


def _failures(json: Json) -> tuple[PlacementFailure, ...]:
    return tuple(
        PlacementFailure(
            group=group,
            nodes_evaluated=metrics["NodesEvaluated"],
            nodes_filtered=metrics["NodesFiltered"],
            nodes_exhausted=metrics["NodesExhausted"],
            constraint_filtered=metrics.get("ConstraintFiltered") or {},
            dimension_exhausted=metrics.get("DimensionExhausted") or {},
            quota_exhausted=tuple(metrics.get("QuotaExhausted") or ()),
        )
        for group, metrics in (json.get("FailedTGAllocs") or {}).items()
    )


def _given_devices(tasks: Json) -> dict[str, int]:
    given: dict[str, int] = {}
    for task in tasks.values():
        for device in task.get("Devices") or ():
            name = _device(device)
            given[name] = given.get(name, 0) + len(device["DeviceIDs"])
    return given


def _device(json: Json) -> str:
    return "/".join((json["Vendor"], json["Type"], json["Name"]))


def _task(name: str, json: Json) -> TaskState:
    return TaskState(
        name=name,
        state=json["State"],
        failed=json["Failed"],
        restarts=json["Restarts"],
        events=tuple(_task_event(event) for event in json.get("Events") or ()),
    )


def _task_event(json: Json) -> TaskEvent:
    details: dict[str, Any] = json.get("Details") or {}
    return TaskEvent(
        type=json["Type"],
        message=json.get("DisplayMessage") or "",
        at_ns=json["Time"],
        # Nomad fills in 0 on every event; only this kind has one to tell.
        exit_code=json["ExitCode"] if json["Type"] == "Terminated" else None,
        oom=details.get("oom_killed") == "true",
    )
