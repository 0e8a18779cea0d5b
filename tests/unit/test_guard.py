"""R13, R18, R35: an older store writes nothing until an operator says so."""

import pytest

from reconciler.errors import ClusterUnavailable
from reconciler.guard import StoreGuard, why_not_trusted
from specs.model import StoreIdentity


class Variables:
    def __init__(self):
        self.kept = {}
        self.writes = 0
        self.down = False

    def read_variable(self, ref):
        if self.down:
            raise ClusterUnavailable("refused")
        return self.kept.get(ref)

    def put_variable(self, ref, items, *, if_index):
        assert if_index == (self.kept[ref][1] if ref in self.kept else 0)
        self.writes += 1
        self.kept[ref] = (items, if_index + 1)


class Store:
    def __init__(self, store_id="s1", durable=10):
        self.at = StoreIdentity(store_id, durable)

    def identity(self):
        return self.at


@pytest.fixture
def variables():
    return Variables()


def guard_of(variables, store):
    return StoreGuard(variables, store, "ai4eosc")


@pytest.mark.parametrize(("mark", "trusted"), [(None, True), (9, True), (10, True), (11, False)])
def test_a_store_behind_its_mark_is_not_trusted(mark, trusted):
    assert (why_not_trusted(StoreIdentity("s1", 10), mark) == "") is trusted


def test_the_mark_follows_the_store_and_is_written_only_when_it_moved(variables):
    store = Store()
    guard = guard_of(variables, store)
    assert guard.check() == ""
    guard.check()
    assert variables.writes == 1
    store.at = StoreIdentity("s1", 12)
    guard.check()
    assert variables.writes == 2


def test_a_restored_store_is_held_until_an_operator_accepts_it(variables):
    guard_of(variables, Store(durable=12)).check()
    old = guard_of(variables, Store(durable=5))
    assert "older than it was" in old.check()
    assert variables.writes == 1, "the mark stays where it was"
    old.accept()
    assert (old.trouble, old.check()) == ("", "")


def test_a_new_store_is_another_one_and_trusted(variables):
    guard_of(variables, Store(durable=12)).check()
    assert guard_of(variables, Store("s2", durable=1)).check() == ""


def test_trouble_stays_while_nomad_does_not_answer(variables):
    guard_of(variables, Store(durable=12)).check()
    old = guard_of(variables, Store(durable=5))
    old.check()
    variables.down = True
    old.keep_up()
    assert old.trouble
