"""What is taken of a node, and what one plan changes in it (pure)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = Mapping[str, Any]
Device = tuple[str, str, str, str]
"""One device instance: vendor, type, name, id."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What one allocation takes of its node."""

    cpu_mhz: int = 0
    memory_mb: int = 0
    disk_mb: int = 0
    cores: frozenset[int] = frozenset()
    ports: frozenset[int] = frozenset()
    devices: frozenset[Device] = frozenset()


@dataclass(slots=True)
class Load:
    """What is taken of a node by the allocations on it."""

    cpu_mhz: int = 0
    memory_mb: int = 0
    disk_mb: int = 0
    cores: set[int] = field(default_factory=set)
    ports: set[int] = field(default_factory=set)
    devices: set[Device] = field(default_factory=set)

    def add(self, claim: Claim) -> None:
        """Take what the claim says."""
        self.cpu_mhz += claim.cpu_mhz
        self.memory_mb += claim.memory_mb
        self.disk_mb += claim.disk_mb
        self.cores |= claim.cores
        self.ports |= claim.ports
        self.devices |= claim.devices

    def remove(self, claim: Claim) -> None:
        """Give back what the claim says."""
        self.cpu_mhz -= claim.cpu_mhz
        self.memory_mb -= claim.memory_mb
        self.disk_mb -= claim.disk_mb
        self.cores -= claim.cores
        self.ports -= claim.ports
        self.devices -= claim.devices


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node that may be placed on: its JSON, its load, and what this very plan changes in it."""

    node: Json
    load: Load
    freed: Sequence[Claim] = ()
    added: Sequence[Claim] = ()
    neighbours: int = 0
    """How many allocations of the same job and group are there already."""

    def taken(self, quantity: str) -> int:
        """Return how much of "cpu_mhz", "memory_mb" or "disk_mb" is taken."""
        base: int = getattr(self.load, quantity)
        more: int = sum(getattr(claim, quantity) for claim in self.added)
        less: int = sum(getattr(claim, quantity) for claim in self.freed)
        return base + more - less

    def holds(self, kind: str, item: Any) -> bool:
        """Tell whether this one of "cores", "ports" or "devices" is taken."""
        if any(item in getattr(claim, kind) for claim in self.added):
            return True
        if any(item in getattr(claim, kind) for claim in self.freed):
            return False
        return item in getattr(self.load, kind)


def claim_of(allocated: Json) -> Claim:
    """Return what an allocation's `AllocatedResources` take of its node."""
    tasks = allocated["Tasks"].values()
    return Claim(
        cpu_mhz=sum(task["Cpu"]["CpuShares"] for task in tasks),
        memory_mb=sum(task["Memory"]["MemoryMB"] for task in tasks),
        disk_mb=allocated["Shared"]["DiskMB"],
        cores=frozenset(core for task in tasks for core in task["Cpu"]["ReservedCores"] or ()),
        ports=frozenset(port["Value"] for port in allocated["Shared"]["Ports"] or ()),
        devices=frozenset(
            (device["Vendor"], device["Type"], device["Name"], instance)
            for task in tasks
            for device in task["Devices"] or ()
            for instance in device["DeviceIDs"]
        ),
    )


@dataclass(frozen=True, slots=True)
class Ground:
    """What a decision stands on: the nodes, what is taken of them, and who takes it."""

    nodes: Mapping[str, Json]
    loads: Mapping[str, Load]
    claims: Mapping[str, Claim]
    """By allocation id, of those that still take something."""


class Draft:
    """What a plan in the making frees and takes on each node, on top of the ground."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._freed: dict[str, list[Claim]] = {}
        self._added: dict[str, list[Claim]] = {}
        self._neighbours: dict[tuple[str, str], int] = {}

    def free(self, allocation: Json) -> None:
        """Let go what an allocation holds, if it still holds anything."""
        claim = self._ground.claims.get(allocation["ID"])
        if claim is not None:
            self._freed.setdefault(allocation["NodeID"], []).append(claim)

    def keep(self, allocation: Json) -> None:
        """Take back that an allocation was let go."""
        claim = self._ground.claims.get(allocation["ID"])
        if claim is not None:
            self._freed[allocation["NodeID"]].remove(claim)

    def take(self, node_id: str, claim: Claim) -> None:
        """Take more of a node."""
        self._added.setdefault(node_id, []).append(claim)

    def count_neighbour(self, group_name: str, node_id: str, by: int) -> None:
        """Note one more, or one less, allocation of the group on a node."""
        key = group_name, node_id
        self._neighbours[key] = self._neighbours.get(key, 0) + by

    def candidates(self, group_name: str) -> list[Candidate]:
        """Return the nodes that may be placed on, as they would be."""
        return [
            Candidate(
                node,
                self._ground.loads[node_id],
                freed=self._freed.get(node_id, ()),
                added=self._added.get(node_id, ()),
                neighbours=self._neighbours.get((group_name, node_id), 0),
            )
            for node_id, node in self._ground.nodes.items()
            if takes_work(node)
        ]


def takes_work(node: Json) -> bool:
    """Tell whether anything may be placed on the node."""
    return bool(node["Status"] == "ready" and node["SchedulingEligibility"] == "eligible")
