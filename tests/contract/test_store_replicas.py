"""Several processes on one store: leases and fences, feeds and notices, versions side by side."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.engine import Connection

from specs import database, feeds, postgres
from specs.catalog.reads import CatalogRead
from specs.catalog.states import CatalogState
from specs.database import Database
from specs.faults import LeaseLost, NewerStore, StoreUnavailable
from specs.leases import LEASE_S, MARGIN_S, Leases
from specs.model import JOB_FINALIZER
from specs.shards import SHARDS, SITE, shard_of
from specs.source_reports import SourceReport
from specs.store import SpecStore
from tests.builders import ALICE_REACH, NOW, SEAL
from tests.contract.stores import (
    a_wish,
    an_applied,
    create,
    driver,
    in_threads,
    look,
    put,
    request_deletion,
    running,
    the,
    version,
)
from tests.postgres import find_postgres, private_postgres

EVERYTHING = frozenset(range(SHARDS))


class Seconds:
    """A clock of a process that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def shared(store: SpecStore) -> SpecStore:
    """The store, on a database that several replicas may work on (`pytest_generate_tests`)."""
    return store


def a_replica(store: SpecStore, name: str, clock: Callable[[], float] | None = None) -> Leases:
    leases = store.leases("test")
    assert leases is not None
    leases.id = name
    if clock is not None:
        leases.clock = clock
    return leases


def held(leases: Leases) -> frozenset[int]:
    return frozenset(filter(leases.holds, range(SHARDS)))


def run_out(store: SpecStore, name: str) -> None:
    """Let time pass by the database's clock, for one replica and its leases."""
    with store._database.write() as connection:
        for statement in (
            "UPDATE leases SET until_at = clock_timestamp() - interval '1 s' WHERE holder = :name",
            "UPDATE replicas SET seen_at = seen_at - interval '1 h' WHERE id = :name",
        ):
            connection.execute(text(statement), {"name": name})
        connection.commit()


def test_sqlite_has_no_leases(store: SpecStore, url: str) -> None:
    assert (store.leases("test") is None) == url.startswith("sqlite")


def test_the_first_replica_does_everything_and_a_second_half_of_it(shared: SpecStore) -> None:
    a, b = a_replica(shared, "a"), a_replica(shared, "b")
    assert a.beat() == frozenset()
    assert held(a) == EVERYTHING
    assert b.beat() == frozenset()
    assert held(b) == frozenset(), "what is held is not taken"
    leaving = a.beat()
    assert leaving == frozenset(range(8, SHARDS))
    assert held(a) == EVERYTHING - leaving
    b.beat()
    assert held(b) == frozenset(), "looks may be under way in what is to be left"
    assert a.beat(given_up=leaving) == frozenset()
    b.beat()
    assert held(b) == leaving
    assert held(a) | held(b) == EVERYTHING


def test_a_replica_that_is_gone_is_followed_when_its_leases_are_over(shared: SpecStore) -> None:
    a, b = a_replica(shared, "a"), a_replica(shared, "b")
    a.beat()
    b.beat()
    run_out(shared, "a")
    b.beat()
    assert held(b) == EVERYTHING
    standing = b.standing()
    assert standing is not None
    assert (standing.id, standing.replicas, set(standing.terms.values())) == ("b", 1, {2})


def test_a_replica_that_stops_hands_everything_over_at_once(shared: SpecStore) -> None:
    a, b = a_replica(shared, "a"), a_replica(shared, "b")
    a.beat()
    a.release()
    assert held(a) == frozenset()
    b.beat()
    assert held(b) == EVERYTHING


def test_a_holder_stops_by_its_own_clock_before_anybody_may_follow(shared: SpecStore) -> None:
    """R12: counted from before it asked, so however long the answer took."""
    clock = Seconds()
    a = a_replica(shared, "a", clock)
    a.beat()
    clock.now += LEASE_S - MARGIN_S - 0.01
    a.require(3)
    assert held(a) == EVERYTHING
    clock.now += 0.02
    assert held(a) == frozenset()
    with pytest.raises(LeaseLost, match="the lease of part 3 is over"):
        a.require(3)
    standing = a.standing()
    assert standing is not None
    assert standing.terms == {}
    a.beat()
    assert held(a) == EVERYTHING, "nobody came in between"
    assert set(the_standing(a).values()) == {1}


def the_standing(leases: Leases) -> dict[int, int]:
    standing = leases.standing()
    assert standing is not None
    return dict(standing.terms)


def test_a_store_out_of_reach_renews_nothing(
    shared: SpecStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R12: the lease of who can't reach the store ends, whoever else can."""
    clock = Seconds()
    a = a_replica(shared, "a", clock)
    a.beat()

    def refuse(**_: object) -> None:
        raise StoreUnavailable("away")

    monkeypatch.setattr(a.database, "write", refuse)
    with pytest.raises(StoreUnavailable):
        a.beat()
    assert held(a) == EVERYTHING
    clock.now += LEASE_S
    assert held(a) == frozenset()


def test_one_replica_has_a_part_at_a_time_however_many_beat_at_once(shared: SpecStore) -> None:
    replicas = [a_replica(shared, f"r{n}") for n in range(5)]
    leaving: list[frozenset[int]] = [frozenset()] * 5
    for _ in range(6):
        answers = in_threads(5, lambda n, left=leaving: replicas[n].beat(given_up=left[n]))
        leaving = [answer for answer in answers if isinstance(answer, frozenset)]
        assert len(leaving) == 5, answers
        shares = [held(replica) for replica in replicas]
        assert sum(map(len, shares)) == len(frozenset().union(*shares)), "a part has two holders"
    assert frozenset().union(*shares) == EVERYTHING
    assert sorted(map(len, shares)) == [3, 3, 3, 3, 4]


WRITES_OF_A_RECORD: dict[str, Callable[[SpecStore, str], object]] = {
    "put_status": lambda s, uid: look(s, uid, running(message="late")),
    "put_status, index only": lambda s, uid: look(s, uid, running(), seen_index=7),
    "remove_finalizer": lambda s, uid: s.remove_finalizer(uid, JOB_FINALIZER),
    "release": lambda s, uid: s.release(uid, generation=1),
    "pin_last_good": lambda s, uid: s.pin_last_good(
        uid, failed_generation=1, good_generation=1, message="m"
    ),
    "generation": lambda s, uid: s.generation(uid),
}
DUTIES_OF_THE_SITE: dict[str, Callable[[SpecStore, str], object]] = {
    "put_from_source": lambda s, _: s.put_from_source([]),
    "clean_up": lambda s, _: s.clean_up(trash_before=NOW, events_before=NOW),
    "put_source_report": lambda s, _: s.put_source_report("s", SourceReport(kind="git", url="u")),
    "forget_sources": lambda s, _: s.forget_sources(but=[]),
    "put_catalog": lambda s, _: s.put_catalog("c", CatalogRead(modules=(), same=()), rank=0),
    "put_catalog_state": lambda s, _: s.put_catalog_state(
        "c", CatalogState(source="c", kind="folder", url="u")
    ),
    "forget_catalogs": lambda s, _: s.forget_catalogs(but=[]),
}


@pytest.mark.parametrize("write", [*WRITES_OF_A_RECORD, *DUTIES_OF_THE_SITE])
def test_who_lost_the_lease_writes_nothing_whatever_it_believes(
    shared: SpecStore, write: str
) -> None:
    """R12: the fence is in the transaction; the clock of who slept may say anything."""
    record = create(shared)
    look(shared, record.uid, running())
    clock = Seconds()
    a, b = a_replica(shared, "a", clock), a_replica(shared, "b")
    a.beat()
    fenced = shared.fenced(a)
    assert look(fenced, record.uid, running(message="in time"))
    run_out(shared, "a")
    b.beat()
    before = the(shared, record.uid), shared.newest_version(), shared.identity()
    part = shard_of(record.uid) if write in WRITES_OF_A_RECORD else SITE
    assert a.holds(part), "by its own clock it is still the holder"
    if write == "remove_finalizer":
        request_deletion(shared, record.uid)
        before = the(shared, record.uid), shared.newest_version(), shared.identity()
    with pytest.raises(LeaseLost, match="another replica's by now"):
        (WRITES_OF_A_RECORD | DUTIES_OF_THE_SITE)[write](fenced, record.uid)
    assert (the(shared, record.uid), shared.newest_version(), shared.identity()) == before
    assert not a.holds(part)
    assert look(shared.fenced(b), record.uid, running(message="the other"))


def test_a_part_that_comes_back_has_another_term(shared: SpecStore) -> None:
    """R12: what a replica began before it lost a part is not written when it has it again."""
    record = create(shared)
    a, b = a_replica(shared, "a"), a_replica(shared, "b")
    a.beat()
    with shared._database.write() as connection:
        a.check(connection, {shard_of(record.uid)})
    old = dict(a._terms)
    run_out(shared, "a")
    b.beat()
    b.release()
    late = a_replica(shared, "a")
    late.beat()
    a._terms = old
    with pytest.raises(LeaseLost):
        look(shared.fenced(a), record.uid, running())
    assert look(shared.fenced(late), record.uid, running())


def test_who_takes_over_waits_for_a_write_that_was_checked_before(shared: SpecStore) -> None:
    record = create(shared)
    a, b = a_replica(shared, "a"), a_replica(shared, "b")
    a.beat()
    run_out(shared, "a")
    fenced, taken = shared.fenced(a), threading.Event()

    def take() -> None:
        b.beat()
        taken.set()

    taker = threading.Thread(target=take)
    with fenced._write(of=[record.uid]) as write:
        taker.start()
        assert not taken.wait(0.3), "the lease was taken in the middle of a write"
        write.changed = True
    taker.join(10)
    assert held(b) == EVERYTHING


def test_a_single_pass_by_hand_needs_no_lease(shared: SpecStore) -> None:
    record = create(shared)
    a_replica(shared, "a").beat()
    assert look(shared.fenced(a_replica(shared, "by hand")), record.uid, running())


def test_faces_write_whoever_holds_the_leases(shared: SpecStore) -> None:
    a = a_replica(shared, "a")
    a.beat()
    run_out(shared, "a")
    a_replica(shared, "b").beat()
    shared.fenced(a)
    assert put(shared, a_wish(ram=9000))[1]


def test_no_commit_comes_behind_a_number_that_a_follower_has_seen(
    store: SpecStore, url: str
) -> None:
    """An earlier number can't be committed later: the next writer waits for it."""
    other = SpecStore(url, seal=SEAL, new_uid=lambda: "late")
    seen: list[int] = []
    done = threading.Event()

    def write() -> None:
        create(other, a_wish("late"))
        done.set()

    writer = threading.Thread(target=write)
    with store._write() as first:
        writer.start()
        assert not done.wait(0.3), "the later number was committed first"
        seen += [w.position for w in store.wishes_after(0)]
        first.changed = True
        number = first.version
    writer.join(30)
    seen += [w.position for w in store.wishes_after(0)]
    assert seen == [number + 1]
    other.close()


@contextmanager
def listening(store: SpecStore) -> Iterator[None]:
    store.listen()
    assert store._listener is not None
    assert store._listener.listening.wait(10)
    yield


def test_a_commit_of_another_process_is_heard_at_once(
    shared: SpecStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "NOTICE_S", 30.0)
    other = SpecStore(url, seal=SEAL, new_uid=lambda: "other")
    with closing(other), listening(shared):
        for write, wait in (
            (lambda: create(other), shared.wait_for_wishes),
            (lambda: look(other, "other", running()), shared.wait_for_changes),
        ):
            heard: list[bool] = []
            after = version(shared)
            waiter = threading.Thread(
                target=lambda w=wait, n=after, h=heard: h.append(w(n, timeout_s=20))
            )
            waiter.start()
            write()
            waiter.join(5)
            assert heard == [True]


def test_a_status_does_not_wake_who_waits_for_wishes(shared: SpecStore, url: str) -> None:
    record = create(shared)
    other = SpecStore(url, seal=SEAL)
    with closing(other), listening(shared):
        for n in range(3):
            look(other, record.uid, running(message=f"{n}"))
        assert shared.wait_for_changes(3, timeout_s=10)
        assert not shared.wait_for_wishes(1, timeout_s=0.2)


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        ("12", (12, False)),
        ("12 wished", (12, True)),
        ("", (0, False)),
        ("-1", (0, False)),
        ("12 hurry", (0, False)),
        ("9" * 40, (0, False)),
        ("١٢", (0, False)),
    ],
)
def test_what_is_no_notice_of_ours_tells_nothing(payload: str, told: tuple[int, bool]) -> None:
    assert feeds.told_by(payload) == told


def test_a_listener_that_is_cut_off_comes_back_and_nothing_is_missed(
    shared: SpecStore, url: str
) -> None:
    other = SpecStore(url, seal=SEAL, new_uid=iter(f"o{n}" for n in range(9)).__next__)
    with closing(other), listening(shared):
        assert shared._listener is not None
        with other._database.write() as connection:
            connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE query LIKE 'LISTEN%'"
                )
            )
        create(other, a_wish("while-deaf"))
        assert shared.wait_for_wishes(0, timeout_s=10)
        assert shared._listener.listening.wait(10)


LATER = "0999"


def upgrade_beyond(url: str, *, oldest_reader: str) -> None:
    """Change the tables as a later program would that only adds to them."""
    engine = create_engine(make_url(url).set(drivername=driver(url)))
    with engine.begin() as connection:
        for statement in (
            "CREATE TABLE later (id INTEGER PRIMARY KEY, what TEXT NOT NULL)",
            "ALTER TABLE deployments ADD COLUMN later TEXT NOT NULL DEFAULT 'x'",
            "ALTER TABLE counter ADD COLUMN later BIGINT NOT NULL DEFAULT 0",
            f"UPDATE alembic_version SET version_num = '{LATER}'",
            f"UPDATE counter SET oldest_reader = '{oldest_reader}'",
        ):
            connection.execute(text(statement))
    engine.dispose()


def test_an_older_program_goes_on_and_starts_beside_newer_tables_that_only_add(
    store: SpecStore, url: str
) -> None:
    """R27: a site is upgraded one replica after another, and one may be restarted meanwhile."""
    record = create(store)
    upgrade_beyond(url, oldest_reader="0009")
    assert look(store, record.uid, running(), applied=an_applied())
    assert put(store, a_wish(ram=9000))[0].generation == 2
    older = SpecStore(url, seal=SEAL)
    older.migrate()
    assert the(older, record.uid).generation == 2
    assert look(older, record.uid, running(2))
    request_deletion(older, record.uid)
    older.remove_finalizer(record.uid, JOB_FINALIZER)
    assert len(older.trash(ALICE_REACH)) == 1
    with older._database.read() as connection:
        assert revision(connection) == LATER
    older.close()


def test_a_migration_and_a_writer_do_not_wait_for_each_other(shared: SpecStore, url: str) -> None:
    """R27: tables are changed while the replicas of the older version go on writing."""
    uids = [create(shared, a_wish(f"n{n}")).uid for n in range(4)]
    stop, faults = threading.Event(), []

    def write(uid: str) -> None:
        for n in count():
            if stop.is_set():
                return
            try:
                look(shared, uid, running(message=f"{n}"))
            except StoreUnavailable as fault:
                faults.append(fault)

    writers = [threading.Thread(target=write, args=(uid,)) for uid in uids]
    for writer in writers:
        writer.start()
    engine = postgres.migrating_engine(shared._database.url)
    for n in range(20):
        with engine.begin() as connection:
            postgres.lock_tables(connection)
            connection.execute(text(f"ALTER TABLE deployments ADD COLUMN l{n} TEXT DEFAULT ''"))
            connection.execute(text(f"ALTER TABLE counter ADD COLUMN l{n} TEXT DEFAULT ''"))
    stop.set()
    for writer in writers:
        writer.join(30)
    engine.dispose()
    assert faults == []


def test_an_older_program_does_not_start_where_newer_tables_say_no(
    store: SpecStore, url: str
) -> None:
    """R27"""
    upgrade_beyond(url, oldest_reader="0998")
    older = SpecStore(url, seal=SEAL)
    with closing(older), pytest.raises(NewerStore):
        older.migrate()


def revision(connection: Connection) -> str:
    return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one())


def test_each_revision_says_who_can_work_on_it(store: SpecStore) -> None:
    with store._database.read() as connection:
        assert database.fetch_oldest_reader(connection) == "0009"


def test_every_connection_busy_is_told_and_not_waited_for(
    shared: SpecStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "POOL_S", 0.1)
    monkeypatch.setattr(postgres, "CONNECTIONS", 1)
    monkeypatch.setattr(postgres, "MORE_CONNECTIONS", 0)
    small = SpecStore(url, seal=SEAL)
    with closing(small), small._database.read(), pytest.raises(StoreUnavailable, match="busy"):
        small.newest_version()


def test_a_writer_that_is_paused_within_a_write_lets_the_others_go_on(
    shared: SpecStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock that all writers need is not held by who sleeps."""
    monkeypatch.setitem(postgres.LIMITS, "idle_in_transaction_session_timeout", "300ms")
    slow = SpecStore(url, seal=SEAL, new_uid=lambda: "slow")

    def sleep_within_a_write() -> None:
        with slow._write() as write:
            assert create(shared), "the others wait for as long as a sleeper may hold the lock"
            write.changed = True

    with closing(slow):
        with pytest.raises(StoreUnavailable):
            sleep_within_a_write()
        assert create(slow, a_wish("later"))


def test_a_lock_that_is_not_let_go_is_told(
    shared: SpecStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(postgres.LIMITS, "lock_timeout", "200ms")
    other = SpecStore(url, seal=SEAL)
    with closing(other), shared._write(), pytest.raises(StoreUnavailable, match="locked"):
        create(other)


def test_a_server_that_hangs_is_out_of_reach_within_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """R19: its connections stand, and nothing comes."""
    programs = find_postgres()
    if programs is None:
        pytest.skip("no PostgreSQL programs: install Debian's postgresql")
    monkeypatch.setattr(postgres, "ANSWER_S", 0.5)
    monkeypatch.setitem(postgres.CONNECT, "connect_timeout", 1)
    with private_postgres(programs) as url, closing(SpecStore(url, seal=SEAL)) as store:
        store.migrate()
        record = create(store)
        backends = pids_of(url)
        for pid in backends:
            os.kill(pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            for ask in (lambda: store.get(record.uid), lambda: create(store, a_wish("b"))):
                with pytest.raises(StoreUnavailable, match="out of reach"):
                    ask()
            assert time.monotonic() - began < 10
        finally:
            for pid in backends:
                os.kill(pid, signal.SIGCONT)
        assert the(store, record.uid) == record
        assert create(store, a_wish("b"))


def pids_of(url: str) -> list[int]:
    """Return the process of the server and those of its connections."""
    folder = Path(str(make_url(url).query["host"])).parent / "data"
    postmaster = int((folder / "postmaster.pid").read_text().splitlines()[0])
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    return [postmaster, *map(int, children)]


def test_the_database_says_whether_replicas_may_share_it(url: str) -> None:
    opened = Database(url)
    assert opened.shared != url.startswith("sqlite")
    opened.close()


def test_the_store_of_a_replica_is_the_store(shared: SpecStore) -> None:
    """What a replica writes of the catalogue is seen at once by the faces of its process."""
    a = a_replica(shared, "a")
    a.beat()
    assert shared.catalog().version == 0
    assert shared._kept.warm is not None
    shared.fenced(a).put_catalog("c", CatalogRead(modules=(), same=()), rank=0)
    assert shared._kept.warm is None
