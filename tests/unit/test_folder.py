"""What of a folder needs no file system: how long content rests, names, versions."""

import pytest

from specs.folder import GRACE_S, SETTLE_S, _Seen, version_of
from specs.trees import MAX_PATH, File
from specs.walk import Stamp, Walk, _bad_name, _fault_twins, _told

STAMP = Stamp(dev=1, ino=2, size=100, mtime_ns=3, ctime_ns=4)


def seen(size=100, *, since=100.0, taken_size=0, before_at=None):
    stamp = STAMP._replace(size=size)
    return _Seen(stamp, since, taken_size=taken_size, before_at=before_at)


@pytest.mark.parametrize(
    ("file", "rest_s"),
    [
        (seen(), SETTLE_S),
        (seen(101, taken_size=100, before_at=50.0), SETTLE_S),
        (seen(100, taken_size=100, before_at=50.0), SETTLE_S),
        (seen(99, taken_size=100, before_at=50.0), GRACE_S),
        (seen(0, taken_size=100), GRACE_S),
        (seen(101, taken_size=100, before_at=98.5), GRACE_S),
        (seen(101, taken_size=100, before_at=98.0), SETTLE_S),
    ],
)
def test_shorter_content_and_content_upon_content_rest_for_longer(file, rest_s):
    assert file.rest_s() == rest_s


def test_another_stamp_makes_what_is_remembered_void_but_for_what_was_taken():
    file = seen(since=1.0, taken_size=100)
    file.blob = "abc"
    file.now_is(STAMP, 5.0)
    assert (file.blob, file.since) == ("abc", 1.0)
    file.now_is(STAMP._replace(ctime_ns=5), 9.0)
    assert (file.blob, file.since, file.before_at, file.taken_size) == ("", 9.0, 1.0, 100)


def test_the_version_is_of_paths_and_what_is_in_them_in_any_order():
    a, b = File("a.yaml", "1"), File("b.yaml", "2")
    assert version_of([a, b]) == version_of([b, File("a.yaml", "1", content=b"x")])
    others = [[a], [a, File("b.yaml", "1")], [a, File("c.yaml", "2")], [a, File("b.yaml", "")]]
    others.append([a, File("b.yaml", "", fault="is a FIFO")])
    assert len({version_of([a, b]), *map(version_of, others)}) == 6


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("vo/alice/train.yaml", ""),
        ("vo/ä/-x.yaml", ""),
        ("a\udcff.yaml", "not UTF-8"),
        ("a\n.yaml", "control character"),
        ("a\u202e.yaml", "control character"),
        ("a" * (MAX_PATH - 5) + ".yaml", ""),
        ("a" * (MAX_PATH - 4) + ".yaml", "bytes"),
    ],
)
def test_a_path_that_nobody_can_be_told_of_is_a_fault_and_shown_harmless(path, reason):
    assert reason in _bad_name(path)
    assert bool(reason) == bool(_bad_name(path))
    assert (_told(path) == path) == (not reason)
    assert not _bad_name(_told(path))


def test_paths_that_are_one_where_case_is_not_told_are_all_faulted():
    paths = ["Team/a.yaml", "team/A.yaml", "team/b.yaml", "ä.yaml", "a\u0308.yaml", "straße.yaml"]
    found = Walk(files=dict.fromkeys(paths, STAMP), faults={"STRASSE.yaml": "is a FIFO"})
    found.contents["ä.yaml"] = b"x"
    _fault_twins(found)
    assert list(found.files) == ["team/b.yaml"]
    assert found.contents == {}
    assert "team/A.yaml" in found.faults["Team/a.yaml"]
    assert "Team/a.yaml" in found.faults["team/A.yaml"]
    assert len(found.faults) == 6
