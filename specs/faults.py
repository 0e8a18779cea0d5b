"""What can be wrong with a wish, as values and as the few errors that faces translate (pure).

SpecError
 ├ InvalidSpec       every fault at once, each with a pointer        422
 │  ├ QuotaExceeded  more than the quota leaves                      422
 │  └ NotAMember     for a VO that is not the caller's               403
 ├ NotFound          absent, or somebody else's: never told apart    404
 ├ Forbidden         known user, not allowed                         403
 ├ AlreadyExists     the name is taken by another spec               409
 ├ ManagedBySource   a spec file declares it: edit that              409
 ├ VersionConflict   it moved since the caller read it               412
 ├ Expired           what changed since then is forgotten            410
 └ StoreUnavailable  locked or out of reach: nothing was written     503
    ├ StoreFull      no room on its disk: nothing was written        507
    ├ StoreBroken    its file is damaged: nothing is written         503
    ├ LeaseLost      another replica does that work: nothing written 503
    └ SealBroken     a stored secret that no key of the site opens   503

NewerStore           a newer program made the tables: nothing is started on them
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong.

    `pointer` is an RFC 6901 JSON pointer into what was sent, `code` a stable CamelCase word,
    `message` what was wrong with which value, `allowed` what would be accepted, in words.
    """

    pointer: str
    code: str
    message: str
    allowed: str = ""


class SpecError(Exception):
    """Any reason why a wish is not taken."""


class InvalidSpec(SpecError):
    """The spec breaks a rule; nothing was stored. Show all `faults` to the person who wrote it."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{f.pointer or '/'}: {f.message}" for f in self.faults))


class QuotaExceeded(InvalidSpec):
    """The quota has no room for the wish; nothing was stored. Ask for less, or suspend or delete
    something first."""


class NotAMember(InvalidSpec):
    """The spec is for a VO that the caller is no member of, and nothing else is wrong with it."""


class NotFound(SpecError):
    """No such deployment for this caller. Existence of other people's is not leaked."""


class Forbidden(SpecError):
    """The caller is known but may not do this. Asking again will not help."""


class AlreadyExists(SpecError):
    """The name is taken by a different spec. Use PUT to change it, or choose another name."""


class ManagedBySource(SpecError):
    """A spec file declares the deployment, so that file is to be changed; or take it over.

    `path` is the file below the root of its source, "" where it is not known.
    """

    def __init__(self, message: str, *, path: str) -> None:
        self.path = path
        super().__init__(message)


class VersionConflict(SpecError):
    """The record moved since the caller read it. Read it again, then decide again."""


class Expired(SpecError):
    """What changed after that resource version is not known any more. Read the list anew."""


class StoreUnavailable(SpecError):
    """The store did not answer in time, and nothing was written. Ask again later."""


class StoreFull(StoreUnavailable):
    """The store has no room left, and nothing was written. Reading works; so does writing again
    as soon as there is room.
    """


class StoreBroken(StoreUnavailable):
    """The store is damaged, or is no store. Nothing is written to it any more; what can still be
    read is read. An operator restores a backup.
    """


class LeaseLost(StoreUnavailable):
    """What was to be done is another replica's work by now, and nothing was written. Leave it."""


class SealBroken(StoreUnavailable):
    """A stored secret can't be opened with the keys that the site has."""


class NewerStore(Exception):
    """A newer version of this program made the tables. Start that one, or restore a backup."""
