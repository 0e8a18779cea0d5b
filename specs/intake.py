"""Takes one read of a source of specs into the store: its wishes first, then what it dropped."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from specs.faults import AlreadyExists, Fault, InvalidSpec
from specs.model import Deployment, Owner
from specs.pruning import DeletionBudget, Listing, Place, judge_pruning
from specs.store import Change, SpecStore
from specs.wish import Wish

__all__ = [
    "DeletionBudget",
    "Intake",
    "Place",
    "Refused",
    "SourceRead",
    "SourcedWish",
    "judge_pruning",
    "take_in",
]


@dataclass(frozen=True, slots=True)
class SourcedWish:
    """One wish of a source; `provenance` says where it stands: its `type`, a path, a commit."""

    owner: Owner
    owner_name: str
    wish: Wish
    provenance: Mapping[str, str]

    @property
    def place(self) -> Place:
        """Where the wish stands in the store."""
        return Place(self.owner, self.wish.vo, self.wish.name)


@dataclass(frozen=True, slots=True)
class SourceRead:
    """What one read of a source found.

    `complete`: the whole source was read. `kept` are the places of wishes that are there and are
    not to be taken: what the store has of them stays as it is. `faulty` are those of them whose
    file can't be used, with the words for people.
    """

    source: str
    complete: bool
    wishes: Sequence[SourcedWish]
    kept: Collection[Place] = ()
    faulty: Mapping[Place, str] = field(default_factory=dict)

    def listing(self) -> Listing:
        """Return what the source lists, readable or not."""
        places = {wish.place for wish in self.wishes}.union(self.kept, self.faulty)
        return Listing(self.source, self.complete, places)


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


@dataclass(slots=True)
class _Taken:
    """The wishes so far."""

    records: dict[Change, list[Deployment]] = field(
        default_factory=lambda: {change: [] for change in Change}
    )
    faults: list[Refused] = field(default_factory=list)


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
    seen: set[Place] = set()
    for number, sourced in enumerate(read.wishes, 1):
        if sourced.place in seen:
            taken.faults.append(Refused(sourced, [_twice(sourced)]))
            continue
        seen.add(sourced.place)
        _take(store, read.source, sourced, taken, dry_run=dry_run)
        progress(number)
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


def _take(
    store: SpecStore, source: str, sourced: SourcedWish, taken: _Taken, *, dry_run: bool
) -> None:
    try:
        record, change = store.put_from_source(
            sourced.wish,
            owner=sourced.owner,
            owner_name=sourced.owner_name,
            source={**sourced.provenance, "id": source},
            dry_run=dry_run,
        )
    except InvalidSpec as refusal:
        taken.faults.append(Refused(sourced, refusal.faults))
    except AlreadyExists as refusal:
        fault = Fault("/metadata/name", "AlreadyExists", str(refusal), "another name")
        taken.faults.append(Refused(sourced, [fault]))
    else:
        taken.records[change].append(record)


def _twice(sourced: SourcedWish) -> Fault:
    message = f"{sourced.wish.name!r} in {sourced.wish.vo} stands twice: only the first is taken"
    return Fault("/metadata/name", "Twice", message, "another name")
