"""Rows of the store and the records that they keep."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specs.faults import AlreadyExists, InvalidSpec, VersionConflict
from specs.model import (
    SECRET_SET,
    AllocationStatus,
    Applied,
    Condition,
    Deployment,
    DeploymentStatus,
    JobStatus,
    Owner,
    Phase,
    Pin,
)
from specs.records import deployment_of, instant_text, json_text, look_of, row_of, selects
from specs.revisions import (
    cursor_of,
    refuse_other_wish,
    refuse_stale,
    resolved_secrets,
    revised,
)
from specs.wish import Wish
from tests.builders import NOW, VO, a_deployment, a_spec

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
MAPS = st.dictionaries(TEXT, TEXT, max_size=3)
INSTANTS = st.datetimes(
    datetime(1970, 1, 1),
    datetime(9000, 1, 1),
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))]),
)
"""Instants as a store may have them: in UTC they are dates, too."""
NUMBERS = st.integers(0, 2**62)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
CONDITIONS = st.builds(
    Condition,
    type=TEXT,
    status=st.sampled_from(["True", "False", "Unknown"]),
    reason=TEXT,
    message=TEXT,
    lastTransitionTime=INSTANTS,
)
STATUSES = st.builds(
    DeploymentStatus,
    observedGeneration=NUMBERS,
    phase=st.sampled_from(Phase),
    reason=TEXT,
    message=TEXT,
    conditions=st.lists(CONDITIONS, max_size=2).map(tuple),
    nomad=st.builds(
        JobStatus,
        jobID=TEXT,
        version=st.none() | NUMBERS,
        allocations=st.lists(
            st.builds(AllocationStatus, id=TEXT, clientStatus=TEXT), max_size=2
        ).map(tuple),
    ),
    endpoints=MAPS,
    resources=st.dictionaries(TEXT, NUMBERS, max_size=2),
    placement=st.dictionaries(TEXT, JSON, max_size=2),
    observedAt=st.none() | INSTANTS,
)
APPLIED = st.builds(
    Applied,
    generation=NUMBERS,
    secrets_generation=NUMBERS,
    digest=TEXT,
    index=NUMBERS,
    job=st.dictionaries(TEXT, JSON, max_size=3),
    restart=NUMBERS,
)
SPECS = st.builds(
    lambda title, suspend, expires_at: a_spec(title=title, suspend=suspend, expires_at=expires_at),
    TEXT,
    st.booleans(),
    st.none() | INSTANTS,
)
RECORDS = st.builds(
    Deployment,
    uid=TEXT,
    owner=st.builds(Owner, TEXT, TEXT),
    owner_name=TEXT,
    vo=TEXT,
    name=TEXT,
    spec=SPECS,
    generation=NUMBERS,
    secrets_generation=NUMBERS,
    resource_version=NUMBERS,
    created_at=INSTANTS,
    deletion_requested_at=st.none() | INSTANTS,
    deletion_held=TEXT,
    pin=st.none() | st.builds(Pin, NUMBERS, SPECS, TEXT),
    finalizers=st.lists(TEXT, max_size=2).map(tuple),
    labels=MAPS,
    annotations=MAPS,
    source=MAPS,
    status=STATUSES,
    applied=st.none() | APPLIED,
)


def kept_job(record: Deployment) -> str | None:
    return json_text(record.applied.job) if record.applied else None


@settings(max_examples=50, deadline=None)
@given(record=RECORDS)
def test_a_record_comes_back_from_its_row_unchanged(record: Deployment) -> None:
    row = row_of(record)
    again = deployment_of(row, kept_job(record))
    assert again == record
    # The text, too: equal text is how an unchanged status is told.
    assert row_of(again) == row


def test_a_row_says_in_columns_what_is_asked_for_in_queries() -> None:
    record = a_deployment(
        a_spec(suspend=True),
        deletion_requested_at=NOW,
        status=DeploymentStatus(observed_generation=3, phase=Phase.HELD),
        applied=Applied(2, 1, "abc", 77, {}),
    )
    row = row_of(record)
    assert (row.suspended, row.phase, row.observed_generation) == (True, "Held", 3)
    assert (row.applied_generation, row.applied_secrets_generation) == (2, 1)
    assert (row.applied_digest, row.applied_index) == ("abc", 77)
    assert row.deletion_requested_at == "2026-11-24T12:00:00.000000+00:00"


def test_a_later_look_that_saw_the_same_is_the_same_look() -> None:
    early = DeploymentStatus(observed_at=NOW)
    late = DeploymentStatus(observed_at=NOW + timedelta(hours=1))
    assert look_of(early, None) == look_of(late, None)
    assert look_of(early, None) != look_of(DeploymentStatus(message="new"), None)
    assert look_of(early, None) != look_of(early, Applied(1, 0, "d", 1, {}))


def test_instants_sort_as_text_whatever_their_zone() -> None:
    instants = [
        datetime(2026, 1, 1, 12, tzinfo=UTC),
        datetime(2026, 1, 1, 12, 0, 0, 1, tzinfo=UTC),
        datetime(2026, 1, 1, 15, tzinfo=timezone(timedelta(hours=2))),
    ]
    texts = [instant_text(instant) for instant in instants]
    assert texts == sorted(texts)


def test_read_only_mappings_are_kept_as_objects() -> None:
    nested = MappingProxyType({"a": MappingProxyType({"b": (1,)})})
    assert json.loads(json_text(nested)) == {"a": {"b": [1]}}


def test_text_that_can_not_be_read_back_is_not_written() -> None:
    with pytest.raises(ValueError, match="surrogate"):
        json_text({"a": "\ud800"})


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [({}, True), ({"a": "1"}, True), ({"a": "2"}, False), ({"a": "1", "b": "1"}, False)],
)
def test_labels_choose_records_that_carry_all_of_them(wanted: dict[str, str], chosen: bool) -> None:
    assert selects('{"a": "1", "c": "3"}', wanted) is chosen


def a_wish(secrets: dict[str, str] | None = None, **changes: Any) -> Wish:
    labels = changes.pop("labels", {})
    return Wish(VO, "train-a", a_spec(**changes), secrets or {}, labels)


@pytest.mark.parametrize(
    ("wish", "new_secrets", "expected"),
    [
        (a_wish(ram=9000), False, (5, 0, 9)),
        (a_wish(labels={"a": "b"}), False, (4, 0, 9)),
        (a_wish({"general.jupyter_password": "p"}), True, (5, 5, 9)),
        (a_wish(), False, (4, 0, 1)),
    ],
    ids=["spec", "labels", "secrets", "nothing"],
)
def test_what_changed_decides_which_numbers_move(
    wish: Wish, new_secrets: bool, expected: tuple[int, int, int]
) -> None:
    kept = a_deployment(generation=4)
    new = revised(
        kept, wish, new_secrets=new_secrets, owner_name="Alice", source={"type": "api"}, version=9
    )
    assert (new.generation, new.secrets_generation, new.resource_version) == expected
    assert (new is kept) is (expected[2] == 1)


def test_a_revision_keeps_identity_status_and_what_was_applied() -> None:
    kept = a_deployment(
        status=DeploymentStatus(phase=Phase.RUNNING), applied=Applied(1, 0, "d", 1, {})
    )
    new = revised(
        kept, a_wish(ram=9000), new_secrets=False, owner_name="A.", source={"k": "v"}, version=2
    )
    assert new == replace(
        kept,
        spec=a_spec(ram=9000),
        generation=2,
        resource_version=2,
        owner_name="A.",
        source={"k": "v"},
    )


def test_a_kept_secret_is_the_stored_one() -> None:
    wished = {"a.x": SECRET_SET, "b.y": "new"}
    assert resolved_secrets(wished, {"a.x": "old", "c.z": "gone"}) == {"a.x": "old", "b.y": "new"}


def test_every_secret_that_can_not_be_kept_is_named() -> None:
    with pytest.raises(InvalidSpec) as refusal:
        resolved_secrets({"a.x": SECRET_SET, "b.y": SECRET_SET}, {})
    assert [fault.pointer for fault in refusal.value.faults] == ["/spec/a/x", "/spec/b/y"]


def test_a_refusal_of_another_wish_shows_no_secret() -> None:
    with pytest.raises(AlreadyExists) as refusal:
        refuse_other_wish(a_deployment(), a_wish({"a.x": "hunter2"}), {"a.x": "correct horse"})
    assert "hunter2" not in str(refusal.value)
    assert "correct horse" not in str(refusal.value)


def test_a_stale_version_is_told_with_the_present_one() -> None:
    refuse_stale(a_deployment(resource_version=3), "train-a", 3)
    refuse_stale(None, "train-a", None)
    with pytest.raises(VersionConflict, match="version 2, and it is at 3"):
        refuse_stale(a_deployment(resource_version=3), "train-a", 2)


def test_a_place_in_the_list_is_a_number_that_a_database_can_hold() -> None:
    assert cursor_of(None) is None
    assert cursor_of("17") == 17
    for token in ("", "x", "-1", "٣", "9" * 19):
        with pytest.raises(InvalidSpec):
            cursor_of(token)
