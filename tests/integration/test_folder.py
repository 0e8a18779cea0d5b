"""A real folder, read while it changes, on a clock that only the test moves (C37)."""

import os
from hashlib import sha256

import pytest

from specs import walk
from specs.folder import GRACE_S, SETTLE_S
from tests.folders import Clock, Reader


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "specs"
    folder.mkdir()
    return folder


@pytest.fixture
def reader(root, clock):
    return Reader(root, clock)


# What is there


def test_all_spec_files_are_told_with_their_content_and_digest(reader, root):
    reader.put("vo/alice/train.yaml", "a: 1")
    reader.put("b.YML", "b")
    reader.put("-x.json", "{}")
    reader.put("empty.yaml", "")
    reader.put("not-one.yaml/c.yaml", "c")
    for name in (".hidden.yaml", ".git/x.yaml", "lost+found/x.yaml", "README.md", "x.yaml~"):
        reader.put(name, "no")
    for name in (".x.yaml.swp", "#x.yaml#", "4913", "sedAbc123", ".x.yaml.Ab12", "x.yaml.bak"):
        reader.put(name, "no")
    reader.clock.step(SETTLE_S)
    tree = reader.read()
    assert [(file.path, file.content) for file in tree.files] == [
        ("-x.json", b"{}"),
        ("b.YML", b"b"),
        ("empty.yaml", b""),
        ("not-one.yaml/c.yaml", b"c"),
        ("vo/alice/train.yaml", b"a: 1"),
    ]
    assert tree.files[1].blob == sha256(b"b").hexdigest()
    assert not any(file.fault for file in tree.files)


def test_the_first_read_takes_all_at_once_but_concludes_nothing_from_what_is_absent(reader):
    reader.put("a.yaml", "a", age_s=60)
    first = reader.read()
    assert first.files[0].content == b"a"
    assert (first.settled, first.again_s) == (False, GRACE_S)
    assert "nothing counts as removed" in first.doubt
    reader.clock.step(GRACE_S - 0.1)
    assert not reader.read().settled
    reader.clock.step(0.1)
    second = reader.read()
    assert (second.settled, second.again_s, second.doubt) == (True, None, "")
    assert second.version == first.version
    assert second.files[0].content is None


def test_an_unchanged_file_is_not_opened_again(reader, root, monkeypatch):
    reader.put("a.yaml", "a", age_s=60)
    reader.put("b.yaml", "b", age_s=60)
    reader.settle()
    opened = reader.spy_on_opens(monkeypatch)
    reader.read()
    assert opened == []
    reader.put("b.yaml", "c", age_s=60)
    reader.read()
    assert opened == ["b.yaml"]


def test_who_does_not_know_the_content_is_told_it_again(reader):
    reader.put("a.yaml", "a", age_s=60)
    reader.settle()
    reader.known = {}
    assert reader.read().files[0].content == b"a"


def test_a_file_that_changed_within_one_tick_of_a_coarse_clock_is_seen_to_have_changed(
    reader, monkeypatch
):
    coarse = walk._stamp

    def in_seconds(found):
        stamp = coarse(found)
        second = reader.clock.ns // 2_000_000_000 * 2_000_000_000
        return stamp._replace(mtime_ns=min(stamp.mtime_ns, second), ctime_ns=second - 10**9)

    monkeypatch.setattr(walk, "_stamp", in_seconds)
    reader.put("a.yaml", "a")
    reader.clock.step(SETTLE_S)
    reader.read()
    assert reader.told["a.yaml"] == b"a"
    reader.put("a.yaml", "b")
    monkeypatch.setattr(walk, "_stamp", lambda found: reader.tree._seen["a.yaml"].stamp)
    reader.clock.step(GRACE_S)
    reader.read()
    assert reader.told["a.yaml"] == b"b"


# What is on its way (C37)


def test_new_content_waits_until_it_was_left_alone(reader):
    reader.put("a.yaml", "old", age_s=60)
    reader.settle()
    before = reader.read().version
    reader.clock.step(10)
    reader.put("a.yaml", "half writ")
    reader.put("new.yaml", "n")
    reader.clock.step(0.2)
    tree = reader.read()
    assert [(file.path, file.content) for file in tree.files] == [("a.yaml", None)]
    assert tree.version == before
    assert not tree.settled
    assert tree.again_s == pytest.approx(SETTLE_S - 0.2)
    assert tree.doubt == "a.yaml and 1 more changed just now"
    reader.put("a.yaml", "half written")
    reader.clock.step(tree.again_s)
    assert reader.told_by(reader.read()) == {"a.yaml": b"old", "new.yaml": b"n"}
    reader.clock.step(SETTLE_S)
    assert reader.told_by(reader.read())["a.yaml"] == b"old"  # it changed twice of late
    reader.clock.step(GRACE_S - SETTLE_S)
    tree = reader.read()
    assert reader.told["a.yaml"] == b"half written"
    assert tree.settled


def test_a_slow_writer_that_begins_with_nothing_never_shows_less_than_was_there(reader):
    reader.put("a.yaml", "one\n---\ntwo\n", age_s=60)
    reader.settle()
    reader.clock.step(10)
    for text in ("", "ONE\n", "ONE\n---\n", "ONE\n---\nTWO\n"):
        reader.put("a.yaml", text)
        for _ in range(3):
            reader.clock.step(0.6)
            reader.read()
            assert len(text) > 10 or reader.told["a.yaml"] == b"one\n---\ntwo\n"
    reader.settle()
    assert reader.told["a.yaml"] == b"ONE\n---\nTWO\n"


def test_content_that_got_shorter_counts_after_the_grace(reader):
    reader.put("a.yaml", "one\n---\ntwo\n", age_s=60)
    reader.settle()
    reader.put("a.yaml", "one\n")
    tree = reader.settle()
    assert tree.settled
    assert reader.told["a.yaml"] == b"one\n"


def test_content_upon_content_waits_until_the_writer_pauses(reader):
    reader.clock.step(60)
    reader.read()
    written = ""
    seen = set()
    for _ in range(20):
        written += "line\n"
        reader.put("a.yaml", written)
        reader.clock.step(0.7)
        reader.read()
        seen.add(reader.told.get("a.yaml"))
    assert seen == {b"line\n"}
    reader.settle()
    assert reader.told["a.yaml"] == written.encode()


def test_a_file_from_the_future_is_taken_once_it_was_seen_unchanged(reader):
    reader.put("a.yaml", "a", age_s=-86_400)
    tree = reader.read()
    assert not tree.files
    reader.clock.step(tree.again_s)
    reader.read()
    assert reader.told["a.yaml"] == b"a"


def vim(reader, root):
    """Moves the file to a backup, writes it anew, deletes the backup."""
    reader.put("4913", "")
    (root / "4913").unlink()
    (root / "a.yaml").rename(root / "a.yaml~")
    yield
    reader.put("a.yaml", "")
    yield
    reader.put("a.yaml", "new content")
    (root / "a.yaml~").unlink()
    yield


def rsync(reader, root):
    """Writes a hidden file, gives it its old time, renames it."""
    reader.put(".a.yaml.Xy12z", "new con")
    yield
    reader.put(".a.yaml.Xy12z", "new content", age_s=500)
    yield
    (root / ".a.yaml.Xy12z").rename(root / "a.yaml")
    yield


def sed(reader, root):
    """Writes a new file, renames it."""
    reader.put("sedAb12Cd", "new content")
    yield
    (root / "sedAb12Cd").rename(root / "a.yaml")
    yield


def unlink_and_create(reader, root):
    """What `git checkout` does."""
    (root / "a.yaml").unlink()
    yield
    reader.put("a.yaml", "new content")
    yield


def move_the_folder_away_and_back(reader, root):
    (root / "sub").rename(root / ".away")
    reader.put("a.yaml", "new content")
    yield
    (root / ".away").rename(root / "sub")
    yield


@pytest.mark.parametrize("pause_s", [0.0, 0.1, 0.6, 1.8])
@pytest.mark.parametrize(
    "writer", [vim, rsync, sed, unlink_and_create, move_the_folder_away_and_back]
)
def test_whoever_swaps_a_file_removes_nothing_and_shows_no_half(reader, root, writer, pause_s):
    reader.put("a.yaml", "old content", age_s=60)
    reader.put("sub/b.yaml", "b", age_s=60)
    reader.settle()
    reader.clock.step(10)
    for _ in writer(reader, root):
        for _ in range(2):
            tree = reader.read()
            absent = {"a.yaml", "sub/b.yaml"} - {file.path for file in tree.files}
            assert not (absent and tree.settled)
            assert reader.told["a.yaml"] in (b"old content", b"new content")
            reader.clock.step(pause_s / 2)
    tree = reader.settle()
    assert [file.path for file in tree.files] == ["a.yaml", "sub/b.yaml"]
    assert reader.told["a.yaml"] == b"new content"


def test_what_is_gone_counts_once_it_was_gone_for_the_grace(reader, root):
    reader.put("a.yaml", "a", age_s=60)
    reader.put("b.yaml", "b", age_s=60)
    reader.settle()
    (root / "a.yaml").unlink()
    reader.clock.step(60)
    tree = reader.read()
    assert [file.path for file in tree.files] == ["b.yaml"]
    assert (tree.settled, tree.again_s) == (False, GRACE_S)
    reader.clock.step(1)
    assert reader.read().again_s == pytest.approx(GRACE_S - 1)
    reader.clock.step(1)
    assert reader.read().settled


def test_a_file_that_was_back_for_a_moment_is_gone_for_the_whole_grace_anew(reader, root):
    reader.put("a.yaml", "a", age_s=60)
    reader.settle()
    (root / "a.yaml").unlink()
    reader.read()
    reader.clock.step(GRACE_S - 0.1)
    reader.put("a.yaml", "b")
    assert not reader.read().files  # it is too young to be told
    (root / "a.yaml").unlink()
    reader.clock.step(0.2)
    tree = reader.read()
    assert (tree.settled, tree.again_s) == (False, GRACE_S)


def test_a_restart_in_the_middle_of_a_move_removes_nothing(reader, root, clock):
    reader.put("a.yaml", "a", age_s=60)
    reader.settle()
    (root / "a.yaml").rename(root / "a.tmp")
    again = Reader(root, clock)
    assert not again.read().settled
    clock.step(1)
    (root / "a.tmp").rename(root / "a.yaml")
    again.read()
    clock.step(1.5)
    tree = again.read()
    assert tree.settled
    assert [file.path for file in tree.files] == ["a.yaml"]


CHANGES = {
    "changed": lambda reader: reader.put("a.yaml", "new and longer", age_s=60),
    "new": lambda reader: reader.put("e.yaml", "e", age_s=60),
    "gone": lambda reader: (reader.root / "a.yaml").unlink(),
    "moved": lambda reader: (reader.root / "a.yaml").rename(reader.root / "f.yaml"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_while_it_is_walked_is_left_for_the_next_read(reader, monkeypatch, change):
    reader.put("a.yaml", "old", age_s=60)
    reader.put("b.yaml", "b", age_s=60)
    reader.settle()
    reader.clock.step(60)
    reader.before_second_walk(monkeypatch, lambda: CHANGES[change](reader))
    tree = reader.read()
    assert not tree.settled
    assert reader.told_by(tree) == {"a.yaml": b"old", "b.yaml": b"b"}
    left = {
        "changed": {"a.yaml": b"new and longer"},
        "new": {"a.yaml": b"old", "e.yaml": b"e"},
        "gone": {},
        "moved": {"f.yaml": b"old"},
    }
    assert reader.told_by(reader.settle()) == {"b.yaml": b"b"} | left[change]


@pytest.mark.parametrize("kind", ["grows", "replaced", "link", "fifo", "gone"])
def test_a_file_that_is_another_by_the_time_it_is_opened_is_not_read(
    reader, root, monkeypatch, kind
):
    reader.put("a.yaml", "a", age_s=60)
    target = root / "a.yaml"

    def swap():
        if kind == "grows":
            reader.put("a.yaml", "a and more", age_s=60)
            return
        target.unlink()
        if kind == "replaced":
            reader.put("a.yaml", "b", age_s=60)
        elif kind == "link":
            target.symlink_to("/etc/passwd")
        elif kind == "fifo":
            os.mkfifo(target)

    reader.before_open(monkeypatch, "a.yaml", swap)
    tree = reader.read()
    assert not tree.settled
    assert not [file for file in tree.files if file.content is not None]
