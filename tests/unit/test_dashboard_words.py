"""What pages say of records."""

from dataclasses import replace
from datetime import timedelta

import pytest

from api.dashboard import words
from specs.model import DeploymentStatus, Event, Owner, Phase, TimelineEntry
from tests.builders import NOW, UID, a_deployment, a_spec


def in_phase(phase, **changes):
    return a_deployment(status=DeploymentStatus(phase=phase, **changes))


def test_every_phase_has_an_icon_and_a_word_of_its_own():
    badges = [words.badge_of(in_phase(phase)) for phase in Phase]
    assert len({badge.icon for badge in badges}) == len(Phase)
    assert [badge.word for badge in badges] == [str(phase) for phase in Phase]


def test_who_is_being_deleted_is_that_whatever_the_last_look_saw():
    gone = replace(in_phase(Phase.RUNNING), deletion_requested_at=NOW)
    assert words.badge_of(gone).word == "Deleting"
    assert "being deleted" in words.sentence_of(gone)


def test_the_sentence_is_the_most_urgent_one():
    assert words.sentence_of(in_phase(Phase.QUEUED, message="no room")) == "no room"
    assert words.sentence_of(in_phase(Phase.ACCEPTED)) == "nobody has looked at it yet"
    held = replace(in_phase(Phase.RUNNING, message="runs"), deletion_held="30 of 40 are gone")
    assert words.sentence_of(held) == "its deletion is held: 30 of 40 are gone"


@pytest.mark.parametrize(
    "url",
    ["http://192.0.2.1:5000", "https://a.example/x?y=1#z", "http://[::1]:8080/"],
)
def test_a_web_address_is_linked_to(url):
    assert words.safe_link(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        " javascript:alert(1)",
        "java\tscript:alert(1)",
        "data:text/html,x",
        "//evil.example",
        "http:\\\\evil",
        "http://",
        "https:///x",
        "http://[bad",
        "",
        None,
        5,
    ],
)
def test_what_is_no_web_address_is_not(url):
    assert words.safe_link(url) == ""


def test_sizes_are_in_units_that_people_read():
    assert [words.size(mb) for mb in (300, 8000, 16500, 2_000_000)] == [
        "300 MB",
        "8 GB",
        "16.5 GB",
        "2 TB",
    ]


def test_a_log_is_text_that_steers_nothing():
    assert words.plain("\x1b[31mred\x1b[0m\ttab\n\x1b]0;title\x07\x00end") == "red\ttab\n0;titleend"


def test_times_are_in_their_largest_unit():
    assert words.ago(NOW - timedelta(seconds=59), NOW) == "59 s"
    assert words.ago(NOW - timedelta(minutes=61), NOW) == "1 h"
    assert words.ago(NOW - timedelta(days=9), NOW) == "9 d"
    assert words.ago(NOW + timedelta(hours=3), NOW) == "in 3 h"


def test_only_what_ends_soon_is_said():
    soon = a_deployment(spec=a_spec(ttl="12h"), created_at=NOW)
    assert words.ends_soon(soon, NOW) == "ends in 12 h"
    assert words.ends_soon(a_deployment(spec=a_spec(ttl="9d")), NOW) == ""
    assert words.ends_soon(soon, NOW + timedelta(days=1)) == ""


def test_resources_name_the_gpu_model_where_one_is_wanted():
    asked = a_deployment(spec=a_spec(gpu_num=2, gpu_type="Tesla V100", cpu_num=4))
    assert words.resources_of(asked) == "2 Tesla V100 · 4 CPU · 8 GB"
    assert words.resources_of(a_deployment(spec=a_spec(gpu_num=1))).startswith("1 GPU")


@pytest.mark.parametrize(
    ("part", "whole", "percent"),
    [(0, 10, 0), (5, 10, 50), (20, 10, 100), (1, 0, 100), (0, 0, 0), (-1, 10, 0)],
)
def test_shares_stay_between_nothing_and_all(part, whole, percent):
    assert words.percent(part, whole) == percent


def test_what_has_no_limit_has_no_share():
    shares = words.shares_of({"ram": 8000, "gpu_num": 1, "gpu_num:A100": 1}, {"gpu_num": 4})
    assert [(s.item, s.used, s.limit, s.percent) for s in shares] == [
        ("gpu_num", "1", "4", 25),
        ("ram", "8 GB", "", None),
        ("gpu_num:A100", "1", "", None),
    ]


def entry(number, seconds, to_phase):
    event = Event("X", "x", to_phase=to_phase)
    at = NOW + timedelta(seconds=seconds)
    return TimelineEntry(number, UID, "train-a", at, 1, event)


def test_lanes_fill_the_time_from_the_first_phase_to_now():
    entries = [entry(3, 50, "Running"), entry(2, 10, ""), entry(1, 0, "Starting")]
    lanes = words.lanes_of(entries, since=NOW, now=NOW + timedelta(seconds=100))
    assert [(lane.badge.word, lane.begin, lane.width, lane.lasted) for lane in lanes] == [
        ("Starting", 0, 500, "50 s"),
        ("Running", 500, 500, "50 s"),
    ]


def test_lanes_of_unknown_phases_and_of_nothing_are_none():
    assert words.lanes_of([], since=NOW, now=NOW) == ()
    assert words.lanes_of([entry(1, 0, "<script>")], since=NOW, now=NOW) == ()
    assert len(words.lanes_of([entry(1, 0, "Running")], since=NOW, now=NOW)) == 1


def test_use_is_added_up_by_person_and_vo():
    bob = Owner("https://op", "bob")
    mine = in_phase(Phase.RUNNING)
    asleep = in_phase(Phase.SUSPENDED)
    his = replace(in_phase(Phase.QUEUED), owner=bob, owner_name="Bob", spec=a_spec(gpu_num=3))
    first, second = words.use_by_owner([mine, asleep, his])
    assert (first.name, first.gpus, first.deployments) == ("Bob", 3, 1)
    assert (second.name, second.cpus, second.deployments, second.memory_mb) == ("Alice", 2, 2, 8000)
