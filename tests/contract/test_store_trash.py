"""The trash and what is removed for good, on every database that the store works on."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from specs import trash
from specs.faults import AlreadyExists, InvalidSpec, NotFound
from specs.model import JOB_FINALIZER, Deployment, DeploymentStatus, Reach
from specs.store import SpecStore
from tests.builders import ALICE, ALICE_REACH, NOW, VO
from tests.contract.stores import (
    BOB,
    BOB_REACH,
    OTHER_VO,
    PASSWORD,
    SOURCE,
    Clock,
    a_wish,
    an_applied,
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


def undelete(store: SpecStore, *, vo: str | None = VO, **rest: Any) -> Deployment:
    reach = Reach(rest.pop("owner", ALICE), ALICE_REACH.vos)
    given = {"name": "train-a", "actor": "Alice", "source": SOURCE} | rest
    return store.undelete(reach, vo=vo, **given)


def test_what_is_gone_is_in_its_owners_trash_and_its_name_is_free(
    store: SpecStore, clock: Clock
) -> None:
    create(store, a_wish(labels={"team": "a"}))
    create(store, a_wish("n1"))
    delete(store, "uid-1")
    clock.advance(hours=1)
    delete(store, "uid-2")
    assert [(t.deployment.name, t.deleted_at) for t in store.trash(ALICE_REACH)] == [
        ("n1", NOW + timedelta(hours=1)),
        ("train-a", NOW),
    ]
    assert store.trash(BOB_REACH) == []
    assert store.trash(ALICE_REACH)[1].deployment.labels == {"team": "a"}
    assert create(store).uid == "uid-3"


def test_what_comes_back_is_as_it_was(store: SpecStore) -> None:
    first = create(store, a_wish(password="correct horse", labels={"team": "a"}, ram=9000))
    look(store, "uid-1", running(), applied=an_applied(), seen_index=3)
    delete(store, "uid-1")
    assert store.secrets("uid-1") == {}
    back = undelete(store)
    assert back == replace(first, generation=3, resource_version=version(store))
    assert store.get("uid-1") == back
    assert store.secrets("uid-1") == {PASSWORD: "correct horse"}
    assert store.trash(ALICE_REACH) == []
    assert (back.applied, back.status) == (None, DeploymentStatus())
    assert reasons(store, "uid-1") == ["Created", "DeletionRequested", "Deleted", "Undeleted"]
    assert [r.generation for r in store.history("uid-1")] == [3, 1]
    assert [w[:2] for w in store.wishes_after(4)] == [(5, "uid-1")]


def test_the_past_and_the_pin_outlive_the_trash(store: SpecStore) -> None:
    create(store)
    put(store, a_wish(ram=9000))
    pinned = store.rollback("uid-1", 1, actor="Alice", source=SOURCE)
    delete(store, "uid-1")
    assert [r.generation for r in store.history("uid-1")] == [3, 2, 1]
    assert undelete(store).pin == pinned.pin


def test_a_deletion_under_way_is_called_off(store: SpecStore) -> None:
    create(store)
    look(store, "uid-1", running(), applied=an_applied())
    request_deletion(store, "uid-1")
    back = undelete(store)
    assert (back.uid, back.generation, back.being_deleted) == ("uid-1", 3, False)
    assert back.applied == an_applied()
    store.remove_finalizer("uid-1", JOB_FINALIZER)
    assert the(store, "uid-1") == back


def test_the_newest_of_a_name_comes_back(store: SpecStore) -> None:
    for ram in (9000, 9500):
        delete(store, create(store, a_wish(ram=ram)).uid)
    assert undelete(store, vo=None).uid == "uid-2"
    request_deletion(store, "uid-2")
    assert undelete(store).uid == "uid-2"
    delete(store, "uid-2")
    assert [t.deployment.uid for t in store.trash(ALICE_REACH)] == ["uid-2", "uid-1"]


def test_an_undeletion_that_can_not_be_is_refused(store: SpecStore) -> None:
    with pytest.raises(NotFound):
        undelete(store)
    delete(store, create(store).uid)
    with pytest.raises(NotFound):
        undelete(store, owner=BOB)
    with pytest.raises(NotFound):
        undelete(store, vo=OTHER_VO)
    create(store)
    with pytest.raises(AlreadyExists):
        undelete(store)
    delete(store, create(store, a_wish(vo=OTHER_VO)).uid)
    with pytest.raises(InvalidSpec) as refusal:
        undelete(store, vo=None)
    assert refusal.value.faults[0].allowed == f"{VO}, {OTHER_VO}"
    assert undelete(store, vo=OTHER_VO).vo == OTHER_VO


def test_what_is_undeleted_belongs_to_who_undeleted_it(store: SpecStore) -> None:
    store.put(a_wish(), owner=ALICE, owner_name="A", source={"type": "git", "id": "g"})
    delete(store, "uid-1", take_over=True)
    assert undelete(store).source == SOURCE
    assert store.sources() == []


def test_asking_twice_deletes_once_and_a_new_record_of_the_name_is_another(
    store: SpecStore,
) -> None:
    """R29: DELETE twice, then POST of the same name: another uid, and the old one stays gone."""
    create(store)
    first = request_deletion(store, "uid-1")
    assert request_deletion(store, "uid-1") == first
    store.remove_finalizer("uid-1", JOB_FINALIZER)
    store.remove_finalizer("uid-1", JOB_FINALIZER)
    with pytest.raises(NotFound):
        request_deletion(store, "uid-1")
    assert create(store).uid == "uid-2"
    assert not look(store, "uid-1", running(1))
    assert store.get("uid-1") is None
    assert len(store.trash(ALICE_REACH)) == 1


def test_the_last_accepted_intent_stands_whatever_was_in_flight(store: SpecStore) -> None:
    """R30: a look from before the deletion ends after it; an update meets a deletion under way."""
    create(store)
    request_deletion(store, "uid-1")
    assert look(store, "uid-1", running(1), applied=an_applied(), seen_index=9)
    with pytest.raises(AlreadyExists, match="being deleted"):
        put(store, a_wish(ram=9000))
    record = the(store, "uid-1")
    assert (record.generation, record.being_deleted) == (2, True)
    assert record.applied == an_applied()
    undelete(store)
    put(store, a_wish(ram=9000))
    record = the(store, "uid-1")
    assert (record.generation, record.being_deleted, record.spec.hardware.ram) == (4, False, 9000)


@pytest.mark.parametrize("round_", range(8))
def test_an_undeletion_and_the_end_of_the_deletion_do_not_cross(
    store: SpecStore, round_: int
) -> None:
    """R30: whichever comes first, the record is there and wanted afterwards."""
    create(store, a_wish(password="correct horse"))
    request_deletion(store, "uid-1")
    work = [lambda: undelete(store), lambda: store.remove_finalizer("uid-1", JOB_FINALIZER)]
    answers = in_threads(2, lambda who: work[(who + round_) % 2]())
    assert [a for a in answers if isinstance(a, Exception)] == []
    record = the(store, "uid-1")
    assert (record.generation, record.being_deleted) == (3, False)
    assert record.finalizers == (JOB_FINALIZER,)
    assert store.secrets("uid-1") == {PASSWORD: "correct horse"}
    assert store.trash(ALICE_REACH) == []


def clean_up(store: SpecStore, clock: Clock) -> int:
    return store.clean_up(
        trash_before=clock.now - timedelta(days=7), events_before=clock.now - timedelta(days=30)
    )


def test_what_is_too_old_goes_for_good(
    store: SpecStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trash, "CHUNK", 2)
    for n in range(5):
        delete(store, create(store, a_wish(f"n{n}")).uid)
    clock.advance(days=5)
    delete(store, create(store, a_wish("young")).uid)
    create(store, a_wish("alive"))
    assert clean_up(store, clock) == 0
    clock.advance(days=3)
    # Each of the five: itself, its revision, three events, its departure.
    assert clean_up(store, clock) == 5 * 6
    assert [t.deployment.name for t in store.trash(ALICE_REACH)] == ["young"]
    assert store.events("uid-1") == []
    assert store.history("uid-1") == []
    assert len(store.events("uid-6")) == 3
    _, changed = store.changes_after(0)
    assert changed == ["uid-6", "uid-7"]
    with pytest.raises(NotFound):
        undelete(store, name="n0")


def test_old_events_of_a_living_record_go_and_their_numbers_stay_used(
    store: SpecStore, clock: Clock
) -> None:
    create(store)
    clock.advance(days=31)
    assert clean_up(store, clock) == 1
    assert store.events("uid-1") == []
    put(store, a_wish(ram=9000))
    assert [entry.number for entry in store.events("uid-1")] == [2]
    assert [r.generation for r in store.history("uid-1")] == [2, 1]
