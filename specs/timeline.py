"""What the store tells of its own writes: who did it, and in which words (pure)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from specs.model import SECRET_FIELDS, Deployment, DeploymentSpec, Event, secret_name
from specs.provenance import declared_in

NAMED_FIELDS: Final = 5
"""Changed fields that a message names one by one."""

SHORT_COMMIT: Final = 12
"""Characters of a commit that tell it from others."""

RECONCILER: Final = "reconciler"


@dataclass(frozen=True, slots=True)
class Author:
    """Who writes a wish, and by which way in it came: `source` as a record keeps it."""

    actor: str
    source: Mapping[str, str]


BY_RECONCILER: Final = Author(RECONCILER, {"type": RECONCILER})


def told(
    author: Author, reason: str, message: str, kind: Literal["Normal", "Warning"] = "Normal"
) -> Event:
    """Return the event of what `author` did."""
    return Event(reason, message, kind, actor=author.actor, source=author.source.get("type", ""))


def created(record: Deployment, author: Author) -> Event:
    """Return the event of a first wish."""
    return told(author, "Created", f"{record.name!r} was declared in {record.vo}{_by(author)}.")


def adopted(record: Deployment, author: Author) -> Event:
    """Return the event of a job that was taken over as it runs."""
    return told(author, "Adopted", f"Job {record.uid!r} was taken over; it runs on as it is.")


def wish_changed(
    old: Deployment, new: Deployment, author: Author, *, secrets: Sequence[str]
) -> Iterator[Event]:
    """Yield the events of a newer wish; `secrets` are the names of those with another value."""
    names = [*changed_fields(old.spec, new.spec), *secrets]
    changes = listed(list(dict.fromkeys(names)))
    yield told(author, "SpecChanged", f"Changed{_by(author)}: {changes}.")
    if old.pin is not None and new.pin is None:
        yield pin_lifted(old.pin.generation, author)


def pin_lifted(generation: int, author: Author) -> Event:
    """Return the event of a wish that runs again after an older generation ran in its place."""
    message = f"Generation {generation} no longer runs in place of the wish."
    return told(author, "PinLifted", message)


def rolled_back(generation: int, author: Author) -> Event:
    """Return the event of a person's roll-back."""
    message = f"Generation {generation} runs in place of the wish, until the wish changes."
    return told(author, "RolledBack", message)


def deletion_requested(author: Author) -> Event:
    """Return the event of a deletion that was asked for."""
    file = file_of(author)
    why = f": {file} no longer declares it" if file else ""
    return told(author, "DeletionRequested", f"The job is stopped, then the record goes{why}.")


def deletion_held(why: str, author: Author) -> Event:
    """Return the event of a deletion that waits for a person's yes."""
    return told(author, "DeletionHeld", why, "Warning")


def deletion_confirmed(author: Author) -> Event:
    """Return the event of a held deletion that a person said yes to."""
    return told(author, "DeletionConfirmed", "The held deletion was confirmed.")


def taken_over(author: Author, *, before: str, now: str) -> Event:
    """Return the event of another source, or people, that decide over a record from now on."""
    return told(author, "TakenOver", f"It is declared by {now} from now on, no longer by {before}.")


def source_invalid(fault: str, author: Author) -> Event:
    """Return the event of a file that can't be used: what it said last stays."""
    return told(author, "SourceInvalid", f"The last good spec stays: {fault}", "Warning")


def source_valid(author: Author) -> Event:
    """Return the event of a file that can be used again."""
    return told(author, "SourceValid", "The file that declares it can be used again.")


def deleted() -> Event:
    """Return the event of a record that goes to the trash."""
    return told(BY_RECONCILER, "Deleted", "Nothing of it runs; the record is in the trash.")


def let_in() -> Event:
    """Return the event of a wish that leaves the line for its quota."""
    return told(BY_RECONCILER, "QuotaReserved", "The quota has room for it now: it was let in.")


def undeleted(author: Author, *, from_trash: bool) -> Event:
    """Return the event of a deletion that was taken back."""
    message = "The record is back from the trash." if from_trash else "The deletion was called off."
    return told(author, "Undeleted", message)


def file_of(author: Author) -> str:
    """Return `deploy/a.yaml:3 at commit 1a2b3c4d5e6f of Ada`, as much of it as is known.

    "" where no file declares the deployment.
    """
    where, commit = declared_in(author.source), author.source.get("commit", "")
    by = author.source.get("author", "")
    known = (where, commit and f"at commit {commit[:SHORT_COMMIT]}", by and f"of {by}")
    return " ".join(part for part in known if part) if where else ""


def _by(author: Author) -> str:
    file = file_of(author)
    return f" by {file}" if file else ""


def changed_fields(old: DeploymentSpec, new: DeploymentSpec) -> list[str]:
    """Return the fields that differ, as people write them: `hardware.ram`, `expiresAt`."""
    before, after = _leaves(old), _leaves(new)
    return [name for name in after if before.get(name) != after[name]]


def changed_secrets(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Return the names of the secrets that differ; never a value."""
    names = (secret_name(group, key) for group, key in SECRET_FIELDS)
    return [name for name in names if old.get(name) != new.get(name)]


def listed(names: Sequence[str]) -> str:
    """Return the first names as one text, and how many more there are."""
    more = len(names) - NAMED_FIELDS
    return ", ".join(names[:NAMED_FIELDS]) + (f" and {more} more" if more > 0 else "")


def _leaves(spec: DeploymentSpec) -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, value in spec.model_dump(mode="json").items():
        inner = value.items() if isinstance(value, dict) else ()
        leaves |= {f"{key}.{name}": leaf for name, leaf in inner}
        if not isinstance(value, dict):
            leaves[key] = value
    return leaves
