"""What of a real folder is not read, and what it says then (C31, C36)."""

import contextlib
import errno
import os
import socket
import time
from pathlib import Path

import pytest

from specs import walk
from specs.folder import GRACE_S, RETRY_S, FolderTree
from specs.trees import SourceUnavailable
from specs.yaml_text import MAX_BYTES
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


LINKS = {
    "passwd": "/etc/passwd",
    "itself": "x.yaml",
    "nowhere": "nowhere",
    "beside": "b.txt",
    "dotdot": "../secret.yaml",
    "proc": "/proc/self/environ",
    "zero": "/dev/zero",
}


def special(root, kind):
    path = root / "x.yaml"
    (root / "b.txt").write_text("b")
    (root.parent / "secret.yaml").write_text("secret")
    if kind in LINKS:
        path.symlink_to(LINKS[kind])
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(root):
            server.bind("x.yaml")
    elif kind == "device":
        try:
            os.mknod(path, 0o20600, os.makedev(1, 5))
        except PermissionError:
            pytest.skip("only root makes devices")
    else:
        path.touch()
        os.truncate(path, 10 * 1024**3)


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("passwd", "symbolic link"),
        ("itself", "symbolic link"),
        ("nowhere", "symbolic link"),
        ("beside", "symbolic link"),
        ("dotdot", "symbolic link"),
        ("proc", "symbolic link"),
        ("zero", "symbolic link"),
        ("fifo", "a FIFO"),
        ("socket", "a socket"),
        ("device", "a device"),
        ("sparse", "10,737,418,240 bytes"),
    ],
)
def test_only_regular_files_of_a_readable_size_are_opened(reader, root, monkeypatch, kind, fault):
    reader.put("ok.yaml", "ok", age_s=60)
    special(root, kind)
    opened = reader.spy_on_opens(monkeypatch)
    tree = reader.read()
    assert opened == ["ok.yaml"]
    assert reader.told_by(tree) == {"ok.yaml": b"ok"}
    (file,) = [file for file in tree.files if file.fault]
    assert (file.path, file.content) == ("x.yaml", None)
    assert fault in file.fault
    assert reader.settle().settled


@pytest.mark.parametrize("target", ["/", "..", ".", "sub", "/etc"])
def test_a_link_to_a_folder_is_a_fault_and_not_entered(reader, root, target):
    reader.put("sub/a.yaml", "a", age_s=60)
    (root / "team").symlink_to(target)
    (root / "broken").symlink_to("nowhere")
    (root / "self").symlink_to("self")
    (root / "note").symlink_to("sub/a.yaml")
    tree = reader.read()
    assert [file.path for file in tree.files] == ["sub/a.yaml", "team"]
    assert "symbolic link" in tree.files[1].fault


def test_a_folder_that_is_a_link_by_the_time_it_is_opened_is_not_entered(
    reader, root, tmp_path, monkeypatch
):
    reader.put("sub/a.yaml", "a", age_s=60)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.yaml").write_text("secret")
    reader.clock.step(60)
    real = os.open

    def swapped(path, *args, **kwargs):
        if path == "sub" and not (root / "sub").is_symlink():
            (root / "sub").rename(root / ".sub")
            (root / "sub").symlink_to(outside)
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", swapped)
    opened = reader.spy_on_opens(monkeypatch)
    assert not any(file.path.startswith("sub/") for file in reader.read().files)
    assert not opened


def test_a_file_may_have_as_many_bytes_as_are_read_and_no_more(reader):
    reader.put("a.yaml", "x" * MAX_BYTES, age_s=60)
    reader.put("b.yaml", "x" * (MAX_BYTES + 1), age_s=60)
    a, b = reader.read().files
    assert (len(a.content), a.fault) == (MAX_BYTES, "")
    assert "65,537 bytes" in b.fault


def test_a_hard_link_is_a_file_like_any_other(reader, root):
    reader.put("a.yaml", "a", age_s=60)
    (root / "b.yaml").hardlink_to(root / "a.yaml")
    assert reader.told_by(reader.read()) == {"a.yaml": b"a", "b.yaml": b"a"}


def test_names_that_nobody_can_be_told_of_are_faults(reader, root):
    Path(os.fsdecode(bytes(root) + b"/a\xff.yaml")).write_text("a")
    Path(os.fsdecode(bytes(root) + b"/d\xff")).mkdir()
    (root / "a\nb.yaml").write_text("a")
    tree = reader.read()
    assert [file.path for file in tree.files] == ["a\\nb.yaml", "a\\xff.yaml", "d\\xff"]
    assert all(file.fault for file in tree.files)
    assert not tree.settled  # what is in the folder is not known


def test_twins_are_both_faults_until_one_is_renamed(reader, root):
    reader.put("a.yaml", "a", age_s=60)
    reader.put("A.yaml", "b", age_s=60)
    assert all("rename it" in file.fault for file in reader.read().files)
    (root / "A.yaml").rename(root / "b.yaml")
    reader.settle()
    assert reader.told == {"a.yaml": b"a", "b.yaml": b"b"}


@pytest.mark.parametrize(
    ("limit", "named"),
    [("MAX_FILES", "spec files"), ("MAX_NAMES", "names"), ("MAX_BYTES_IN_ALL", "bytes")],
)
def test_a_folder_of_more_than_is_read_is_unavailable(reader, root, monkeypatch, limit, named):
    for index in range(10):
        reader.put(f"f{index}.yaml", "x", age_s=60)
    monkeypatch.setattr(walk, limit, 10)
    assert len(reader.read().files) == 10
    reader.put("one-more.yaml", "x", age_s=60)
    with pytest.raises(SourceUnavailable, match=f"more than 10 .*{named}"):
        reader.read()


def test_a_folder_that_is_too_deep_is_a_fault_and_what_is_below_unknown(reader, root):
    deep = "/".join("d" * 1 for _ in range(walk.MAX_DEPTH))
    reader.put(f"{deep}/a.yaml", "a", age_s=60)
    assert reader.told_by(reader.read()) == {f"{deep}/a.yaml": b"a"}
    reader.put(f"{deep}/e/b.yaml", "b", age_s=60)
    tree = reader.read()
    (fault,) = [file for file in tree.files if file.fault]
    assert fault.path == f"{deep}/e"
    assert not tree.settled


# What can't be read


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_below_an_unreadable_folder_nothing_counts_as_removed(reader, root, monkeypatch, code):
    reader.put("sub.yaml/a.yaml", "a", age_s=60)
    reader.put("b.yaml", "b", age_s=60)
    reader.settle()
    with monkeypatch.context() as broken:
        reader.refuse(broken, "sub.yaml", code)
        for _ in range(5):
            tree = reader.read()
            assert (tree.settled, tree.again_s) == (False, RETRY_S)
            assert tree.doubt.startswith("what is below sub.yaml can't be seen")
            assert [file.path for file in tree.files if file.fault] == ["sub.yaml"]
            reader.clock.step(RETRY_S)
    (root / "sub.yaml/a.yaml").unlink()
    (root / "sub.yaml").rmdir()
    reader.put("sub.yaml", "a file now", age_s=60)
    assert not reader.read().settled
    reader.clock.step(GRACE_S)
    assert reader.read().settled


def test_a_new_folder_that_is_unreadable_is_a_doubt_at_once(reader, root, monkeypatch):
    reader.put("a.yaml", "a", age_s=60)
    reader.settle()
    (root / "sub").mkdir()
    reader.refuse(monkeypatch, "sub", errno.EACCES)
    assert not reader.read().settled


def test_an_unreadable_file_is_a_fault_and_the_others_are_read(reader, root, monkeypatch):
    reader.put("a.yaml", "a", age_s=60)
    reader.put("b.yaml", "b", age_s=60)
    with monkeypatch.context() as broken:
        reader.refuse(broken, "a.yaml", errno.EACCES)
        a, b = reader.read().files
    assert a.fault == (
        "can't be read: Permission denied; let the user that the server runs as read it"
    )
    assert b.content == b"b"
    assert reader.read().files[0].content == b"a"


def test_a_mount_below_the_root_is_a_fault_and_what_is_in_it_unknown(reader, root, monkeypatch):
    reader.put("mnt/a.yaml", "a", age_s=60)
    reader.put("b.yaml", "b", age_s=60)
    reader.another_device(monkeypatch, "mnt")
    tree = reader.read()
    assert reader.told_by(tree) == {"b.yaml": b"b"}
    assert "mount" in tree.files[1].fault
    assert not tree.settled


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_a_process_out_of_descriptors_blames_no_file(reader, root, monkeypatch, code):
    reader.put("sub/a.yaml", "a", age_s=60)
    for name in ("a.yaml", "sub"):
        with monkeypatch.context() as broken:
            reader.refuse(broken, name, code)
            with pytest.raises(SourceUnavailable, match="can't be opened"):
                reader.read()


def test_a_root_that_is_no_readable_folder_is_unavailable(tmp_path, clock, monkeypatch):
    (tmp_path / "file").write_text("x")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    for name, message in [
        ("nowhere", "is not there"),
        ("file", "is not a folder"),
        ("fifo", "is not a folder"),
        ("loop", "can't be opened"),
    ]:
        with pytest.raises(SourceUnavailable, match=f"{name} {message}"):
            Reader(tmp_path / name, clock).read()
    reader = Reader(tmp_path, clock)
    reader.refuse(monkeypatch, str(tmp_path), errno.EACCES)
    with pytest.raises(SourceUnavailable, match="can't be read: let the user"):
        reader.read()


@pytest.mark.parametrize("kind", ["folder", "link", "gone"])
def test_a_root_that_is_replaced_while_it_is_read_is_unavailable(
    reader, root, tmp_path, monkeypatch, kind
):
    reader.put("a.yaml", "a", age_s=60)
    reader.settle()

    def replace():
        root.rename(tmp_path / "old")
        if kind == "folder":
            root.mkdir()
        elif kind == "link":
            root.symlink_to("/etc")

    reader.before_second_walk(monkeypatch, replace)
    with pytest.raises(SourceUnavailable, match="was replaced while it was read"):
        reader.read()


def test_after_the_root_was_away_nothing_counts_as_removed_at_once(reader, root, tmp_path):
    reader.put("a.yaml", "a", age_s=60)
    reader.put("b.yaml", "b", age_s=60)
    reader.settle()
    (root / "a.yaml").unlink()
    reader.read()
    root.rename(tmp_path / "away")
    with pytest.raises(SourceUnavailable):
        reader.read()
    reader.clock.step(60)
    (tmp_path / "away").rename(root)
    tree = reader.read()
    assert (tree.settled, tree.again_s) == (False, GRACE_S)


def test_a_mounted_configmap_is_read_at_its_data_link_release_by_release(tmp_path, clock):
    mount = tmp_path / "mount"
    for release, text in (("..1", "old"), ("..2", "new")):
        folder = mount / release
        folder.mkdir(parents=True)
        (folder / "a.yaml").write_text(text)
    (mount / "..data").symlink_to("..1")
    (mount / "a.yaml").symlink_to("..data/a.yaml")
    clock.step(60)
    (fault,) = Reader(mount, clock).read().files
    assert "`/..data`" in fault.fault
    reader = Reader(mount / "..data", clock)
    reader.settle()
    assert reader.told == {"a.yaml": b"old"}
    (mount / "..tmp").symlink_to("..2")
    (mount / "..tmp").rename(mount / "..data")
    tree = reader.read()
    assert tree.settled
    assert reader.told == {"a.yaml": b"new"}


def test_the_clocks_are_the_real_ones_where_none_are_given(root):
    (root / "a.yaml").write_text("a")
    os.utime(root / "a.yaml", (time.time() - 60,) * 2)
    tree = FolderTree(root).read({})
    assert tree.files[0].content == b"a"
    assert not tree.settled


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc to count descriptors")
def test_reads_leave_no_descriptor_open(reader, root, monkeypatch):
    reader.put("sub/a.yaml", "a", age_s=60)
    reader.put("sub/deep/b.yaml", "b", age_s=60)
    reader.read()
    before = sum(1 for _ in Path("/proc/self/fd").iterdir())
    for name in ("sub", "deep", "a.yaml"):
        with monkeypatch.context() as broken:
            reader.refuse(broken, name, errno.EIO)
            reader.known = {}
            reader.read()
    reader.before_second_walk(monkeypatch, lambda: root.rename(root.parent / "old"))
    with pytest.raises(SourceUnavailable):
        reader.read()
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) == before
