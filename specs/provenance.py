"""Which source of spec files decides over a record, and how that changes hands (pure).

A record belongs to people, or to one source: then its `source` has that one's `id`, and says where
the spec stands: `repo`, `path`, `line`, `commit`, `author`, and a `digest` of the document. What
people took over remembers from where, so that the file which said the same before does not take it
back: only one that was changed since does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from specs.faults import ManagedBySource
from specs.model import Deployment, Owner
from specs.pruning import Place
from specs.records import source_id
from specs.wish import Wish

KEPT_UP: Final = ("type", "id", "repo", "path", "line", "digest")
"""What of a source's mapping is kept up to date; the rest says how the wish came there."""

TAKEN: Final = {"takenFrom": "id", "takenPath": "path", "takenDigest": "digest"}
"""Keys of a record that people took over, and what they keep of its source."""


@dataclass(frozen=True, slots=True)
class SourcedWish:
    """One wish of a source. `provenance` is what the record keeps of where it came from."""

    owner: Owner
    owner_name: str
    wish: Wish
    provenance: Mapping[str, str]

    @property
    def place(self) -> Place:
        """Where the wish stands in the store."""
        return Place(self.owner, self.wish.vo, self.wish.name)


def declared_in(source: Mapping[str, str]) -> str:
    """Return `path:line` of the file that declares a record, "" where people do."""
    if not source_id(source):
        return ""
    line = source.get("line", "")
    return source.get("path", "") + (line and f":{line}")


def same_document(kept: Mapping[str, str], source: Mapping[str, str]) -> bool:
    """Whether two provenances are of one document, in one place and with the same words."""
    return all(kept.get(key) == source.get(key) for key in KEPT_UP)


def moved(record: Deployment, source: Mapping[str, str]) -> bool:
    """Whether the spec stands elsewhere than the record says, or is said otherwise."""
    return not same_document(record.source, source)


def taken_by_people(record: Deployment, source: Mapping[str, str]) -> dict[str, str]:
    """Return the `source` of a record that people take over from its file."""
    was = record.source
    return dict(source) | {key: was[of] for key, of in TAKEN.items() if of in was}


def written_by_people(record: Deployment, source: Mapping[str, str]) -> dict[str, str]:
    """Return the `source` of a record after people write it: it stays whose it is."""
    was = record.source
    if source_id(was):
        return dict(was)
    return dict(source) | {key: was[key] for key in TAKEN if key in was}


def released(source: Mapping[str, str], record: Deployment) -> bool:
    """Whether a source may have a record of people's that says just what its file says.

    It may, unless people took it over from that very document.
    """
    taken = record.source.get("takenFrom"), record.source.get("takenDigest")
    return not source_id(record.source) and taken != (source_id(source), source.get("digest"))


def refuse_declared(record: Deployment) -> None:
    """Do nothing where people may write a record.

    Raises:
        ManagedBySource: a file declares it.
    """
    if source_id(record.source):
        path = record.source.get("path", "")
        where = declared_in(record.source) or "a file"
        raise ManagedBySource(
            f"{record.name!r} in {record.vo} is declared in {where} of {source_id(record.source)}:"
            f" edit {path or 'that'} there",
            path=path,
        )
