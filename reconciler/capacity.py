"""How full the nodes are, as far as our namespaces tell (pure)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from reconciler.devices import of_kind
from reconciler.jobs import Allocation, Node


@dataclass(frozen=True, slots=True)
class NodeRoom:
    """What a node has and what of it is set aside; `allocations` counts ours that have not ended.

    CPU and memory are taken by our own allocations, GPUs by everybody's in our namespaces. What
    other namespaces hold nobody tells us, so a node may be fuller than this says.
    """

    name: str
    status: str
    eligible: bool
    cpu_mhz: int
    cpu_taken_mhz: int
    memory_mb: int
    memory_taken_mb: int
    gpus: int
    gpus_taken: int
    allocations: int


def rooms_of(
    nodes: Iterable[Node],
    allocations: Iterable[Allocation],
    gpus_held: Mapping[str, int],
    device: str,
) -> Sequence[NodeRoom]:
    """Return the room of each node, by name; `gpus_held` counts those of `device` by node id."""
    placed: dict[str, list[Allocation]] = {}
    for allocation in allocations:
        if not allocation.terminal:
            placed.setdefault(allocation.node_id, []).append(allocation)
    rooms = [
        NodeRoom(
            name=node.name,
            status=node.status,
            eligible=node.eligible,
            cpu_mhz=node.cpu_mhz,
            cpu_taken_mhz=sum(a.cpu_mhz for a in placed.get(node.id, ())),
            memory_mb=node.memory_mb,
            memory_taken_mb=sum(a.memory_mb for a in placed.get(node.id, ())),
            gpus=of_kind(node.devices, device),
            gpus_taken=gpus_held.get(node.id, 0),
            allocations=len(placed.get(node.id, ())),
        )
        for node in nodes
    ]
    return sorted(rooms, key=lambda room: room.name)
