"""Revisions, roll-backs and the timeline, on every database that the store works on."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from specs.faults import AlreadyExists, InvalidSpec, NotFound, VersionConflict
from specs.model import SECRET_SET, Deployment, Event, Pin, Update
from specs.store import SpecStore
from specs.transaction import EVENTS_KEPT, REVISIONS_KEPT
from tests.builders import ALICE, ALICE_REACH, NOW
from tests.contract.stores import (
    BOB,
    BOB_REACH,
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

STARTED = Event("Started", "It runs.", from_phase="Starting", to_phase="Running")
WARNED = Event("ExpiresSoon", "It ends in an hour.", "Warning")


def roll_back(store: SpecStore, generation: int, **rest: Any) -> Deployment:
    return store.rollback("uid-1", generation, actor="Alice", source=SOURCE, **rest)


def pin_last_good(store: SpecStore, *, failed: int = 2, good: int = 1) -> bool:
    return store.pin_last_good(
        "uid-1", failed_generation=failed, good_generation=good, message="It failed."
    )


def test_every_wish_is_a_revision_with_who_made_it(store: SpecStore, clock: Clock) -> None:
    create(store, a_wish(password="correct horse"))
    clock.advance(hours=1)
    store.put(
        a_wish(ram=9000, password=SECRET_SET),
        owner=ALICE,
        owner_name="Alice",
        source={"type": "cli"},
        actor="Olga",
    )
    newest, first = store.history("uid-1")
    assert (newest.generation, newest.actor, newest.source) == (2, "Olga", {"type": "cli"})
    assert (first.generation, first.actor, first.source) == (1, "Alice", SOURCE)
    assert [r.at for r in (first, newest)] == [NOW, NOW + timedelta(hours=1)]
    assert [r.spec.hardware.ram for r in (first, newest)] == [8000, 9000]
    assert first.spec.general.jupyter_password == SECRET_SET
    assert "correct horse" not in repr(store.history("uid-1"))


@pytest.mark.parametrize(
    "write",
    [
        lambda store: put(store, a_wish()),
        lambda store: put(store, a_wish(labels={"a": "b"})),
        lambda store: look(store, "uid-1", running()),
        lambda store: request_deletion(store, "uid-1"),
    ],
    ids=["same", "labels", "status", "deletion"],
)
def test_what_is_no_new_spec_is_no_revision(
    store: SpecStore, write: Callable[[SpecStore], object]
) -> None:
    create(store)
    write(store)
    assert [revision.generation for revision in store.history("uid-1")] == [1]


def test_a_roll_back_runs_the_older_generation_and_keeps_the_wish(store: SpecStore) -> None:
    create(store)
    wished, _ = put(store, a_wish(ram=9000, suspend=True))
    rolled = roll_back(store, 1)
    assert rolled == replace(
        wished, generation=3, resource_version=3, pin=Pin(1, a_wish().spec, "Alice")
    )
    assert store.get("uid-1") == rolled
    assert (rolled.target.hardware.ram, rolled.target.suspend) == (8000, True)
    assert [r.pinned_generation for r in store.history("uid-1")] == [1, None, None]
    assert [w[:2] for w in store.wishes_after(2)] == [(3, "uid-1")]
    assert reasons(store, "uid-1") == ["Created", "SpecChanged", "RolledBack"]


def test_a_pin_stays_until_something_else_is_to_run(store: SpecStore) -> None:
    create(store)
    put(store, a_wish(ram=9000))
    pin = roll_back(store, 1).pin
    assert pin is not None
    for same in ({}, {"labels": {"a": "b"}}, {"suspend": True}, {"restart": 1}, {"ttl": "7d"}):
        kept, _ = put(store, a_wish(ram=9000, **same))
        assert kept.pin == pin, same
    lifted, _ = put(store, a_wish(ram=9500))
    assert lifted.pin is None
    assert reasons(store, "uid-1")[-2:] == ["SpecChanged", "PinLifted"]


def test_a_changed_secret_lifts_a_pin(store: SpecStore) -> None:
    create(store, a_wish(password="correct horse"))
    put(store, a_wish(password=SECRET_SET, ram=9000))
    assert roll_back(store, 1).pin is not None
    lifted, _ = put(store, a_wish(password="battery staple", ram=9000))
    assert lifted.pin is None
    assert "general.jupyter_password" in store.events("uid-1")[-2].event.message


def test_rolling_back_to_the_wish_lifts_the_pin(store: SpecStore) -> None:
    create(store)
    put(store, a_wish(ram=9000))
    roll_back(store, 1)
    lifted = roll_back(store, 2)
    assert (lifted.generation, lifted.pin, lifted.target.hardware.ram) == (4, None, 9000)
    assert reasons(store, "uid-1")[-1] == "PinLifted"


def test_rolling_back_to_a_roll_back_runs_what_ran_then(store: SpecStore) -> None:
    create(store)
    put(store, a_wish(ram=9000))
    roll_back(store, 1)
    put(store, a_wish(ram=9500))
    assert roll_back(store, 3).pin == Pin(1, a_wish().spec, "Alice")


def test_rolling_back_to_what_runs_changes_nothing(store: SpecStore) -> None:
    create(store)
    put(store, a_wish(ram=9000))
    assert roll_back(store, 2) == the(store, "uid-1")
    rolled = roll_back(store, 1)
    assert roll_back(store, 1) == rolled
    assert version(store) == rolled.resource_version


def test_a_roll_back_that_can_not_be_is_refused(store: SpecStore) -> None:
    create(store, a_wish(password="correct horse"))
    put(store, a_wish(ram=9000))
    before = the(store, "uid-1")
    with pytest.raises(NotFound, match="generation 7"):
        roll_back(store, 7)
    with pytest.raises(VersionConflict):
        roll_back(store, 1, if_version=1)
    with pytest.raises(NotFound):
        store.rollback("uid-9", 1, actor="Alice", source=SOURCE)
    with pytest.raises(InvalidSpec) as refusal:
        roll_back(store, 1)
    assert [f.pointer for f in refusal.value.faults] == ["/spec/general/jupyter_password"]
    assert store.get("uid-1") == before
    request_deletion(store, "uid-1")
    with pytest.raises(AlreadyExists, match="being deleted"):
        roll_back(store, 1)


def test_a_failed_generation_gives_way_to_the_last_good_one(store: SpecStore) -> None:
    create(store)
    put(store, a_wish(ram=9000, update=Update(rollback_on_failure=True)))
    assert pin_last_good(store)
    record = the(store, "uid-1")
    assert (record.generation, record.target.hardware.ram) == (3, 8000)
    assert record.pin == Pin(1, a_wish().spec, "reconciler")
    assert record.source == SOURCE
    told = store.events("uid-1")[-1]
    assert (told.event.reason, told.event.kind, told.event.message) == (
        "RolledBack",
        "Warning",
        "It failed.",
    )
    assert (told.event.actor, told.generation) == ("reconciler", 3)
    assert not pin_last_good(store, failed=3, good=1), "what failed is the good one itself"


@pytest.mark.parametrize(
    ("spoil", "question"),
    [
        (lambda store: put(store, a_wish(ram=9500)), {}),
        (lambda store: request_deletion(store, "uid-1"), {"failed": 3}),
        (lambda store: delete(store, "uid-1"), {}),
        (lambda store: None, {"good": 7}),
        (lambda store: None, {"good": 2}),
        (lambda store: put(store, a_wish(ram=9500)), {"failed": 3}),
    ],
    ids=["moved on", "being deleted", "gone", "unknown", "itself", "secret is gone"],
)
def test_no_good_generation_is_pinned_in_doubt(
    store: SpecStore, spoil: Callable[[SpecStore], object], question: dict[str, int]
) -> None:
    create(store, a_wish(password="correct horse"))
    put(store, a_wish(password=SECRET_SET, ram=9000))
    spoil(store)
    before = store.get("uid-1")
    assert not pin_last_good(store, **question)
    assert store.get("uid-1") == before


def test_old_revisions_go_but_not_the_pinned_and_the_last_good_one(store: SpecStore) -> None:
    create(store)
    put(store, a_wish(ram=9000))
    look(store, "uid-1", running(2, ready_generation=2))
    roll_back(store, 1)
    for n in range(REVISIONS_KEPT):
        put(store, a_wish(ram=9000, restart=n + 1))
    kept = [revision.generation for revision in store.history("uid-1")]
    newest = 3 + REVISIONS_KEPT
    assert kept == [*range(newest, newest - REVISIONS_KEPT, -1), 2, 1]
    for n in range(2):
        put(store, a_wish(ram=9500 + n))
    assert [r.generation for r in store.history("uid-1")][-2:] == [6, 2]


def test_the_timeline_tells_who_did_what(store: SpecStore, clock: Clock) -> None:
    create(store, a_wish(password="correct horse"))
    clock.advance(minutes=1)
    put(store, a_wish(password="battery staple", ram=9000, title="New", suspend=True))
    look(store, "uid-1", running(2), events=[STARTED, WARNED])
    store.request_deletion("uid-1", actor="Olga", source={"type": "cli"})
    told = store.events("uid-1")
    assert [entry.number for entry in told] == [1, 2, 3, 4, 5]
    assert [entry.generation for entry in told] == [1, 2, 2, 2, 3]
    assert {(entry.uid, entry.name) for entry in told} == {("uid-1", "train-a")}
    assert [entry.at for entry in told[:2]] == [NOW, NOW + timedelta(minutes=1)]
    assert told[2].event == STARTED
    assert [
        (e.event.reason, e.event.actor, e.event.source) for e in told if e.number in (1, 5)
    ] == [
        ("Created", "Alice", "api"),
        ("DeletionRequested", "Olga", "cli"),
    ]
    changed = told[1].event.message
    for field in ("general.title", "hardware.ram", "suspend", "general.jupyter_password"):
        assert field in changed
    assert "horse" not in str(told)
    assert "staple" not in str(told)


def test_a_wish_that_changes_much_names_five_fields(store: SpecStore) -> None:
    create(store)
    put(store, a_wish(title="T", desc="D", cpu_num=3, gpu_num=1, ram=1, disk=2, suspend=True))
    assert store.events("uid-1")[-1].event.message == (
        "Changed: general.title, general.desc, hardware.cpu_num, hardware.gpu_num, hardware.ram"
        " and 2 more."
    )


def test_the_timeline_is_read_in_parts_and_per_owner(store: SpecStore) -> None:
    create(store)
    create(store, a_wish("n1"))
    create(store, owner=BOB)
    put(store, a_wish(ram=9000))
    assert [(e.number, e.uid) for e in store.all_events(ALICE_REACH)] == [
        (1, "uid-1"),
        (2, "uid-2"),
        (4, "uid-1"),
    ]
    assert [e.number for e in store.all_events(ALICE_REACH, after=1, limit=1)] == [2]
    assert [e.number for e in store.events("uid-1", after=1)] == [4]
    assert [e.number for e in store.events("uid-1", limit=1)] == [1]
    assert [e.number for e in store.all_events(BOB_REACH)] == [3]


def test_events_come_with_the_status_that_they_explain(store: SpecStore) -> None:
    create(store)
    look(store, "uid-1", running(), events=[STARTED])
    before = version(store)
    assert look(store, "uid-1", running(), events=[WARNED]), "an unchanged status"
    assert version(store) == before + 1
    assert look(store, "uid-1", running(0), events=[WARNED]), "an overtaken look"
    assert the(store, "uid-1").status == running()
    assert reasons(store, "uid-1") == ["Created", "Started", "ExpiresSoon", "ExpiresSoon"]
    assert not look(store, "uid-9", running(), events=[STARTED])
    assert store.events("uid-9") == []


def test_the_oldest_events_of_a_record_go(store: SpecStore) -> None:
    create(store)
    create(store, a_wish("n1"))
    for n in range(6):
        many = [replace(STARTED, message=f"{n}.{m}") for m in range(100)]
        look(store, "uid-1", running(), events=many)
    told = store.events("uid-1", limit=10_000)
    assert len(told) == EVENTS_KEPT
    assert (told[0].event.message, told[-1].event.message) == ("1.0", "5.99")
    assert reasons(store, "uid-2") == ["Created"]


def test_events_of_many_writers_are_numbered_in_the_order_of_the_commits(store: SpecStore) -> None:
    create(store)

    def write(who: int) -> None:
        for n in range(10):
            if who % 2:
                look(store, "uid-1", running(), events=[STARTED])
            else:
                create(store, a_wish(f"w{who}-{n}"))

    assert in_threads(4, write) == [None] * 4
    told = [*store.all_events(ALICE_REACH)]
    assert [entry.number for entry in told] == list(range(1, 42))


def test_a_look_says_when_the_loop_wants_the_next_one(store: SpecStore) -> None:
    create(store)
    look(store, "uid-1", running(), wake_at=NOW + timedelta(hours=1))
    before = version(store)
    assert [head.wake_at for head in store.heads()] == [NOW + timedelta(hours=1)]
    look(store, "uid-1", running(), wake_at=NOW + timedelta(hours=2))
    assert [head.wake_at for head in store.heads()] == [NOW + timedelta(hours=2)]
    assert version(store) == before
    look(store, "uid-1", running())
    assert [head.wake_at for head in store.heads()] == [None]


def test_a_restart_that_was_done_is_kept_with_what_was_applied(store: SpecStore) -> None:
    create(store, a_wish(restart=3))
    look(store, "uid-1", running(), applied=an_applied(restart=2))
    look(store, "uid-1", running(), applied=an_applied(restart=3))
    assert the(store, "uid-1").applied == an_applied(restart=3)
    assert the(store, "uid-1").spec.restart == 3


def test_a_secret_is_in_no_row_of_the_past(store: SpecStore) -> None:
    create(store, a_wish(password="correct horse"))
    put(store, a_wish(password=SECRET_SET, ram=9000))
    roll_back(store, 1)
    assert "correct horse" not in repr((store.history("uid-1"), store.events("uid-1")))
    assert store.secrets("uid-1") == {PASSWORD: "correct horse"}
