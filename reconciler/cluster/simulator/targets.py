"""Whether a node or a device is what a constraint or an affinity asks for (pure)."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

Values = Mapping[str, str]


def node_values(node: Mapping[str, Any]) -> dict[str, str]:
    """Return what a constraint may name of a node: `attr.…`, `meta.…` and `node.…`."""
    return {
        "node.unique.id": node["ID"],
        "node.unique.name": node["Name"],
        "node.datacenter": node["Datacenter"],
        "node.class": node["NodeClass"],
        "node.pool": node["NodePool"],
        **{f"attr.{name}": value for name, value in node["Attributes"].items()},
        **{f"meta.{name}": value for name, value in node["Meta"].items()},
    }


def device_values(device: Mapping[str, Any]) -> dict[str, str]:
    """Return what a constraint may name of a group of devices: `device.model` and its like."""
    attributes = device["Attributes"] or {}
    return {
        "device.model": device["Name"],
        "device.vendor": device["Vendor"],
        "device.type": device["Type"],
        "device.ids": ",".join(instance["ID"] for instance in device["Instances"]),
        **{f"device.attr.{name}": _printed(value) for name, value in attributes.items()},
    }


def satisfies(values: Values, constraint: Mapping[str, Any]) -> bool:
    """Tell whether these values meet the constraint. `distinct_hosts` is not decided here."""
    operand = constraint["Operand"]
    left, right = (_resolved(values, constraint[side]) for side in ("LTarget", "RTarget"))
    if operand == "distinct_hosts":
        return True
    if operand == "is_set":
        return left is not None
    if operand == "is_not_set":
        return left is None
    if operand in {"!=", "not"}:
        return (left is not None or right is not None) and left != right
    if left is None or right is None:
        return False
    compare = _OPERANDS.get(operand)
    return compare is not None and compare(left, right)


def affinity_score(values: Values, affinities: Sequence[Mapping[str, Any]]) -> float | None:
    """Return how well these values please the affinities, from -1 to 1; None without any."""
    weights = sum(abs(item["Weight"]) for item in affinities)
    if not weights:
        return None
    pleased = sum(item["Weight"] for item in affinities if satisfies(values, item))
    return float(pleased / weights)


def names_unique(constraint: Mapping[str, Any]) -> bool:
    """Tell whether the constraint names what no two nodes have in common."""
    return any("unique." in constraint[side] for side in ("LTarget", "RTarget"))


def worded(constraint: Mapping[str, Any]) -> str:
    """Return the constraint as an evaluation tells it."""
    return f"{constraint['LTarget']} {constraint['Operand']} {constraint['RTarget']}"


def _resolved(values: Values, target: str) -> str | None:
    if not target.startswith("${"):
        return target
    return values.get(target[2:].removesuffix("}"))


def _printed(attribute: Any) -> str:
    if not isinstance(attribute, Mapping):
        return str(attribute)
    value = next(
        (attribute[kind] for kind in ("String", "Int", "Float", "Bool") if kind in attribute), ""
    )
    return f"{value} {attribute.get('Unit', '')}".strip()


def _ordered(left: str, right: str) -> int:
    try:
        numbers = float(left), float(right)
    except ValueError:
        return (left > right) - (left < right)
    return (numbers[0] > numbers[1]) - (numbers[0] < numbers[1])


def _matches(left: str, pattern: str) -> bool:
    try:
        return re.search(pattern, left) is not None
    except re.error:
        return False


def _members(text: str) -> set[str]:
    return {item.strip() for item in text.split(",")}


def _version_meets(version: str, wanted: str) -> bool:
    found = _release(version)
    return found is not None and all(_clause_holds(found, clause) for clause in wanted.split(","))


def _clause_holds(found: tuple[int, ...], clause: str) -> bool:
    match = re.fullmatch(r"\s*(>=|<=|!=|~>|>|<|=)?\s*(\S+)\s*", clause)
    wanted = _release(match[2]) if match else None
    if match is None or wanted is None:
        return False
    if match[1] == "~>":
        return found >= wanted and found[: len(wanted) - 1] == wanted[:-1]
    width = max(len(found), len(wanted))
    pair = tuple(part + (0,) * (width - len(part)) for part in (found, wanted))
    return _COMPARISONS[match[1] or "="](pair[0], pair[1])


def _release(text: str) -> tuple[int, ...] | None:
    match = re.match(r"v?(\d+(?:\.\d+)*)", text)
    return tuple(int(part) for part in match[1].split(".")) if match else None


_COMPARISONS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "=": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
}
_OPERANDS: Final[dict[str, Callable[[str, str], bool]]] = {
    "=": lambda left, right: left == right,
    "==": lambda left, right: left == right,
    "is": lambda left, right: left == right,
    "<": lambda left, right: _ordered(left, right) < 0,
    "<=": lambda left, right: _ordered(left, right) <= 0,
    ">": lambda left, right: _ordered(left, right) > 0,
    ">=": lambda left, right: _ordered(left, right) >= 0,
    "regexp": _matches,
    "version": _version_meets,
    "semver": _version_meets,
    "set_contains": lambda left, right: _members(right) <= _members(left),
    "set_contains_all": lambda left, right: _members(right) <= _members(left),
    "set_contains_any": lambda left, right: bool(_members(right) & _members(left)),
}
