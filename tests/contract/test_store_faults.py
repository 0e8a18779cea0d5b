"""What the store does when its database does not: locked, full, newer, older, copied."""

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from uuid import UUID

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, create_engine, make_url, select, text, update

from specs import database
from specs.faults import NewerStore, SealBroken, StoreFull, StoreUnavailable
from specs.model import JOB_FINALIZER, SWITCHES, Reach, StoreIdentity
from specs.quota import UserScope
from specs.reading import ONE_RECORD
from specs.schema import METADATA, secrets, trash
from specs.sealing import Seal
from specs.store import SpecStore
from tests.builders import ALICE, ALICE_REACH, NOW, SEAL, VO, a_spec
from tests.contract.stores import (
    PASSWORD,
    SOURCE,
    a_wish,
    create,
    delete,
    driver,
    look,
    put,
    request_deletion,
    running,
    version,
)

HOLD_THE_LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
connection.execute("ROLLBACK")
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "specs.db"


def a_store(path: Path) -> SpecStore:
    store = SpecStore(f"sqlite:///{path}", seal=SEAL)
    store.migrate()
    return store


@contextmanager
def held_by_another_process(path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Let another process hold the lock of the writers until its standard input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_THE_LOCK, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        try:
            yield holder
        finally:
            if holder.stdin and not holder.stdin.closed:
                holder.stdin.close()


def test_a_write_waits_for_the_lock_of_another_process(path: Path) -> None:
    """R16: within the deadline it is tried again, and nothing is lost."""
    store = a_store(path)
    first = create(store)
    answers: list[object] = []
    with held_by_another_process(path) as holder:
        writer = threading.Thread(target=lambda: answers.append(put(store, a_wish(ram=9000))))
        writer.start()
        assert store.get(first.uid) == first, "reading goes on"
        assert writer.is_alive()
        assert holder.stdin is not None
        holder.stdin.close()
        writer.join(30)
    assert len(answers) == 1
    assert [r.generation for r in store.history(first.uid)] == [2, 1]
    store.close()


@pytest.mark.parametrize("opened", ["before", "while"])
def test_a_lock_that_outlasts_the_deadline_is_told(
    path: Path, monkeypatch: pytest.MonkeyPatch, opened: str
) -> None:
    """R16: after the deadline the fault says so (503), and the next write works."""
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.05)
    store = a_store(path)
    record = create(store)
    if opened == "while":
        store.close()
        store = SpecStore(f"sqlite:///{path}", seal=SEAL)
    with held_by_another_process(path):
        for write in (
            lambda: put(store, a_wish(ram=9000)),
            lambda: look(store, record.uid, running()),
        ):
            with pytest.raises(StoreUnavailable, match="locked or out of reach"):
                write()
        assert store.get(record.uid) == record
    assert put(store, a_wish(ram=9000))[0].generation == 2
    assert look(store, record.uid, running(2))
    store.close()


def test_a_full_disk_refuses_the_write_whole_and_room_lets_it_through(path: Path) -> None:
    """R17: PRAGMA max_page_count stands for the disk; the fault says so (507)."""
    store = a_store(path)
    record = create(store)
    with store._database.write() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    limit_pages(store, pages)
    with pytest.raises(StoreFull, match="no room"):
        fill(store)
    kept = store.page(ALICE_REACH, limit=2000).items
    assert [len(store.history(r.uid)) for r in kept] == [1] * len(kept)
    assert [len(store.events(r.uid)) for r in kept] == [1] * len(kept)
    assert version(store) == len(kept), "a refused write takes no number"
    assert store.get(record.uid) == record
    limit_pages(store, 1_000_000)
    assert create(store, a_wish("later", desc="x" * 4000)).resource_version == len(kept) + 1
    store.close()


def fill(store: SpecStore) -> None:
    for n in range(1000):
        create(store, a_wish(f"n{n}", desc="x" * 4000))


def limit_pages(store: SpecStore, pages: int) -> None:
    with store._database.write() as connection:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")


def test_a_server_that_is_not_there_is_unavailable() -> None:
    store = SpecStore("postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(StoreUnavailable):
        store.newest_version()
    store.close()


@pytest.mark.parametrize("how", ["backup", "VACUUM INTO"])
def test_a_backup_taken_during_writes_is_whole(path: Path, tmp_path: Path, how: str) -> None:
    """R35: what the copy has is one moment of the store: every record with its past."""
    store = a_store(path)
    copy = tmp_path / "copy.db"
    stop, started = threading.Event(), threading.Event()

    def write() -> None:
        n = 0
        while not stop.is_set():
            record = create(store, a_wish(f"n{n}"))
            look(store, record.uid, running())
            if n % 3 == 0:
                delete(store, record.uid)
            n += 1
            if n == 20:
                started.set()

    writer = threading.Thread(target=write)
    writer.start()
    assert started.wait(30)
    with closing(sqlite3.connect(path)) as source:
        if how == "backup":
            with closing(sqlite3.connect(copy)) as target:
                source.backup(target, pages=16)
        else:
            source.execute("VACUUM INTO ?", (str(copy),))
    stop.set()
    writer.join(30)
    with closing(sqlite3.connect(copy)) as copied:
        assert copied.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    restored = a_store(copy)
    records = restored.page(ALICE_REACH, limit=10_000).items
    trashed = restored.trash(ALICE_REACH)
    assert len(records) + len(trashed) >= 19
    for record in (*records, *(t.deployment for t in trashed)):
        assert [r.generation for r in restored.history(record.uid)] == [1]
        assert restored.events(record.uid)[0].event.reason == "Created"
    same, older = store.identity(), restored.identity()
    assert same.store_id == older.store_id
    assert older.durable <= restored.newest_version() <= store.newest_version()
    assert older.durable <= same.durable
    restored.close()
    store.close()


def test_a_store_tells_itself_from_others_and_from_its_past(store: SpecStore) -> None:
    first = store.identity()
    assert UUID(first.store_id)
    create(store)
    look(store, "uid-1", running())
    assert store.identity() == StoreIdentity(first.store_id, durable=1)
    put(store, a_wish(ram=9000))
    request_deletion(store, "uid-1")
    assert store.identity() == StoreIdentity(first.store_id, durable=4)


def test_a_power_cut_that_takes_quick_writes_back_leaves_the_durable_number(path: Path) -> None:
    """R13's high-water mark: numbers are used anew, the durable one never goes back."""
    store = a_store(path)
    record = create(store)
    for n in range(3):
        look(store, record.uid, running(message=f"{n}"))
    before = store.identity()
    with store._database.write() as connection:
        connection.execute(text("UPDATE counter SET version = 2"))
        connection.execute(text("UPDATE deployments SET resource_version = 2"))
        connection.commit()
    assert store.identity() == before
    put(store, a_wish(ram=9000))
    assert store.identity().durable == 3 > before.durable
    store.close()


def at_revision(url: str, revision: str) -> None:
    """Make the tables as the program of that day did."""
    opened = database.Database(url)
    if url.startswith("sqlite"):
        database.create_private_file(Path(url.removeprefix("sqlite:///")))
    with opened.write() as connection:
        config = Config()
        config.set_main_option("script_location", str(database.MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        connection.commit()
    opened.close()


def test_records_of_the_first_tables_are_read_by_this_version(url: str) -> None:
    at_revision(url, "0001")
    spec = a_spec().model_dump_json(exclude={*SWITCHES} - {"suspend"})
    row = {
        "uid": "old",
        "spec": spec,
        "now": NOW.isoformat(),
        "iss": ALICE.iss,
        "sub": ALICE.sub,
        "vo": VO,
    }
    engine = create_engine(make_url(url).set(drivername=driver(url)))
    with engine.begin() as connection:
        connection.execute(text("UPDATE counter SET version = 7"))
        connection.execute(
            text(
                "INSERT INTO deployments VALUES (:uid, :iss, :sub, 'Alice', :vo, 'train-a', 5, 6,"
                " 7, 3, 0, :now, NULL, false, 3, NULL, 'Running', 12, 3, 0, 'd1', 10,"
                """ '["ai4papi/nomad-job"]', '{}', '{}', '{"type": "http"}', :spec,"""
                """ '{"observedGeneration": 3, "phase": "Running"}')"""
            ),
            row,
        )
        connection.execute(text("INSERT INTO applied_jobs VALUES ('old', '{}')"))
        connection.execute(text("INSERT INTO departures VALUES (4, 'gone')"))
    store = SpecStore(url, seal=SEAL, now=lambda: NOW)
    store.migrate()
    record = store.find(ALICE_REACH, vo=VO, name="train-a")
    assert record.spec == a_spec()
    assert (record.pin, record.deletion_held, record.source) == (None, "", {"type": "http"})
    assert record.applied is not None
    assert (record.applied.digest, record.applied.restart) == ("d1", 0)
    assert [(r.generation, r.spec, r.actor) for r in store.history("old")] == [
        (3, a_spec(), "Alice")
    ]
    assert store.identity().durable == 7
    assert store.events("old") == []
    assert store.changes_after(3) == (7, ["gone", "old"])
    assert store.clean_up(trash_before=NOW, events_before=NOW) == 0
    counted = {"deployments": 1, "cpu_num": 2, "ram": 8000, "disk": 20000}
    assert record.reservation.counted == counted
    assert store.used([UserScope(ALICE)]) == {UserScope(ALICE): counted}
    put(store, a_wish(ram=9000))
    assert store.rollback("old", 3, actor="Alice", source={}).target == a_spec()
    with engine.connect() as connection:
        assert connection.execute(ONE_RECORD, {"uid": "old"}).one().source_id == ""
    engine.dispose()
    store.close()


def test_what_happened_before_there_were_quotas_is_told_to_the_members_of_its_vo(url: str) -> None:
    at_revision(url, "0002")
    with closing_engine(url) as engine:
        row = (
            "INSERT INTO events (number, uid, owner_iss, owner_sub, name, generation, at, reason,"
            " message, kind, actor, source, from_phase, to_phase)"
            " VALUES (1, 'gone', :iss, :sub, 'a', 1, :at, 'R', 'm', 'Normal', 'A', 'http', '', '')"
        )
        trashed = (
            "INSERT INTO trash (uid, version, at, owner_iss, owner_sub, vo, name, record, secrets)"
            " VALUES ('gone', 1, :at, :iss, :sub, :vo, 'a', '{}', '{}')"
        )
        given = {"iss": ALICE.iss, "sub": ALICE.sub, "at": NOW.isoformat(), "vo": VO}
        with engine.begin() as connection:
            connection.execute(text(row), given)
            connection.execute(text(trashed), given)
    store = SpecStore(url, seal=SEAL)
    store.migrate()
    here, elsewhere = (Reach(ALICE, frozenset({vo})) for vo in (VO, "vo.x"))
    assert [entry.uid for entry in store.all_events(here)] == ["gone"]
    assert store.all_events(elsewhere) == []
    store.close()


def test_a_newer_store_is_refused_and_left_alone(store: SpecStore, url: str) -> None:
    """R27: an old program says what is wrong, and changes nothing."""
    record = create(store)
    engine = create_engine(make_url(url).set(drivername=driver(url)))
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0999'"))
        connection.execute(text("UPDATE counter SET oldest_reader = '0998'"))
    old = SpecStore(url, seal=SEAL)
    with pytest.raises(NewerStore, match="revision '0999', and this program knows up to"):
        old.migrate()
    old.close()
    with engine.connect() as connection:
        revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
    engine.dispose()
    assert revision == "0999"
    assert store.get(record.uid) == record


@contextmanager
def closing_engine(url: str) -> Iterator[Engine]:
    engine = create_engine(make_url(url).set(drivername=driver(url)))
    yield engine
    engine.dispose()


def test_p9_a_dump_of_the_database_tells_no_secret(store: SpecStore, url: str) -> None:
    """C40: nor does the trash, nor a backup of either."""
    record = create(store, a_wish(password="sentinel horse"))
    store.put(a_wish("other", password="sentinel mare"), owner=ALICE, owner_name="A", source=SOURCE)
    request_deletion(store, record.uid)
    store.remove_finalizer(record.uid, JOB_FINALIZER)
    with closing_engine(url) as engine, engine.connect() as connection:
        dump = "".join(
            str(connection.execute(table.select()).all()) for table in METADATA.sorted_tables
        )
    assert "sealed:1:" in dump
    assert "sentinel" not in dump
    back = store.undelete(ALICE_REACH, vo=VO, name="train-a", actor="Alice", source=SOURCE)
    assert store.secrets(back.uid) == {PASSWORD: "sentinel horse"}


def test_secrets_of_before_there_were_keys_are_sealed_at_the_next_start(
    store: SpecStore, url: str
) -> None:
    record, gone = create(store, a_wish(password="old horse")), create(store, a_wish("b"))
    request_deletion(store, gone.uid)
    store.remove_finalizer(gone.uid, JOB_FINALIZER)
    with closing_engine(url) as engine:
        with engine.begin() as connection:
            connection.execute(update(secrets).values(value="old horse"))
            connection.execute(update(trash).values(secrets='{"general.jupyter_password":"older"}'))
        store.migrate()
        with engine.connect() as connection:
            kept = [*connection.execute(select(secrets.c.value)).scalars()]
            kept += connection.execute(select(trash.c.secrets)).scalars()
    assert len(kept) == 2
    assert all("sealed:1:" in value and "old" not in value for value in kept)
    assert store.secrets(record.uid) == {PASSWORD: "old horse"}


def test_another_key_than_the_stores_is_found_at_the_start(store: SpecStore, url: str) -> None:
    create(store, a_wish(password="correct horse"))
    other = SpecStore(url, seal=Seal(["d" * 42 + "A="]))
    with closing(other), pytest.raises(SealBroken):
        other.migrate()
