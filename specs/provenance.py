"""Which source of spec files decides over a record, and how that changes hands (pure).

A record belongs to people, or to one source: then its `source` has that one's `id`, and says where
the spec stands: `repo`, `path`, `line`, `commit`, `author`, and a `digest` of the document. What
people took over remembers from where, so that the file which said the same before does not take it
back: only one that was changed since does.
"""

from collections.abc import Mapping
from typing import Final

from specs.faults import ManagedBySource
from specs.model import Deployment
from specs.records import source_id

PLACE: Final = ("type", "id", "repo", "path", "line")
"""What of a source's mapping says where a spec stands; the rest says how it came there."""

TAKEN: Final = {"takenFrom": "id", "takenPath": "path", "takenDigest": "digest"}
"""Keys of a record that people took over, and what they keep of its source."""


def declared_in(source: Mapping[str, str]) -> str:
    """Return `path:line` of the file that declares a record, "" where people do."""
    if not source_id(source):
        return ""
    line = source.get("line", "")
    return source.get("path", "") + (line and f":{line}")


def moved(record: Deployment, source: Mapping[str, str]) -> bool:
    """Whether the spec stands elsewhere than the record says."""
    return any(record.source.get(key) != source.get(key) for key in PLACE)


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
