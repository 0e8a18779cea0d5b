"""What one replica does of the work, and what it is told of it."""

import threading
from collections.abc import Collection
from typing import Any

import pytest

from reconciler.replica import Replica
from specs.faults import LeaseLost, StoreUnavailable
from specs.shards import SHARDS, SITE, shard_of

UID = "uid-0"
PART = shard_of(UID)
ALL = frozenset(range(SHARDS))


class FakeLeases:
    """Leases that a test hands out; `given` is what `beat` leaves us with."""

    id = "me"

    def __init__(self) -> None:
        self.given: frozenset[int] = frozenset()
        self.held: frozenset[int] = frozenset()
        self.to_leave: frozenset[int] = frozenset()
        self.given_up: list[frozenset[int]] = []
        self.down = False
        self.released = False

    def beat(self, *, given_up: Collection[int] = ()) -> frozenset[int]:
        if self.down:
            raise StoreUnavailable("away")
        self.given_up.append(frozenset(given_up))
        self.to_leave -= frozenset(given_up)
        self.held = self.given - self.to_leave
        return self.to_leave

    def holds(self, shard: int) -> bool:
        return shard in self.held

    def require(self, shard: int) -> None:
        if shard not in self.held | self.to_leave:
            raise LeaseLost("over")

    def release(self) -> None:
        self.released = True

    def standing(self) -> None:
        return None


@pytest.fixture
def leases() -> FakeLeases:
    return FakeLeases()


def a_replica(leases: Any, gained: list[frozenset[int]]) -> Replica:
    return Replica(leases, gained.append)


def ours(replica: Replica, uid: str = UID) -> bool:
    with replica.looking(uid) as is_ours:
        return is_ours


def test_without_leases_everything_is_ours_and_told_once() -> None:
    gained: list[frozenset[int]] = []
    replica = a_replica(None, gained)
    assert ours(replica)
    replica.begin()
    assert gained == [ALL]
    assert ours(replica)
    assert replica.does_site()
    replica.require(UID)
    assert replica.standing() is None


def test_before_it_takes_part_a_pass_by_hand_may_do_everything(leases: FakeLeases) -> None:
    replica = a_replica(leases, [])
    assert ours(replica)
    replica.require(UID)
    replica.leave()
    assert not leases.released


def test_it_looks_at_what_it_holds_and_is_told_of_what_it_gains(leases: FakeLeases) -> None:
    gained: list[frozenset[int]] = []
    replica = a_replica(leases, gained)
    leases.given = frozenset({SITE})
    replica.begin()
    assert not ours(replica)
    assert replica.does_site()
    with pytest.raises(LeaseLost):
        replica.require(UID)
    leases.given = frozenset({SITE, PART})
    replica._beat()
    assert ours(replica)
    assert gained == [{SITE}, {PART}]
    replica._beat()
    assert len(gained) == 2


def test_what_was_over_for_a_moment_counts_as_gained(leases: FakeLeases) -> None:
    """What came meanwhile was left alone, so it is looked for."""
    gained: list[frozenset[int]] = []
    replica = a_replica(leases, gained)
    leases.given = ALL
    replica.begin()
    leases.held = frozenset()
    replica._beat()
    assert gained == [ALL, ALL]


def test_what_could_not_be_taken_up_is_gained_again(leases: FakeLeases) -> None:
    told: list[frozenset[int]] = []

    def gained(parts: frozenset[int]) -> None:
        told.append(parts)
        if len(told) == 1:
            raise StoreUnavailable("away")

    replica = Replica(leases, gained)  # type: ignore[arg-type]
    leases.given = ALL
    replica.begin()
    replica._beat()
    assert told == [ALL, ALL]


def test_a_store_that_does_not_answer_at_the_start_is_asked_again(leases: FakeLeases) -> None:
    gained: list[frozenset[int]] = []
    replica = a_replica(leases, gained)
    leases.down, leases.given = True, ALL
    replica.begin()
    assert not ours(replica)
    leases.down = False
    replica._beat()
    assert gained == [ALL]
    assert ours(replica)


def test_a_part_is_given_up_when_the_last_look_in_it_has_ended(leases: FakeLeases) -> None:
    replica = a_replica(leases, [])
    leases.given = ALL
    replica.begin()
    with replica.looking(UID) as is_ours:
        assert is_ours
        leases.to_leave = frozenset({PART})
        replica._beat()
        assert not ours(replica), "no new look begins in a part that is to be left"
        replica.require(UID)
        replica._beat()
        assert leases.given_up[-1] == frozenset()
    replica._beat()
    assert leases.given_up[-1] == {PART}


def test_it_ends_when_it_is_told_to(leases: FakeLeases) -> None:
    replica = a_replica(leases, [])
    replica.begin()
    stop = threading.Event()
    thread = threading.Thread(target=replica.run, args=(stop,))
    thread.start()
    stop.set()
    thread.join(5)
    assert not thread.is_alive()
    replica.leave()
    assert leases.released
