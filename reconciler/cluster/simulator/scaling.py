"""Scaling policies in the groups of a job, and what Nomad adds to them (pure).

Nomad keeps each policy as an object of its own: it has an id, which a register carries over, and
indexes, which are written into the job only when the policy is new or changed. So a job that is
sent again without those indexes reads as changed: a new version, once. A plan does not even carry
the id over, and never says "None" of such a job.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

Json = Mapping[str, Any]
_SPEC: Final = ("Type", "Target", "Policy", "Enabled", "Min", "Max")


def with_policy_ids(
    job: dict[str, Any], stored: Json | None, *, new_id: Callable[[], str]
) -> dict[str, Any]:
    """Return the job with the ids of the policies that it has already, and new ones for others."""
    if not any(group["Scaling"] for group in job["TaskGroups"]):
        return job
    known = _policies(stored)
    return _changed(job, lambda name, _: {"ID": known[name]["ID"] if name in known else new_id()})


def with_policy_indexes(job: dict[str, Any], stored: Json | None, *, index: int) -> dict[str, Any]:
    """Return the job with this index in every policy that is new or changed."""
    if not any(group["Scaling"] for group in job["TaskGroups"]):
        return job
    known = _policies(stored)

    def indexes(name: str, policy: Json) -> Json:
        before = known.get(name)
        if before is None:
            return {"CreateIndex": index, "ModifyIndex": index}
        if all(before[field] == policy[field] for field in _SPEC):
            return {}
        return {"CreateIndex": before["CreateIndex"], "ModifyIndex": index}

    return _changed(job, indexes)


def _changed(job: Json, change: Callable[[str, Json], Json]) -> dict[str, Any]:
    groups = [
        {**group, "Scaling": {**policy, **change(group["Name"], policy)}} if policy else group
        for group in job["TaskGroups"]
        for policy in (group["Scaling"],)
    ]
    return {**job, "TaskGroups": groups}


def _policies(job: Json | None) -> dict[str, Json]:
    groups = job["TaskGroups"] if job else ()
    return {group["Name"]: group["Scaling"] for group in groups if group["Scaling"]}
