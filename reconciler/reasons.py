"""Nomad's reasons in a user's words (pure).

Each function returns a stable CamelCase reason, for scripts, and one sentence with numbers, for
people. `HINTS` is the one table of reasons: whoever tells one, also in another module, finds there
what its reader can do next. The texts of Nomad that are recognised here stand in the answers of a
real one under `tests/recorded/`.
"""

import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from reconciler.jobs import Allocation, PlacementFailure, TaskEvent, TaskState
from reconciler.render import GROUP
from specs.model import Hardware

HINTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        # No node takes it. From what will not change by itself to what will: where groups of one
        # job wait for different things, the first of these is the job's reason.
        "NoNodes": "ask the operator: no node takes work",
        "NoSuchGPU": "ask for fewer GPUs or another gpu_type, or none",
        "NoDriver": "ask the operator: the nodes lack what runs containers",
        "ConstraintsNotMet": "ask the operator: the job template's constraints exclude every node",
        "QuotaExceeded": "wait, it is let in when there is room; or suspend or delete something",
        "QuotaExhausted": "delete or suspend something of the same organization, or ask for less",
        "GPUsTaken": "wait, it starts by itself; or ask for fewer GPUs",
        "ResourcesTaken": "wait, it starts by itself; or ask for less",
        "PortsTaken": "wait, it starts by itself; if it lasts, ask the operator",
        "Unplaceable": "wait, Nomad tries again; if it lasts, ask the operator",
        # Nothing is done although something is wanted.
        "WouldNotPlace": "wait, it is tried again; or set update.policy to queue",
        "JobNotOurs": "ask the operator: the job with this id was not made here",
        "FightingWithAnother": "find out who keeps changing the job by hand, and agree",
        "LeftAsFound": "apply the deployment again to undo what was changed by hand",
        "DeletionHeld": "confirm the deletion, or put the deployment back into its source",
        "StoreNotRecognised": "ask the operator: the store may be an old copy",
        "JobRejected": "change what Nomad refused; the message says what",
        "RolledBack": "correct the newest version and apply it; that lifts the rollback",
        "Suspended": "set suspend to false, and it runs again",
        "Expired": "set a longer ttl or a later expiresAt, and it runs again",
        # On its way.
        "Placing": "wait; Nomad is looking for a node",
        "Starting": "wait; it starts",
        "PullingImage": "wait; a large image takes minutes",
        "WaitingForTemplate": "ask the operator: the job's template reads what is not there",
        "MissingVariable": "set the deployment's passwords anew; if that does not help,"
        " ask the operator",
        "Restarting": "look at its logs; Nomad tries again by itself",
        # It ran, or tried to.
        "ImagePullFailed": "check docker_image and docker_tag; a registry that is down comes back",
        "CommandNotFound": "use an image of the marketplace, or add that command to yours",
        "OutOfMemory": "raise ram, or make the work need less",
        "Exited": "look at its logs",
        "Killed": "look at its logs",
        "DriverFailure": "apply again; if it stays, ask the operator",
        "SetupFailed": "ask the operator: the node could not prepare the work",
        "Unhealthy": "look at its logs: it runs, but did not become healthy in time",
        "NodeDown": "wait; Nomad moves the work when the node stays away",
        "NodeLost": "wait; Nomad starts it on another node",
        "Failed": "look at its logs",
        "ClusterUnavailable": "wait; the wish is kept and the platform keeps trying",
    }
)
"""What the reader of each reason can do next. The README's table has the same reasons."""

SAME_KIND: Final = "computed class ineligible"
"""What Nomad counts a node under whose kind it has excluded already, with another node."""

MISSING_COMMAND: Final = re.compile(
    r'exec: "([^"]+)": (?:executable file not found|stat .*no such file)'
)
"""How container engines say that an image lacks the command it was to start."""

MISSING_VARIABLE: Final = re.compile(r"nomad\.var\.\w+\(([^)@]+)")
"""How a template says which of Nomad's Variables it waits for."""

HEALTHY_DEADLINE: Final = re.compile(r"by healthy_deadline of (\S+)")
"""How long an allocation had to become healthy, in the event that says it did not."""

LACKING: Final = {
    "gpu": "free GPUs",
    "cpu": "free CPU",
    "cores": "free CPU cores",
    "memory": "free memory",
    "disk": "free disk",
    "port": "a free port",
}


@dataclass(frozen=True, slots=True)
class Reason:
    """A stable word and a sentence."""

    reason: str
    message: str

    @property
    def hint(self) -> str:
        """What its reader can do next."""
        return hint_of(self.reason)


def hint_of(reason: str) -> str:
    """Return what can be done about `reason`; "" where there is nothing to do."""
    return HINTS.get(reason, "")


def why_not_placed(
    failures: Sequence[PlacementFailure], hardware: Hardware, *, gpu_model: str = "affinity"
) -> Reason:
    """Say why the scheduler found no node for a job that asks for `hardware`.

    `gpu_model` is the site's: under "affinity" a model is only preferred, and no lack of it is
    claimed.
    """
    if not failures:
        return Reason("Unplaceable", "Nomad gave no reason")
    wanted = _wanted(hardware, gpu_model)
    # What is wanted is the user's group's; another group is the operator's, and its needs unknown.
    told = [_group_reason(f, wanted if f.group == GROUP else {}) for f in failures]
    if len(told) == 1:
        return told[0]
    order = list(HINTS)
    worst = min(told, key=lambda why: order.index(why.reason))
    sentences = (f"group {f.group}: {why.message}" for f, why in zip(failures, told, strict=True))
    return Reason(worst.reason, "; ".join(sentences))


def why_waiting(allocation: Allocation) -> Reason:
    """Say what an allocation that is placed and not up yet waits for."""
    waiting = [task for task in allocation.tasks if task.state == "pending"]
    for task in waiting:
        reason = _waiting_reason(task, allocation.node_name)
        if reason is not None:
            return reason
    # Names tell something only while other tasks are up already.
    some = 0 < len(waiting) < len(allocation.tasks)
    what = f" {', '.join(task.name for task in waiting)}" if some else ""
    return Reason("Starting", f"starting{what} on node {allocation.node_name}")


def why_failed(allocation: Allocation) -> Reason:
    """Say why an allocation ended badly, or is up and not well, from its tasks' own events."""
    node = allocation.node_name
    if allocation.client_status == "lost":
        return Reason("NodeLost", f"node {node} was lost with the work on it")
    if allocation.client_status == "unknown":
        return Reason("NodeDown", f"node {node} does not answer")
    if allocation.client_status == "running" and allocation.healthy is False:
        within = _deadline(allocation)
        return Reason("Unhealthy", f"running on node {node}, but not healthy{within}")
    # A task that was only ended because another failed has nothing to say.
    for task in sorted(allocation.tasks, key=lambda task: not task.failed):
        cause = _cause(task)
        if cause is not None:
            again = f", also after {_count(task.restarts, 'restart')}" if task.restarts else ""
            return Reason(cause.reason, cause.message + again)
    return Reason("Failed", f"the allocation on node {node} failed")


def _group_reason(failure: PlacementFailure, wanted: Mapping[str, str]) -> Reason:
    if failure.quota_exhausted:
        what = ", ".join(sorted(failure.quota_exhausted))
        return Reason("QuotaExhausted", f"the quota of its namespace is used up ({what})")
    if failure.nodes_evaluated == 0:
        return Reason("NoNodes", "no node of the cluster is ready for work")
    if failure.dimension_exhausted:
        short = _exhausted(failure, wanted)
        excluded = _excluded(failure)
        others = f"; of the other nodes {', '.join(excluded)}" if excluded else ""
        return Reason(short.reason, short.message + others)
    return _filtered(failure, wanted)


def _exhausted(failure: PlacementFailure, wanted: Mapping[str, str]) -> Reason:
    counts: dict[str, int] = {}
    for dimension, count in sorted(failure.dimension_exhausted.items()):
        kind = _kind(dimension)
        counts[kind] = counts.get(kind, 0) + count
    able = failure.nodes_evaluated - failure.nodes_filtered
    needs = " and ".join(wanted[kind] for kind in counts if kind in wanted)
    begin = f"needs {needs}; " if needs else ""
    if set(counts) == {"port"}:
        what = ", ".join(text.removeprefix("network: ") for text in failure.dimension_exhausted)
        none = _none_of(able, "a free port", "the one node that fits has no free port")
        return Reason("PortsTaken", f"{none} ({what})")
    reason = "GPUsTaken" if "gpu" in counts else "ResourcesTaken"
    if set(counts) == {"gpu"} and needs:
        return Reason(reason, begin + _gpus_taken(counts["gpu"], wanted["gpu"]))
    if len(counts) == 1 and needs:
        one = "the one node that fits has less than that free"
        return Reason(reason, begin + _none_of(able, "that free", one))
    lacks = (
        f"{n} {'lacks' if n == 1 else 'lack'} {LACKING.get(kind, kind)}"
        for kind, n in counts.items()
    )
    return Reason(reason, f"{begin}of {_count(able, 'node')} {', '.join(lacks)}")


def _gpus_taken(nodes: int, gpus: str) -> str:
    number = gpus.split(maxsplit=1)[0]
    it = _it(gpus)
    if nodes == 1:
        return f"1 node has {it}, but not {number} free"
    return f"{nodes} nodes have {it}, none has {number} free"


def _filtered(failure: PlacementFailure, wanted: Mapping[str, str]) -> Reason:
    why = set(failure.constraint_filtered) - {SAME_KIND}
    nodes = failure.nodes_evaluated
    excluded = ", ".join(_excluded(failure)) or "no constraint was named"
    if why == {"missing drivers"}:
        one = "the only node has not the job's driver ready"
        return Reason("NoDriver", _none_of(nodes, "the job's driver ready", one))
    if "missing devices" not in why or "gpu" not in wanted:
        return Reason("ConstraintsNotMet", f"of {_count(nodes, 'node')} {excluded}")
    gpus = wanted["gpu"]
    if why == {"missing devices"}:
        none = _none_of(nodes, _it(gpus), "the only node has no such GPUs")
        return Reason("NoSuchGPU", f"needs {gpus}; {none}")
    return Reason("NoSuchGPU", f"needs {gpus}; of {_count(nodes, 'node')} {excluded}")


def _excluded(failure: PlacementFailure) -> list[str]:
    named = {k: n for k, n in sorted(failure.constraint_filtered.items()) if k != SAME_KIND}
    alike = failure.constraint_filtered.get(SAME_KIND, 0)
    if len(named) == 1:
        # Then there is but one thing that those alike can lack.
        named = {why: count + alike for why, count in named.items()}
        alike = 0
    told = [f"{n} {_lacks(why, n)}" for why, n in named.items()]
    return [*told, f"{alike} are like these"] if alike else told


def _lacks(filter_: str, nodes: int) -> str:
    has, does = ("has", "does") if nodes == 1 else ("have", "do")
    match filter_:
        case "missing devices":
            return f"{has} no such GPUs"
        case "missing drivers":
            return f"{has} not the job's driver ready"
        case _:
            return f"{does} not meet {filter_}"


def _none_of(nodes: int, having: str, one: str) -> str:
    # "None of 1 node" is no English, so `one` is the sentence about a single node.
    return one if nodes == 1 else f"none of {nodes} nodes has {having}"


def _it(things: str) -> str:
    return "it" if things.startswith("1 ") else "them"


def _kind(dimension: str) -> str:
    if dimension.startswith("device"):
        return "gpu"
    if dimension.startswith("network:") and "port" in dimension:
        return "port"
    return "cores" if dimension == "numa-cores" else dimension


def _wanted(hardware: Hardware, gpu_model: str) -> dict[str, str]:
    wanted = {
        "cpu": _count(hardware.cpu_num, "CPU"),
        "cores": _count(hardware.cpu_num, "CPU core"),
        "memory": f"{hardware.ram} MB of memory",
        "disk": f"{hardware.disk} MB of disk",
    }
    if hardware.gpu_num:
        wanted["gpu"] = _count(hardware.gpu_num, "GPU")
        if hardware.gpu_type:
            demanded = gpu_model == "constraint"
            model = f"of model {hardware.gpu_type}"
            wanted["gpu"] += f" {model}" if demanded else f" (preferably {model})"
    return wanted


def _waiting_reason(task: TaskState, node: str) -> Reason | None:
    last = task.events[-1] if task.events else None
    if last is None:
        return None
    if last.type == "Restarting":
        cause = _cause(task)
        before = cause.message if cause else f"task {task.name} ended"
        times = _count(task.restarts, "time")
        return Reason("Restarting", f"{before}; restarted {times}; Nomad tries again")
    if last.type == "Template":
        variable = MISSING_VARIABLE.search(last.message)
        if variable is not None:
            return Reason("MissingVariable", f"task {task.name} waits for Variable {variable[1]}")
        return Reason("WaitingForTemplate", f"task {task.name} waits: {last.message}")
    if last.type == "Driver" and "image" in last.message.lower():
        pulls = f"node {node} pulls the image of task {task.name}"
        progress = "" if last.message == "Downloading image" else f": {last.message}"
        return Reason("PullingImage", pulls + progress)
    return None


def _cause(task: TaskState) -> Reason | None:
    reasons = (_event_reason(task, event) for event in reversed(task.events))
    return next((reason for reason in reasons if reason is not None), None)


def _event_reason(task: TaskState, event: TaskEvent) -> Reason | None:
    name = f"task {task.name}"
    match event.type:
        case "Terminated" if event.oom:
            return Reason("OutOfMemory", f"{name} used more memory than it asked for")
        case "Terminated" if event.exit_code or task.failed:
            return _ended(name, event.exit_code or 0)
        case "Driver Failure":
            return _driver_failure(name, event.message)
        case "Killing" if event.message.startswith("Template failed"):
            return Reason("SetupFailed", f"{name} could not be set up: {event.message}")
        case "Setup Failure" | "Failed Validation" | "Failed Artifact Download" | "Template":
            return Reason("SetupFailed", f"{name} could not be set up: {event.message}")
    return None


def _driver_failure(name: str, message: str) -> Reason:
    message = message.replace("Error response from daemon: ", "")
    missing = MISSING_COMMAND.search(message)
    if missing is not None:
        return Reason("CommandNotFound", f"{name} could not start: its image has no {missing[1]}")
    reason = "ImagePullFailed" if "pull" in message.lower() else "DriverFailure"
    return Reason(reason, f"{name} could not start: {message}")


def _ended(name: str, exit_code: int) -> Reason:
    # As shells and container engines tell a signal, and nothing else tells it with Docker.
    if 128 < exit_code < 128 + signal.NSIG:
        number = exit_code - 128
        names = {member.value: f" ({member.name})" for member in signal.Signals}
        return Reason("Killed", f"{name} was ended by signal {number}{names.get(number, '')}")
    if exit_code == 0:
        return Reason("Exited", f"{name} ended by itself with exit code 0; a service goes on")
    return Reason("Exited", f"{name} ended with exit code {exit_code}")


def _deadline(allocation: Allocation) -> str:
    messages = (event.message for task in allocation.tasks for event in task.events)
    found = next((m for m in map(HEALTHY_DEADLINE.search, messages) if m is not None), None)
    return f" within {found[1]}" if found else ""


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
