"""Whether what a source no longer lists may go (pure). Never prune on doubt.

Absence counts only after a complete read that found something. More deletions than the budget wait
for a person's yes, and so does every deletion that waited before: it is for a person, or for the
wish itself when it is back, to end the wait.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, NamedTuple

from specs.model import Owner

WINDOW: Final = timedelta(hours=1)
"""How far back deletions count against the budget."""


class Place(NamedTuple):
    """Where a wish stands: no two records have the same."""

    owner: Owner
    vo: str
    name: str


@dataclass(frozen=True, slots=True)
class DeletionBudget:
    """Deletions that need no person's yes: up to `count`, or up to `percent` % of what is there."""

    count: int = 5
    percent: float = 20

    def exceeded_by(self, deletions: int, *, of: int) -> bool:
        """Whether so many deletions of so many deployments are too many."""
        return deletions > self.count and deletions * 100 > self.percent * of


@dataclass(frozen=True, slots=True)
class Listing:
    """What a read of a source found; `complete`: all that is there was seen.

    `places` are those of every wish, of the unreadable ones too. `version` is the commit, if any.
    """

    source: str
    complete: bool
    places: Collection[Place]
    version: str = ""


@dataclass(frozen=True, slots=True)
class Owned:
    """A deployment that belongs to the source; `held` says why its deletion waits ("": none does).

    Those that are being deleted already are not counted here.
    """

    uid: str
    place: Place
    held: str = ""


@dataclass(frozen=True, slots=True)
class Load:
    """What the budget is measured against: `deployments` that are there, `pruned` of late."""

    deployments: int
    pruned: int


@dataclass(frozen=True, slots=True)
class Pruning:
    """What is to be done, by uid; `hold` says why."""

    delete: Sequence[str] = ()
    hold: Mapping[str, str] = field(default_factory=dict)
    release: Sequence[str] = ()

    @property
    def nothing(self) -> bool:
        """Whether all stays as it is."""
        return not (self.delete or self.hold or self.release)


def judge_pruning(
    listing: Listing,
    owned: Sequence[Owned],
    budget: DeletionBudget,
    *,
    pruned: int,
    overall: Load,
) -> Pruning:
    """Decide over what the source owns after a read of it.

    `pruned` counts the source's own unconfirmed deletions within `WINDOW`, `overall` all sources'
    and all deployments, people's too.
    """
    places = frozenset(listing.places)
    release = [one.uid for one in owned if one.held and one.place in places]
    absent = [one for one in owned if one.place not in places]
    if not listing.complete or not absent:
        return Pruning(release=release)
    fresh = [one.uid for one in absent if not one.held]
    own = Load(len(owned), pruned)
    doubt = _doubt(listing, len(absent), budget, own=own, overall=overall)
    if doubt:
        return Pruning(hold=dict.fromkeys(fresh, doubt), release=release)
    return Pruning(delete=fresh, release=release)


def _doubt(
    listing: Listing, absent: int, budget: DeletionBudget, *, own: Load, overall: Load
) -> str:
    """Say why so many absent deployments may not go now, or ""."""
    if not listing.places:
        return (
            f"EmptySource: {listing.source} lists nothing, and {own.deployments} deployments are "
            "its own; confirm their deletion if that is meant"
        )
    for load, of_what in ((own, f"of {listing.source}"), (overall, "of all sources")):
        deletions, present = absent + load.pruned, load.deployments + load.pruned
        if budget.exceeded_by(deletions, of=present):
            return (
                f"OverBudget: {deletions} of {present} deployments {of_what} would be deleted "
                f"within an hour; more than {budget.count} and {budget.percent:g} % need a yes"
            )
    return ""
