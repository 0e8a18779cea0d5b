"""One spec file's bytes, as the deployments that it declares and all that is wrong (pure).

Here it is told whose each document is and where it stands; `specs.wish` checks what it wishes. What
can't be told counts for doubt (`FileRead.readable`), never for absence.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from specs.faults import Fault
from specs.layout import Named, Rules, named_by, place_of
from specs.metadata import KEYS as METADATA_KEYS
from specs.pruning import Place as SpecPlace
from specs.shapes import MAX_FAULTS
from specs.texts import printable
from specs.trees import MAX_PATH
from specs.wish import manifest_faults
from specs.yaml_text import MAX_BYTES, Document, Place, YamlFault, place_after, read_documents

__all__ = ["Declared", "FileFault", "FileRead", "Rules", "fault_of", "read_file", "unread"]

MAX_SHOWN: Final = 1000
"""Longest text of a fault, in characters."""

UNREADABLE: Final = "Unreadable"

_START: Final = Place(1, 1)
_WIDE: Final = (b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")
_LFS: Final = "version https://git-lfs"
_PAIR: Final = re.compile(
    r"((?<!\\)(?:\\\\)*)\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class FileFault:
    """One thing that is wrong with a file, and where; all texts are short and printable.

    `line` and `column` count from 1. `pointer` leads into the document ("": the whole of it).
    """

    path: str
    line: int
    column: int
    pointer: str
    code: str
    message: str
    allowed: str = ""

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}{self.pointer and ' '}{self.sentence}"

    @property
    def sentence(self) -> str:
        """What is wrong, and what is allowed, without the file."""
        known = not self.allowed or self.allowed in self.message
        allowed = "" if known else f"; allowed: {self.allowed}"
        return f"{self.pointer}: {self.message}{allowed}"


@dataclass(frozen=True, slots=True)
class Declared:
    """One document whose place is known; `line` is where it starts.

    `manifest` is for `wish_of_manifest(…, vos=(place.vo,))`: without `metadata.owner`, and with
    name and VO said. It may be wrong in every other way; `fault_of` says where.
    """

    place: SpecPlace
    path: str
    line: int
    manifest: Mapping[str, Any]
    document: Document


@dataclass(frozen=True, slots=True)
class FileRead:
    """What a file holds, in its order.

    Not `readable`: some document's place can't be told, so whatever is absent may stand there.
    """

    declared: Sequence[Declared]
    faults: Sequence[FileFault]
    readable: bool


def read_file(path: str, content: bytes, rules: Rules) -> FileRead:
    """Read a file. Documents without content are passed over; a YAML fault spoils the whole file.

    `path` is below the source's root. A file without a single character is a fault, since one that
    is just being written looks so; one of comments declares nothing.
    """
    if not path.isprintable():
        return unread(path, "the path holds a character that can't be seen: rename the file")
    named = named_by(path) if rules.layout == "path" else None
    if isinstance(named, Fault):
        return _read(path, [], [(Document(None, {}), named)])
    try:
        documents = [d for d in read_documents(_text(path, content)) if d.tree is not None]
    except YamlFault as fault:
        return FileRead([], [_unreadable(path, fault.message, fault.place)], readable=False)
    if named and len(documents) > 1:
        message = "a second document starts here: in this layout a file holds one"
        return _read(path, [], [(documents[1], Fault("", "TooMany", message))])
    declared: list[Declared] = []
    faults: list[tuple[Document, Fault]] = []
    for document in documents:
        found = _declared(path, document, rules, named)
        if isinstance(found, Declared):
            declared.append(found)
        else:
            faults += ((document, fault) for fault in found)
    return _read(path, declared, faults)


def unread(path: str, why: str) -> FileRead:
    """Return what is known of a file that could not be read, and why."""
    return FileRead([], [_unreadable(path, why, _START)], readable=False)


def fault_of(declared: Declared, fault: Fault) -> FileFault:
    """Return a fault of the wish with its line and column."""
    return _placed(declared.path, declared.document, fault)


def _declared(
    path: str, document: Document, rules: Rules, named: Named | None
) -> Declared | Sequence[Fault]:
    manifest = _manifest(document.tree, named)
    metadata = manifest.get("metadata") if isinstance(manifest, dict) else None
    faults = manifest_faults(manifest, metadata_keys=(*METADATA_KEYS, "owner"))
    if not isinstance(metadata, dict):
        return list(faults)
    place = place_of(document.tree, rules, named)
    if not isinstance(place, SpecPlace):
        return [*faults, *place]
    manifest["metadata"] = metadata | {"vo": place.vo}
    return Declared(place, path, document.place("").line, manifest, document)


def _manifest(tree: Any, named: Named | None) -> Any:
    """Return the document as the manifest it stands for, without its owner."""
    metadata = tree.get("metadata", {} if named else None) if isinstance(tree, dict) else None
    if not isinstance(metadata, dict):
        return tree
    own = {key: value for key, value in metadata.items() if key != "owner"}
    return {**tree, "metadata": {"name": named.name, **own} if named else own}


def _read(
    path: str, declared: Sequence[Declared], faults: Sequence[tuple[Document, Fault]]
) -> FileRead:
    told = [_placed(path, document, fault) for document, fault in faults[:MAX_FAULTS]]
    if more := len(faults) - len(told):
        told.append(_placed(path, faults[-1][0], Fault("", "TooMany", f"{more} more faults")))
    return FileRead(declared, told, readable=not faults)


def _placed(path: str, document: Document, fault: Fault) -> FileFault:
    line, column = document.place(fault.pointer)
    return FileFault(
        printable(path, MAX_PATH),
        line,
        column,
        printable(fault.pointer, MAX_SHOWN),
        fault.code,
        printable(fault.message, MAX_SHOWN),
        printable(fault.allowed, MAX_SHOWN),
    )


def _unreadable(path: str, message: str, place: Place) -> FileFault:
    return _placed(path, Document(None, {"": place}), Fault("", UNREADABLE, message))


def _text(path: str, content: bytes) -> str:
    """Return the characters of a file. Raises `YamlFault`."""
    if len(content) > MAX_BYTES:
        message = f"the file has {len(content)} bytes, more than {MAX_BYTES}: split it"
        raise YamlFault(message, _START)
    if content.startswith(_WIDE) or content[:2].count(0) == 1:
        raise YamlFault("the file is UTF-16 or UTF-32: save it as UTF-8", _START)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"the byte 0x{error.object[error.start]:02x} is no UTF-8: save the file as UTF-8"
        place = place_after(error.object[: error.start].decode())
        raise YamlFault(message, place) from error
    before, nul, _ = text.partition("\0")
    if nul:
        message = "a NUL character: the file is no text, or was cut off while it was written"
        raise YamlFault(message, place_after(before))
    if not text.strip():
        message = "the file is empty, as a half-written one is: delete it, or leave a comment in it"
        raise YamlFault(message, _START)
    if text.startswith(_LFS):
        raise YamlFault("a pointer to Git LFS stands here: commit the file itself", _START)
    return _PAIR.sub(_joined, text) if path.lower().endswith(".json") else text


def _joined(found: re.Match[str]) -> str:
    """JSON writes characters beyond 16 bits as two escapes, which YAML does not know."""
    pair = bytes.fromhex(found[2] + found[3])
    return found[1] + pair.decode("utf-16-be")
