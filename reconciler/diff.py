"""What differs between the job we wrote and the job that is there (pure).

Nomad fills in dozens of defaults, so equality never holds: only what we wrote is compared. Named
lists (groups, tasks, services, ports) are matched by name, other lists by position. A null of ours
says nothing, nor does an empty text where Nomad has a default for it; in the maps that are wholly
ours (`WHOLE`) an empty text is a value.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from reconciler.jobs import Json

NAMES: Final = ("Name", "Label")
"""The keys that tell the entries of a list apart, in Nomad's job."""

WHOLE: Final = frozenset({"Env", "Meta"})

FOUND: Final = "Found"
"""In the job on record of a deployment that was taken over: the spec that was read from it."""

SET_BY_NOMAD: Final = frozenset({"Version", "Stable", "Status", "StatusDescription", "SubmitTime"})
"""Fields of a job that Nomad alone moves; a template that was parsed carries them empty."""


NOT_COMPARED: Final = SET_BY_NOMAD | {FOUND}


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field that is not as we wrote it; `path` such as `TaskGroups[usergroup].Count`."""

    path: str
    wanted: Any
    actual: Any


def diff_job(wanted: Json, actual: Json) -> tuple[FieldChange, ...]:
    """Return what of `wanted` is different or missing in `actual`, in the order of `wanted`."""
    ours = {key: value for key, value in wanted.items() if key not in NOT_COMPARED}
    return tuple(_diff(ours, actual, ""))


def hands_over_counts(wanted: Json) -> bool:
    """Whether the job leaves the count of a group to others: the group has a `scaling` block."""
    return any(map(_hands_over, wanted.get("TaskGroups") or ()))


def with_live_counts(wanted: Json, live: Json) -> Json:
    """Return `wanted` with the counts that it hands over as they are in `live`."""
    if not hands_over_counts(wanted):
        return wanted
    counts = {group["Name"]: group["Count"] for group in live.get("TaskGroups") or ()}
    groups = [
        {**group, "Count": counts.get(group["Name"], group.get("Count"))}
        if _hands_over(group)
        else group
        for group in wanted["TaskGroups"]
    ]
    return {**wanted, "TaskGroups": groups}


def _hands_over(group: Json) -> bool:
    scaling = group.get("Scaling")
    return isinstance(scaling, Mapping) and bool(scaling.get("Enabled"))


def _diff(wanted: Any, actual: Any, path: str, *, whole: bool = False) -> Iterator[FieldChange]:
    if wanted is None or (wanted == "" and not whole):
        return
    if isinstance(wanted, Mapping):
        yield from _diff_mapping(wanted, actual, path, whole=whole)
    elif isinstance(wanted, list | tuple):
        yield from _diff_list(wanted, actual, path)
    elif wanted != actual and (wanted or actual):
        yield FieldChange(path, wanted, actual)


def _diff_mapping(
    wanted: Mapping[str, Any], actual: Any, path: str, *, whole: bool
) -> Iterator[FieldChange]:
    theirs = actual if isinstance(actual, Mapping) else {}
    for key, value in wanted.items():
        way = f"{path}.{key}" if path else key
        yield from _diff(value, theirs.get(key), way, whole=whole or key in WHOLE)


def _diff_list(wanted: Sequence[Any], actual: Any, path: str) -> Iterator[FieldChange]:
    theirs: Sequence[Any] = actual if isinstance(actual, list | tuple) else ()
    if len(wanted) != len(theirs):
        yield FieldChange(path, _summary(wanted), _summary(theirs))
        return
    named = {_name(entry): entry for entry in theirs}
    for position, value in enumerate(wanted):
        name = _name(value)
        match = named.get(name) if name is not None else theirs[position]
        yield from _diff(value, match, f"{path}[{position if name is None else name}]")


def _name(entry: Any) -> str | None:
    if isinstance(entry, Mapping):
        return next((str(entry[key]) for key in NAMES if entry.get(key)), None)
    return None


def _summary(entries: Sequence[Any]) -> list[Any]:
    return [_name(entry) or entry for entry in entries]
