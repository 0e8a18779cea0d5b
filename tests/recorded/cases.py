"""The cases to record: for each a small job, and how its answer is told from one too early."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

IMAGE: Final = "ai4papi-recorded:1"
NODE, LOST_NODE = "node-1", "node-2"
REGISTRY: Final = "127.0.0.1:41999"
DEVICE: Final = "nomad/file/mock"

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    """One job and the answer it is for. `node` "" leaves the choice to the scheduler.

    `script` runs in a shell of the container. `task` and `group` are merged into the job's task
    and group; `resources` into the task's. `shows` says whether an answer shows the case.
    """

    name: str
    kind: Literal["evaluation", "allocation"] = "allocation"
    script: str = "sleep 600"
    node: str = NODE
    restarts: int = 0
    resources: Json = field(default_factory=dict)
    task: Json = field(default_factory=dict)
    group: Json = field(default_factory=dict)
    config: Json = field(default_factory=dict)
    constraints: tuple[Json, ...] = ()
    more_groups: tuple["Case", ...] = ()
    shows: Callable[[Json], bool] = lambda answer: answer["ClientStatus"] == "failed"


def job_of(case: Case) -> dict[str, Any]:
    """Return the job of `case`, as Nomad's API takes it."""
    groups = [_group(part) for part in (case, *case.more_groups)]
    return {"ID": case.name, "Name": case.name, "Datacenters": ["*"], "TaskGroups": groups}


def _group(case: Case) -> dict[str, Any]:
    node = {"LTarget": "${node.unique.name}", "RTarget": case.node, "Operand": "="}
    task = {
        "Name": "usertask",
        "Driver": "docker",
        "Config": {"image": IMAGE, "command": "sh", "args": ["-c", case.script], **case.config},
        "Resources": {"CPU": 50, "MemoryMB": 30, **case.resources},
        "LogConfig": {"MaxFiles": 1, "MaxFileSizeMB": 1},
    }
    return {
        "Name": case.name if case.name == "sidegroup" else "usergroup",
        "Constraints": [*case.constraints, *([node] if case.node else [])],
        "EphemeralDisk": {"SizeMB": 20},
        "RestartPolicy": {
            "Attempts": case.restarts,
            "Delay": seconds(5),
            "Interval": seconds(600),
            "Mode": "fail",
        },
        "ReschedulePolicy": {"Attempts": 0, "Unlimited": False},
        "Tasks": [{**task, **case.task}],
        **case.group,
    }


def seconds(count: int) -> int:
    """Return a duration as Nomad's JSON has it."""
    return count * 1_000_000_000


def _unplaced(name: str, **parts: Any) -> Case:
    return Case(name, "evaluation", **{"node": "", "shows": _placed_nowhere, **parts})


def _placed_nowhere(answer: Json) -> bool:
    return bool(answer.get("FailedTGAllocs"))


def _gpus(count: int, model: str = "") -> Json:
    wish = {"LTarget": "${device.model}", "RTarget": model, "Operand": "="}
    demand = {"Constraints": [wish]} if model else {}
    return {"Devices": [{"Name": DEVICE, "Count": count, **demand}]}


def _port(number: int) -> Json:
    return {"Networks": [{"ReservedPorts": [{"Label": "http", "Value": number}]}]}


def _told(kind: str, text: str = "") -> Callable[[Json], bool]:
    def shows(answer: Json) -> bool:
        states = (answer.get("TaskStates") or {}).values()
        events = [event for state in states for event in state["Events"] or ()]
        return any(e["Type"] == kind and text in e["DisplayMessage"] for e in events)

    return shows


def _waits_between_restarts(answer: Json) -> bool:
    states = (answer.get("TaskStates") or {}).values()
    return any(state["State"] == "pending" and state["Restarts"] == 2 for state in states)


def _status(status: str) -> Callable[[Json], bool]:
    return lambda answer: answer["ClientStatus"] == status


TAKER: Final = Case("taker", resources=_gpus(2), group=_port(41997), shows=_status("running"))
"""Takes both devices of the first node and a port, so that there is something to wait for."""

CHECKED: Final = {
    "Update": {
        "HealthCheck": "checks",
        "MinHealthyTime": seconds(1),
        "HealthyDeadline": seconds(20),
        "ProgressDeadline": seconds(30),
    },
    "Networks": [{"DynamicPorts": [{"Label": "http"}]}],
    "Services": [
        {
            "Name": "unhealthy",
            "PortLabel": "http",
            "Provider": "nomad",
            "Checks": [
                {"Type": "tcp", "Name": "up", "Interval": seconds(1), "Timeout": seconds(1)}
            ],
        }
    ],
}

UNPLACED: Final = (
    _unplaced("no-such-gpu", resources={"Devices": [{"Name": "nvidia/gpu", "Count": 1}]}),
    _unplaced("gpu-model-missing", resources=_gpus(1, "Tesla V100")),
    _unplaced("gpus-more-than-any-node-has", resources=_gpus(3)),
    _unplaced("gpus-taken", resources=_gpus(2)),
    _unplaced("gpus-of-model-taken", resources=_gpus(1, "mock")),
    _unplaced("cpu-taken", resources={"CPU": 2_000_000}),
    _unplaced("cores-taken", resources={"CPU": None, "Cores": 500}),
    _unplaced("memory-taken", resources={"MemoryMB": 5_000_000}),
    _unplaced("disk-taken", group={"EphemeralDisk": {"SizeMB": 90_000_000}}),
    _unplaced("cpu-and-memory-taken", resources={"CPU": 50_000, "MemoryMB": 5_000_000}),
    # A node may have the port on two addresses, and one of them is taken.
    _unplaced("port-taken", node=NODE, group={**_port(41997), "Count": 2}),
    _unplaced(
        "ports-exhausted",
        node=LOST_NODE,
        group={"Networks": [{"DynamicPorts": [{"Label": f"p{n}"} for n in range(8)]}]},
    ),
    _unplaced(
        "constraints",
        constraints=({"LTarget": "${meta.type}", "RTarget": "compute", "Operand": "="},),
    ),
    _unplaced("drivers-missing", task={"Driver": "no-such-driver"}),
    _unplaced(
        "two-groups",
        resources={"MemoryMB": 5_000_000},
        more_groups=(_unplaced("sidegroup", resources=_gpus(1)),),
    ),
)

PLACED: Final = (
    Case("image-missing", config={"image": f"{REGISTRY}/none:1"}),
    Case("registry-down", config={"image": "127.0.0.1:41996/none:1"}),
    Case(
        "image-downloading",
        config={"image": f"{REGISTRY}/slow/image:1"},
        shows=_told("Driver", "Downloading"),
    ),
    Case("command-missing", config={"command": "deep-start"}),
    Case("driver-failure", config={"runtime": "nvidia"}),
    Case("out-of-memory", script="tail /dev/zero"),
    Case("exit-code", script="exit 3"),
    Case("exit-code-zero", script="exit 0"),
    Case("signal", script="sh -c 'kill -SEGV $$'; exit $?"),
    Case("restarting", script="exit 3", restarts=5, shows=_waits_between_restarts),
    Case("crash-loop-ended", script="exit 3", restarts=2),
    Case(
        "variable-missing",
        task={
            "Templates": [
                {
                    "DestPath": "secrets/ai4papi.env",
                    "EmbeddedTmpl": '{{ with nomadVar "nomad/jobs/variable-missing" }}{{ end }}',
                }
            ]
        },
        shows=_told("Template", "Missing"),
    ),
    Case(
        "template-broken",
        task={"Templates": [{"DestPath": "local/x", "EmbeddedTmpl": "{{ nope }}"}]},
    ),
    Case(
        "artifact-missing",
        task={"Artifacts": [{"GetterSource": f"http://{REGISTRY}/none.tar.gz"}]},
    ),
    Case(
        "unhealthy",
        group=CHECKED,
        shows=lambda answer: (answer.get("DeploymentStatus") or {}).get("Healthy") is False,
    ),
)

ON_LOST_NODE: Final = (
    Case("node-lost", node=LOST_NODE, shows=_status("lost")),
    Case(
        "node-down",
        node=LOST_NODE,
        group={"Disconnect": {"LostAfter": seconds(3600)}},
        shows=_status("unknown"),
    ),
)

NO_NODES: Final = _unplaced("no-nodes")
"""Recorded last, when no node takes work."""
