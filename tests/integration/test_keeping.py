"""R35: a backup is one moment of the store; a restore harms nobody."""

import sqlite3
import stat
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from api.cli.app import app
from specs.backup import BackupRefused, back_up, examine, restore
from specs.model import Owner
from specs.store import SpecStore
from specs.wish import Wish
from tests.builders import SEAL, VO, a_spec

ALICE = Owner("https://op", "alice")


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'specs.db'}"


@pytest.fixture
def store(url):
    opened = SpecStore(url, seal=SEAL)
    opened.migrate()
    yield opened
    opened.close()


def names(url):
    store = SpecStore(url, seal=SEAL)
    store.migrate()
    try:
        return {store.get(head.uid).name for head in store.heads()}
    finally:
        store.close()


def add(store, name, *, secret=""):
    wish = a_wish(name, secret)
    return store.create(wish, owner=ALICE, owner_name="Alice", source={})[0]


def a_wish(name, secret):
    secrets = {"jupyter_password": secret} if secret else {}
    general = a_spec().general
    if secret:
        general = general.model_copy(update={"jupyter_password": "(set)"})
    return Wish(
        name=name, vo=VO, spec=a_spec(general=general), secrets=secrets, labels={}, annotations={}
    )


def test_a_backup_restores_what_was_there(store, url, tmp_path):
    add(store, "before", secret="pass word")
    copy = back_up(url, tmp_path / "copy")
    assert copy == examine(tmp_path / "copy")
    assert (copy.store_id, copy.deployments) == (store.identity().store_id, 1)
    assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o600
    add(store, "after")
    store.close()
    assert restore(url, tmp_path / "copy") == copy
    assert names(url) == {"before"}
    assert stat.S_IMODE((tmp_path / "specs.db").stat().st_mode) == 0o600
    kept = f"sqlite:///{tmp_path / 'specs.db.before-restore'}"
    assert names(kept) == {"before", "after"}


def test_no_password_is_readable_in_a_backup(store, url, tmp_path):
    add(store, "secret", secret="correct-horse")
    back_up(url, tmp_path / "copy")
    assert b"correct-horse" not in (tmp_path / "copy").read_bytes()


def test_a_backup_during_writes_is_one_moment(store, url, tmp_path):
    stop = threading.Event()

    def write():
        number = 0
        while not stop.is_set():
            number += 1
            add(store, f"busy-{number}")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(3):
            back_up(url, tmp_path / f"copy-{number}")
    finally:
        stop.set()
        writer.join()
    for number in range(3):
        found = examine(tmp_path / f"copy-{number}")
        # Every record has its number from the transaction that wrote it.
        with sqlite3.connect(tmp_path / f"copy-{number}") as copy:
            (newest,) = copy.execute("SELECT coalesce(max(wished), 0) FROM deployments").fetchone()
        assert newest <= found.durable


def test_nothing_is_restored_under_a_server(store, url, tmp_path):
    add(store, "before")
    back_up(url, tmp_path / "copy")
    add(store, "after")
    with pytest.raises(BackupRefused, match="is in use: stop every server"):
        restore(url, tmp_path / "copy")
    add(store, "still")
    assert len(store.heads()) == 3


def test_a_damaged_backup_is_refused_and_the_store_stays(store, url, tmp_path):
    for number in range(40):
        add(store, f"one-{number}")
    back_up(url, tmp_path / "copy")
    store.close()
    with (tmp_path / "copy").open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * 16384)
    with pytest.raises(BackupRefused):
        restore(url, tmp_path / "copy")
    assert len(names(url)) == 40


@pytest.mark.parametrize("content", [b"", b"no database at all"])
def test_what_is_no_backup_is_refused(url, tmp_path, content):
    (tmp_path / "copy").write_bytes(content)
    with pytest.raises(BackupRefused):
        restore(url, tmp_path / "copy")
    assert not (tmp_path / "specs.db").exists()


def test_a_damaged_store_with_its_log_gives_way(store, url, tmp_path):
    add(store, "before")
    back_up(url, tmp_path / "copy")
    store.close()
    (tmp_path / "specs.db").write_bytes(b"\xff" * 8192)
    (tmp_path / "specs.db-wal").write_bytes(b"\xff" * 512)
    restore(url, tmp_path / "copy")
    assert not (tmp_path / "specs.db-wal").exists()
    assert names(url) == {"before"}


def test_no_file_is_overwritten(store, url, tmp_path):
    (tmp_path / "copy").write_text("mine")
    with pytest.raises(BackupRefused, match="can't be made: File exists"):
        back_up(url, tmp_path / "copy")
    assert (tmp_path / "copy").read_text() == "mine"
    back_up(url, tmp_path / "other")
    store.close()
    restore(url, tmp_path / "other")
    with pytest.raises(BackupRefused, match="from an earlier restore"):
        restore(url, tmp_path / "other")


def test_postgresql_has_its_own_tools():
    with pytest.raises(BackupRefused, match="pg_dump"):
        back_up("postgresql://u@h/db", Path("copy"))


def run(*words, **environ):
    return CliRunner().invoke(app, words, env=environ)


def test_the_command_line_backs_up_and_restores(store, url, tmp_path, elsewhere):
    add(store, "before", secret="pass word")
    environ = {"AI4PAPI_STORE_URL": url, "AI4PAPI_AUTH": "local"}
    done = run("backup", str(tmp_path / "copy"), **environ)
    assert done.exit_code == 0, done.stderr
    assert "1 deployments" in done.stdout
    assert "keep the key too" in done.stderr
    used = run("restore", str(tmp_path / "copy"), "-y", **environ)
    assert used.exit_code == 1
    assert "stop every server" in used.stderr
    store.close()
    asked = run("restore", str(tmp_path / "copy"), **environ)
    assert asked.exit_code == 2
    assert "ai4papi restore" in asked.stderr
    done = run("restore", str(tmp_path / "copy"), "-y", **environ)
    assert done.exit_code == 0, done.stderr
    assert "--accept-store" in done.stderr
