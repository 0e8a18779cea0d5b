"""What a change of a node means for those who wait for room (pure)."""

from typing import Final

from reconciler.jobs import Node

LOST: Final = frozenset({"down", "disconnected"})
"""Statuses of a node that does not answer."""


def offers_more(node: Node, before: Node | None) -> bool:
    """Whether more can be placed on `node` than on it `before` (None: it was not known)."""
    if not _takes_work(node):
        return False
    if before is None or not _takes_work(before):
        return True
    sizes = [(n.cpu_mhz, n.memory_mb, n.disk_mb) for n in (node, before)]
    more = any(now > then for now, then in zip(*sizes, strict=True))
    return more or gained_devices(node, before)


def gained_devices(node: Node, before: Node | None) -> bool:
    """Whether `node` has a device to give that it had not `before`.

    Of a node that takes no work no device counts: one that comes back has gained them all.
    """
    known = before.devices if before is not None and _takes_work(before) else {}
    more = any(count > known.get(device, 0) for device, count in node.devices.items())
    return more and _takes_work(node)


def _takes_work(node: Node) -> bool:
    return node.status == "ready" and node.eligible
