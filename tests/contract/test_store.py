"""The spec store on every database that it works on.

SQLite always; PostgreSQL in a private cluster of the run's own, where its programs are installed.
"""

import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, make_url

from specs import database, feeds
from specs.faults import AlreadyExists, InvalidSpec, NotFound, VersionConflict
from specs.model import (
    JOB_FINALIZER,
    SECRET_SET,
    Deployment,
    Event,
    JobStatus,
    Owner,
    Phase,
    Reservation,
)
from specs.reading import ONE_RECORD, fetch_looks
from specs.schema import METADATA
from specs.store import SpecStore
from specs.wish import Wish
from tests.builders import ALICE, ALICE_REACH, NOW, SEAL, VO
from tests.contract.stores import (
    BOB,
    BOB_REACH,
    OTHER_VO,
    PASSWORD,
    SOURCE,
    a_wish,
    an_applied,
    create,
    driver,
    in_threads,
    look,
    put,
    request_deletion,
    running,
    version,
)

ROOT = Path(__file__).parents[2]


def python(script: str, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def test_a_created_record_is_read_back_as_it_was_answered(store: SpecStore) -> None:
    wish = a_wish(password="correct horse", title="Äpfel 🍎 \"'\\ ${x}", labels={"team": "a"})
    record = create(store, wish)
    assert store.get(record.uid) == record
    assert record == Deployment(
        uid="uid-1",
        owner=ALICE,
        owner_name="Alice",
        vo=VO,
        name="train-a",
        spec=wish.spec,
        generation=1,
        secrets_generation=1,
        resource_version=1,
        created_at=NOW,
        finalizers=(JOB_FINALIZER,),
        labels={"team": "a"},
        source=SOURCE,
        reservation=Reservation({"deployments": 1, "cpu_num": 2, "ram": 8000, "disk": 20000}),
    )


def test_creating_the_same_wish_again_gives_the_record_that_is_there(store: SpecStore) -> None:
    record = create(store, a_wish(password="correct horse"))
    again = store.create(
        a_wish(password="correct horse"), owner=ALICE, owner_name="A. Lice", source={"type": "git"}
    )
    assert again == (record, False)
    assert version(store) == record.resource_version


@pytest.mark.parametrize(
    "other",
    [
        a_wish(ram=9000),
        a_wish(labels={"team": "b"}),
        a_wish(password="correct horse"),
    ],
    ids=["spec", "labels", "secret"],
)
def test_creating_another_wish_under_the_name_is_refused(store: SpecStore, other: Wish) -> None:
    record = create(store)
    with pytest.raises(AlreadyExists, match="'train-a' is there already"):
        create(store, other)
    assert store.get(record.uid) == record


def test_another_password_is_another_wish(store: SpecStore) -> None:
    create(store, a_wish(password="correct horse"))
    with pytest.raises(AlreadyExists):
        create(store, a_wish(password="battery staple"))


def test_names_are_unique_per_owner_and_vo_only(store: SpecStore) -> None:
    uids = {
        create(store).uid,
        create(store, owner=BOB).uid,
        create(store, a_wish(vo=OTHER_VO)).uid,
    }
    assert uids == {"uid-1", "uid-2", "uid-3"}


def test_creating_over_a_record_being_deleted_says_so(store: SpecStore) -> None:
    request_deletion(store, create(store).uid)
    with pytest.raises(AlreadyExists, match="being deleted"):
        create(store)


def test_an_idempotency_key_gives_the_earlier_record_to_its_owner_only(store: SpecStore) -> None:
    def ask(name: str, owner: Owner) -> tuple[str, bool]:
        record, created = store.create(
            a_wish(name), owner=owner, owner_name="", source={}, idempotency_key="k1"
        )
        return record.name, created

    assert ask("train-a", ALICE) == ("train-a", True)
    assert ask("train-b", ALICE) == ("train-a", False)
    assert ask("train-b", BOB) == ("train-b", True)


def test_an_idempotency_key_goes_with_its_record(store: SpecStore) -> None:
    first, _ = store.create(a_wish(), owner=ALICE, owner_name="", source={}, idempotency_key="k1")
    request_deletion(store, first.uid)
    store.remove_finalizer(first.uid, JOB_FINALIZER)
    second, created = store.create(
        a_wish(), owner=ALICE, owner_name="", source={}, idempotency_key="k1"
    )
    assert created
    assert second.uid != first.uid


def test_a_key_of_a_repeated_wish_stands_for_its_record(store: SpecStore) -> None:
    record = create(store)

    def ask() -> tuple[Deployment, bool]:
        return store.create(a_wish(), owner=ALICE, owner_name="", source={}, idempotency_key="k1")

    assert ask() == (record, False)
    changed, _ = put(store, a_wish(ram=9000))
    assert ask() == (changed, False)


def test_put_creates_what_is_not_there(store: SpecStore) -> None:
    record, created = put(store, a_wish(), must_not_exist=True)
    assert created
    assert store.get(record.uid) == record


def test_a_changed_spec_is_a_new_generation(store: SpecStore) -> None:
    first = create(store)
    look(store, first.uid, running(), applied=an_applied(), seen_index=3)
    second, created = put(store, a_wish(ram=9000))
    assert not created
    assert second == store.get(first.uid)
    assert (second.generation, second.resource_version) == (2, 3)
    assert second.spec.hardware.ram == 9000
    assert (second.status, second.applied) == (running(), an_applied())


def test_an_unchanged_wish_writes_nothing(store: SpecStore) -> None:
    record = create(store, a_wish(password="correct horse", labels={"a": "b"}))
    assert put(store, a_wish(password=SECRET_SET, labels={"a": "b"})) == (record, False)
    assert version(store) == record.resource_version


def test_changed_labels_are_a_new_version_and_no_new_wish(store: SpecStore) -> None:
    first = create(store)
    second, _ = put(store, a_wish(labels={"team": "a"}))
    assert (second.generation, second.resource_version) == (1, 2)
    assert store.get(first.uid) == second
    assert [w[:2] for w in store.wishes_after(0)] == [(1, first.uid)]


@pytest.mark.parametrize(
    ("conditions", "there"),
    [({"if_version": 7}, True), ({"if_version": 7}, False), ({"must_not_exist": True}, True)],
    ids=["stale", "absent", "there"],
)
def test_a_broken_condition_is_a_conflict(
    store: SpecStore, conditions: Mapping[str, Any], there: bool
) -> None:
    if there:
        create(store)
    with pytest.raises(VersionConflict):
        put(store, a_wish(ram=9000), **conditions)
    assert [d.spec.hardware.ram for d in store.page(ALICE_REACH).items] == [8000] * there


def test_the_version_that_was_read_may_be_replaced(store: SpecStore) -> None:
    first = create(store)
    second, _ = put(store, a_wish(ram=9000), if_version=first.resource_version)
    assert second.generation == 2
    with pytest.raises(VersionConflict):
        put(store, a_wish(ram=10000), if_version=first.resource_version)


def test_a_record_being_deleted_is_not_replaced(store: SpecStore) -> None:
    request_deletion(store, create(store).uid)
    with pytest.raises(AlreadyExists, match="being deleted"):
        put(store, a_wish(ram=9000))


def test_secrets_are_handed_out_on_request_and_stand_nowhere_else(
    store: SpecStore, url: str
) -> None:
    record = create(store, a_wish(password="correct horse"))
    assert store.secrets(record.uid) == {PASSWORD: "correct horse"}
    assert "correct horse" not in repr(record)
    engine = create_engine(make_url(url).set(drivername=driver(url)))
    with engine.connect() as connection:
        row = connection.execute(ONE_RECORD, {"uid": record.uid}).one()
    engine.dispose()
    assert "correct horse" not in repr(tuple(row))


@pytest.mark.parametrize(
    ("wished", "kept", "generation", "secrets_generation"),
    [
        (SECRET_SET, {PASSWORD: "correct horse"}, 1, 1),
        ("correct horse", {PASSWORD: "correct horse"}, 1, 1),
        ("battery staple", {PASSWORD: "battery staple"}, 2, 2),
        ("", {}, 2, 0),
    ],
    ids=["kept", "same", "changed", "removed"],
)
def test_a_changed_secret_is_a_new_generation(
    store: SpecStore,
    wished: str,
    kept: Mapping[str, str],
    generation: int,
    secrets_generation: int,
) -> None:
    create(store, a_wish(password="correct horse"))
    record, _ = put(store, a_wish(password=wished))
    assert store.secrets(record.uid) == kept
    assert (record.generation, record.secrets_generation) == (generation, secrets_generation)


def test_a_spec_change_leaves_the_secrets_generation(store: SpecStore) -> None:
    create(store, a_wish(password="correct horse"))
    record, _ = put(store, a_wish(password=SECRET_SET, ram=9000))
    assert (record.generation, record.secrets_generation) == (2, 1)


def test_a_secret_that_was_never_set_can_not_be_kept(store: SpecStore) -> None:
    for attempt in (create, put):
        with pytest.raises(InvalidSpec) as refusal:
            attempt(store, a_wish(password=SECRET_SET))
        assert [f.pointer for f in refusal.value.faults] == ["/spec/general/jupyter_password"]
    create(store)
    with pytest.raises(InvalidSpec):
        put(store, a_wish(password=SECRET_SET))
    assert version(store) == 1


def test_somebody_elses_record_is_not_found(store: SpecStore) -> None:
    record = create(store)
    assert store.find(ALICE_REACH, vo=VO, name="train-a") == record
    assert store.find(ALICE_REACH, vo=None, name="train-a") == record
    assert store.find_uid(ALICE_REACH, uid=record.uid) == record
    searches: list[Callable[[], Deployment]] = [
        lambda: store.find(BOB_REACH, vo=VO, name="train-a"),
        lambda: store.find(BOB_REACH, vo=None, name="train-a"),
        lambda: store.find(ALICE_REACH, vo=OTHER_VO, name="train-a"),
        lambda: store.find_uid(BOB_REACH, uid=record.uid),
        lambda: store.find_uid(ALICE_REACH, uid="uid-9"),
    ]
    for search in searches:
        with pytest.raises(NotFound):
            search()
    assert store.get("uid-9") is None


def test_a_name_in_two_vos_asks_which(store: SpecStore) -> None:
    create(store)
    there = create(store, a_wish(vo=OTHER_VO))
    with pytest.raises(InvalidSpec) as refusal:
        store.find(ALICE_REACH, vo=None, name="train-a")
    assert refusal.value.faults[0].allowed == f"{VO}, {OTHER_VO}"
    assert store.find(ALICE_REACH, vo=OTHER_VO, name="train-a") == there


def test_pages_are_newest_first_and_complete_while_records_come_and_go(store: SpecStore) -> None:
    for number in range(5):
        create(store, a_wish(f"n{number}"))
    create(store, a_wish("bobs"), owner=BOB)
    first = store.page(ALICE_REACH, limit=2)
    put(store, a_wish("n0", ram=9000))
    create(store, a_wish("newer"))
    gone = request_deletion(store, store.find(ALICE_REACH, vo=VO, name="n3").uid)
    store.remove_finalizer(gone.uid, JOB_FINALIZER)
    second = store.page(ALICE_REACH, limit=2, continue_=first.continue_)
    third = store.page(ALICE_REACH, limit=2, continue_=second.continue_)
    names = [[record.name for record in page.items] for page in (first, second, third)]
    assert names == [["n4", "n3"], ["n2", "n1"], ["n0"]]
    assert third.continue_ is None
    assert (first.resource_version, third.resource_version) == (6, version(store))


def test_a_page_that_ends_with_the_list_has_no_next(store: SpecStore) -> None:
    for number in range(4):
        create(store, a_wish(f"n{number}"))
    assert store.page(ALICE_REACH, limit=4).continue_ is None
    assert store.page(BOB_REACH).items == []


def test_pages_are_chosen_by_vo_phase_and_labels(store: SpecStore) -> None:
    create(store, a_wish("n0", labels={"team": "a", "x.y/z": "1"}))
    create(store, a_wish("n1", labels={"team": "b"}))
    create(store, a_wish("n2", vo=OTHER_VO, labels={"team": "a"}))
    look(store, "uid-1", running())

    def names(**choice: Any) -> list[str]:
        return [record.name for record in store.page(ALICE_REACH, **choice).items]

    assert names(vo=OTHER_VO) == ["n2"]
    assert names(phase=Phase.RUNNING) == ["n0"]
    assert names(phase=Phase.ACCEPTED) == ["n2", "n1"]
    assert names(labels={"team": "a"}) == ["n2", "n0"]
    assert names(labels={"team": "a", "x.y/z": "1"}) == ["n0"]
    assert names(labels={'it\'s "odd"': "a"}) == []
    page = store.page(ALICE_REACH, labels={"team": "a"}, limit=1)
    assert [r.name for r in page.items] == ["n2"]
    assert names(labels={"team": "a"}, limit=1, continue_=page.continue_) == ["n0"]


@pytest.mark.parametrize("token", ["", "x", "-1", "1 OR 1", "٣", "9" * 40])
def test_a_made_up_place_in_the_list_is_refused(store: SpecStore, token: str) -> None:
    with pytest.raises(InvalidSpec):
        store.page(ALICE_REACH, continue_=token)


def test_a_deletion_is_one_new_generation_however_often_it_is_asked_for(store: SpecStore) -> None:
    record = create(store)
    marked = request_deletion(store, record.uid, if_version=record.resource_version)
    assert marked == replace(record, generation=2, resource_version=2, deletion_requested_at=NOW)
    assert request_deletion(store, record.uid, if_version=record.resource_version) == marked
    assert store.get(record.uid) == marked
    assert [w[:2] for w in store.wishes_after(1)] == [(2, record.uid)]


def test_a_stale_deletion_is_a_conflict_and_an_unknown_one_not_found(store: SpecStore) -> None:
    record = create(store)
    with pytest.raises(VersionConflict):
        request_deletion(store, record.uid, if_version=7)
    with pytest.raises(NotFound):
        request_deletion(store, "uid-9")
    assert store.get(record.uid) == record


def test_a_record_goes_with_its_last_finalizer_and_only_when_being_deleted(
    store: SpecStore,
) -> None:
    record = create(store, a_wish(password="correct horse"))
    look(store, record.uid, running(), applied=an_applied(), seen_index=1)
    request_deletion(store, record.uid)
    store.remove_finalizer(record.uid, "somebody/else")
    assert store.get(record.uid) is not None
    store.remove_finalizer(record.uid, JOB_FINALIZER)
    assert store.get(record.uid) is None
    assert store.secrets(record.uid) == {}
    assert not look(store, record.uid, running(2))
    store.remove_finalizer(record.uid, JOB_FINALIZER)
    assert create(store).uid == "uid-2"


def test_a_record_that_is_not_being_deleted_keeps_its_finalizers(store: SpecStore) -> None:
    record = create(store)
    store.remove_finalizer(record.uid, JOB_FINALIZER)
    assert store.get(record.uid) == record


def test_a_status_is_stored_with_what_was_applied(store: SpecStore) -> None:
    record = create(store)
    status = running(
        message="words",
        nomad=JobStatus(job_id=record.uid, namespace="ai4eosc", version=0),
        endpoints={"deepaas": "http://10.0.0.7:23143"},
        placement={"nodes": [{"free": 1.5, "why": None}]},
    )
    assert look(store, record.uid, status, applied=an_applied(), seen_index=12)
    stored = store.get(record.uid)
    assert stored == replace(record, resource_version=2, status=status, applied=an_applied())
    assert store.wishes_after(1) == []
    assert look(store, record.uid, running(phase=Phase.COMPLETE), applied=None, seen_index=13)
    stored = store.get(record.uid)
    assert stored is not None
    assert (stored.status.phase, stored.applied) == (Phase.COMPLETE, None)


def test_a_new_applied_job_replaces_the_old_one(store: SpecStore) -> None:
    record = create(store)
    for applied in (an_applied("d1"), an_applied("d2", 20), an_applied("d2", 30)):
        look(store, record.uid, running(), applied=applied, seen_index=1)
        stored = store.get(record.uid)
        assert stored is not None
        assert stored.applied == applied


def test_an_unchanged_status_writes_nothing(store: SpecStore) -> None:
    record = create(store)
    look(store, record.uid, running(), applied=an_applied(), seen_index=5)
    before = store.get(record.uid)
    later = running(observed_at=NOW + timedelta(seconds=9))
    assert look(store, record.uid, later, applied=an_applied(), seen_index=5)
    assert store.get(record.uid) == before


def test_a_touch_has_the_record_looked_at_without_a_new_wish(store: SpecStore) -> None:
    record = create(store)
    look(store, record.uid, running(), applied=an_applied(), seen_index=5)
    position = version(store)
    touched = store.touch(record.uid)
    assert store.get(record.uid) == touched
    assert [uid for _, uid, *_ in store.wishes_after(position)] == [record.uid]
    assert (touched.generation, touched.status.observed_at) == (record.generation, None)
    assert touched.status.phase is Phase.RUNNING
    assert touched.applied == an_applied()
    assert len(store.history(record.uid)) == 1


def test_the_look_after_a_touch_is_written_though_it_sees_the_same(store: SpecStore) -> None:
    record = create(store)
    look(store, record.uid, running(), applied=an_applied(), seen_index=5)
    store.touch(record.uid)
    before = version(store)
    later = running(observed_at=NOW + timedelta(seconds=9))
    assert look(store, record.uid, later, applied=an_applied(), seen_index=5)
    stored = store.get(record.uid)
    assert stored is not None
    assert stored.status.observed_at == later.observed_at
    assert store.changes_after(before)[1] == [record.uid]
    unchanged = running(observed_at=NOW + timedelta(seconds=18))
    assert look(store, record.uid, unchanged, applied=an_applied(), seen_index=5)
    assert store.get(record.uid) == stored


def test_nothing_is_touched_that_is_not_there(store: SpecStore) -> None:
    with pytest.raises(NotFound):
        store.touch("nobody")


def test_a_moved_seen_index_alone_wakes_nobody(store: SpecStore) -> None:
    record = create(store)
    look(store, record.uid, running(), seen_index=5)
    before = version(store)
    look(store, record.uid, running(), seen_index=8)
    assert [head.seen_index for head in store.heads()] == [8]
    assert version(store) == before


def test_a_look_at_an_older_generation_writes_nothing(store: SpecStore) -> None:
    record = create(store)
    look(store, record.uid, running(3), applied=an_applied("d3", generation=3), seen_index=9)
    before = store.get(record.uid)
    assert look(store, record.uid, running(2), applied=an_applied("d2"), seen_index=10)
    assert store.get(record.uid) == before


def test_a_look_that_was_overtaken_looks_at_the_record_again(
    store: SpecStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = create(store)
    newer = {"applied": an_applied("d3", 30, generation=3), "seen_index": 30}
    read = fetch_looks

    def overtake(connection: Any, uids: Any) -> Any:
        stored = read(connection, uids)
        monkeypatch.setattr("specs.recorder.fetch_looks", read)
        assert look(store, record.uid, running(3), **newer)
        return stored

    monkeypatch.setattr("specs.recorder.fetch_looks", overtake)
    assert look(store, record.uid, running(2), applied=an_applied("d2"), seen_index=20)
    kept = store.get(record.uid)
    assert kept is not None
    assert (kept.status, kept.applied) == (running(3), newer["applied"])


def test_looks_of_many_threads_are_each_written_and_each_told(store: SpecStore) -> None:
    records = [create(store, a_wish(f"n{number}")) for number in range(12)]

    def tell(index: int) -> bool:
        uid, event = records[index].uid, Event(f"Reason{index}", "running")
        applied = an_applied(f"d{index}", index + 1)
        return look(store, uid, running(), applied=applied, seen_index=index, events=[event])

    assert in_threads(12, tell) == [True] * 12
    kept = [store.get(record.uid) for record in records]
    assert [k and k.applied for k in kept] == [an_applied(f"d{n}", n + 1) for n in range(12)]
    assert len({k.resource_version for k in kept if k}) == 12
    assert max(k.resource_version for k in kept if k) == version(store)
    told = [store.events(record.uid)[-1] for record in records]
    assert [entry.event.reason for entry in told] == [f"Reason{n}" for n in range(12)]
    assert len({entry.number for entry in told}) == 12


def test_heads_tell_what_a_resync_needs(store: SpecStore) -> None:
    create(store)
    create(store, a_wish("n1", suspend=True))
    create(store, a_wish("n2"))
    look(store, "uid-1", running(), applied=an_applied(index=77), seen_index=78)
    put(store, a_wish(ram=9000))
    request_deletion(store, "uid-3")
    heads = {
        head.uid: (
            head.vo,
            head.generation,
            head.observed_generation,
            head.applied_generation,
            head.applied_index,
            head.seen_index,
            head.being_deleted,
            head.suspended,
        )
        for head in store.heads()
    }
    assert heads == {
        "uid-1": (VO, 2, 1, 1, 77, 78, False, False),
        "uid-2": (VO, 1, 0, 0, 0, 0, False, True),
        "uid-3": (VO, 2, 0, 0, 0, 0, True, False),
    }


def test_the_feed_of_wishes_has_every_uid_once_at_its_newest_place(store: SpecStore) -> None:
    create(store)
    create(store, a_wish("n1"))
    look(store, "uid-2", running())
    put(store, a_wish(ram=9000))
    assert [w[:2] for w in store.wishes_after(0)] == [(2, "uid-2"), (4, "uid-1")]
    assert [w[:2] for w in store.wishes_after(0, limit=1)] == [(2, "uid-2")]
    assert [w[:2] for w in store.wishes_after(2)] == [(4, "uid-1")]
    assert store.wishes_after(4) == []


def test_the_feed_of_changes_has_statuses_and_departures(store: SpecStore) -> None:
    create(store)
    create(store, a_wish("n1"))
    assert store.changes_after(0) == (2, ["uid-1", "uid-2"])
    look(store, "uid-1", running())
    assert store.changes_after(2) == (3, ["uid-1"])
    request_deletion(store, "uid-2")
    store.remove_finalizer("uid-2", JOB_FINALIZER)
    assert store.changes_after(3) == (5, ["uid-2"])
    assert store.changes_after(0, limit=1) == (3, ["uid-1"])
    assert store.changes_after(5) == (5, [])


def test_a_refused_write_takes_no_number(store: SpecStore) -> None:
    create(store)
    with pytest.raises(AlreadyExists):
        create(store, a_wish(ram=9000))
    assert create(store, a_wish("n1")).resource_version == 2


def test_a_wait_ends_at_once_where_something_is_there(store: SpecStore) -> None:
    create(store)
    assert store.wait_for_wishes(0, timeout_s=0)
    assert not store.wait_for_wishes(1, timeout_s=0)
    look(store, "uid-1", running())
    assert not store.wait_for_wishes(1, timeout_s=0)
    assert store.wait_for_changes(1, timeout_s=0)
    assert not store.wait_for_changes(2, timeout_s=0)


def waiter_on(
    wait: Callable[..., bool], monkeypatch: pytest.MonkeyPatch
) -> tuple[threading.Thread, list[bool]]:
    """Start a thread that waits and has found nothing in the store; only the bell can wake it."""
    monkeypatch.setattr(feeds, "NOTICE_S", 60.0)
    found_nothing = threading.Event()
    ring = feeds.Bell.ring

    def heard(bell: feeds.Bell, number: int) -> None:
        ring(bell, number)
        found_nothing.set()

    monkeypatch.setattr(feeds.Bell, "ring", heard)
    woken: list[bool] = []
    waiter = threading.Thread(target=lambda: woken.append(wait(0, timeout_s=60)))
    waiter.start()
    assert found_nothing.wait(10)
    return waiter, woken


@pytest.mark.parametrize("kind", ["wishes", "changes"])
def test_a_write_wakes_those_who_wait_in_this_process(
    store: SpecStore, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    waiter, woken = waiter_on(getattr(store, f"wait_for_{kind}"), monkeypatch)
    create(store)
    waiter.join(10)
    assert woken == [True]


def test_closing_lets_those_go_who_wait(store: SpecStore, monkeypatch: pytest.MonkeyPatch) -> None:
    waiter, woken = waiter_on(store.wait_for_wishes, monkeypatch)
    store.close()
    waiter.join(10)
    assert woken == [False]


def test_twenty_who_create_the_same_name_make_one_record(store: SpecStore) -> None:
    answers = in_threads(
        20, lambda _: store.create(a_wish(), owner=ALICE, owner_name="", source={})
    )
    assert sorted(str(answer[1]) for answer in answers) == ["False"] * 19 + ["True"]  # type: ignore[index]
    assert len({answer[0].uid for answer in answers}) == 1  # type: ignore[index]


def test_threads_wait_in_line_and_not_at_the_lock_of_the_database(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0)
    store = SpecStore(f"sqlite:///{tmp_path}/x.db", seal=SEAL)
    store.migrate()

    def write(who: int) -> None:
        record = create(store, a_wish(f"n{who}"))
        for n in range(10):
            look(store, record.uid, running(n), seen_index=n)
            store.get(record.uid)

    assert in_threads(10, write) == [None] * 10
    store.close()


def test_of_many_who_replace_one_version_one_wins(store: SpecStore) -> None:
    record = create(store)
    answers = in_threads(
        10, lambda n: put(store, a_wish(ram=9000 + n), if_version=record.resource_version)
    )
    assert sorted(type(answer).__name__ for answer in answers) == ["VersionConflict"] * 9 + [
        "tuple"
    ]


def test_a_reader_of_the_feed_misses_no_wish_of_many_writers(store: SpecStore) -> None:
    writers, each = 8, 15
    done = threading.Event()
    followed: list[tuple[int, str]] = []

    def follow() -> None:
        position = 0
        while True:
            last = done.is_set()
            followed.extend(w[:2] for w in store.wishes_after(position, limit=7))
            position = followed[-1][0] if followed else 0
            if last and not store.wishes_after(position):
                return
            store.wait_for_wishes(position, timeout_s=0.05)

    reader = threading.Thread(target=follow)
    reader.start()
    answers = in_threads(
        writers,
        lambda w: [create(store, a_wish(f"w{w}-{n}")).uid for n in range(each)],
    )
    done.set()
    reader.join(30)
    written = {uid for uids in answers for uid in uids}  # type: ignore[attr-defined]
    assert len(written) == writers * each
    assert [uid for _, uid in followed if uid in written] == [uid for _, uid in followed]
    assert {uid for _, uid in followed} == written
    assert [p for p, _ in followed] == list(range(1, writers * each + 1))


def test_statuses_and_wishes_of_one_record_do_not_undo_each_other(store: SpecStore) -> None:
    create(store)
    rounds = 30

    def write(who: int) -> None:
        for n in range(1, rounds + 1):
            if who == 0:
                put(store, a_wish(ram=9000 + n))
            else:
                look(store, "uid-1", running(n), applied=an_applied(f"d{n}", n), seen_index=n)

    assert in_threads(2, write) == [None, None]
    record = store.get("uid-1")
    assert record is not None
    assert (record.generation, record.spec.hardware.ram) == (1 + rounds, 9000 + rounds)
    assert record.status == running(rounds)
    assert record.applied == an_applied(f"d{rounds}", rounds)
    assert record.resource_version == 1 + 2 * rounds


WRITER = """
import sys
from specs.store import SpecStore
from tests.builders import ALICE, VO, a_spec
from specs.wish import Wish
url, first, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
store = SpecStore(url)
for n in range(number):
    wish = Wish(vo=VO, name=f"{first}{n}", spec=a_spec())
    record, _ = store.create(wish, owner=ALICE, owner_name="", source={})
    print(record.name, record.resource_version, flush=True)
"""


def test_writers_of_several_processes_wait_for_each_other(store: SpecStore, url: str) -> None:
    writers = [python(WRITER, url, first, "40") for first in ("x", "y")]
    answers = in_threads(4, lambda w: [create(store, a_wish(f"w{w}-{n}")) for n in range(20)])
    told = [writer.communicate()[0].split() for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0]
    assert [len(answer) for answer in answers] == [20] * 4  # type: ignore[arg-type]
    assert [len(words) for words in told] == [80, 80]
    assert [position for position, *_ in store.wishes_after(0)] == list(range(1, 161))


def test_a_wish_written_by_another_process_is_noticed(store: SpecStore, url: str) -> None:
    with python(WRITER, url, "other", "1") as writer:
        assert store.wait_for_wishes(0, timeout_s=30)
        assert writer.wait() == 0
    assert store.find(ALICE_REACH, vo=VO, name="other0").resource_version == 1


@pytest.mark.parametrize("answered", [1, 7, 30])
def test_a_killed_process_loses_no_answered_write(
    store: SpecStore, url: str, answered: int
) -> None:
    with python(WRITER, url, "k", "100000") as writer:
        assert writer.stdout is not None
        told = [next(writer.stdout).split() for _ in range(answered)]
        writer.send_signal(signal.SIGKILL)
        told += [line.split() for line in writer.stdout if line.endswith("\n")]
    assert writer.returncode == -signal.SIGKILL
    kept = {r.name: str(r.resource_version) for r in store.page(ALICE_REACH, limit=10000).items}
    assert [name for name, number in told if kept.get(name) != number] == []
    # At most the one write that was on its way came through beside the answered ones.
    assert len(told) <= len(kept) <= len(told) + 1
    assert create(store).resource_version == len(kept) + 1


def test_migrating_again_and_at_once_keeps_everything(store: SpecStore, url: str) -> None:
    record = create(store)

    def migrate(_: int) -> None:
        other = SpecStore(url, seal=SEAL)
        other.migrate()
        other.close()

    assert in_threads(4, migrate) == [None] * 4
    assert store.get(record.uid) == record


def test_several_processes_may_make_the_tables_at_once(url: str) -> None:
    def migrate(_: int) -> int:
        other = SpecStore(url, seal=SEAL)
        other.migrate()
        other.close()
        return 1

    assert in_threads(4, migrate) == [1] * 4


def test_the_migrations_make_the_tables_that_the_code_uses(store: SpecStore, url: str) -> None:
    engine = create_engine(make_url(url).set(drivername=driver(url)))
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    engine.dispose()


def test_a_sqlite_store_is_private_and_syncs_wishes_to_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "var" / "ai4papi.db"
    store = SpecStore(f"sqlite:///{path}", seal=SEAL)
    store.migrate()
    create(store)
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    pragmas = []
    for durable in (True, False):
        with store._database.write(durable=durable) as connection:
            ask = connection.exec_driver_sql
            pragmas.append(
                [ask(f"PRAGMA {name}").scalar() for name in ("synchronous", "journal_mode")]
            )
    store.close()
    assert pragmas == [[2, "wal"], [1, "wal"]]


@pytest.mark.parametrize(
    "useless", ["sqlite://", "sqlite:///:memory:", "mysql://me:pass%77ord@host/name"]
)
def test_a_url_of_no_use_is_refused_without_telling_its_password(useless: str) -> None:
    with pytest.raises(ValueError, match="give sqlite:///PATH or postgresql://") as refusal:
        SpecStore(useless, seal=SEAL)
    assert "password" not in str(refusal.value)


def test_the_clock_and_the_ids_are_real_by_default(tmp_path: Path) -> None:
    store = SpecStore(f"sqlite:///{tmp_path}/x.db", seal=SEAL)
    store.migrate()
    before = datetime.now(UTC)
    one, other = create(store), create(store, a_wish("n1"))
    assert before <= one.created_at <= datetime.now(UTC)
    assert one.uid != other.uid
    assert store.get(one.uid) == one
    store.close()
