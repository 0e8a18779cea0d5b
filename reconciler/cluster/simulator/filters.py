"""The filter expressions that the simulator understands: a small part of Nomad's (pure).

`Selector == "value"`, `!=`, `is empty`, `is not empty`, joined by `and` or by `or`. A selector is a
path such as `Meta.managed_by` or `Meta["managed_by"]`. Anything else is refused, never guessed.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from reconciler.cluster.simulator.refusal import Refusal

Match = Callable[[Mapping[str, Any]], bool]

_SELECTOR: Final = r'[A-Za-z_]\w*(?:\.\w+|\["[^"]*"\])*'
_TERM: Final = re.compile(
    rf'\s*({_SELECTOR})\s*(?:(==|!=)\s*("(?:[^"\\]|\\.)*"|`[^`]*`|[\w.-]+)|is\s+(not\s+)?empty)\s*'
)
_JOINT: Final = re.compile(r"(and|or)\b")
_STEP: Final = re.compile(r'\.?(\w+)|\["([^"]*)"\]')


def parse_filter(text: str) -> Match:
    """Return what tells whether an object passes. Raises `Refusal` 500 for what is not known."""
    terms: list[Match] = []
    joints: set[str] = set()
    position = 0
    while True:
        term = _TERM.match(text, position)
        if term is None:
            raise _unknown(text)
        terms.append(_term(term))
        position = term.end()
        if position == len(text):
            break
        joint = _JOINT.match(text, position)
        if joint is None:
            raise _unknown(text)
        joints.add(joint[1])
        position = joint.end()
    if len(joints) > 1:
        raise _unknown(text)
    joined = any if joints == {"or"} else all
    return lambda item: joined(passes(item) for passes in terms)


def _term(match: re.Match[str]) -> Match:
    path = [step[0] or step[1] for step in _STEP.findall(match[1])]
    if match[2] is None:
        wants_empty = match[4] is None
        return lambda item: (not _found(item, path)) == wants_empty
    value = _literal(match[3])
    equal = match[2] == "=="
    return lambda item: (_printed(_found(item, path)) == value) == equal


def _found(item: Any, path: list[str]) -> Any:
    for step in path:
        if not isinstance(item, Mapping):
            return None
        item = item.get(step)
    return item


def _printed(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else str(value)


def _literal(text: str) -> str:
    if text[0] == '"':
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    return text.strip("`")


def _unknown(text: str) -> Refusal:
    return Refusal(500, f"this filter is not simulated: {text}")
