"""Trees of JSON (pure)."""

from typing import Any


def copied(tree: Any) -> Any:
    """Return a copy that shares no list and no map with the original.

    Several times as fast as `copy.deepcopy`, which also looks for what JSON can't hold.
    """
    if isinstance(tree, dict):
        return {name: copied(value) for name, value in tree.items()}
    if isinstance(tree, list):
        return [copied(item) for item in tree]
    return tree
