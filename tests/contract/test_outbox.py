"""The outbox and the addresses of those who asked for mail, on both databases."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import count

import pytest
from sqlalchemy import Engine, event

from specs.model import Event, Phase
from specs.moments import NOTIFY, OWNERS_MOMENTS, Moment, Subscription
from specs.store import SpecStore
from tests.builders import ALICE, NOW, SEAL, VO
from tests.contract.stores import (
    BOB,
    OTHER_VO,
    a_wish,
    create,
    delete,
    look,
    put,
    request_deletion,
    running,
)

HOOK = Subscription("hook")
MAIL = Subscription("mail", OWNERS_MOMENTS, of_owners=True, delay=timedelta(minutes=1))


@pytest.fixture
def store(url, clock) -> Iterator[SpecStore]:
    numbers = count(1)
    store = SpecStore(
        url,
        seal=SEAL,
        now=clock,
        new_uid=lambda: f"uid-{next(numbers)}",
        subscriptions=[HOOK, MAIL],
    )
    store.migrate()
    yield store
    store.close()


def asking(name="train-a", **changes):
    return replace(a_wish(name, **changes), annotations={NOTIFY: "mail"})


def becomes(store, uid, phase, reason="Why", was=""):
    told = Event(reason, f"it is {phase}", from_phase=was, to_phase=phase)
    # `observed_at` moves, so that the look is written whatever was told before.
    assert look(store, uid, running(phase=Phase(phase), reason=reason), events=[told])


def moments(store, destination="hook"):
    return [
        (row.notice.uid, row.notice.moment.value) for row in store.outbox.due(destination, limit=99)
    ]


def in_line(store, destination, line):
    return [row.notice.moment.value for row in store.outbox.line(destination, line, limit=99)]


@contextmanager
def statements() -> Iterator[list[str]]:
    seen: list[str] = []

    def note(_connection, _cursor, statement, *_rest):
        seen.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    yield seen
    event.remove(Engine, "before_cursor_execute", note)


def test_a_deployment_that_waited_tells_that_it_runs_and_another_does_not(store):
    one, two = create(store, a_wish("one")), create(store, a_wish("two"))
    becomes(store, one.uid, "Queued")
    becomes(store, one.uid, "Starting")
    becomes(store, one.uid, "Running")
    becomes(store, two.uid, "Starting")
    becomes(store, two.uid, "Running")
    assert moments(store) == [(one.uid, "Started")]
    becomes(store, one.uid, "Degraded")
    becomes(store, one.uid, "Running")
    assert in_line(store, "hook", one.uid) == ["Started"]


def test_what_was_suspended_in_line_had_not_waited_when_it_runs(store):
    record = create(store)
    for phase in ("Queued", "Suspended", "Starting", "Running"):
        becomes(store, record.uid, phase)
    assert moments(store) == []


def test_a_notice_says_what_its_reader_needs_and_nobody_elses_name(store):
    record = create(store, asking(title="Täglich 🦆"))
    becomes(store, record.uid, "Failed", "OutOfMemory")
    (row,) = store.outbox.due("hook", limit=9)
    notice = row.notice
    assert (notice.moment, notice.phase, notice.reason) == ("Failed", "Failed", "OutOfMemory")
    assert (notice.name, notice.title, notice.vo) == ("train-a", "Täglich 🦆", VO)
    assert (notice.message, notice.at, notice.generation) == ("it is Failed", NOW, 1)
    assert row.owner == ALICE
    assert "Alice" not in str(notice)


def test_where_the_phase_stays_a_notice_has_the_present_one(store):
    record = create(store)
    soon = Event("ExpiresSoon", "its time is up at noon", "Warning")
    assert look(store, record.uid, running(), events=[soon])
    (row,) = store.outbox.due("hook", limit=9)
    assert (row.notice.moment, row.notice.phase) == ("ExpiresSoon", "Running")


def test_owners_are_told_of_what_they_asked_for_only_and_a_minute_later(store, clock):
    becomes(store, create(store, a_wish("silent")).uid, "Failed")
    becomes(store, create(store, asking("one")).uid, "Failed")
    becomes(store, create(store, asking("two")).uid, "Held")
    assert moments(store, "mail") == []
    clock.advance(seconds=60)
    assert moments(store, "mail") == [("uid-2", "Failed")]
    (first,) = store.outbox.due("mail", limit=9)
    assert in_line(store, "mail", first.line) == ["Failed", "Held"]


def test_each_owner_has_a_line_of_mail_and_each_deployment_one_of_a_webhook(store, clock):
    mine, others = create(store, asking()), create(store, asking(), owner=BOB)
    for uid in (mine.uid, others.uid, mine.uid):
        becomes(store, uid, "Failed")
        becomes(store, uid, "Queued")
    clock.advance(minutes=2)
    assert moments(store, "mail") == [(mine.uid, "Failed"), (others.uid, "Failed")]
    assert moments(store) == [(mine.uid, "Failed"), (others.uid, "Failed")]
    assert in_line(store, "hook", mine.uid) == ["Failed", "Failed"]


def test_a_subscription_may_leave_out_vos_and_moments(url, clock):
    here = Subscription("here", vos=frozenset({VO}))
    held = Subscription("held", {Moment.HELD})
    store = SpecStore(url, seal=SEAL, now=clock, subscriptions=[here, held])
    store.migrate()
    becomes(store, create(store).uid, "Failed")
    becomes(store, create(store, a_wish(vo=OTHER_VO)).uid, "Held")
    assert [m for _, m in moments(store, "here")] == ["Failed"]
    assert [m for _, m in moments(store, "held")] == ["Held"]
    store.close()


def test_a_line_waits_for_its_first_and_no_other_line_does(store, clock):
    one, two = create(store, a_wish("one")), create(store, a_wish("two"))
    for uid in (one.uid, two.uid):
        becomes(store, uid, "Failed")
        becomes(store, uid, "Held")
    first, _ = store.outbox.due("hook", limit=9)
    store.outbox.postpone("hook", first, by=timedelta(seconds=30))
    assert moments(store) == [(two.uid, "Failed")]
    clock.advance(seconds=30)
    again, other = store.outbox.due("hook", limit=9)
    assert (again.tries, again.delivery) == (1, first.delivery)
    store.outbox.remove("hook", [again])
    assert moments(store) == [(one.uid, "Held"), (two.uid, "Failed")]
    assert other.delivery != first.delivery


def test_what_is_too_old_is_given_up_and_counted(store, clock):
    record = create(store)
    becomes(store, record.uid, "Failed")
    clock.advance(hours=23)
    becomes(store, record.uid, "Held")
    assert store.outbox.give_up("hook", after=timedelta(days=1)) == 0
    clock.advance(hours=2)
    assert store.outbox.give_up("hook", after=timedelta(days=1)) == 1
    assert moments(store) == [(record.uid, "Held")]


def test_what_is_for_a_destination_that_is_gone_is_forgotten(store):
    becomes(store, create(store, asking()).uid, "Failed")
    assert store.outbox.forget_others(["hook"]) == 1
    assert len(moments(store)) == 1
    assert store.outbox.forget_others([]) == 1


def test_a_notice_is_there_if_and_only_if_its_event_is(store, monkeypatch):
    record = create(store)
    monkeypatch.setattr("specs.transaction.TRIM_EVENTS", None)  # fails after both were written
    with pytest.raises(Exception, match="executable"):
        becomes(store, record.uid, "Failed")
    monkeypatch.undo()
    assert moments(store) == []
    assert [e.event.reason for e in store.events(record.uid)] == ["Created"]


def test_the_held_deletion_of_a_source_is_told_to_webhooks_and_to_no_owner(store, clock):
    record = create(store, asking())
    assert look(store, record.uid, running(), events=[Event("DeletionHeld", "why", "Warning")])
    clock.advance(hours=1)
    assert moments(store) == [(record.uid, "DeletionHeld")]
    assert moments(store, "mail") == []


def test_a_site_that_tells_nobody_pays_no_statement_for_it(url, clock):
    store = SpecStore(url, seal=SEAL, now=clock)
    store.migrate()
    record = create(store, asking())
    with statements() as seen:
        becomes(store, record.uid, "Queued")
        becomes(store, record.uid, "Running")
    assert not [one for one in seen if "outbox" in one or "contacts" in one]
    quiet = len(seen)
    store.subscriptions = [HOOK]
    with statements() as seen:
        becomes(store, record.uid, "Starting")
        becomes(store, record.uid, "Queued", was="Starting")
    assert len(seen) == quiet
    with statements() as seen:
        becomes(store, record.uid, "Failed")
    assert len([one for one in seen if "outbox" in one]) == 1
    store.close()


def test_an_address_is_kept_for_as_long_as_its_owner_asks_for_mail(store, clock):
    def clean_up():
        store.clean_up(trash_before=clock(), events_before=clock())

    create(store, asking())
    create(store, owner=BOB)
    store.contacts.keep(ALICE, "ada@example.org")
    store.contacts.keep(BOB, "bob@example.org")
    store.contacts.keep(ALICE, "ada@new.example.org")
    clean_up()
    assert store.contacts.address(ALICE) == "ada@new.example.org"
    assert store.contacts.address(BOB) is None
    put(store, a_wish())
    clean_up()
    assert store.contacts.address(ALICE) is None


def test_an_address_is_kept_while_the_trash_may_bring_the_wish_back(store, clock):
    record = create(store, asking())
    store.contacts.keep(ALICE, "ada@example.org")
    delete(store, record.uid)
    store.clean_up(trash_before=clock() - timedelta(days=7), events_before=clock())
    assert store.contacts.address(ALICE) == "ada@example.org"
    clock.advance(days=8)
    store.clean_up(trash_before=clock() - timedelta(days=7), events_before=clock())
    assert store.contacts.address(ALICE) is None


def test_no_value_of_an_annotation_passes_for_the_wish_to_be_told(store, clock):
    lure = '"ai4papi/notify":"mail"'
    create(store, replace(a_wish(), annotations={"note": lure}))
    store.contacts.keep(ALICE, "ada@example.org")
    store.clean_up(trash_before=clock(), events_before=clock())
    assert store.contacts.address(ALICE) is None


def test_a_notice_outlives_its_deployment(store):
    record = create(store)
    becomes(store, record.uid, "Failed")
    request_deletion(store, record.uid)
    store.remove_finalizer(record.uid, record.finalizers[0])
    assert moments(store) == [(record.uid, "Failed")]
