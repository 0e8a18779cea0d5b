"""JSON from outside, read strictly (pure).

Python's reader takes NaN, half characters and duplicate keys, and gives up at a depth that depends
on the stack. What passes here is finite, is text, has each key once, and is not too deep.
"""

import json
import math
from collections.abc import Iterator
from typing import Any, Final

from specs.faults import Fault, InvalidSpec

MAX_DEPTH: Final = 32

_INT_DIGITS: Final = 20


class UnreadableJson(Exception):
    """The body is not the JSON that it says it is. `str()` says where or why."""


def read_json(raw: bytes, what: str = "the body") -> Any:
    """Return the JSON value in `raw`; `what` is its name in messages.

    Raises `UnreadableJson` where it can't be read, `InvalidSpec` with a pointer to each number that
    is not finite and each text that is none.
    """
    try:
        tree = json.loads(raw.decode("utf-8"), parse_int=_number, object_pairs_hook=_each_key_once)
    except UnicodeDecodeError as error:
        raise UnreadableJson(f"{what} is not UTF-8: byte {error.start} can't be read") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise UnreadableJson(f"{what} is not JSON: {error.msg} at {where}") from error
    except RecursionError as error:
        raise UnreadableJson(f"{what} {_TOO_DEEP}") from error
    if faults := list(_faults(tree, what)):
        raise InvalidSpec(faults)
    return tree


_TOO_DEEP: Final = f"is nested deeper than {MAX_DEPTH} levels"


def _number(digits: str) -> int | float:
    # Beyond 64 bits a JSON number is a double; 5,000 digits are infinity, which is refused below.
    return int(digits) if len(digits) <= _INT_DIGITS else float(digits)


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise UnreadableJson(f"the key {twice[:60]!a} stands twice in one object")
    return mapping


def _faults(tree: Any, what: str) -> Iterator[Fault]:
    waiting: list[tuple[str, int, Any]] = [("", 0, tree)]
    while waiting:
        pointer, depth, value = waiting.pop()
        if depth > MAX_DEPTH:
            raise UnreadableJson(f"{what} {_TOO_DEEP}")
        match value:
            case dict():
                for key, item in value.items():
                    if not _is_text(key):
                        yield _no_text(pointer, "a key")
                    waiting.append((f"{pointer}/{_token(key)}", depth + 1, item))
            case list():
                waiting += [(f"{pointer}/{i}", depth + 1, item) for i, item in enumerate(value)]
            case float() if not math.isfinite(value):
                message = "is not a finite number of at most 64 bits"
                yield Fault(pointer, "NotFinite", message, "a finite number")
            case str() if not _is_text(value):
                yield _no_text(pointer, "the value")


def _no_text(pointer: str, what: str) -> Fault:
    return Fault(pointer, "NoText", f"{what} holds half of a surrogate pair", "Unicode text")


def _is_text(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= c <= "\udfff" for c in text)


def _token(key: str) -> str:
    short = key[:60].encode("utf-8", "backslashreplace").decode()
    return short.replace("~", "~0").replace("/", "~1")
