"""Which devices of a node a task group gets, and whether the node has them at all (pure)."""

from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.cluster.simulator import targets
from reconciler.cluster.simulator.room import Candidate, Claim

Json = Mapping[str, Any]
Spare = list[tuple[Json, list[str]]]
"""A node's groups of devices, each with the ids of those that nobody has."""


def has_devices(group: Json, node: Json) -> bool:
    """Tell whether the node has what the group asks for, taken or not."""
    groups: Sequence[Json] = node["NodeResources"]["Devices"] or ()
    totals = [len(_healthy(devices)) for devices in groups]
    for task in group["Tasks"]:
        for request in task["Resources"]["Devices"] or ():
            for position, devices in enumerate(groups):
                if totals[position] >= request["Count"] and _device_matches(request, devices):
                    totals[position] -= request["Count"]
                    break
            else:
                return False
    return True


def spare_devices(candidate: Candidate) -> Spare:
    """Return what is there and free."""
    return [
        (
            devices,
            [
                instance
                for instance in _healthy(devices)
                if not candidate.holds(
                    "devices", (devices["Vendor"], devices["Type"], devices["Name"], instance)
                )
            ],
        )
        for devices in candidate.node["NodeResources"]["Devices"] or ()
    ]


def take_devices(wanted: Json, spare: Spare) -> list[dict[str, Any]] | None:
    """Take what one task asks for out of `spare`; None, and an undefined rest, when too few are."""
    taken = []
    for request in wanted["Devices"] or ():
        fitting = [
            (devices, free)
            for devices, free in spare
            if _device_matches(request, devices) and len(free) >= request["Count"]
        ]
        if not fitting:
            return None
        devices, free = max(fitting, key=lambda pair: _affinity_score(request, pair[0]) or 0.0)
        instances = [free.pop(0) for _ in range(request["Count"])]
        taken.append(
            {key: devices[key] for key in ("Vendor", "Type", "Name")} | {"DeviceIDs": instances}
        )
    return taken


def device_scores(group: Json, node: Json, claim: Claim) -> list[float]:
    """Return how well each request with affinities was met, from -1 to 1."""
    requests = [item for task in group["Tasks"] for item in task["Resources"]["Devices"] or ()]
    scores = (_taken_score(request, node, claim) for request in requests)
    return [score for score in scores if score is not None]


def _taken_score(request: Json, node: Json, claim: Claim) -> float | None:
    taken = {device[:3] for device in claim.devices}
    for devices in node["NodeResources"]["Devices"] or ():
        named = (devices["Vendor"], devices["Type"], devices["Name"])
        if named in taken and _device_matches(request, devices):
            return _affinity_score(request, devices)
    return None


def _device_matches(request: Json, devices: Json) -> bool:
    parts = request["Name"].split("/", 2)
    names = {1: ("Type",), 2: ("Vendor", "Type"), 3: ("Vendor", "Type", "Name")}[len(parts)]
    if any(part and devices[name] != part for name, part in zip(names, parts, strict=True)):
        return False
    values = targets.device_values(devices)
    return all(targets.satisfies(values, item) for item in request["Constraints"] or ())


def _affinity_score(request: Json, devices: Json) -> float | None:
    return targets.affinity_score(targets.device_values(devices), request["Affinities"] or ())


def _healthy(devices: Json) -> list[str]:
    return [instance["ID"] for instance in devices["Instances"] if instance["Healthy"]]
