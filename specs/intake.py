"""Takes one read of a source of specs into the store: its wishes first, then what it dropped."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from specs.declaring import Change
from specs.faults import Fault, InvalidSpec, SpecError
from specs.model import Deployment
from specs.provenance import SourcedWish
from specs.pruning import DeletionBudget, Listing, Place, judge_pruning
from specs.store import SpecStore

__all__ = [
    "DeletionBudget",
    "Intake",
    "Place",
    "Refused",
    "SourceRead",
    "SourcedWish",
    "joined",
    "judge_pruning",
    "take_in",
]


CHUNK: Final = 20
"""Wishes of one write. Each write waits for the disk; while it lasts, people's writes wait."""


@dataclass(frozen=True, slots=True)
class SourceRead:
    """What one read of a source found.

    `complete`: the whole source was read. `kept` are the places of wishes that are there and are
    not to be taken: what the store has of them stays as it is. `faulty` are those of them whose
    file can't be used, with the words for people. `version` is the commit, if any.
    """

    source: str
    complete: bool
    wishes: Sequence[SourcedWish]
    kept: Collection[Place] = ()
    faulty: Mapping[Place, str] = field(default_factory=dict)
    version: str = ""

    def listing(self) -> Listing:
        """Return what the source lists, readable or not."""
        places = {wish.place for wish in self.wishes}.union(self.kept, self.faulty)
        return Listing(self.source, self.complete, places, self.version)


@dataclass(frozen=True, slots=True)
class Refused:
    """A wish that was not taken, and all that is wrong with it."""

    wish: SourcedWish
    faults: Sequence[Fault]

    @property
    def sentence(self) -> str:
        """The first fault, and how many more there are."""
        more = len(self.faults) - 1
        return self.faults[0].message + (f" (and {more} more)" if more else "")


@dataclass(frozen=True, slots=True)
class Intake:
    """What came of a read. `held` are the deletions that wait for a yes since this read.

    `taken` are people's deployments that belong to the source from now on, as they were.
    """

    created: Sequence[Deployment] = ()
    changed: Sequence[Deployment] = ()
    unchanged: Sequence[Deployment] = ()
    taken: Sequence[Deployment] = ()
    deleted: Sequence[Deployment] = ()
    held: Sequence[Deployment] = ()
    faults: Sequence[Refused] = ()


def joined(intakes: Sequence[Intake]) -> Intake:
    """Return what came of several reads in a row; the faults are those of the last."""
    return Intake(
        **{
            word: [record for intake in intakes for record in getattr(intake, word)]
            for word in ("created", "changed", "taken", "deleted", "held")
        },
        # What the later ones found unchanged may be what the first ones made.
        unchanged=intakes[0].unchanged,
        faults=intakes[-1].faults,
    )


@dataclass(slots=True)
class _Taken:
    """The wishes so far."""

    records: dict[Change, list[Deployment]] = field(
        default_factory=lambda: {change: [] for change in Change}
    )
    faults: list[Refused] = field(default_factory=list)

    def note(self, sourced: SourcedWish, done: tuple[Deployment, Change] | SpecError) -> None:
        """Note what became of a wish."""
        match done:
            case InvalidSpec():
                self.faults.append(Refused(sourced, done.faults))
            case SpecError():
                fault = Fault("/metadata/name", "AlreadyExists", str(done), "another name")
                self.faults.append(Refused(sourced, [fault]))
            case record, change:
                self.records[change].append(record)


def take_in(
    store: SpecStore,
    read: SourceRead,
    budget: DeletionBudget,
    *,
    dry_run: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> Intake:
    """Take the wishes in, each for itself, then let go what a complete read no longer lists.

    Safe to repeat. A wish that is not taken is a fault, and what the store has of it stays.
    `progress` is told how many wishes were looked at. A dry run writes nothing; each of its wishes
    is judged as if it came alone.

    Raises:
        StoreUnavailable: some wishes may be in, nothing was let go: take the read in again.
    """
    taken = _Taken()
    fresh = list(_once(read, taken))
    for start in range(0, len(fresh), CHUNK):
        chunk = fresh[start : start + CHUNK]
        for sourced, done in zip(chunk, store.put_from_source(chunk, dry_run=dry_run), strict=True):
            taken.note(sourced, done)
        progress(start + len(chunk))
    if not dry_run:
        refused = {refusal.wish.place: refusal.sentence for refusal in taken.faults}
        store.mark_faults(read.source, {**refused, **read.faulty})
    pruned = store.prune(read.listing(), budget, dry_run=dry_run)
    return Intake(
        created=taken.records[Change.CREATED],
        changed=taken.records[Change.CHANGED],
        unchanged=taken.records[Change.UNCHANGED],
        taken=taken.records[Change.TAKEN],
        deleted=pruned.deleted,
        held=pruned.held,
        faults=taken.faults,
    )


def _once(read: SourceRead, taken: _Taken) -> Iterator[SourcedWish]:
    """Yield the wishes as the source's; what stands twice is a fault from the second time on."""
    seen: set[Place] = set()
    for sourced in read.wishes:
        if sourced.place in seen:
            taken.faults.append(Refused(sourced, [_twice(sourced)]))
            continue
        seen.add(sourced.place)
        yield replace(sourced, provenance={**sourced.provenance, "id": read.source})


def _twice(sourced: SourcedWish) -> Fault:
    message = f"{sourced.wish.name!r} in {sourced.wish.vo} stands twice: only the first is taken"
    return Fault("/metadata/name", "Twice", message, "another name")
