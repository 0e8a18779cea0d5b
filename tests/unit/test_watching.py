import json
from dataclasses import replace

from api.watching import MAX_PENDING, News, Watch, Watched
from specs.model import Deployment, Owner, Phase, Reach
from specs.moves import Move, Opening, Present
from tests.builders import ALICE, ALICE_REACH, VO, a_deployment


def a_record(name: str = "a", *, version: int = 1, **changes) -> Deployment:
    changes = {"uid": f"uid-{name}", "name": name, "resource_version": version, **changes}
    return replace(a_deployment(), **changes)


def in_phase(record: Deployment, phase: Phase) -> Deployment:
    return replace(record, status=record.status.model_copy(update={"phase": phase}))


def moved(record: Deployment, *, gone: bool = False) -> News:
    return News(Move(record.resource_version, record, gone))


def opened(*present: Present, after: int | None = None, position: int = 10, departed=(), **watched):
    watch = Watch(Watched(ALICE_REACH, **watched), wake=lambda: None)
    watch.open(Opening(position, present, departed), after=after)
    return watch


def told(watch: Watch) -> list[tuple[str, str | None, str]]:
    """Return type, id and name of each event that waits."""
    events = []
    for block in watch.take(1 << 30).decode().split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        data = json.loads(fields["data"])
        assert data["type"] == fields["event"]
        events.append((data["type"], fields.get("id"), data["object"]["metadata"].get("name", "")))
    return events


def test_a_watch_begins_with_what_is_there_and_says_where_that_ends():
    watch = opened(Present(3, a_record("b", version=4)), Present(1, a_record("a", version=9)))
    assert told(watch) == [
        ("ADDED", None, "b"),
        ("ADDED", None, "a"),
        ("BOOKMARK", "10", ""),
    ]


def test_each_move_is_told_once_and_named_for_what_the_watcher_knows():
    watch = opened(Present(1, a_record("a", version=9)))
    told(watch)
    for record, gone in (
        (a_record("a", version=11), False),
        (a_record("a", version=11), False),
        (a_record("b", version=12), False),
        (a_record("a", version=13), True),
        (a_record("a", version=13), True),
    ):
        watch.offer(moved(record, gone=gone))
    assert told(watch) == [("MODIFIED", "11", "a"), ("ADDED", "12", "b"), ("DELETED", "13", "a")]


def test_what_came_while_the_list_was_read_is_told_after_it_and_only_where_it_is_newer():
    watch = Watch(Watched(ALICE_REACH), wake=lambda: None)
    for version in (9, 10, 11):
        watch.offer(moved(a_record("a", version=version)))
    watch.offer(moved(a_record("b", version=12)))
    watch.open(
        Opening(10, [Present(1, a_record("a", version=11)), Present(2, a_record("c"))], ()),
        after=None,
    )
    assert told(watch) == [
        ("ADDED", None, "a"),
        ("ADDED", None, "c"),
        ("BOOKMARK", "10", ""),
        ("ADDED", "12", "b"),
    ]


def test_what_leaves_the_selection_is_deleted_for_the_watcher_and_comes_back_as_added():
    record = in_phase(a_record(), Phase.RUNNING)
    watch = opened(Present(1, record), phase=Phase.RUNNING)
    told(watch)
    for version, phase in ((11, Phase.FAILED), (12, Phase.FAILED), (13, Phase.RUNNING)):
        watch.offer(moved(in_phase(replace(record, resource_version=version), phase)))
    assert told(watch) == [("DELETED", "11", "a"), ("ADDED", "13", "a")]


def test_a_watch_goes_on_where_it_was():
    watch = opened(
        Present(1, a_record("old", version=4)),
        Present(2, a_record("changed", version=8)),
        Present(7, a_record("new", version=7)),
        Present(3, a_record("racing", version=11)),
        Present(12, a_record("coming", version=12)),
        departed=[
            Move(9, a_record("gone", version=9), gone=True),
            Move(13, a_record("going", version=13), gone=True),
        ],
        after=5,
    )
    assert told(watch) == [
        ("ADDED", "7", "new"),
        ("MODIFIED", "8", "changed"),
        ("DELETED", "9", "gone"),
        ("BOOKMARK", "10", ""),
    ]
    watch.offer(moved(a_record("racing", version=11)))
    watch.offer(moved(a_record("coming", version=12)))
    watch.offer(moved(a_record("going", version=13), gone=True))
    watch.offer(moved(a_record("old", version=14)))
    assert told(watch) == [
        ("MODIFIED", "11", "racing"),
        ("ADDED", "12", "coming"),
        ("DELETED", "13", "going"),
        ("MODIFIED", "14", "old"),
    ]


def test_nothing_out_of_reach_is_told():
    watch = opened(vo=VO, labels={"team": "a"})
    told(watch)
    bob = Owner(ALICE.iss, "bob")
    for record in (
        a_record("a", version=11, owner=bob, labels={"team": "a"}),
        a_record("b", version=12, vo="vo.imagine-ai.eu", labels={"team": "a"}),
        a_record("c", version=13, labels={"team": "b"}),
        a_record("d", version=14, labels={"team": "a"}),
    ):
        watch.offer(moved(record))
    assert told(watch) == [("ADDED", "14", "d")]


def test_who_watches_everybodys_sees_only_the_vos_of_theirs():
    watch = Watch(Watched(Reach(None, frozenset({VO}))), wake=lambda: None)
    watch.open(Opening(10, (), ()), after=None)
    told(watch)
    watch.offer(moved(a_record("a", version=11)))
    watch.offer(moved(a_record("b", version=12, vo="vo.imagine-ai.eu")))
    assert told(watch) == [("ADDED", "11", "a")]


def test_who_takes_nothing_is_let_go():
    woken = []
    watch = Watch(Watched(ALICE_REACH), wake=lambda: woken.append(1))
    watch.open(Opening(10, (), ()), after=None)
    for version in range(11, 11 + MAX_PENDING):
        assert not watch.lost
        watch.offer(moved(a_record(version=version)))
    assert watch.lost
    assert len(woken) > MAX_PENDING


def test_an_object_is_written_out_once_for_all():
    news = moved(a_record(version=11))
    assert news.event("ADDED") is news.event("ADDED")
    first, second = opened(), opened()
    for watch in (first, second):
        told(watch)
        watch.offer(news)
    assert first._pending[0] is second._pending[0]
