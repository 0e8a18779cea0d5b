"""What Nomad refuses in a job, in Nomad's own words (pure).

Source: answers of Nomad 2.0 to bad jobs. Rules are those that a job of ours or of a test can break.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

_OPERANDS: Final = frozenset(
    [
        "=",
        "==",
        "is",
        "!=",
        "not",
        "<",
        "<=",
        ">",
        ">=",
        "regexp",
        "version",
        "semver",
        "set_contains",
        "set_contains_all",
        "set_contains_any",
        "is_set",
        "is_not_set",
        "distinct_hosts",
        "distinct_property",
    ]
)
_TARGETED: Final = re.compile(r"\$\{(attr|meta|node|device)\..+\}")
_SERVICE_NAME: Final = re.compile(r"^(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]{0,61}[a-zA-Z0-9])$")
_INTERPOLATION: Final = re.compile(r"\$\{[^}]*\}")
Faults = list[str]


def job_faults(job: Mapping[str, Any]) -> Faults:
    """Return what is wrong with a canonical job, one text per fault; empty when Nomad takes it."""
    return [
        *_id_faults(job),
        *_if(not job["Name"], "Missing job name"),
        *_if(job["Type"] not in {"service", "batch"}, f'Invalid job type: "{job["Type"]}"'),
        *_if(not 1 <= job["Priority"] <= 100, "job priority must be between [1, 100]"),
        *_ui_faults(job["UI"] or {}),
        *_if("" in job["Datacenters"], "Job datacenter must be non-empty string"),
        *_if(not job["TaskGroups"], "Missing job task groups"),
        *_numbered(job["Constraints"], "Constraint", _constraint_faults),
        *_numbered(job["Affinities"], "Affinity", _affinity_faults),
        *_repeats(job["TaskGroups"]),
        *_nested(job["TaskGroups"], "Task group {} validation failed", _group_faults),
    ]


def told(faults: Sequence[str]) -> str:
    """Return the faults as Nomad's error text has them."""
    count = "1 error" if len(faults) == 1 else f"{len(faults)} errors"
    listed = "\n\t".join(f"* {fault}" for fault in faults)
    return f"{count} occurred:\n\t{listed}\n\n"


def warnings(job: Mapping[str, Any]) -> str:
    """Return the warnings that Nomad answers a register with, "" when there are none."""
    told_off = [
        f'group "{group["Name"]}" defines services, but neither the group nor any of its tasks'
        " have shutdown_delay set"
        for group in job["TaskGroups"]
        if group["Services"]
        and not group["ShutdownDelay"]
        and not any(task["ShutdownDelay"] for task in group["Tasks"])
    ]
    if not told_off:
        return ""
    count = "1 warning" if len(told_off) == 1 else f"{len(told_off)} warnings"
    return f"{count}:\n\n" + "\n".join(f"* {text}" for text in told_off)


def _ui_faults(ui: Mapping[str, Any]) -> Faults:
    size = len((ui.get("Description") or "").encode())
    return _if(size > 1000, f"UI description must be under 1000 characters, currently {size}")


def _if(wrong: bool, text: str) -> Faults:
    return [text] if wrong else []


def _wrapped(title: str, faults: Faults) -> Faults:
    return [f"{title}: {told(faults)}"] if faults else []


def _nested(
    items: Sequence[Mapping[str, Any]] | None, title: str, faults: Callable[[Any], Faults]
) -> Faults:
    return [
        text for item in items or [] for text in _wrapped(title.format(item["Name"]), faults(item))
    ]


def _numbered(items: Sequence[Any] | None, title: str, faults: Callable[[Any], Faults]) -> Faults:
    return [
        text
        for number, item in enumerate(items or [], 1)
        for text in _wrapped(f"{title} {number} validation failed", faults(item))
    ]


def _id_faults(job: Mapping[str, Any]) -> Faults:
    return [
        *_if(not job["ID"], "Missing job ID"),
        *_if(" " in job["ID"], "Job ID contains a space"),
        *_if("\0" in job["ID"], "Job ID contains a null character"),
    ]


def _repeats(groups: Sequence[Mapping[str, Any]]) -> Faults:
    first: dict[str, int] = {}
    faults: Faults = []
    for number, group in enumerate(groups, 1):
        name = group["Name"]
        if not name:
            faults.append(f"Job task group {number} missing name")
        elif name in first:
            faults.append(f"Job task group {number} redefines '{name}' from group {first[name]}")
        first.setdefault(name, number)
    return faults


def _group_faults(group: Mapping[str, Any]) -> Faults:
    tasks = group["Tasks"]
    mains = [task for task in tasks if not task["Lifecycle"]]
    disk_mb = group["EphemeralDisk"]["SizeMB"]
    restarts = group["RestartPolicy"]["Mode"]
    update = group["Update"]
    network = [fault for item in group["Networks"] or [] for fault in _network_faults(item)]
    services = [
        text
        for number, service in enumerate(group["Services"] or [])
        for text in _wrapped(
            f"Service[{number}] {service['Name']} validation failed", _service_faults(service)
        )
    ]
    scaling = _scaling_faults(group["Scaling"], group["Count"]) if group["Scaling"] else []
    return [
        *_if(not group["Name"], "Missing task group name"),
        *_if(group["Count"] < 0, "Task group count can't be negative"),
        *_if(not tasks, "Missing tasks for task group"),
        *_numbered(group["Constraints"], "Constraint", _constraint_faults),
        *_numbered(group["Affinities"], "Affinity", _affinity_faults),
        *_if(restarts not in {"fail", "delay"}, f'Unsupported restart mode: "{restarts}"'),
        *_if(disk_mb < 10, f"minimum DiskMB value is 10; got {disk_mb}"),
        *(_update_faults(update) if update else []),
        *_wrapped("Task group scaling policy validation failed", scaling),
        *_if(
            bool(tasks) and not mains,
            f"Task group {group['Name']} must have at least one main task",
        ),
        *[f"Task {n} missing name" for n, task in enumerate(tasks, 1) if not task["Name"]],
        *_wrapped("Task group network validation failed", network),
        *_wrapped("Task group service validation failed", services),
        *_nested(tasks, "Task {} validation failed", lambda task: _task_faults(task, disk_mb)),
    ]


def _update_faults(update: Mapping[str, Any]) -> Faults:
    most, canaries = update["MaxParallel"], update["Canary"]
    return [
        *_if(most < 0, f"Max parallel can not be less than zero: {most} < 0"),
        *_if(canaries < 0, f"Canary count can not be less than zero: {canaries} < 0"),
    ]


def _scaling_faults(policy: Mapping[str, Any], count: int) -> Faults:
    least, most = policy["Min"], policy["Max"]
    faults = [
        *_if(most < 0, "maximum count must be specified and non-negative"),
        *_if(0 <= most < least, "maximum count must not be less than minimum count"),
        *_if(least < 0, "minimum count must be specified and non-negative"),
        *_if(
            most < count,
            "task group count must not be greater than maximum count in scaling policy",
        ),
        *_if(
            count < least, "task group count must not be less than minimum count in scaling policy"
        ),
    ]
    return [f"Scaling policy invalid: {fault}" for fault in faults]


def _network_faults(network: Mapping[str, Any]) -> Faults:
    labels = [
        port["Label"] for key in ("ReservedPorts", "DynamicPorts") for port in network.get(key, ())
    ]
    return [
        f"Port label {label} already in use by taskgroup network"
        for position, label in enumerate(labels)
        if label in labels[:position]
    ]


def _service_faults(service: Mapping[str, Any]) -> Faults:
    name = service["Name"]
    # Nomad can't know the length of what it will put in; it tries with the variables cut out.
    named = bool(_SERVICE_NAME.match(_INTERPOLATION.sub("x", name)))
    provider = service["Provider"]
    return [
        *_if(
            not named,
            "Service name must be valid per RFC 1123 and can contain only alphanumeric characters"
            f' or dashes and must be no longer than 63 characters: "{name}"',
        ),
        *_if(
            provider not in {"nomad", "consul"},
            f'Service provider must be "consul" or "nomad", got "{provider}"',
        ),
    ]


def _task_faults(task: Mapping[str, Any], disk_mb: int) -> Faults:
    log = task["LogConfig"]
    log_mb = 0 if log["Disabled"] else log["MaxFiles"] * log["MaxFileSizeMB"]
    too_much_log = log_mb >= disk_mb
    logged = f"log storage ({log_mb} MB) must be less than requested disk capacity ({disk_mb} MB)"
    resources = _resource_faults(task["Resources"])
    return [
        *_if(not task["Name"], "Missing task name"),
        *_if("/" in task["Name"], "Task name cannot include slashes"),
        *_if(not task["Driver"], "Missing task driver"),
        *_if(task["KillTimeout"] < 0, "KillTimeout must be a positive value"),
        *([told(resources)] if resources else []),
        *([told([logged])] if too_much_log else []),
        *_numbered(task["Constraints"], "Constraint", _constraint_faults),
        *_numbered(task["Affinities"], "Affinity", _affinity_faults),
        *_numbered(task["Templates"], "Template", _template_faults),
    ]


def _resource_faults(resources: Mapping[str, Any]) -> Faults:
    cpu, cores, memory_mb = resources["CPU"], resources["Cores"], resources["MemoryMB"]
    low = [
        *_if(not cores and cpu < 1, f"minimum CPU value is 1; got {cpu}"),
        *_if(memory_mb < 10, f"minimum MemoryMB value is 10; got {memory_mb}"),
    ]
    return [
        *_if(
            cores > 0 and cpu > 0,
            "Task can only ask for 'cpu' or 'cores' resource, not both.",
        ),
        *_if(cores < 0, f"cores value ({cores}) cannot be negative"),
        *([told(low)] if low and cores >= 0 else []),
        *[
            text
            for number, device in enumerate(resources["Devices"] or [], 1)
            for text in _wrapped(f"device {number} failed validation", _device_faults(device))
        ],
    ]


def _device_faults(device: Mapping[str, Any]) -> Faults:
    return [
        *_if(
            not device["Name"],
            "device name must be given as one of the following: type, vendor/type,"
            " or vendor/type/name",
        ),
        *_numbered(device["Constraints"], "Constraint", _constraint_faults),
        *_numbered(device["Affinities"], "Affinity", _affinity_faults),
    ]


def _template_faults(template: Mapping[str, Any]) -> Faults:
    destination = template["DestPath"]
    return [
        *_if(
            not template["EmbeddedTmpl"] and not template["SourcePath"],
            "Must specify a source path or have an embedded template",
        ),
        *_if(not destination, "Must specify a destination for the template"),
        *_if(_escapes(destination), "destination escapes allocation directory"),
    ]


def _escapes(path: str) -> bool:
    depth = 1  # A destination is taken from the task's own directory inside the allocation's.
    for part in path.split("/"):
        depth += {"": 0, ".": 0, "..": -1}.get(part, 1)
        if depth < 0:
            return True
    return False


def _constraint_faults(constraint: Mapping[str, Any]) -> Faults:
    left, operand, right = (constraint[key] for key in ("LTarget", "Operand", "RTarget"))
    if operand == "distinct_hosts":
        return []
    return [
        *_if(not operand, "Missing constraint operand"),
        *_if(operand not in _OPERANDS, f'Unknown constraint type "{operand}"'),
        *_if(not left, "no attribute provided but is required by operator"),
        *[
            f'unsupported attribute "{target}"'
            for target in (left, right)
            if target.startswith("${") and not _TARGETED.fullmatch(target)
        ],
    ]


def _affinity_faults(affinity: Mapping[str, Any]) -> Faults:
    return [
        *_if(affinity["Weight"] == 0, "Affinity weight cannot be zero"),
        *_if(not -100 <= affinity["Weight"] <= 100, "Affinity weight must be within [-100,100]"),
    ]
