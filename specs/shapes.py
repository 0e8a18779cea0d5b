"""Which keys a mapping from outside may have (pure)."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from specs.faults import Fault, InvalidSpec
from specs.texts import near, pointer, shown

MAX_UNKNOWN: Final = 20
"""Unknown keys of one mapping that are told one by one."""

MAX_FAULTS: Final = 100
"""Faults that are told at once."""


def mapping_faults(
    value: object, allowed: Collection[str], at: str, *, required: Collection[str] = ()
) -> Iterator[Fault]:
    """Say all that is wrong with the keys of `value`, which stands at pointer `at`."""
    if not isinstance(value, Mapping):
        yield Fault(at, "WrongType", f"must be a mapping, not {shown(value)}", "a mapping")
        return
    words = ", ".join(allowed) or "none"
    unknown = [key for key in value if key not in allowed]
    for key in unknown[:MAX_UNKNOWN]:
        hint = near(key, allowed) or f"the keys here are {words}"
        yield Fault(pointer(at, key), "UnknownKey", f"unknown key {shown(key)}: {hint}", words)
    if len(unknown) > MAX_UNKNOWN:
        more = len(unknown) - MAX_UNKNOWN
        yield Fault(at, "UnknownKey", f"{more} more unknown keys", words)
    for key in required:
        if key not in value:
            yield Fault(pointer(at, key), "Required", f"{key} is missing")


def mapping_at(value: object, key: str) -> Mapping[str, Any]:
    """Return the mapping under `key`, or an empty one where there is none: its fault is told."""
    inner = value.get(key) if isinstance(value, Mapping) else None
    return inner if isinstance(inner, Mapping) else {}


def refuse(faults: Collection[Fault]) -> None:
    """Raise `InvalidSpec` with the faults, if there are any."""
    if not faults:
        return
    told = list(faults)[:MAX_FAULTS]
    if len(faults) > len(told):
        told.append(Fault("", "TooMany", f"{len(faults) - len(told)} more faults"))
    raise InvalidSpec(told)
