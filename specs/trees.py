"""What one read of a place with spec files found: files as they are, nothing understood yet (pure).

A *tree* is a whole commit of a repository, or a folder as it stood at one moment.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

SUFFIXES: Final = (".yaml", ".yml", ".json")
"""Names of files that hold specs end so, in any case. All others are passed over."""

MAX_FILES: Final = 20_000
"""Files of one tree. Far above what people review, and what one pass reads in a minute."""

MAX_PATH: Final = 1024
"""Bytes of a path below the root."""


class SourceUnavailable(Exception):
    """The place can't be read now, so nothing is known of what it holds.

    `str()` says what was tried, what came of it and what to do; no credential is in it.
    """


@dataclass(frozen=True, slots=True)
class File:
    """One file of a tree that should hold specs.

    `path` is below the root, with `/` between its parts. `blob` is another whenever the content is.
    `content` is None where the reader knows that blob already, or where `fault` says why the file
    is not read. `origin` says where the content came from: `commit` and `author`, where known.
    """

    path: str
    blob: str
    content: bytes | None = None
    fault: str = ""
    origin: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tree:
    """All files that should hold specs, by path.

    `version` names what was read: a commit, or a digest of a folder. `settled` is False while
    something of it may still be on its way: then what is absent counts for nothing, and the place
    should be read again after `again_s` seconds; `doubt` says to people what it waits for.
    """

    version: str
    files: Sequence[File]
    settled: bool = True
    again_s: float | None = None
    doubt: str = ""


class TreeReader(Protocol):
    """A folder or a repository. One thread at a time."""

    def read(self, known: Mapping[str, str]) -> Tree:
        """Read the whole tree as it is now; `known` maps the paths of the last read to their blobs.

        Raises: SourceUnavailable.
        """
        ...


def holds_specs(path: str) -> bool:
    """Whether a file of that path should hold specs: by its ending, and nothing in it is hidden."""
    parts = path.split("/")
    return path.lower().endswith(SUFFIXES) and not any(part.startswith(".") for part in parts)
