"""Which devices of a kind the nodes have, and how many of them nobody holds (pure)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from reconciler.jobs import Allocation, Node


class GpuModel(NamedTuple):
    """How many GPUs of a model the ready nodes have, and how many a new job could be given now."""

    model: str
    total: int
    free: int


class Holds:
    """Who holds how many devices of a node; of all else that an allocation is nothing is kept."""

    def __init__(self) -> None:
        self._holds: dict[str, tuple[str, Mapping[str, int]]] = {}

    def put(self, allocation: Allocation) -> None:
        """Take an allocation as it is now: one that has ended holds nothing."""
        if allocation.terminal:
            self._holds.pop(allocation.id, None)
        elif allocation.devices:
            self._holds[allocation.id] = (allocation.node_id, allocation.devices)

    def models(self, nodes: Iterable[Node], device: str) -> Sequence[GpuModel]:
        """Return the models of `device` ("type", "vendor/type" or "vendor/type/name"), by name.

        A node that takes no new work counts with its devices, and none of them is free. Counted are
        healthy devices; one that fell ill while it was held leaves one less free until it is given
        back.
        """
        held = self._by_node()
        return joined(
            [_model(name, count, held.get((node.id, name), 0) if node.eligible else count)]
            for node in nodes
            if node.status == "ready"
            for name, count in node.devices.items()
            if _is_kind(name, device)
        )

    def on_nodes(self, device: str) -> Mapping[str, int]:
        """Return by node how many of `device` are held there."""
        held: dict[str, int] = {}
        for (node_id, name), count in self._by_node().items():
            if _is_kind(name, device):
                held[node_id] = held.get(node_id, 0) + count
        return held

    def _by_node(self) -> Mapping[tuple[str, str], int]:
        held: dict[tuple[str, str], int] = {}
        for node_id, devices in self._holds.values():
            for name, count in devices.items():
                held[node_id, name] = held.get((node_id, name), 0) + count
        return held


def _model(name: str, count: int, taken: int) -> GpuModel:
    return GpuModel(name.split("/", 2)[2], count, max(0, count - taken))


def joined(clusters: Iterable[Iterable[GpuModel]]) -> Sequence[GpuModel]:
    """Return the models of several clusters as those of one, by name."""
    found: dict[str, GpuModel] = {}
    for model, total, free in (one for models in clusters for one in models):
        known = found.get(model, GpuModel(model, 0, 0))
        found[model] = GpuModel(model, known.total + total, known.free + free)
    return sorted(found.values())


def of_kind(devices: Mapping[str, int], device: str) -> int:
    """Return how many of `devices` are of the kind `device`."""
    return sum(count for name, count in devices.items() if _is_kind(name, device))


def _is_kind(name: str, device: str) -> bool:
    parts, asked = name.split("/", 2), device.split("/", 2)
    return asked == (parts[1:2] if len(asked) == 1 else parts[: len(asked)])
