"""Reads of sources taken into the store, on every database that the store works on."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from specs.faults import ManagedBySource
from specs.intake import (
    DeletionBudget,
    Intake,
    Place,
    SourcedWish,
    SourceRead,
    take_in,
)
from specs.model import JOB_FINALIZER, SECRET_SET, Deployment
from specs.ownership import SourceState
from specs.store import SpecStore
from specs.wish import Wish
from tests.builders import ALICE, ALICE_REACH, VO
from tests.contract.stores import (
    BOB,
    Clock,
    a_wish,
    create,
    delete,
    in_threads,
    look,
    put,
    reasons,
    request_deletion,
    running,
    the,
    version,
)

GIT = "https://git.example/specs"
BUDGET = DeletionBudget()


def wishes(names: Iterable[str], **changes: Any) -> list[SourcedWish]:
    return [sourced(a_wish(name, **changes)) for name in names]


def sourced(wish: Wish, **provenance: str) -> SourcedWish:
    return SourcedWish(ALICE, "Alice", wish, {"type": "git", "commit": "c1"} | provenance)


def numbered(*span: int) -> list[str]:
    return [f"n{n}" for n in range(*span)]


def take(
    store: SpecStore, names: Iterable[str], *, source: str = GIT, **rest: Any
) -> Mapping[str, Sequence[str]]:
    """Take a complete read of these names in; return the names under each word of the intake."""
    given = {key: rest.pop(key) for key in ("complete", "kept") if key in rest}
    read = SourceRead(
        source,
        given.get("complete", True),
        [sourced(a_wish(name), **rest) for name in names],
        kept=given.get("kept", ()),
    )
    intake = take_in(store, read, BUDGET)
    return told(intake)


def told(intake: Intake) -> dict[str, list[str]]:
    words = ("created", "changed", "unchanged", "taken", "deleted", "held")
    found = {word: [record.name for record in getattr(intake, word)] for word in words}
    found["faults"] = [refused.wish.wish.name for refused in intake.faults]
    return {word: sorted(names) for word, names in found.items() if names}


def living(store: SpecStore) -> list[str]:
    return [r.name for r in store.page(ALICE_REACH).items if not r.being_deleted]


def named(store: SpecStore, name: str) -> Deployment:
    return store.find(ALICE_REACH, vo=VO, name=name)


def test_a_read_creates_changes_and_deletes(store: SpecStore) -> None:
    assert take(store, numbered(4)) == {"created": numbered(4)}
    read = SourceRead(GIT, True, [*wishes(["n0"]), *wishes(["n1"], ram=9000), *wishes(["n9"])])
    assert told(take_in(store, read, BUDGET)) == {
        "created": ["n9"],
        "changed": ["n1"],
        "unchanged": ["n0"],
        "deleted": ["n2", "n3"],
    }
    record = named(store, "n1")
    assert record.source == {"type": "git", "commit": "c1", "id": GIT}
    changed = store.events(record.uid)[-1].event
    assert (changed.reason, changed.actor, changed.source) == ("SpecChanged", GIT, "git")
    gone = named(store, "n2")
    asked = store.events(gone.uid)[-1].event
    assert (asked.reason, asked.actor, asked.source) == ("DeletionRequested", GIT, "git")
    assert store.sources() == [SourceState(GIT, deployments=3, held=0)]


def test_a_read_of_what_is_there_writes_nothing(store: SpecStore) -> None:
    take(store, numbered(4))
    before = version(store)
    assert take(store, numbered(4)) == {"unchanged": numbered(4)}
    assert version(store) == before


def test_one_broken_file_among_many_keeps_its_last_good_spec(store: SpecStore) -> None:
    """R15, and the trap "parse failure then purge": zero deletes."""
    take(store, numbered(40))
    kept = [Place(ALICE, VO, "n7")]
    names = [name for name in numbered(40) if name != "n7"]
    assert take(store, names, kept=kept) == {"unchanged": sorted(names)}
    assert len(living(store)) == 40
    assert take(store, [], kept=[Place(ALICE, VO, name) for name in numbered(40)]) == {}
    assert len(living(store)) == 40


@pytest.mark.parametrize("there", [1, 40])
def test_an_empty_source_deletes_nothing(store: SpecStore, there: int) -> None:
    """R14, and the trap "empty clone / wrong path then purge": all is held, and says why."""
    take(store, numbered(there))
    for name in numbered(there):
        look(store, named(store, name).uid, running())
    assert take(store, []) == {"held": sorted(numbered(there))}
    assert len(living(store)) == there
    record = named(store, "n0")
    assert record.deletion_held.startswith(f"EmptySource: {GIT} lists nothing")
    assert (record.generation, record.status) == (1, running())
    assert reasons(store, record.uid) == ["Created", "DeletionHeld"]
    assert store.sources() == [SourceState(GIT, deployments=there, held=there)]
    assert take(store, []) == {}, "held once is told once"
    assert take(store, numbered(there)) == {"unchanged": sorted(numbered(there))}
    assert named(store, "n0").deletion_held == ""
    assert store.sources() == [SourceState(GIT, deployments=there, held=0)]


def test_a_partial_read_deletes_nothing(store: SpecStore) -> None:
    """R14: the source could not be read to its end."""
    take(store, numbered(3))
    assert take(store, ["n0"], complete=False) == {"unchanged": ["n0"]}
    assert take(store, [], complete=False) == {}
    assert [r.deletion_held for r in store.page(ALICE_REACH).items] == [""] * 3


def test_many_deletions_at_once_wait_for_a_yes(store: SpecStore) -> None:
    """R14: most files removed in one commit, or an unrelated history: held until confirmed."""
    take(store, numbered(40))
    gone = numbered(9)
    assert take(store, numbered(9, 40)) == {
        "held": sorted(gone),
        "unchanged": sorted(numbered(9, 40)),
    }
    record = named(store, "n0")
    assert record.deletion_held == (
        f"OverBudget: 9 of 40 deployments of {GIT} would be deleted within an hour; "
        "more than 5 and 20 % need a yes"
    )
    assert record.uid in {uid for _, uid, *_ in store.wishes_after(40)}, "the status can say so"
    take(store, numbered(8, 40))
    assert named(store, "n8").deletion_held == ""
    assert store.confirm_deletions("another", actor="Olga") == 0
    assert store.confirm_deletions(GIT, actor="Olga") == 8
    record = the(store, record.uid)
    assert (record.being_deleted, record.deletion_held) == (True, "")
    confirmed = store.events(record.uid)[-1].event
    assert (confirmed.reason, confirmed.actor) == ("DeletionConfirmed", "Olga")
    assert sorted(living(store)) == sorted(numbered(8, 40))
    assert store.confirm_deletions(GIT, actor="Olga") == 0


def test_the_budget_is_one_for_all_passes_of_an_hour(store: SpecStore, clock: Clock) -> None:
    take(store, numbered(50))
    assert len(take(store, numbered(8, 50))["deleted"]) == 8
    for record in store.page(ALICE_REACH).items:
        if record.being_deleted:
            store.remove_finalizer(record.uid, JOB_FINALIZER)
    clock.advance(minutes=59)
    assert len(take(store, numbered(16, 50))["held"]) == 8
    clock.advance(minutes=2)
    take(store, numbered(8, 50))
    assert len(take(store, numbered(16, 50))["deleted"]) == 8


def test_a_confirmed_deletion_is_not_counted(store: SpecStore) -> None:
    take(store, numbered(20))
    take(store, numbered(10, 20))
    assert store.confirm_deletions(GIT, actor="Olga") == 10
    assert len(take(store, numbered(12, 20))["deleted"]) == 2


def test_the_budget_is_one_for_all_sources(store: SpecStore) -> None:
    """Five each are within every source's own budget; all together would be too many."""
    for n in range(4):
        take(store, numbered(10 * n, 10 * n + 10), source=f"s{n}")
    deleted = [
        len(take(store, numbered(10 * n + 5, 10 * n + 10), source=f"s{n}").get("deleted", ()))
        for n in range(4)
    ]
    assert deleted == [5, 0, 0, 0]
    assert "of all sources" in named(store, "n10").deletion_held


def test_two_passes_at_once_keep_within_one_budget(store: SpecStore) -> None:
    take(store, numbered(40))
    reads = [numbered(8, 40), [*numbered(32)]]

    def read(who: int) -> object:
        return take(store, reads[who % 2])

    answers = in_threads(4, read)
    assert [answer for answer in answers if isinstance(answer, Exception)] == []
    gone = [r.name for r in store.page(ALICE_REACH).items if r.being_deleted]
    assert sorted(gone) in (sorted(numbered(8)), sorted(numbered(32, 40)))


def test_a_name_of_somebody_else_is_a_fault_and_stays(store: SpecStore) -> None:
    create(store, a_wish("n0"))
    take(store, ["n1"], source="other")
    before = [named(store, "n0"), named(store, "n1")]
    intake = take_in(store, SourceRead(GIT, True, wishes(["n0", "n1", "n2"], ram=9000)), BUDGET)
    assert told(intake) == {"created": ["n2"], "faults": ["n0", "n1"]}
    assert [named(store, "n0"), named(store, "n1")] == before
    messages = [refused.faults[0].message for refused in intake.faults]
    assert "is declared by people (api): say in the file what it says there" in messages[0]
    assert "is declared by other: " in messages[1]
    # Nor does its absence matter to what it does not own.
    take(store, ["n2"])
    assert sorted(living(store)) == ["n0", "n1", "n2"]
    assert create(store, a_wish("n1"), owner=BOB).owner == BOB


def test_a_wish_that_is_refused_is_a_fault_and_deletes_nothing(store: SpecStore) -> None:
    take(store, numbered(3))
    request_deletion(store, named(store, "n0").uid, take_over=True)
    broken = sourced(replaced_secret(a_wish("n1")))
    read = SourceRead(GIT, True, [*wishes(["n0", "n2", "n2"]), broken])
    intake = take_in(store, read, BUDGET)
    assert told(intake) == {"unchanged": ["n2"], "faults": ["n0", "n1", "n2"]}
    codes = {refused.wish.wish.name: refused.faults[0].code for refused in intake.faults}
    assert codes == {"n0": "AlreadyExists", "n1": "NothingToKeep", "n2": "Twice"}
    assert living(store) == ["n2", "n1"]


def replaced_secret(wish: Wish) -> Wish:
    return Wish(wish.vo, wish.name, wish.spec, {"general.jupyter_password": SECRET_SET})


PATH = {"path": "deploy/n.yaml", "line": "3", "digest": "d1"}


def test_what_a_file_declares_is_not_for_people_to_change(store: SpecStore) -> None:
    take(store, ["n0"], **PATH)
    record = named(store, "n0")
    for write in (
        lambda: put(store, a_wish("n0", ram=9000)),
        lambda: request_deletion(store, record.uid),
    ):
        with pytest.raises(
            ManagedBySource, match=r"deploy/n\.yaml:3 of .* edit deploy/n\.yaml"
        ) as refusal:
            write()
        assert refusal.value.path == "deploy/n.yaml"
    assert put(store, a_wish("n0")) == (record, False)
    assert named(store, "n0") == record


def test_a_secret_that_a_file_leaves_open_is_for_people_to_set(store: SpecStore) -> None:
    open_in_file = a_wish("n0", password="first-secret")
    take_in(store, SourceRead(GIT, True, [sourced(open_in_file, **PATH)]), BUDGET)
    put(store, replace(open_in_file, secrets={"general.jupyter_password": "second-secret"}))
    record = named(store, "n0")
    assert (record.generation, record.source["id"]) == (2, GIT)
    kept = replace(open_in_file, secrets={"general.jupyter_password": SECRET_SET})
    assert told(take_in(store, SourceRead(GIT, True, [sourced(kept, **PATH)]), BUDGET)) == {
        "unchanged": ["n0"]
    }


def test_people_take_over_aloud_and_the_file_takes_back_only_when_it_changed(
    store: SpecStore,
) -> None:
    take(store, ["n0"], **PATH)
    put(store, a_wish("n0"), take_over=True)
    taken = named(store, "n0")
    assert taken.source["takenFrom"] == GIT
    event = store.events(taken.uid)[-1].event
    assert (event.reason, event.actor) == ("TakenOver", "Alice")
    assert "deploy/n.yaml:3" in event.message
    assert take(store, ["n0"], **PATH) == {"faults": ["n0"]}
    put(store, a_wish("n0", ram=9000))
    assert named(store, "n0").source["takenFrom"] == GIT
    assert take(store, ["n0"], **PATH | {"digest": "d2"}) == {"faults": ["n0"]}
    put(store, a_wish("n0"))
    assert take(store, ["n0"], **PATH | {"digest": "d2"}) == {"taken": ["n0"]}
    assert named(store, "n0").source["id"] == GIT
    assert store.events(taken.uid)[-1].event.reason == "TakenOver"


def test_what_people_took_over_and_deleted_stays_away_until_the_file_changes(
    store: SpecStore,
) -> None:
    take(store, ["n0"], **PATH)
    delete(store, "uid-1", take_over=True)
    assert take(store, ["n0"], **PATH) == {"faults": ["n0"]}
    assert take(store, ["n0"], **PATH | {"digest": "d2"}) == {"created": ["n0"]}


def test_a_file_takes_what_people_declared_when_it_says_just_that(store: SpecStore) -> None:
    """From clicks to git: export, commit, and nothing of it runs anew."""
    record, _ = create(store, a_wish("n0")), create(store, a_wish("n1"))
    intake = take_in(
        store,
        SourceRead(GIT, True, [sourced(a_wish("n0"), **PATH), *wishes(["n1"], ram=9000)]),
        BUDGET,
    )
    assert told(intake) == {"taken": ["n0"], "faults": ["n1"]}
    assert named(store, "n0").generation == record.generation
    take(store, [])
    assert named(store, "n0").deletion_held.startswith("EmptySource")


def test_a_file_that_moved_is_only_noted(store: SpecStore) -> None:
    take(store, ["n0"], **PATH)
    before = named(store, "n0")
    wished = store.wishes_after(0)
    assert take(store, ["n0"], **PATH | {"path": "other/n.yaml"}) == {"unchanged": ["n0"]}
    after = named(store, "n0")
    assert (after.source["path"], after.generation) == ("other/n.yaml", before.generation)
    assert store.wishes_after(0) == wished


def test_what_people_take_over_is_no_longer_the_sources(store: SpecStore) -> None:
    take(store, numbered(2))
    take(store, [])
    put(store, a_wish("n0", ram=9000), take_over=True)
    assert named(store, "n0").deletion_held == ""
    assert store.confirm_deletions(GIT, actor="Olga") == 1
    assert living(store) == ["n0"]


def test_the_fault_of_a_file_is_said_of_what_it_declares(store: SpecStore) -> None:
    """R15: the last good spec stays, and its owner is told."""
    take(store, numbered(3))
    place = Place(ALICE, VO, "n1")
    read = SourceRead(GIT, True, wishes(["n0", "n2"]), faulty={place: "a.yaml:3:1: bad"})
    assert told(take_in(store, read, BUDGET)) == {"unchanged": ["n0", "n2"]}
    record = named(store, "n1")
    assert (record.source_fault, record.generation) == ("a.yaml:3:1: bad", 1)
    assert store.events(record.uid)[-1].event.reason == "SourceInvalid"
    before = version(store)
    take_in(store, read, BUDGET)
    assert version(store) == before
    take(store, numbered(3))
    assert named(store, "n1").source_fault == ""
    assert store.events(record.uid)[-1].event.reason == "SourceValid"


def test_a_dry_run_tells_all_and_writes_nothing(store: SpecStore) -> None:
    take(store, numbered(4))
    before = version(store)
    read = SourceRead(GIT, True, [*wishes(["n0"]), *wishes(["n1"], ram=9000), *wishes(["n9"])])
    assert told(take_in(store, read, BUDGET, dry_run=True)) == {
        "created": ["n9"],
        "changed": ["n1"],
        "unchanged": ["n0"],
        "deleted": ["n2", "n3"],
    }
    assert (version(store), living(store)) == (before, ["n3", "n2", "n1", "n0"])
    assert told(take_in(store, SourceRead(GIT, True, []), BUDGET, dry_run=True)) == {
        "held": numbered(4)
    }
    assert version(store) == before
