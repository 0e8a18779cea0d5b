"""What git prints about a repository, as values (pure).

All of it comes from whoever can push: paths, names and modes are hostile until they are read here.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from specs.texts import control, shown
from specs.trees import MAX_PATH, File, holds_specs
from specs.yaml_text import MAX_BYTES

MAX_AUTHOR: Final = 80
SHOWN_PATH: Final = 200

_REGULAR: Final = frozenset({"100644", "100755"})
_SYMLINK: Final = "120000"
_SUBMODULE: Final = "160000"
_LFS: Final = re.compile(rb"version https://git-lfs\.github\.com/spec/")
_VERSION: Final = re.compile(r"git version (\d+)\.(\d+)")


class Listing(NamedTuple):
    """The files of a commit that should hold specs, and the size of each blob in bytes."""

    files: Sequence[File]
    sizes: Mapping[str, int]


class Origin(NamedTuple):
    """Who made a file what it is."""

    commit: str
    author: str


def read_version(printed: str) -> tuple[int, int] | None:
    """Read what `git version` prints, or None where it is something else."""
    found = _VERSION.match(printed)
    return (int(found[1]), int(found[2])) if found else None


def read_refs(printed: bytes) -> dict[str, str]:
    """Read what `git ls-remote` prints: names to ids; an annotated tag to what it was made for."""
    refs: dict[str, str] = {}
    for line in printed.decode("utf-8", "backslashreplace").splitlines():
        oid, _, name = line.partition("\t")
        # What a tag was made for comes after the tag, and takes its place.
        refs[name.removesuffix("^{}")] = oid
    return refs


def read_listing(printed: bytes) -> Listing:
    """Read what `git ls-tree -r -z -l` prints, in git's order.

    A file that must not be read has its `fault`; the content of the others is still to come.
    """
    files: list[File] = []
    sizes: dict[str, int] = {}
    for record in printed.split(b"\0"):
        if not record:
            continue
        head, _, raw = record.partition(b"\t")
        mode, _, blob, printed_size = head.decode("ascii").split()
        size = int(printed_size) if printed_size.isdigit() else 0
        path = raw.decode("utf-8", "backslashreplace")
        if not _is_of_interest(mode, path):
            continue
        fault = _path_fault(raw) or _mode_fault(mode) or _size_fault(size)
        files.append(File(_shown_path(path, whole=not fault), blob, None, fault))
        sizes[blob] = size
    return Listing(_with_twins_refused(files), sizes)


def content_fault(content: bytes) -> str:
    """Say why a content is not what was committed, or "" where nothing does."""
    if _LFS.match(content):
        return "is kept in Git LFS, which is not read: commit the file itself"
    return ""


def read_blobs(printed: bytes) -> dict[str, bytes]:
    """Read what `git cat-file --batch` prints: ids to contents. What is missing is left out."""
    blobs: dict[str, bytes] = {}
    at = 0
    while at < len(printed):
        end = printed.index(b"\n", at)
        head = printed[at:end].decode("ascii", "backslashreplace").split()
        at = end + 1
        if len(head) == 3:
            size = int(head[2])
            blobs[head[0]] = printed[at : at + size]
            at += size + 1
    return blobs


class OriginWalk:
    """Takes what `git log` tells, newest first, and finds who gave files the blobs they have.

    The output is of `--raw --no-abbrev -c -z --format='tformat:%H %an'`. A path counts as found
    only with the blob that is wanted: a commit that a merge has overruled is passed over.
    """

    def __init__(self, wanted: Mapping[str, str], folder: str) -> None:
        """`wanted` maps paths below `folder` to blobs."""
        prefix = f"{folder}/" if folder else ""
        self._wanted = {(prefix + path).encode(): blob for path, blob in wanted.items()}
        self._skip = len(prefix)
        self._rest = b""
        self._blob = ""
        self._origin = Origin("", "")
        self.found: dict[str, Origin] = {}

    def take(self, chunk: bytes) -> bool:
        """Take the next part of the output, cut anywhere; return whether more is needed."""
        *tokens, self._rest = (self._rest + chunk).split(b"\0")
        for token in tokens:
            self._take_token(token)
        return bool(self._wanted)

    def _take_token(self, token: bytes) -> None:
        if self._blob:
            if self._wanted.get(token) == self._blob:
                del self._wanted[token]
                self.found[token.decode()[self._skip :]] = self._origin
            self._blob = ""
        elif (head := token.removeprefix(b"\n")).startswith(b":"):
            self._blob = head.split()[-2].decode("ascii")
        elif head:
            commit, _, author = head.decode("utf-8", "replace").partition(" ")
            self._origin = Origin(commit, printable(author))


def printable(text: str, *, most: int = MAX_AUTHOR) -> str:
    """Return a text as it may be shown anywhere: one short line of visible characters."""
    visible = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(visible.split())[:most]


def _is_of_interest(mode: str, path: str) -> bool:
    """Tell files that should hold specs, and submodules: somebody may think that those are read."""
    if mode == _SUBMODULE:
        return not any(part.startswith(".") for part in path.split("/"))
    return holds_specs(path)


def _path_fault(raw: bytes) -> str:
    if len(raw) > MAX_PATH:
        return f"has a path of {len(raw)} bytes, more than {MAX_PATH}: shorten it"
    try:
        fault = control(raw.decode())
    except UnicodeDecodeError:
        return "has a path that is not UTF-8: rename it"
    return f"has a path that {fault}: rename it" if fault else ""


def _mode_fault(mode: str) -> str:
    if mode == _SUBMODULE:
        return "is a submodule, which is not read: make its repository a source of its own"
    if mode == _SYMLINK:
        return "is a symbolic link, which is not followed: commit the file itself"
    return "" if mode in _REGULAR else f"is no regular file (mode {mode})"


def _size_fault(size: int) -> str:
    return f"has {size} bytes, more than {MAX_BYTES}: split it" if size > MAX_BYTES else ""


def _shown_path(path: str, *, whole: bool) -> str:
    if whole:
        return path
    safe = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in path)
    return safe if len(safe) <= SHOWN_PATH else safe[:SHOWN_PATH] + "…"


def _with_twins_refused(files: Sequence[File]) -> list[File]:
    """Refuse each of several files whose paths are one where case or composition is not told."""
    together: dict[str, list[str]] = {}
    for file in files:
        together.setdefault(_folded(file.path), []).append(file.path)
    return [_refuse_twin(file, together[_folded(file.path)]) for file in files]


def _refuse_twin(file: File, paths: Sequence[str]) -> File:
    if len(paths) == 1 or file.fault:
        return file
    other = next((path for path in paths if path != file.path), file.path)
    return replace(
        file, fault=f"differs from {shown(other)} in case or accents only: rename one of them"
    )


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()
