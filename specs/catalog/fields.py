"""The fields that every module's metadata have here, and what each may hold (pure).

The same rules for what a source says and for what an editor sets. A text may hold anything that
people can read: nothing of it reaches a job but `docker_image` and `resources`.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from specs import images
from specs.faults import Fault
from specs.shapes import mapping_faults
from specs.texts import control, no_text, pointer, shown
from specs.userconf import MAX_NUMBER

TEXTS: Final[Mapping[str, int]] = {
    "title": 200,
    "summary": 1000,
    "description": 32_000,
    "license": 200,
    "docker_image": images.MAX_REPOSITORY,
}
"""Longest text of each field that is one, in characters."""

LINES_FIELD: Final = "description"
"""The one text of several lines."""

ENTRIES: Final[Mapping[str, int]] = {"dates": 64, "links": 2048}
"""Longest value in each field that maps words to texts, in characters."""

MAX_ENTRIES: Final = 64
MAX_WORD: Final = 100
"""Longest keyword, and longest name of a link, in characters."""

RESOURCES: Final = ("cpu_num", "gpu_num", "ram", "disk")
"""What a module can need at least of: the form's own keys; `ram` and `disk` are MB."""

FIELDS: Final = (
    "title",
    "summary",
    "description",
    "keywords",
    "license",
    "dates",
    "links",
    "docker_image",
    "resources",
)

SCHEMES: Final = frozenset({"http", "https", "ftp", "git", "ssh", "doi"})
"""What a link may begin with where it begins with a scheme: pages make it clickable."""

_SCHEME: Final = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]*):")


def usual_form(field: str, value: Any) -> Any:
    """Return a field's value as it is kept: lines as one text, words as a list, an image's name.

    A title, summary, license or keyword is one line. What has another type than people may give is
    returned as it is: `field_faults` tells it.
    """
    match field, value:
        case "description", list() if all(isinstance(line, str) for line in value):
            return "\n".join(value)
        case "keywords", str():
            return [word for word in map(_one_line, value.split(",")) if word]
        case "keywords", list():
            return [_one_line(word) if isinstance(word, str) else word for word in value]
        case "docker_image", str():
            return images.split_reference(value.strip())[0]
        case (("title" | "summary" | "license"), str()):
            return _one_line(value)
    return value


def field_faults(field: str, value: object, at: str) -> Iterator[Fault]:
    """Say all that is wrong with the value of a field, in its `usual_form`, at pointer `at`."""
    if field in TEXTS:
        yield from _text_faults(value, at, TEXTS[field], lines=field == LINES_FIELD)
        if field == "docker_image" and isinstance(value, str) and value:
            yield from _image_faults(value, at)
    elif field in ENTRIES:
        yield from _entries_faults(value, at, ENTRIES[field], links=field == "links")
    elif field == "keywords":
        yield from _keyword_faults(value, at)
    else:
        yield from _resource_faults(value, at)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _text_faults(value: object, at: str, most: int, *, lines: bool = False) -> Iterator[Fault]:
    allowed = f"a text of at most {most} characters"
    if not isinstance(value, str):
        yield Fault(at, "WrongType", f"must be a text, not {shown(value)}", allowed)
    elif len(value) > most:
        yield Fault(at, "WrongLength", f"has {len(value)} characters, not at most {most}", allowed)
    elif reason := no_text(value) or control(value, lines=lines):
        yield Fault(at, "ControlCharacter", f"{shown(value)} {reason}", allowed)


def _image_faults(value: str, at: str) -> Iterator[Fault]:
    if not images.is_repository(value):
        allowed = "a lower-case repository such as deephdc/name or registry:5000/name"
        yield Fault(at, "BadImage", f"{shown(value)} is not {allowed}", allowed)


def _keyword_faults(value: object, at: str) -> Iterator[Fault]:
    if not isinstance(value, list):
        yield Fault(at, "WrongType", f"must be a list of texts, not {shown(value)}", "a list")
        return
    yield from _count_faults(len(value), at)
    for index, word in enumerate(value[:MAX_ENTRIES]):
        yield from _text_faults(word, pointer(at, index), MAX_WORD)


def _entries_faults(value: object, at: str, most: int, *, links: bool) -> Iterator[Fault]:
    if not isinstance(value, Mapping):
        yield Fault(at, "WrongType", f"must be a mapping, not {shown(value)}", "a mapping")
        return
    yield from _count_faults(len(value), at)
    for key, text in list(value.items())[:MAX_ENTRIES]:
        here = pointer(at, key)
        if list(_text_faults(key, here, MAX_WORD)):
            allowed = f"a name of at most {MAX_WORD} characters"
            yield Fault(here, "BadKey", f"{shown(key)} is not {allowed}", allowed)
            continue
        yield from _text_faults(text, here, most)
        if links and isinstance(text, str):
            yield from _scheme_faults(text, here)


def _scheme_faults(text: str, at: str) -> Iterator[Fault]:
    found = _SCHEME.match(text)
    if found and found[1].lower() not in SCHEMES:
        allowed = f"an address that begins with one of {', '.join(sorted(SCHEMES))}"
        yield Fault(at, "BadLink", f"{shown(text)} is not {allowed}", allowed)


def _resource_faults(value: object, at: str) -> Iterator[Fault]:
    yield from mapping_faults(value, RESOURCES, at)
    if not isinstance(value, Mapping):
        return
    allowed = f"a whole number from 0 to {MAX_NUMBER}"
    for key in RESOURCES:
        least = value.get(key)
        if least is not None and not (type(least) is int and 0 <= least <= MAX_NUMBER):
            yield Fault(pointer(at, key), "WrongType", f"must be {allowed}, not {shown(least)}")


def _count_faults(number: int, at: str) -> Iterator[Fault]:
    if number > MAX_ENTRIES:
        allowed = f"at most {MAX_ENTRIES} entries"
        yield Fault(at, "TooMany", f"has {number} entries, not {allowed}", allowed)
