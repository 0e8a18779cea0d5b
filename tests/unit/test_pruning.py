"""Never prune on doubt, over every mixture of reads and records."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specs.pruning import DeletionBudget, Listing, Load, Owned, Place, Pruning, judge_pruning
from tests.builders import ALICE, VO


def place(n: int) -> Place:
    return Place(ALICE, VO, f"n{n}")


def own(*numbers: int, held: str = "") -> list[Owned]:
    return [Owned(f"uid-{n}", place(n), held) for n in numbers]


def judge(
    listed: range, owned: list[Owned], *, complete: bool = True, pruned: int = 0, **rest: Any
) -> Pruning:
    overall = rest.pop("overall", Load(1000, pruned))
    listing = Listing("specs", complete, {place(n) for n in listed})
    return judge_pruning(listing, owned, DeletionBudget(**rest), pruned=pruned, overall=overall)


@pytest.mark.parametrize(
    ("there", "listed", "more", "goes", "why"),
    [
        (10, range(10), {}, 0, ""),
        (10, range(5), {}, 5, ""),
        (10, range(4), {}, 0, "OverBudget"),
        (100, range(20, 100), {}, 20, ""),
        (100, range(21, 100), {}, 0, "OverBudget"),
        (100, range(10, 100), {"pruned": 20}, 0, "OverBudget"),
        (100, range(10, 100), {"overall": Load(1000, 300)}, 0, "OverBudget"),
        (10, range(8, 10), {"count": 8}, 8, ""),
        (1, range(0), {}, 0, "EmptySource"),
        (1, range(5, 6), {}, 1, ""),
        (10, range(5), {"complete": False}, 0, ""),
        (10, range(0), {"complete": False}, 0, ""),
    ],
)
def test_what_goes_and_what_waits(
    there: int, listed: range, more: dict[str, Any], goes: int, why: str
) -> None:
    pruning = judge(listed, own(*range(there)), **more)
    assert len(pruning.delete) == goes
    assert {reason.partition(":")[0] for reason in pruning.hold.values()} == (
        {why} if why else set()
    )


def test_what_waits_goes_on_waiting_until_it_is_listed_again() -> None:
    owned = [*own(0, 1, held="why"), *own(2, 3, 4)]
    assert judge(range(1, 4), owned) == Pruning(delete=["uid-4"], release=["uid-1"])


def test_a_held_deletion_is_released_by_a_partial_read_that_lists_it() -> None:
    assert judge(range(1), own(0, 1, held="why"), complete=False) == Pruning(release=["uid-0"])


OWNED = st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["", "why"])), max_size=30)


@given(
    owned=OWNED,
    listed=st.sets(st.integers(0, 30)),
    complete=st.booleans(),
    pruned=st.integers(0, 10),
    others=st.tuples(st.integers(0, 50), st.integers(0, 50)),
    budget=st.builds(DeletionBudget, st.integers(0, 10), st.integers(0, 100)),
)
def test_nothing_goes_in_doubt(
    *,
    owned: list[tuple[int, str]],
    listed: set[int],
    complete: bool,
    pruned: int,
    others: tuple[int, int],
    budget: DeletionBudget,
) -> None:
    records = [Owned(f"uid-{n}", place(n), held) for n, held in dict(owned).items()]
    overall = Load(len(records) + others[0], pruned + others[1])
    listing = Listing("specs", complete, {place(n) for n in listed})
    pruning = judge_pruning(listing, records, budget, pruned=pruned, overall=overall)
    deleted = set(pruning.delete)
    assert deleted.isdisjoint(f"uid-{n}" for n in listed), "what is listed goes"
    assert deleted.isdisjoint(r.uid for r in records if r.held), "what waits for a yes goes"
    assert deleted.isdisjoint(pruning.hold)
    assert not deleted or (complete and listed), "deleted on a partial or empty read"
    touched = deleted.union(pruning.hold)
    absent = {r.uid for r in records if r.place not in listing.places}
    assert touched == ({r.uid for r in records if not r.held} & absent if complete else set())
    if deleted:
        for load in (Load(len(records), pruned), overall):
            gone, present = len(deleted) + load.pruned, load.deployments + load.pruned
            assert gone <= budget.count or gone * 100 <= budget.percent * present
