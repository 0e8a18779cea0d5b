"""What the `metadata` of a manifest may hold: name, VO, labels and annotations (pure).

The limits are Kubernetes' own, so that its tools and habits fit.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Final

from specs.faults import Fault
from specs.model import DNS_LABEL
from specs.moments import BY_MAIL, annotation_fault
from specs.shapes import mapping_faults
from specs.texts import control, no_text, pointer, shown

KEYS: Final = ("name", "vo", "labels", "annotations")
SERVER_SET: Final = frozenset(
    {
        "uid",
        "owner",
        "generation",
        "resourceVersion",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionHeld",
        "pinnedGeneration",
        "finalizers",
        "source",
    }
)
MAX_ENTRIES: Final = 64
MAX_LABEL: Final = 63
MAX_PREFIX: Final = 253
MAX_ANNOTATION: Final = 4096

_DNS_LABEL: Final = re.compile(DNS_LABEL)
_WORD: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?", re.ASCII)


def metadata_faults(metadata: object, at: str, *, keys: Collection[str] = KEYS) -> Iterator[Fault]:
    """Say all that is wrong with the metadata, the choice of VO excepted.

    `keys` are those that may stand there: a spec file has one more.
    """
    if not isinstance(metadata, Mapping):
        yield from mapping_faults(metadata, keys, at)
        return
    for key in filter(SERVER_SET.__contains__, metadata):
        yield Fault(pointer(at, key), "ServerSet", f"{key} is set by the server: leave it out")
    rest = {key: value for key, value in metadata.items() if key not in SERVER_SET}
    yield from mapping_faults(rest, keys, at, required=("name",))
    if "name" in rest:
        yield from _name_faults(rest["name"], pointer(at, "name"))
    for key in ("labels", "annotations"):
        if key in rest:
            yield from _entries_faults(rest[key], pointer(at, key), labels=key == "labels")


def is_name(name: object) -> bool:
    """Whether a deployment can have that name."""
    return isinstance(name, str) and _DNS_LABEL.fullmatch(name) is not None


def _name_faults(name: object, at: str) -> Iterator[Fault]:
    if not is_name(name):
        allowed = "a DNS label: 1 to 63 of a-z, 0-9 and -, with no - at either end"
        yield Fault(at, "BadName", f"{shown(name)} is not {allowed}", allowed)


def _entries_faults(entries: object, at: str, *, labels: bool) -> Iterator[Fault]:
    if not isinstance(entries, Mapping):
        yield Fault(at, "WrongType", f"must be a mapping, not {shown(entries)}", "a mapping")
        return
    if len(entries) > MAX_ENTRIES:
        allowed = f"at most {MAX_ENTRIES} entries"
        yield Fault(at, "TooMany", f"has {len(entries)} entries, not {allowed}", allowed)
        return
    for key, value in entries.items():
        here = pointer(at, key)
        if not _is_key(key):
            allowed = "[prefix/]name: a DNS name, then up to 63 letters, digits, - _ ."
            yield Fault(here, "BadKey", f"{shown(key)} is not {allowed}", allowed)
        yield from (_label_faults if labels else _annotation_faults)(value, here)
        if not labels and (why := annotation_fault(key, value)):
            yield Fault(here, "NotAnOption", f"{shown(value)}: {why}", BY_MAIL)


def _is_key(key: object) -> bool:
    if not isinstance(key, str):
        return False
    prefix, slash, name = key.rpartition("/")
    prefixed = len(prefix) <= MAX_PREFIX and all(map(_DNS_LABEL.fullmatch, prefix.split(".")))
    return _is_word(name) and (not slash or prefixed)


def _is_word(text: str) -> bool:
    return len(text) <= MAX_LABEL and _WORD.fullmatch(text) is not None


def _label_faults(value: object, at: str) -> Iterator[Fault]:
    if not isinstance(value, str) or (value and not _is_word(value)):
        allowed = "a text of up to 63 letters, digits, - _ ."
        yield Fault(at, "BadLabel", f"{shown(value)} is not {allowed}", allowed)


def _annotation_faults(value: object, at: str) -> Iterator[Fault]:
    allowed = f"a text of up to {MAX_ANNOTATION} characters"
    if not isinstance(value, str):
        yield Fault(at, "WrongType", f"{shown(value)} is not {allowed}", allowed)
    elif len(value) > MAX_ANNOTATION:
        yield Fault(at, "WrongLength", f"has {len(value)} characters, not {allowed}", allowed)
    elif reason := no_text(value) or control(value, lines=True):
        yield Fault(at, "ControlCharacter", f"{shown(value)} {reason}", allowed)
