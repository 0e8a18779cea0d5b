"""What watchers are told of the store, on both databases."""

from datetime import timedelta

import pytest

from specs.faults import Expired
from specs.model import Owner
from specs.store import SpecStore
from tests.builders import ALICE, ALICE_REACH, NOW, VO
from tests.contract.stores import a_wish, create

OLD = NOW + timedelta(days=400)


def gone(store: SpecStore, uid: str) -> None:
    store.request_deletion(uid, actor="Alice", source={"type": "test"})
    record = store.get(uid)
    assert record is not None
    for finalizer in record.finalizers:
        store.remove_finalizer(uid, finalizer)


def test_moves_come_in_order_and_tell_what_is_gone(store):
    first, second = create(store, a_wish(name="a")), create(store, a_wish(name="b"))
    gone(store, first.uid)
    position, uids = store.changes_after(0)
    moves = store.moves(uids, up_to=position, of=lambda _: True)
    assert [(move.deployment.name, move.gone) for move in moves] == [("b", False), ("a", True)]
    assert moves[0].version == second.resource_version
    assert [move.deployment.resource_version for move in moves] == [m.version for m in moves]


def test_what_moved_on_behind_the_position_is_left_to_the_next_look(store):
    record = create(store, a_wish(name="a"))
    gone(store, record.uid)
    assert store.moves([record.uid], up_to=record.resource_version, of=lambda _: True) == []


def test_only_the_owners_that_are_asked_for_are_read(store):
    record = create(store, a_wish(name="a"))
    position, uids = store.changes_after(0)
    assert store.moves(uids, up_to=position, of=lambda owner: owner == Owner("x", "y")) == []
    assert len(store.moves([record.uid], up_to=position, of=lambda owner: owner == ALICE)) == 1


def test_an_opening_has_all_that_was_written_up_to_its_position(store):
    first, second = create(store, a_wish(name="a")), create(store, a_wish(name="b"))
    after = store.newest_version()
    gone(store, first.uid)
    opening = store.opening(ALICE_REACH, vo=None, name=None, after=after)
    assert opening.position == store.newest_version()
    assert [p.deployment.uid for p in opening.present] == [second.uid]
    assert [move.deployment.uid for move in opening.departed] == [first.uid]
    assert store.opening(ALICE_REACH, vo=VO, name="a", after=None).present == []
    assert store.opening(ALICE_REACH, vo=VO, name="b", after=after).departed == []


def test_a_watch_goes_on_as_far_back_as_departures_are_known(store):
    first = create(store, a_wish(name="a"))
    create(store, a_wish(name="b"))
    before = store.newest_version()
    gone(store, first.uid)
    after = store.newest_version()
    store.clean_up(trash_before=OLD, events_before=OLD)
    with pytest.raises(Expired, match=str(before)):
        store.opening(ALICE_REACH, vo=None, name=None, after=before)
    assert store.opening(ALICE_REACH, vo=None, name=None, after=after).departed == []


def test_a_position_that_the_store_never_had_is_expired(store):
    create(store, a_wish(name="a"))
    with pytest.raises(Expired):
        store.opening(ALICE_REACH, vo=None, name=None, after=store.newest_version() + 1)


def test_what_came_back_from_the_trash_is_not_told_as_gone(store):
    record = create(store, a_wish(name="a"))
    after = store.newest_version()
    gone(store, record.uid)
    store.undelete(ALICE_REACH, vo=None, name="a", actor="Alice", source={"type": "test"})
    opening = store.opening(ALICE_REACH, vo=None, name=None, after=after)
    assert opening.departed == []
    assert [p.born > after for p in opening.present] == [True]
