"""Where one task group fits, and why it fits nowhere (pure).

As Nomad does it: nodes are filtered by what they are, then by what is free, and the rest are
scored by bin packing and affinities. Unlike Nomad, every node is looked at and the best one wins,
so that the same cluster always gives the same placement.
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from reconciler.cluster.simulator import targets
from reconciler.cluster.simulator.devices import (
    device_scores,
    has_devices,
    spare_devices,
    take_devices,
)
from reconciler.cluster.simulator.nodes import CORE_MHZ
from reconciler.cluster.simulator.room import Candidate, Claim, claim_of, takes_work

Json = Mapping[str, Any]
_PORT_STRIDE: Final = 7919
"""From one port that is taken to the next that is tried: a prime, so that all are."""


@dataclass(frozen=True, slots=True)
class Placement:
    """A node that was chosen, what is taken of it, and what the allocation says that it got."""

    node: Json
    claim: Claim
    allocated: Json


@dataclass(slots=True)
class Tally:
    """Why nodes were passed over, as an evaluation's metrics tell it."""

    evaluated: int = 0
    filtered: dict[str, int] = field(default_factory=dict)
    exhausted: dict[str, int] = field(default_factory=dict)
    available: dict[str, int] = field(default_factory=dict)

    def metrics(self) -> dict[str, Any]:
        """Return Nomad's `AllocMetric`."""
        return {
            "AllocationTime": 0,
            "ClassExhausted": None,
            "ClassFiltered": None,
            "CoalescedFailures": 0,
            "ConstraintFiltered": self.filtered or None,
            "DimensionExhausted": self.exhausted or None,
            "NodePool": "default",
            "NodesAvailable": self.available,
            "NodesEvaluated": self.evaluated,
            "NodesExhausted": sum(self.exhausted.values()),
            "NodesFiltered": sum(self.filtered.values()),
            "NodesInPool": sum(self.available.values()),
            "QuotaExhausted": None,
            "ResourcesExhausted": None,
            "ScoreMetaData": None,
            "Scores": None,
        }


def place(
    job: Json, group: Json, candidates: Sequence[Candidate], *, seed: int
) -> Placement | Tally:
    """Choose a node for one allocation of the group, or tell why none would do.

    `seed` only decides where the search for free ports begins.
    """
    tally = Tally()
    best: tuple[float, Placement] | None = None
    for candidate in candidates:
        node = candidate.node
        if not in_datacenter(job, node):
            continue
        tally.available[node["Datacenter"]] = tally.available.get(node["Datacenter"], 0) + 1
        tally.evaluated += 1
        unfit = why_unfit(job, group, node) or _crowded(job, group, candidate)
        if unfit:
            tally.filtered[unfit] = tally.filtered.get(unfit, 0) + 1
            continue
        fitted = _fit(group, candidate, seed=seed)
        if isinstance(fitted, str):
            tally.exhausted[fitted] = tally.exhausted.get(fitted, 0) + 1
            continue
        score = _score(job, group, candidate, fitted)
        if best is None or score > best[0]:
            best = score, fitted
    return tally if best is None else best[1]


def in_datacenter(job: Json, node: Json) -> bool:
    """Tell whether the job may run in the node's datacenter; "*" and "dc*" are understood."""
    where = node["Datacenter"]
    return any(
        where.startswith(wanted[:-1]) if wanted.endswith("*") else where == wanted
        for wanted in job["Datacenters"]
    )


def why_unfit(job: Json, group: Json, node: Json) -> str:
    """Return why this node will never do whatever is free on it, "" when it will."""
    values = targets.node_values(node)
    owners = (job, group, *group["Tasks"])
    drivers = {task["Driver"] for task in group["Tasks"]}
    if any(not node["Drivers"].get(driver, {}).get("Healthy") for driver in drivers):
        return "missing drivers"
    for owner in owners:
        for constraint in owner["Constraints"] or ():
            if not targets.satisfies(values, constraint):
                return targets.worded(constraint)
    return "" if has_devices(group, node) else "missing devices"


def unfit_classes(job: Json, failed: Container[str], nodes: Iterable[Json]) -> frozenset[str]:
    """Return the classes of nodes that will never do for any group in `failed`.

    None where the job names what is unique to a node: then no class stands for its nodes.
    """
    groups = [group for group in job["TaskGroups"] if group["Name"] in failed]
    owners = [job, *groups, *(task for group in groups for task in group["Tasks"])]
    if any(targets.names_unique(c) for owner in owners for c in owner["Constraints"] or ()):
        return frozenset()
    seen = [node for node in nodes if takes_work(node) and in_datacenter(job, node)]
    fit = {n["ComputedClass"] for n in seen if any(not why_unfit(job, g, n) for g in groups)}
    return frozenset({node["ComputedClass"] for node in seen} - fit)


def _crowded(job: Json, group: Json, candidate: Candidate) -> str:
    distinct = any(
        constraint["Operand"] == "distinct_hosts" and constraint["RTarget"] != "false"
        for owner in (job, group)
        for constraint in owner["Constraints"] or ()
    )
    return "distinct_hosts" if distinct and candidate.neighbours else ""


def _fit(group: Json, candidate: Candidate, *, seed: int) -> Placement | str:
    """Return the placement on this node, or the word for what there is too little of."""
    ports = _ports(group, candidate, seed=seed)
    if isinstance(ports, str):
        return ports
    tasks: dict[str, Any] = {}
    cores = _free_cores(group, candidate)
    spare = spare_devices(candidate)
    for task in group["Tasks"]:
        wanted = task["Resources"]
        if wanted["Cores"] > len(cores):
            return "cores"
        taken_cores, cores = cores[: wanted["Cores"]], cores[wanted["Cores"] :]
        devices = take_devices(wanted, spare)
        if devices is None:
            return "devices: no devices match request"
        tasks[task["Name"]] = {
            "Cpu": {
                "CpuShares": len(taken_cores) * CORE_MHZ or wanted["CPU"],
                "ReservedCores": taken_cores or None,
            },
            "Memory": {"MemoryMB": wanted["MemoryMB"], "MemoryMaxMB": wanted["MemoryMaxMB"]},
            "Devices": devices or None,
            "Networks": None,
        }
    allocated = {
        "Shared": {
            "DiskMB": group["EphemeralDisk"]["SizeMB"],
            "Networks": _networks(group, candidate.node["Address"], ports),
            "Ports": ports or None,
        },
        "TaskLifecycles": {task["Name"]: task["Lifecycle"] for task in group["Tasks"]},
        "Tasks": tasks,
    }
    claim = claim_of(allocated)
    short = _shortage(candidate, claim)
    return short or Placement(node=candidate.node, claim=claim, allocated=allocated)


def _shortage(candidate: Candidate, claim: Claim) -> str:
    resources = candidate.node["NodeResources"]
    limits = {
        "cpu": ("cpu_mhz", resources["Cpu"]["CpuShares"]),
        "memory": ("memory_mb", resources["Memory"]["MemoryMB"]),
        "disk": ("disk_mb", resources["Disk"]["DiskMB"]),
    }
    for word, (quantity, limit) in limits.items():
        if candidate.taken(quantity) + getattr(claim, quantity) > limit:
            return word
    return ""


def _ports(group: Json, candidate: Candidate, *, seed: int) -> list[dict[str, Any]] | str:
    resources = candidate.node["NodeResources"]
    low, high = resources["MinDynamicPort"], resources["MaxDynamicPort"]
    address = candidate.node["Address"]
    ports: list[dict[str, Any]] = []
    mine: set[int] = set()
    wanted = sum(len(network.get("DynamicPorts", ())) for network in group["Networks"] or ())
    if wanted > high - low + 1 - len(candidate.load.ports):
        # A full node is looked at for every job that waits: it is not searched each time.
        return "network: dynamic port selection failed"
    free = _free_ports(candidate, low, high, seed=seed)
    for network in group["Networks"] or ():
        for port in network.get("ReservedPorts", ()):
            if port["Value"] in mine or candidate.holds("ports", port["Value"]):
                return f"network: reserved port collision {port['Label']}={port['Value']}"
            mine.add(port["Value"])
            ports.append(_port(port, address, port["Value"]))
        for port in network.get("DynamicPorts", ()):
            value = next((value for value in free if value not in mine), None)
            if value is None:
                return "network: dynamic port selection failed"
            mine.add(value)
            ports.append(_port(port, address, value))
    return ports


def _port(port: Json, address: str, value: int) -> dict[str, Any]:
    told = {"HostIP": address, "Label": port["Label"], "Value": value}
    return {**told, "To": port["To"]} if port.get("To") else told


def _networks(group: Json, address: str, ports: Sequence[Json]) -> list[dict[str, Any]] | None:
    """Return the group's networks with the ports that were found for them."""
    values = {port["Label"]: port["Value"] for port in ports}
    networks = []
    for network in group["Networks"] or ():
        filled = {
            kind: [{**port, "Value": values[port["Label"]]} for port in network[kind]]
            for kind in ("DynamicPorts", "ReservedPorts")
            if kind in network
        }
        networks.append({**network, **filled, "IP": address})
    return networks or None


def _free_ports(candidate: Candidate, low: int, high: int, *, seed: int) -> Iterator[int]:
    span = high - low + 1
    for step in range(span):
        value = low + (seed + step * _PORT_STRIDE) % span
        if not candidate.holds("ports", value):
            yield value


def _free_cores(group: Json, candidate: Candidate) -> list[int]:
    if not any(task["Resources"]["Cores"] for task in group["Tasks"]):
        return []  # Most groups ask for none, and a node has many.
    cores = candidate.node["NodeResources"]["Cpu"]["ReservableCpuCores"] or ()
    return [core for core in cores if not candidate.holds("cores", core)]


def _score(job: Json, group: Json, candidate: Candidate, placement: Placement) -> float:
    """Return the mean of the scores that apply, as Nomad's normalised score."""
    values = targets.node_values(candidate.node)
    wishes = [item for owner in (job, group, *group["Tasks"]) for item in owner["Affinities"] or ()]
    scores = [_packing(candidate, placement.claim)]
    if candidate.neighbours:
        scores.append(-(candidate.neighbours + 1) / max(group["Count"], 1))
    node_affinity = targets.affinity_score(values, wishes)
    if node_affinity:
        scores.append(node_affinity)
    scores += device_scores(group, candidate.node, placement.claim)
    return sum(scores) / len(scores)


def _packing(candidate: Candidate, claim: Claim) -> float:
    """Return the bin-packing score from 0 to 1; formula of Google's work as Nomad uses it."""
    resources = candidate.node["NodeResources"]
    cpu = (candidate.taken("cpu_mhz") + claim.cpu_mhz) / resources["Cpu"]["CpuShares"]
    memory = (candidate.taken("memory_mb") + claim.memory_mb) / resources["Memory"]["MemoryMB"]
    packed: float = 20 - (10 ** (1 - cpu) + 10 ** (1 - memory))
    return min(max(packed, 0.0), 18.0) / 18
