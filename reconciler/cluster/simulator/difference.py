"""What differs between two versions of a job, and whether the running work survives it (pure).

The shape is Nomad's `JobDiff`, as far as its CLI and our own readers look into it.
"""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any, Final

Json = Mapping[str, Any]
_NOT_THE_SPEC: Final = frozenset(
    [
        "ID",
        "Status",
        "StatusDescription",
        "Version",
        "Stable",
        "CreateIndex",
        "ModifyIndex",
        "JobModifyIndex",
        "SubmitTime",
        "NomadTokenID",
        "VersionTag",
        "TaskGroups",
        "Update",
    ]
)
_TITLES: Final = {
    "Constraints": "Constraint",
    "Affinities": "Affinity",
    "Spreads": "Spread",
    "Services": "Service",
    "Checks": "Check",
    "Templates": "Template",
    "Networks": "Network",
    "DynamicPorts": "Dynamic Port",
    "ReservedPorts": "Static Port",
    "Devices": "Device",
}
_FLAT_MAPS: Final = frozenset({"Meta", "Env"})
_RESTARTING: Final = frozenset(
    [
        "Driver",
        "User",
        "Config",
        "Env",
        "Artifacts",
        "Vault",
        "Secrets",
        "Consul",
        "Templates",
        "CSIPluginConfig",
        "VolumeMounts",
        "Resources",
        "Identity",
        "Identities",
    ]
)
_RESTARTING_GROUP: Final = ("EphemeralDisk", "Networks", "Consul", "Volumes")
_UPDATE_WORDS: Final = {
    "Place": "create",
    "Stop": "destroy",
    "DestructiveUpdate": "create/destroy update",
    "InPlaceUpdate": "in-place update",
    "Ignore": "ignore",
    "Migrate": "migrate",
    "Canary": "canary",
}


def spec_changed(stored: Json, sent: Json) -> bool:
    """Tell whether registering `sent` (canonical) makes a new version."""
    return any(
        stored[name] != value
        for name, value in sent.items()
        if name not in _NOT_THE_SPEC or name in {"TaskGroups", "Update"}
    )


def restarts(old: Json, new: Json, group_name: str) -> bool:
    """Tell whether going from one job to the other replaces the group's running allocations."""
    before, after = _named(old["TaskGroups"], group_name), _named(new["TaskGroups"], group_name)
    if before is None or after is None or len(before["Tasks"]) != len(after["Tasks"]):
        return True
    if any(before[name] != after[name] for name in _RESTARTING_GROUP):
        return True
    return any(
        _task_restarts(task, _named(after["Tasks"], task["Name"]), (old, before), (new, after))
        for task in before["Tasks"]
    )


def job_diff(
    old: Json | None, new: Json, updates: Mapping[str, Mapping[str, int]]
) -> dict[str, Any]:
    """Return Nomad's diff of two versions; `updates` are the plan's counts per group ({}: none)."""
    before: Json = old or {}
    fields, objects = _contents(before, new, skip=_NOT_THE_SPEC, context=False)
    groups = [
        _group_diff(was, now, updates.get((now or was or {})["Name"]))
        for was, now in _paired(before.get("TaskGroups"), new.get("TaskGroups"))
    ]
    kind = _kind(old, new, [*fields, *objects, *groups])
    return {
        "ID": new["ID"],
        "Type": kind,
        "Fields": fields or None,
        "Objects": objects or None,
        "TaskGroups": groups,
    }


def _task_restarts(
    old: Json, new: Json | None, old_owners: tuple[Json, Json], new_owners: tuple[Json, Json]
) -> bool:
    if new is None:
        return True
    logs_moved = old["LogConfig"]["Disabled"] != new["LogConfig"]["Disabled"]
    meta_moved = _all_meta(*old_owners, old) != _all_meta(*new_owners, new)
    return logs_moved or meta_moved or any(old[name] != new[name] for name in _RESTARTING)


def _all_meta(job: Json, group: Json, task: Json) -> dict[str, str]:
    """Return the meta that the task sees: its group's and its job's are merged into it."""
    return {**(job["Meta"] or {}), **(group["Meta"] or {}), **(task["Meta"] or {})}


def _group_diff(
    old: Json | None, new: Json | None, updates: Mapping[str, int] | None
) -> dict[str, Any]:
    skip = frozenset({"Name", "Tasks"})
    fields, objects = _contents(old or {}, new or {}, skip=skip, context=False)
    tasks = [
        _task_diff(was, now)
        for was, now in _paired((old or {}).get("Tasks"), (new or {}).get("Tasks"))
    ]
    for item in fields:
        if item["Name"] == "Count":
            grew = int(item["New"] or 0) > int(item["Old"] or 0)
            item["Annotations"] = ["forces create" if grew else "forces destroy"]
    return {
        "Name": (new or old or {})["Name"],
        "Type": _kind(old, new, [*fields, *objects, *tasks]),
        "Fields": fields or None,
        "Objects": objects or None,
        "Tasks": tasks,
        "Updates": _updates(updates),
    }


def _updates(counts: Mapping[str, int] | None) -> dict[str, int] | None:
    if counts is None:
        return None
    return {word: counts[name] for name, word in _UPDATE_WORDS.items() if counts.get(name)}


def _task_diff(old: Json | None, new: Json | None) -> dict[str, Any]:
    fields, objects = _contents(old or {}, new or {}, skip=frozenset({"Name"}), context=False)
    kind = _kind(old, new, [*fields, *objects])
    return {
        "Name": (new or old or {})["Name"],
        "Type": kind,
        "Fields": fields or None,
        "Objects": objects or None,
        "Annotations": _task_annotation(kind, old, new),
    }


def _task_annotation(kind: str, old: Json | None, new: Json | None) -> list[str] | None:
    if kind == "None":
        return None
    if old is None or new is None:
        return ["forces create" if old is None else "forces destroy"]
    forced = any(old[name] != new[name] for name in (*_RESTARTING, "Meta"))
    return ["forces create/destroy update" if forced else "forces in-place update"]


def _contents(
    old: Json, new: Json, *, skip: frozenset[str], context: bool
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the differing fields and objects; with `context` the equal fields beside them too."""
    fields: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    for name in sorted({*old, *new} - skip):
        was, now = old.get(name), new.get(name)
        if name in _FLAT_MAPS:
            fields += _map_fields(name, was or {}, now or {})
        elif _is_object(was) or _is_object(now):
            objects += _objects(name, was, now)
        elif was != now or (context and was is not None):
            fields.append(_field(name, was, now))
    return fields, objects


def _is_object(value: Any) -> bool:
    return isinstance(value, dict | list)


def _objects(name: str, old: Any, new: Any) -> list[dict[str, Any]]:
    if old == new:
        return []
    if isinstance(old or new, Mapping):
        return [_object(_TITLES.get(name, name), old, new)]
    if not all(isinstance(item, Mapping) for item in [*(old or []), *(new or [])]):
        return [_text_list(name, old or [], new or [])]
    title = _TITLES.get(name, name)
    return [
        _object(title, was, now) for was, now in zip_longest(old or [], new or []) if was != now
    ]


def _object(title: str, old: Json | None, new: Json | None) -> dict[str, Any]:
    fields, objects = _contents(old or {}, new or {}, skip=frozenset(), context=True)
    return {
        "Name": title,
        "Type": _kind(old, new, [*fields, *objects]),
        "Fields": fields or None,
        "Objects": objects or None,
    }


def _text_list(name: str, old: Sequence[Any], new: Sequence[Any]) -> dict[str, Any]:
    fields = [_field(name, None, item) for item in new if item not in old]
    fields += [_field(name, item, None) for item in old if item not in new]
    return {
        "Name": name,
        "Type": _kind(old or None, new or None, fields),
        "Fields": fields or None,
        "Objects": None,
    }


def _map_fields(name: str, old: Mapping[str, str], new: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        _field(f"{name}[{key}]", old.get(key), new.get(key))
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key)
    ]


def _field(name: str, old: Any, new: Any) -> dict[str, Any]:
    before, after = _printed(old), _printed(new)
    if before == after:
        kind = "None"
    elif not before:
        kind = "Added"
    else:
        kind = "Edited" if after else "Deleted"
    return {"Name": name, "Old": before, "New": after, "Type": kind, "Annotations": None}


def _printed(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _kind(old: Any, new: Any, parts: Sequence[Json]) -> str:
    if old is None:
        return "Added"
    if new is None:
        return "Deleted"
    return "Edited" if any(part["Type"] != "None" for part in parts) else "None"


def _named(items: Sequence[Json] | None, name: str) -> Json | None:
    return next((item for item in items or () if item["Name"] == name), None)


def _paired(
    old: Sequence[Json] | None, new: Sequence[Json] | None
) -> list[tuple[Json | None, Json | None]]:
    names = sorted({item["Name"] for item in [*(old or ()), *(new or ())]})
    return [(_named(old, name), _named(new, name)) for name in names]
