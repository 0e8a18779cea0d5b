"""What `get` prints."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from api.cli.apply import Applied, change_word, tried
from api.cli.choices import Format
from api.cli.follow import Sight
from api.cli.progress import changes_only
from api.cli.show import endpoint_lines, shown

NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)


def view(name: str = "train-a", **metadata: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "vo": "vo.x",
            "uid": "u1",
            "generation": 1,
            "labels": {},
            "annotations": {},
            "creationTimestamp": "2026-11-24T09:30:00Z",
            **metadata,
        },
        "spec": {
            "general": {"docker_image": "a/b", "docker_tag": "cpu", "service": "deepaas"},
            "hardware": {"gpu_num": 2},
        },
        "status": {
            "phase": "Running",
            "message": "running on node n1",
            "conditions": [],
            "endpoints": {"lab": "http://h:2", "deepaas": "http://h:1"},
            "nomad": {"allocations": [{"clientStatus": "running", "nodeName": "n1"}]},
        },
    }


def test_a_table_has_a_row_for_each_and_nothing_behind_it() -> None:
    text = shown([view(), view("b")], Format.TABLE, alone=False, now=NOW)
    assert text.splitlines() == [
        "NAME     PHASE    AGE  MESSAGE",
        "train-a  Running  30m  running on node n1",
        "b        Running  30m  running on node n1",
    ]


def test_the_wide_table_says_where_and_what_too() -> None:
    head, row = shown([view()], Format.WIDE, alone=True, now=NOW).splitlines()
    assert head.split() == [
        "NAME",
        "VO",
        "PHASE",
        "AGE",
        "GPUS",
        "NODE",
        "IMAGE",
        "ENDPOINT",
        "MESSAGE",
    ]
    assert row.split()[:8] == [
        "train-a",
        "vo.x",
        "Running",
        "30m",
        "2",
        "n1",
        "a/b:cpu",
        "http://h:1",
    ]


def test_what_to_do_next_stands_under_the_one_that_was_named() -> None:
    held = view()
    held["status"]["hint"] = "wait, or set update.policy: queue\x1b"
    text = shown([held], Format.TABLE, alone=True, now=NOW)
    assert text.splitlines()[2:] == ["hint: wait, or set update.policy: queue\\x1b"]
    assert "hint:" not in shown([held], Format.TABLE, alone=False, now=NOW)
    assert "hint:" not in shown([view()], Format.WIDE, alone=True, now=NOW)


def test_what_is_the_matter_with_its_file_stands_under_the_one_that_was_named() -> None:
    broken = view()
    fault, held = "the last good spec stays: a.yaml:2:1: bad\x1b", "OverBudget: 9 of 9"
    broken["status"]["conditions"] = [
        {"type": "SourceValid", "status": "False", "reason": "InvalidFile", "message": fault},
        {"type": "Held", "status": "True", "reason": "DeletionHeld", "message": held},
        {"type": "Synced", "status": "True", "reason": "Synced", "message": "as declared"},
    ]
    text = shown([broken], Format.TABLE, alone=True, now=NOW)
    assert text.splitlines()[2:] == [
        "file: the last good spec stays: a.yaml:2:1: bad\\x1b",
        "deletion held: OverBudget: 9 of 9",
    ]
    assert "stays" not in shown([broken], Format.TABLE, alone=False, now=NOW)


def test_a_deployment_that_is_to_go_is_shown_so() -> None:
    going = view(deletionTimestamp="2026-11-24T09:59:00Z")
    assert "Deleting" in shown([going], Format.TABLE, alone=True, now=NOW)


def test_a_message_can_not_drive_the_terminal_from_a_table() -> None:
    evil = view()
    evil["status"]["message"] = "\x1b]0;x\x07\nroot  Running"
    text = shown([evil], Format.TABLE, alone=True, now=NOW)
    assert "\x1b" not in text
    assert len(text.splitlines()) == 2


@pytest.mark.parametrize(
    ("form", "read"), [(Format.JSON, json.loads), (Format.YAML, yaml.safe_load)]
)
def test_json_and_yaml_are_the_answer_itself(form: Format, read: Any) -> None:
    one = view("ö")
    assert read(shown([one], form, alone=True, now=NOW)) == one
    assert read(shown([one], form, alone=False, now=NOW)) == {"items": [one]}
    assert read(shown([], form, alone=False, now=NOW)) == {"items": []}


def test_names_alone_can_be_given_to_the_next_command() -> None:
    assert shown([view(), view("b")], Format.NAME, alone=False, now=NOW) == "train-a\nb"


def test_endpoints_stand_in_columns() -> None:
    lines = endpoint_lines({"lab": "http://h:2", "deepaas": "http://h:1"})
    assert lines == ["  lab      http://h:2", "  deepaas  http://h:1"]


@pytest.mark.parametrize(
    ("after", "word"),
    [
        ({}, "unchanged"),
        ({"generation": 2}, "configured"),
        ({"labels": {"a": "b"}}, "configured"),
        ({"annotations": {"a": "b"}}, "configured"),
        ({"uid": "u2"}, "created"),
    ],
)
def test_what_apply_did_is_read_from_the_metadata(after: dict[str, Any], word: str) -> None:
    assert change_word(view()["metadata"], view(**after)["metadata"]) == word


def test_what_was_not_there_before_is_created() -> None:
    assert change_word(None, view()["metadata"]) == "created"


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ({"effect": "in place", "fits": True, "message": ""}, "in place; fits now"),
        (
            {"effect": "restarts", "fits": False, "message": "none has 2 free"},
            "restarts; does not fit now: none has 2 free",
        ),
        (
            {"effect": "unknown", "message": "the cluster does not answer now"},
            "unknown: the cluster does not answer now",
        ),
    ],
)
def test_a_dry_run_says_what_would_happen(plan: dict[str, Any], words: str) -> None:
    done = Applied(view() | {"plan": plan}, "configured")
    assert tried(done) == f"deployment train-a configured (dry run): {words}"


def test_progress_is_one_line_per_change_with_the_time_so_far() -> None:
    lines: list[str] = []
    times = iter([10.0, 10.5, 75.0])
    tell = changes_only("a", clock=lambda: next(times), write=lines.append)
    for sight in (
        Sight("Queued", "no room"),
        Sight("Queued", "no room"),
        Sight("Running", "on n1"),
    ):
        tell(sight)
    assert lines == ["a  0s  Queued  no room", "a  1m5s  Running  on n1"]
