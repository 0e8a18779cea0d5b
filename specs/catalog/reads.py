"""What a read of a catalogue source found: modules as they are, not understood yet (pure)."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

Format: TypeAlias = Literal["v1", "v2"]
"""v1: `metadata.json` of the early index; v2: `ai4-metadata.yml` of today's."""


@dataclass(frozen=True, slots=True)
class ModuleRead:
    """One module that a source lists, and what came of reading its metadata.

    `version` is another whenever the document is. `document` is None where `fault` says, for
    people, why it can't be used. `url` is where it was read, without a credential.
    """

    name: str
    format: Format
    version: str = ""
    document: Mapping[str, Any] | None = None
    fault: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class CatalogRead:
    """A whole read of one source.

    `modules` were read anew, `same` are the names of those that are as they were known, or can't be
    read at the moment. What is in neither is no longer listed. `notes` tell people what else was
    amiss, such as lines of a list that name no module.
    """

    modules: Sequence[ModuleRead]
    same: Collection[str] = ()
    notes: Sequence[str] = ()


class CatalogReader(Protocol):
    """A source of modules. One thread at a time."""

    def read(self, known: Mapping[str, str]) -> CatalogRead:
        """Read the whole source; `known` maps names to the versions that are stored.

        Raises: `specs.trees.SourceUnavailable` where the list of modules itself can't be had.
        """
        ...
