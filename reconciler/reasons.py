"""Nomad's reasons in a user's words (pure).

Each function returns a stable CamelCase reason, for scripts, and one sentence with numbers, for
people. The texts of Nomad's scheduler that are recognised here are asserted by the contract suite.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from reconciler.jobs import Allocation, PlacementFailure, TaskEvent
from specs.model import Hardware


@dataclass(frozen=True, slots=True)
class Reason:
    """A stable word and a sentence."""

    reason: str
    message: str


def why_not_placed(failures: Sequence[PlacementFailure], hardware: Hardware) -> Reason:
    """Say why the scheduler found no node for a job that asks for `hardware`."""
    if not failures:
        return Reason("Unplaceable", "Nomad gave no reason")
    failure = failures[0]
    if failure.nodes_evaluated == 0:
        return Reason("NoNodes", "no node of the cluster is ready for work")
    gpus = _gpus(hardware)
    if any("missing devices" in text for text in failure.constraint_filtered):
        return Reason("NoSuchGPU", f"needs {gpus}; none of {failure.nodes_evaluated} nodes has it")
    if any(text.startswith("devices:") for text in failure.dimension_exhausted):
        message = f"needs {gpus}; {failure.nodes_exhausted} nodes have it, none has it free"
        return Reason("GPUsTaken", message)
    if failure.dimension_exhausted:
        return Reason("ResourcesTaken", _exhausted(failure, hardware))
    filtered = ", ".join(sorted(failure.constraint_filtered)) or "no constraint was named"
    message = f"none of {failure.nodes_evaluated} nodes meets the constraints ({filtered})"
    return Reason("ConstraintsNotMet", message)


def why_failed(allocation: Allocation) -> Reason:
    """Say why an allocation ended badly or does not get up, from its tasks' own events."""
    if allocation.client_status == "lost":
        return Reason("NodeLost", f"node {allocation.node_name} was lost with the work on it")
    for task in allocation.tasks:
        for event in reversed(task.events):
            reason = _task_reason(task.name, event)
            if reason is not None:
                return reason
    return Reason("Failed", f"the allocation on node {allocation.node_name} failed")


def _exhausted(failure: PlacementFailure, hardware: Hardware) -> str:
    wanted = {
        "cpu": f"{hardware.cpu_num} CPUs",
        "cores": f"{hardware.cpu_num} CPU cores",
        "memory": f"{hardware.ram} MB of memory",
        "disk": f"{hardware.disk} MB of disk",
    }
    short = [d for d in sorted(failure.dimension_exhausted) if d in wanted]
    if not short:
        named = ", ".join(sorted(failure.dimension_exhausted))
        return f"{failure.nodes_exhausted} nodes are full ({named})"
    needs = " and ".join(wanted[d] for d in short)
    return f"needs {needs}; none of {failure.nodes_evaluated} nodes has that free"


def _task_reason(task: str, event: TaskEvent) -> Reason | None:
    if event.oom:
        return Reason("OutOfMemory", f"task {task} used more memory than it asked for; raise ram")
    if event.type == "Driver Failure":
        reason = "ImagePullFailed" if "pull" in event.message.lower() else "DriverFailure"
        return Reason(reason, f"task {task} could not start: {event.message}")
    if event.type == "Terminated" and event.exit_code:
        return Reason("Exited", f"task {task} ended with exit code {event.exit_code}")
    if event.type in ("Setup Failure", "Failed Validation", "Template"):
        return Reason("SetupFailed", f"task {task} could not be set up: {event.message}")
    return None


def _gpus(hardware: Hardware) -> str:
    what = "GPU" if hardware.gpu_num == 1 else "GPUs"
    model = f" of model {hardware.gpu_type}" if hardware.gpu_type else ""
    return f"{hardware.gpu_num} {what}{model}"
