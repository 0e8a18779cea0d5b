"""Reads YAML that people write, strictly and with every value's place (pure).

What YAML allows and a reader of the file would not expect is refused: aliases and anchors, tags,
merge keys, a key that stands twice. Plain scalars follow YAML 1.2: `no`, `12:30`, `017` and
`2024-01-01` are texts. Size and depth are capped before anything is built.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import yaml

from specs.texts import no_text, pointer, shown

MAX_BYTES: Final = 64 * 1024
MAX_DEPTH: Final = 20
MAX_DIGITS: Final = 20
"""Longest whole number, in digits; longer ones fit no field and cost time to read."""

_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL: Final = {
    word: value
    for value in (True, False)
    for word in (str(value).lower(), str(value), str(value).upper())
}
_INT: Final = re.compile(r"[-+]?(0|[1-9][0-9]*)", re.ASCII)
_FLOAT: Final = re.compile(
    r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII
)


class Place(NamedTuple):
    """Where something stands in a text; both count from 1."""

    line: int
    column: int


class YamlFault(ValueError):
    """The text is not the YAML we read. `str()` says what is wrong, `place` where."""

    def __init__(self, message: str, place: Place) -> None:
        self.message = message
        self.place = place
        super().__init__(f"line {place.line}, column {place.column}: {message}")


@dataclass(frozen=True, slots=True)
class Document:
    """One document: dicts with text keys, lists, texts, numbers, booleans and None.

    `places` maps the JSON pointer of every value to where its key or, in a list, it stands.
    """

    tree: Any
    places: Mapping[str, Place]

    def place(self, at: str) -> Place:
        """Return the place of pointer `at`, or of the nearest thing around it that is there."""
        while at and at not in self.places:
            at = at.rpartition("/")[0]
        return self.places.get(at, Place(1, 1))


def read_yaml(text: str, *, max_bytes: int = MAX_BYTES) -> Document:
    """Read a text that holds at most one document; an empty one is None.

    Raises `YamlFault`.
    """
    documents = read_documents(text, max_bytes=max_bytes)
    if len(documents) > 1:
        raise YamlFault("a second document starts here: only one is read", documents[1].place(""))
    return documents[0] if documents else Document(None, {})


def read_documents(text: str, *, max_bytes: int = MAX_BYTES) -> list[Document]:
    """Read every document of a text, in order. Raises `YamlFault`."""
    if reason := no_text(text):
        raise YamlFault(f"the text {reason}", Place(1, 1))
    if len(text.encode()) > max_bytes:
        raise YamlFault(f"the text is longer than {max_bytes} bytes", Place(1, 1))
    try:
        return list(_documents(yaml.parse(text, Loader=_LOADER)))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = _place(mark) if mark else Place(1, 1)
        raise YamlFault(error.problem or "not YAML", place) from error
    except yaml.reader.ReaderError as error:
        found = chr(error.character)
        place = place_after(text.partition(found)[0])
        raise YamlFault(f"the character {found!a} is not allowed in YAML", place) from error
    except yaml.YAMLError as error:
        raise YamlFault(str(error).splitlines()[0], Place(1, 1)) from error


def place_after(text: str) -> Place:
    """Return the place of what follows `text`."""
    return Place(text.count("\n") + 1, len(text) - text.rfind("\n"))


@dataclass(slots=True)
class _Open:
    """A mapping or a list that is being filled."""

    into: dict[str, Any] | list[Any]
    at: str
    key: str | None = None
    places: dict[str, Place] = field(default_factory=dict)


def _documents(events: Iterator[yaml.Event]) -> Iterator[Document]:
    stack: list[_Open] = []
    tree: Any = None
    places: dict[str, Place] = {}
    for event in events:
        match event:
            case yaml.NodeEvent():
                _check_node(event, depth=len(stack))
                if stack and _take_key(stack[-1], event):
                    continue
                at = _next_pointer(stack)
                places.setdefault(at, _place_in(stack, event))
                value = _value(event)
                if stack:
                    _put(stack[-1], value)
                else:
                    tree = value
                if isinstance(value, dict | list):
                    stack.append(_Open(value, at))
            case yaml.CollectionEndEvent():
                stack.pop()
            case yaml.DocumentStartEvent():
                stack, tree, places = [], None, {}
            case yaml.DocumentEndEvent():
                yield Document(tree, places)


def _check_node(event: yaml.NodeEvent, *, depth: int) -> None:
    tag = getattr(event, "tag", None)
    if isinstance(event, yaml.AliasEvent):
        fault = "aliases (*name) are not read: write the value out"
    elif event.anchor is not None:
        fault = "anchors (&name) are not read: write the value where it is used"
    elif tag is not None:
        # Not repeated: a password that begins with ! and stands in no quotes is a tag too.
        fault = "tags (!name) are not read: drop it, or put a text that begins with ! in quotes"
    elif depth >= MAX_DEPTH and isinstance(event, yaml.CollectionStartEvent):
        fault = f"nested deeper than {MAX_DEPTH} levels"
    else:
        return
    raise YamlFault(fault, _place(event.start_mark))


def _take_key(around: _Open, event: yaml.NodeEvent) -> bool:
    """Take the event as the next key of a mapping that waits for one."""
    if isinstance(around.into, list) or around.key is not None:
        return False
    place = _place(event.start_mark)
    if not isinstance(event, yaml.ScalarEvent):
        raise YamlFault("a key must be a text", place)
    if event.value == "<<" and event.implicit[0]:
        raise YamlFault("merge keys (<<) are not read: write the keys out", place)
    if event.value in around.into:
        first = around.places[event.value].line
        raise YamlFault(f"the key {shown(event.value)} stands in line {first} already", place)
    around.key = event.value
    around.places[event.value] = place
    return True


def _next_pointer(stack: list[_Open]) -> str:
    if not stack:
        return ""
    around = stack[-1]
    return pointer(around.at, len(around.into) if isinstance(around.into, list) else around.key)


def _place_in(stack: list[_Open], event: yaml.NodeEvent) -> Place:
    """Return the place of the value's key, or of the value itself where it has none."""
    if stack and stack[-1].key is not None:
        return stack[-1].places[stack[-1].key]
    return _place(event.start_mark)


def _put(around: _Open, value: Any) -> None:
    if isinstance(around.into, list):
        around.into.append(value)
    elif around.key is not None:
        around.into[around.key] = value
        around.key = None


def _value(event: yaml.NodeEvent) -> Any:
    match event:
        case yaml.ScalarEvent():
            return _plain(event) if event.implicit[0] else event.value
        case yaml.MappingStartEvent():
            return {}
        case yaml.SequenceStartEvent():
            return []
    raise AssertionError(event)


def _plain(event: yaml.ScalarEvent) -> Any:
    text: str = event.value
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        if len(text) > MAX_DIGITS:
            message = f"a number of more than {MAX_DIGITS} digits"
            raise YamlFault(message, _place(event.start_mark))
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def _place(mark: Any) -> Place:
    return Place(mark.line + 1, mark.column + 1)
