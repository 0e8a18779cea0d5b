"""A disk that is full, a database that another process holds, a file that is damaged.

Whatever it is, it is said in a clear word, what can be read is read, and nothing is answered that
is not stored.
"""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import create_engine, make_url, text

from api.serve import build
from reconciler.settings import load_settings
from specs import database
from specs.faults import StoreBroken, StoreFull, StoreUnavailable
from specs.store import SpecStore
from tests.builders import ALICE_REACH, SEAL
from tests.contract.stores import a_wish, create, driver, put
from tests.postgres import SERVICE_USER, find_postgres, private_postgres, restart_postgres

TOKEN = "store-trouble-token"
MANIFEST = {
    "apiVersion": "ai4papi/v1",
    "kind": "Deployment",
    "spec": {"general": {"docker_image": "deephdc/deep-oc-image-classification-tf"}},
}


@dataclass
class Api:
    """A server of one process on a store of its own, with one deployment `first`."""

    path: Path
    client: httpx.Client

    def get(self, path: str) -> tuple[int, Any]:
        answer = self.client.get(path, headers={"Authorization": f"Bearer {TOKEN}"})
        return answer.status_code, answer.json()

    def put(self, name: str, **general: str) -> tuple[int, Any]:
        groups = {"general": MANIFEST["spec"]["general"] | general}  # type: ignore[index]
        body = MANIFEST | {"metadata": {"name": name}, "spec": groups}
        headers = {"Authorization": f"Bearer {TOKEN}"}
        answer = self.client.put(f"/v1/specs/{name}", json=body, headers=headers)
        return answer.status_code, answer.json()

    def look_again(self, name: str) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        answer = self.client.post(f"/v1/specs/{name}/reconcile", headers=headers)
        return answer.status_code, answer.json()

    def names(self) -> list[str]:
        code, page = self.get("/v1/specs?limit=500")
        assert code == 200, page
        return [item["metadata"]["name"] for item in page["items"]]


@contextmanager
def an_api(path: Path, serve: Any) -> Iterator[Api]:
    environ = {
        "AI4PAPI_AUTH": "local",
        "AI4PAPI_LOCAL_TOKEN": TOKEN,
        "AI4PAPI_STORE_URL": f"sqlite:///{path}",
        "AI4PAPI_CLUSTER": "simulated",
        "AI4PAPI_RECONCILE": "off",
    }
    _, app = build(load_settings(environ))
    with serve(app) as url, httpx.Client(base_url=url, timeout=60) as client:
        api = Api(path, client)
        assert api.put("first")[0] == 201
        yield api


@pytest.fixture
def api(tmp_path: Path, serve: Any) -> Iterator[Api]:
    with an_api(tmp_path / "specs.db", serve) as served:
        yield served


def a_filled_store(path: Path) -> None:
    store = SpecStore(f"sqlite:///{path}", seal=SEAL)
    store.migrate()
    for n in range(60):
        create(store, a_wish(f"n{n}", desc="x" * 2000))
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def overwrite(path: Path, at: int, length: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"\xa5" * length)


def cut(path: Path, length: int) -> None:
    with path.open("r+b") as file:
        file.truncate(length)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "pages in the middle overwritten": lambda p: overwrite(p, p.stat().st_size // 2, 40_000),
    "second half missing": lambda p: cut(p, p.stat().st_size // 2 // 4096 * 4096),
    "header overwritten": lambda p: overwrite(p, 0, 100),
    "header cut": lambda p: cut(p, 60),
    "another kind of file": lambda p: p.write_text("apiVersion: ai4papi/v1\n" * 400),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_stops_the_start_in_a_clear_word_and_is_left_as_it_is(
    tmp_path: Path, damage: str
) -> None:
    """R36"""
    path = tmp_path / "specs.db"
    a_filled_store(path)
    DAMAGES[damage](path)
    before = path.read_bytes()
    store = SpecStore(f"sqlite:///{path}", seal=SEAL)
    with closing(store), pytest.raises(StoreBroken, match=r"damaged.*restore a backup"):
        store.migrate()
    assert path.read_bytes() == before


@pytest.mark.parametrize("program", ["api.serve", "reconciler"])
def test_both_programs_say_so_in_one_sentence_and_end(tmp_path: Path, program: str) -> None:
    """R36"""
    path = tmp_path / "specs.db"
    path.write_text("no database" * 1000)
    root = Path(__file__).parents[2]
    environ = {
        **os.environ,
        "AI4PAPI_AUTH": "local",
        "AI4PAPI_STORE_URL": f"sqlite:///{path}",
        "AI4PAPI_CLUSTER": "simulated",
        "PYTHONPATH": f"{root}:{root / 'api/compat'}",
    }
    run = subprocess.run(
        [sys.executable, "-m", program],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert run.returncode == 1
    assert "the spec store is damaged" in run.stderr
    assert "Traceback" not in run.stderr


def test_a_write_ahead_log_that_was_cut_is_an_older_store_that_is_whole(tmp_path: Path) -> None:
    """R18: SQLite takes what is whole of it and says nothing; the mark in Nomad tells."""
    path, copy = tmp_path / "specs.db", tmp_path / "copy.db"
    store = SpecStore(f"sqlite:///{path}", seal=SEAL)
    store.migrate()
    for n in range(5):
        create(store, a_wish(f"n{n}"))
    for end in ("", "-wal"):
        shutil.copy(f"{path}{end}", f"{copy}{end}")
    newest = store.identity().durable
    store.close()
    log = Path(f"{copy}-wal")
    cut(log, log.stat().st_size - 5000)
    older = SpecStore(f"sqlite:///{copy}", seal=SEAL)
    older.migrate()
    kept = older.page(ALICE_REACH, limit=100).items
    assert len(kept) < 5
    assert older.identity().durable == len(kept) < newest
    assert [len(older.history(r.uid)) for r in kept] == [1] * len(kept)
    older.close()


def test_a_file_that_breaks_while_it_is_used_is_read_and_no_longer_written(api: Api) -> None:
    """R36: what is damaged is told, and after that no write is even tried."""
    page_of = "SELECT rootpage FROM sqlite_master WHERE name = 'events_uid'"
    with closing(sqlite3.connect(api.path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        page = connection.execute(page_of).fetchone()[0]
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    overwrite(api.path, (page - 1) * size, size)
    code, problem = api.put("second")
    assert (code, problem["reason"]) == (503, "StoreBroken")
    assert "restore a backup" in problem["detail"]
    assert api.names() == ["first"]
    assert api.get("/v1/specs/first")[0] == 200
    code, problem = api.get("/v1/specs/first/events")
    assert (code, problem["reason"]) == (503, "StoreBroken")
    code, problem = api.look_again("first")
    assert (code, problem["reason"]) == (503, "StoreBroken"), "it touches nothing that is damaged"
    assert api.get("/v1/specs/first")[1]["metadata"]["generation"] == 1
    code, problem = api.get("/readyz")
    assert (code, "damaged" in str(problem["causes"])) == (503, True)


HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute(sys.argv[2])
print("held", flush=True)
sys.stdin.readline()
"""


@contextmanager
def held(path: Path, lock: str) -> Iterator[None]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), lock],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield


@pytest.mark.parametrize("lock", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_a_database_that_another_process_holds_is_read_and_the_write_is_refused_in_time(
    tmp_path: Path, serve: Any, monkeypatch: pytest.MonkeyPatch, lock: str
) -> None:
    """R16"""
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.2)
    with an_api(tmp_path / "specs.db", serve) as api:
        with held(api.path, lock):
            code, problem = api.put("second")
            assert (code, problem["reason"]) == (503, "StoreUnavailable")
            assert api.names() == ["first"]
            assert api.get("/v1/specs/first/status")[0] == 200
        assert api.put("second")[0] == 201
        assert api.names() == ["second", "first"]


@contextmanager
def a_small_disk(folder: Path, size: str, *, owner: str = "") -> Iterator[Path]:
    """Mount a disk of memory; skip where that is not allowed."""
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip("no right to mount a small disk")
    try:
        if owner:
            shutil.chown(folder, owner)
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_is_full_refuses_the_write_whole_and_is_still_read(
    tmp_path: Path, serve: Any
) -> None:
    """R17: a real disk, and the real answer of the system."""
    with a_small_disk(tmp_path / "disk", "2m") as disk, an_api(disk / "specs.db", serve) as api:
        ballast = disk / "ballast"
        with ballast.open("wb") as file:
            space = os.statvfs(disk)
            file.write(b"x" * (space.f_bavail * space.f_frsize - 300_000))
        answers = [api.put(f"n{n}", desc="x" * 900) for n in range(120)]
        codes = [code for code, _ in answers]
        full = codes.index(507)
        assert set(codes[:full]) == {201}
        assert answers[full][1]["reason"] == "StoreFull"
        stored = {f"n{n}" for n, code in enumerate(codes) if code == 201}
        assert set(codes) == {201, 507}
        assert set(api.names()) == stored | {"first"}, "answered and stored are not the same"
        ballast.unlink()
        assert api.put("later")[0] == 201
        assert set(api.names()) == stored | {"first", "later"}


def test_a_full_tablespace_of_postgresql_refuses_the_write_whole() -> None:
    """R17"""
    programs = find_postgres()
    if programs is None:
        pytest.skip("no PostgreSQL programs: install Debian's postgresql")
    disk = Path(f"/tmp/small-{os.getpid()}")
    with a_small_disk(disk, "4m", owner=SERVICE_USER), private_postgres(programs) as url:
        engine = create_engine(make_url(url).set(drivername=driver(url)))
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(f"CREATE TABLESPACE small LOCATION '{disk}'"))
        engine.dispose()
        small = make_url(url).update_query_dict({"options": "-cdefault_tablespace=small"})
        store = SpecStore(small.render_as_string(hide_password=False), seal=SEAL)
        store.migrate()
        created = 0
        while not is_full(store, f"n{created}"):
            created += 1
        kept = store.page(ALICE_REACH, limit=5000).items
        assert len(kept) == created
        assert [len(store.history(r.uid)) for r in kept[:50]] == [1] * min(50, created)
        store.close()
    disk.rmdir()


def is_full(store: SpecStore, name: str) -> bool:
    """Create one more; tell whether there was no room for it."""
    try:
        create(store, a_wish(name, desc=os.urandom(1500).hex()))
    except StoreFull:
        return True
    return False


def test_a_postgresql_that_is_restarted_is_told_and_comes_back_by_itself() -> None:
    """R19: also the connections of the pool that it cut."""
    programs = find_postgres()
    if programs is None:
        pytest.skip("no PostgreSQL programs: install Debian's postgresql")
    with private_postgres(programs) as url:
        store = SpecStore(url, seal=SEAL)
        store.migrate()
        record = create(store)
        restart_postgres(programs, url)
        assert store.get(record.uid) == record
        assert put(store, a_wish(ram=9000))[0].generation == 2
    for ask in (lambda: store.get(record.uid), lambda: put(store, a_wish(ram=8000))):
        with pytest.raises(StoreUnavailable, match="out of reach"):
            ask()
    store.close()
