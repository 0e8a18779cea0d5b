"""What tells of changes in a folder: a real watch on real folders, with bounded waits."""

import logging
import os
import threading
import time

import pytest
import watchfiles

from specs import watch as watching
from specs.watch import watch

PATIENCE_S = 10.0
REST_S = 0.8
"""Long beside the intervals that these tests set: when it is quiet for so long, all was told."""


@pytest.fixture(autouse=True)
def _short_intervals(monkeypatch):
    monkeypatch.setattr(watching, "QUIET_MS", 50)
    monkeypatch.setattr(watching, "BUSY_MS", 200)
    monkeypatch.setattr(watching, "LOOK_MS", 100)


class Watched:
    """A watch that runs, and its hints."""

    def __init__(self, root):
        self.root = root
        self.stop = threading.Event()
        self._hint = threading.Event()
        self.hints = 0
        self._thread = threading.Thread(target=watch, args=(root, self._changed, self.stop))
        self._thread.start()

    def _changed(self):
        self.hints += 1
        self._hint.set()

    def hinted(self, within_s=PATIENCE_S):
        """Whether a hint comes within that time."""
        came = self._hint.wait(within_s)
        self._hint.clear()
        return came

    def rest(self):
        """Take all hints until none comes for a while."""
        while self.hinted(REST_S):
            pass

    def close(self):
        self.stop.set()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "specs"
    (folder / "sub").mkdir(parents=True)
    return folder


@pytest.fixture
def watched(root):
    watched = Watched(root)
    watched.rest()
    assert watched.hints  # the first is for what came before the watch
    yield watched
    watched.close()


def test_a_change_of_a_spec_file_is_told_and_one_of_other_names_is_not(watched, root):
    (root / "sub/a.yaml").write_text("a")
    assert watched.hinted()
    (root / "sub/a.yaml").rename(root / "b.yaml")
    assert watched.hinted()
    (root / "b.yaml").unlink()
    assert watched.hinted()
    watched.rest()
    before = watched.hints
    for name in ("README.md", ".a.yaml.swp", "4913", "sub/a.yaml~"):
        (root / name).write_text("no")
        (root / name).unlink()
    (root / ".git").mkdir()
    (root / ".git/x.yaml").write_text("no")
    assert not watched.hinted(REST_S)
    assert watched.hints == before


def test_what_is_put_into_a_new_folder_is_told(watched, root):
    (root / "new/deep").mkdir(parents=True)
    assert watched.hinted()
    watched.rest()
    (root / "new/deep/a.yaml").write_text("a")
    assert watched.hinted()
    watched.rest()
    (root / "new").rename(root / "newer")
    assert watched.hinted()
    watched.rest()
    (root / "newer/deep/a.yaml").write_text("b")
    assert watched.hinted()


def test_a_busy_folder_is_told_of_now_and_then(watched, root):
    end = time.monotonic() + 2
    before = watched.hints
    while time.monotonic() < end:
        (root / "a.yaml").write_text("a")
        (root / "d").mkdir()
        (root / "d").rmdir()
    assert 2 <= watched.hints - before <= 40


def test_a_root_that_goes_and_comes_back_is_watched_again(watched, root, tmp_path):
    root.rename(tmp_path / "away")
    assert watched.hinted()
    watched.rest()
    root.mkdir()
    assert watched.hinted()
    watched.rest()
    (root / "a.yaml").write_text("a")
    assert watched.hinted()


def test_a_root_that_does_not_exist_yet_is_waited_for(tmp_path, caplog):
    watched = Watched(tmp_path / "later")
    try:
        assert watched.hinted()
        (tmp_path / "later").mkdir()
        assert watched.hinted()
        watched.rest()
        (tmp_path / "later/a.yaml").write_text("a")
        assert watched.hinted()
    finally:
        watched.close()
    messages = [one.getMessage() for one in caplog.records if one.name == "specs.watch"]
    assert messages == ["folder not watched"]


def test_another_release_behind_the_link_is_told(tmp_path):
    for release in ("1", "2"):
        (tmp_path / release).mkdir()
    (tmp_path / "now").symlink_to("1")
    watched = Watched(tmp_path / "now")
    try:
        watched.rest()
        (tmp_path / "next").symlink_to("2")
        (tmp_path / "next").rename(tmp_path / "now")
        assert watched.hinted()
        watched.rest()
        (tmp_path / "2/a.yaml").write_text("a")
        assert watched.hinted()
    finally:
        watched.close()


def test_no_link_is_followed_by_the_watch(root, tmp_path):
    """C31: one link to `/` would make the library watch the whole machine."""
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    (root / "link").symlink_to(outside)
    watched = Watched(root)
    try:
        watched.rest()
        before = watched.hints
        (outside / "a.yaml").write_text("a")
        (outside / "deep/a.yaml").write_text("a")
        assert not watched.hinted(REST_S)
        assert watched.hints == before
    finally:
        watched.close()


class Waits(threading.Event):
    """A stop that notes its waits, does not wait, and is set after so many."""

    def __init__(self, number):
        super().__init__()
        self.number = number
        self.waited_s = 0.0

    def wait(self, timeout=None):
        self.waited_s += timeout
        self.number -= 1
        if self.number <= 0:
            self.set()
        return self.is_set()


@pytest.mark.parametrize("kind", [OSError, RuntimeError])
def test_where_nothing_can_be_watched_hints_come_slowly_and_the_log_says_why_once(
    root, caplog, monkeypatch, kind
):
    def refused(*args, **kwargs):
        raise kind("OS file watch limit reached")

    monkeypatch.setattr(watchfiles, "watch", refused)
    stop, hints = Waits(350), []
    watch(root, lambda: hints.append(1), stop)
    assert len(hints) == pytest.approx(stop.waited_s / watching.POLL_S, abs=1)
    (line,) = [one for one in caplog.records if one.name == "specs.watch"]
    assert (line.levelno, line.getMessage()) == (logging.WARNING, "folder not watched")
    assert "limit reached" in line.error


def test_a_folder_that_goes_while_the_watch_is_set_up_costs_a_second(root, caplog, monkeypatch):
    def gone(*args, **kwargs):
        raise FileNotFoundError("No such file or directory")

    monkeypatch.setattr(watchfiles, "watch", gone)
    stop, hints = Waits(3), []
    watch(root, lambda: hints.append(1), stop)
    assert len(hints) == 3
    assert stop.waited_s == pytest.approx(3 * watching.LOOK_MS / 1000)
    assert not [one for one in caplog.records if one.name == "specs.watch"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a system with FIFOs")
def test_the_watch_ends_when_it_is_told_to(root):
    os.mkfifo(root / "x.yaml")
    watched = Watched(root)
    assert watched.hinted()
    began = time.monotonic()
    watched.close()
    assert time.monotonic() - began < 3
