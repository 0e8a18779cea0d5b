"""What the faces tell of the past."""

from dataclasses import replace
from datetime import UTC, datetime

from api.timeline import event_list, revision_list, spec_changes
from specs.model import Event, Revision, TimelineEntry
from tests.builders import a_spec

AT = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)


def revision(generation, spec, pinned_generation=None):
    return Revision(generation, spec, AT, "ada", {"type": "http"}, pinned_generation)


def entry(number):
    return TimelineEntry(number, "u-1", "train-a", AT, 1, Event("Running", "it runs"))


def changes(view):
    return {c.path: (c.from_, c.to) for c in view.changes}


SMALL = a_spec()
LARGE = SMALL.model_copy(update={"hardware": SMALL.hardware.model_copy(update={"ram": 16000})})
RESTED = LARGE.model_copy(update={"suspend": True})
RAM = "hardware.ram"


def test_a_revision_says_what_it_changed_against_the_one_before():
    newest, second, first = revision_list(
        [revision(3, RESTED), revision(2, LARGE), revision(1, SMALL)]
    ).items
    assert changes(newest) == {"suspend": (False, True)}
    assert changes(second) == {RAM: (SMALL.hardware.ram, 16000)}
    assert changes(first) == {}


def test_a_rollback_says_what_it_changed_in_what_runs_and_so_does_its_end():
    lifted, back, *_ = revision_list(
        [revision(4, LARGE), revision(3, LARGE, 1), revision(2, LARGE), revision(1, SMALL)]
    ).items
    assert changes(back) == {RAM: (16000, SMALL.hardware.ram)}
    assert changes(lifted) == {RAM: (SMALL.hardware.ram, 16000)}


def test_a_rollback_leaves_the_switches_to_the_wish():
    back, *_ = revision_list(
        [revision(3, RESTED, 1), revision(2, RESTED), revision(1, SMALL)]
    ).items
    assert changes(back) == {RAM: (16000, SMALL.hardware.ram)}


def test_a_field_that_is_set_for_the_first_time_changes_from_nothing():
    leased = SMALL.model_copy(update={"ttl": "12h"})
    (change,) = spec_changes(SMALL, leased)
    assert (change.path, change.from_, change.to) == ("ttl", None, "12h")


def test_times_are_told_as_the_object_tells_them():
    lasting = SMALL.model_copy(update={"expires_at": AT})
    (change,) = spec_changes(SMALL, lasting)
    assert (change.path, change.to) == ("expiresAt", "2026-11-24T09:30:00Z")


def test_a_timeline_says_where_it_goes_on():
    page = event_list([entry(3), entry(5), entry(8)], limit=2)
    assert [event.number for event in page.items] == [3, 5]
    assert page.metadata.continue_ == "5"
    assert event_list([entry(3), entry(5)], limit=2).metadata.continue_ == ""
    assert event_list([], limit=2).metadata.continue_ == ""


def test_a_warning_is_told_as_one():
    told = replace(entry(1), event=Event("Drifted", "set right", kind="Warning"))
    assert event_list([told], limit=1).items[0].type == "Warning"
