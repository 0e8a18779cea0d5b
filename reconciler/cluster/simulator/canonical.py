"""What Nomad makes of a job that was sent: types checked, names folded, defaults filled in (pure).

Source: answers of Nomad 2.0. The result is a fresh tree; what was sent is left as it is.
"""

from collections.abc import Mapping
from typing import Any, Final

from reconciler.cluster.simulator.json_tree import copied
from reconciler.cluster.simulator.refusal import Refusal
from reconciler.cluster.simulator.shapes import HOUR, SECOND, SHAPES, Field

_FOLDED: Final = {
    shape: {
        spelling: (name, field)
        for name, field in fields.items()
        for spelling in (name.lower(), name)
    }
    for shape, fields in SHAPES.items()
}
"""By spelling, the name and the field; Nomad's own spelling is found without folding it."""

_ORDERED: Final = {shape: sorted(fields.items()) for shape, fields in SHAPES.items()}
_PYTHON: Final[dict[str, type]] = {"string": str, "bool": bool}
_INT_RANGE: Final = {"int": (-(2**63), 2**63), "uint64": (0, 2**64)}
_IDENTITY: Final = {
    "Audience": ["nomadproject.io"],
    "ChangeMode": "",
    "ChangeSignal": "",
    "Env": False,
    "ExtraClaims": None,
    "File": False,
    "Filepath": "",
    "Name": "default",
    "ServiceName": "",
    "TTL": 0,
}
_BATCH_RESTARTS: Final = {"Attempts": 3, "Interval": 24 * HOUR}
_BATCH_RESCHEDULES: Final = {
    "Attempts": 1,
    "Delay": 5 * SECOND,
    "DelayFunction": "constant",
    "Interval": 24 * HOUR,
    "MaxDelay": 0,
    "Unlimited": False,
}


def canonical_job(sent: Mapping[str, Any], *, namespace: str = "default") -> dict[str, Any]:
    """Return the job as Nomad stores it; `namespace` stands in where the job names none.

    Raises `Refusal` 400 with Go's words where a value has the wrong type.
    """
    typed = typed_job(sent)
    typed.setdefault("Namespace", namespace)
    batch = typed.get("Type") == "batch"
    job = _filled("Job", {**typed, "TaskGroups": None})
    job["Name"] = typed.get("Name", job["ID"])
    job["Datacenters"] = job["Datacenters"] or ["*"]
    job["TaskGroups"] = [
        _group(group, job=typed, batch=batch) for group in typed.get("TaskGroups") or []
    ]
    for moved in ("Migrate", "Reschedule"):  # Nomad keeps these in the groups only.
        del job[moved]
    job["Update"] = _job_update(typed.get("Update") or {}, batch=batch)
    return job


def typed_job(sent: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was sent with Nomad's spelling of every known field; unknown ones are dropped.

    Nomad's names are case-insensitive and the last spelling wins. Null counts as not sent.
    """
    return _typed("Job", sent, path="Job")


def _typed(shape: str, sent: Mapping[str, Any], *, path: str) -> dict[str, Any]:
    taken: dict[str, Any] = {}
    folded = _FOLDED[shape]
    for key, value in sent.items():
        if value is None:
            continue
        found = folded.get(key) or folded.get(key.lower())
        if found is not None:
            name, field = found
            taken[name] = _value(field, value, owner=shape, path=f"{path}.{name}")
    return taken


def _value(field: Field, value: Any, *, owner: str, path: str) -> Any:
    kind = field.kind
    if kind == "any":
        return copied(value)
    if kind in _INT_RANGE:
        return _integer(kind, value, owner=owner, path=path)
    if kind in _PYTHON:
        if type(value) is not _PYTHON[kind]:
            raise _mistyped(value, kind, owner=owner, path=path)
        return value
    if kind == "strings":
        _expect(list, value, "[]string", owner=owner, path=path)
        return [_value(Field("string"), item, owner=owner, path=path) for item in value]
    if kind == "texts":
        _expect(Mapping, value, "map[string]string", owner=owner, path=path)
        return {
            key: _value(Field("string"), item, owner=owner, path=path)
            for key, item in value.items()
        }
    if kind.startswith("["):
        shape = kind[1:-1]
        _expect(list, value, f"[]*api.{shape}", owner=owner, path=path)
        return [_object(shape, item, owner=owner, path=path) for item in value]
    return _object(kind, value, owner=owner, path=path)


def _object(shape: str, value: Any, *, owner: str, path: str) -> dict[str, Any]:
    _expect(Mapping, value, f"api.{shape}", owner=owner, path=path)
    return _typed(shape, value, path=path)


def _integer(kind: str, value: Any, *, owner: str, path: str) -> int:
    low, end = _INT_RANGE[kind]
    if type(value) is not int or not low <= value < end:
        raise _mistyped(value, kind, owner=owner, path=path)
    return value


def _expect(wanted: Any, value: Any, go_type: str, *, owner: str, path: str) -> None:
    if not isinstance(value, wanted):
        raise _mistyped(value, go_type, owner=owner, path=path)


def _mistyped(value: Any, go_type: str, *, owner: str, path: str) -> Refusal:
    return Refusal(
        400,
        f"json: cannot unmarshal {_go_word(value)} into Go struct field"
        f" {owner}.{path} of type {go_type}",
    )


def _go_word(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return f"number {value}"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def _filled(shape: str, typed: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in the defaults of one object and, unless said otherwise, of everything below it."""
    full: dict[str, Any] = {}
    for name, (kind, default) in _ORDERED[shape]:
        value = typed.get(name, default)
        if not value:
            # An empty text counts as not sent; an empty list or map is stored as null.
            full[name] = _empty(kind, value, default)
        elif kind in SHAPES:
            full[name] = _filled(kind, value)
        elif kind[0] == "[":
            full[name] = [_filled(kind[1:-1], item) for item in value]
        else:
            full[name] = value
    return full


def _empty(kind: str, value: Any, default: Any) -> Any:
    if value == "":
        return default
    if value is not None and kind in SHAPES:
        return _filled(kind, value)
    return None if isinstance(value, list | dict) else value


def _group(sent: Mapping[str, Any], *, job: Mapping[str, Any], batch: bool) -> dict[str, Any]:
    restarts = (_BATCH_RESTARTS if batch else {}) | sent.get("RestartPolicy", {})
    reschedules = {
        **(_BATCH_RESCHEDULES if batch else {}),
        **job.get("Reschedule", {}),
        **sent.get("ReschedulePolicy", {}),
    }
    update = None if batch else dict(job.get("Update", {})) | sent.get("Update", {})
    group = _filled(
        "TaskGroup",
        {
            **sent,
            "Tasks": None,
            "EphemeralDisk": sent.get("EphemeralDisk", {}),
            "RestartPolicy": restarts,
            "ReschedulePolicy": reschedules,
            "Update": update,
            "Migrate": None if batch else {**job.get("Migrate", {}), **sent.get("Migrate", {})},
        },
    )
    namespace = job["Namespace"]
    group["Scaling"] = _scaling(group, sent.get("Scaling"), job=job)
    group["Networks"] = [_network(item) for item in group["Networks"] or []] or None
    group["Services"] = [_service(item, namespace) for item in group["Services"] or []] or None
    group["Tasks"] = [
        _task(task, restarts=restarts, namespace=namespace) for task in sent.get("Tasks") or []
    ]
    implied = _implied_constraints(group)
    group["Constraints"] = [*(group["Constraints"] or []), *implied] or None
    return group


def _task(
    sent: Mapping[str, Any], *, restarts: Mapping[str, Any], namespace: str
) -> dict[str, Any]:
    task = _filled(
        "Task",
        {
            **sent,
            "Resources": sent.get("Resources", {}),
            "LogConfig": sent.get("LogConfig", {}),
            "RestartPolicy": {**restarts, **sent.get("RestartPolicy", {})},
        },
    )
    if task["Resources"]["Cores"] and "CPU" not in sent.get("Resources", {}):
        task["Resources"]["CPU"] = 0
    task["Identity"] = task["Identity"] or dict(_IDENTITY)
    task["Services"] = [_service(item, namespace) for item in task["Services"] or []] or None
    return task


def _scaling(
    group: Mapping[str, Any], sent: Mapping[str, Any] | None, *, job: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return the group's scaling policy: the count is its least, and it names what it scales."""
    policy = group["Scaling"]
    if policy is None or sent is None:
        return None
    target = {"Namespace": job["Namespace"], "Job": job["ID"], "Group": group["Name"]}
    return {**policy, "Min": sent.get("Min", group["Count"]), "Target": target}


def _service(service: dict[str, Any], namespace: str) -> dict[str, Any]:
    name = service["Name"]
    checks = [
        {**check, "Name": check["Name"] or f'service: "{name}" check'}
        for check in service["Checks"] or []
    ]
    return {**service, "Namespace": namespace, "Checks": checks or None}


def _network(network: dict[str, Any]) -> dict[str, Any]:
    ports = {
        key: [_present({**port, "HostNetwork": port["HostNetwork"] or "default"}) for port in ports]
        for key in ("DynamicPorts", "ReservedPorts")
        if (ports := network[key])
    }
    return {**_present(network), **ports}


def _present(item: Mapping[str, Any]) -> dict[str, Any]:
    """Drop what is empty: Nomad leaves such fields out of a network and its ports."""
    return {key: value for key, value in item.items() if value}


def _implied_constraints(group: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what Nomad adds by itself: the signal and the service registry must be there."""
    signals = sorted({task["KillSignal"] for task in group["Tasks"] if task["KillSignal"]})
    services = [
        service
        for owner in (group, *group["Tasks"])
        for service in owner["Services"] or []
        if service["Provider"] == "nomad"
    ]
    implied = []
    if signals:
        implied.append(_constraint("${attr.os.signals}", "set_contains", ",".join(signals)))
    if services:
        implied.append(_constraint("${attr.nomad.service_discovery}", "=", "true"))
    if any(service["Checks"] for service in services):
        implied.append(_constraint("${attr.nomad.version}", "semver", ">= 1.4.0"))
    return implied


def _constraint(left: str, operand: str, right: str) -> dict[str, Any]:
    return {"LTarget": left, "Operand": operand, "RTarget": right}


def _job_update(sent: Mapping[str, Any], *, batch: bool) -> dict[str, Any]:
    """Return the job's own update block: Nomad moves all but two of its fields into the groups."""
    return {
        "AutoPromote": False,
        "AutoRevert": False,
        "Canary": 0,
        "HealthCheck": "",
        "HealthyDeadline": 0,
        "MaxParallel": 0 if batch else sent.get("MaxParallel", 1),
        "MinHealthyTime": 0,
        "ProgressDeadline": 0,
        "Stagger": 0 if batch else sent.get("Stagger", 30 * SECOND),
    }
