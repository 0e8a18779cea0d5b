"""What `history`, `events`, `trash` and `plan` print."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from api.cli.choices import ListFormat
from api.cli.listing import EVENTS, HISTORY, TRASH, generation_before, listed, planned

NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
EVIL = "\x1b]0;x\x07\n\u202eroot"


def event(**more: Any) -> dict[str, Any]:
    return {
        "number": 7,
        "time": "2026-11-24T09:30:00Z",
        "type": "Normal",
        "reason": "Running",
        "message": "running on node a",
        "actor": "reconciler",
        "source": "nomad",
        "fromPhase": "Starting",
        "toPhase": "Running",
        "generation": 1,
        "deployment": "train-a",
        **more,
    }


def revision(generation: int, *paths: str, **more: Any) -> dict[str, Any]:
    return {
        "generation": generation,
        "time": "2026-11-24T09:30:00Z",
        "actor": "ada",
        "source": {"type": "http"},
        "changes": [{"path": path, "from": 1, "to": 2} for path in paths],
        **more,
    }


PLAN = {
    "effect": "restarts",
    "fits": False,
    "message": "none has 2 free",
    "changes": [
        {"path": "TaskGroups[usergroup].Count", "wanted": 1, "actual": 0},
        {"path": "", "wanted": "a job"},
    ],
}


def test_events_are_a_table_with_the_sentence_last() -> None:
    text = listed([event()], EVENTS, ListFormat.TABLE, name="number", now=NOW)
    assert text.splitlines() == [
        "AGE  TYPE    REASON   DEPLOYMENT  BY                  MESSAGE",
        "30m  Normal  Running  train-a     reconciler (nomad)  running on node a",
    ]


def test_history_says_what_changed_from_what_to_what() -> None:
    changed = revision(2, "hardware.ram")
    back = revision(3, "hardware.ram", pinnedGeneration=1)
    lines = listed([back, changed], HISTORY, ListFormat.TABLE, name="generation", now=NOW)
    rows = [line.split("  ") for line in lines.splitlines()[1:]]
    assert [row[-1] for row in rows] == [
        "rollback to 1; hardware.ram: 1 -> 2",
        "hardware.ram: 1 -> 2",
    ]
    assert all("ada (http)" in row for row in rows)


def test_what_was_not_set_is_nothing() -> None:
    changed = revision(2) | {"changes": [{"path": "ttl", "to": "12h"}]}
    text = listed([changed], HISTORY, ListFormat.TABLE, name="generation", now=NOW)
    assert text.endswith('ttl: nothing -> "12h"')


def test_the_trash_says_how_long_there_is() -> None:
    item = {
        "name": "train-a",
        "vo": "vo.x",
        "deletedAt": "2026-11-24T09:30:00Z",
        "expiresAt": "2026-11-26T12:00:00Z",
    }
    row = listed([item], TRASH, ListFormat.TABLE, name="name", now=NOW).splitlines()[1]
    assert row.split() == ["train-a", "vo.x", "30m", "2d2h"]


@pytest.mark.parametrize(
    ("form", "read"), [(ListFormat.JSON, json.loads), (ListFormat.YAML, yaml.safe_load)]
)
def test_json_and_yaml_are_the_answers_themselves(form: ListFormat, read: Any) -> None:
    evil = event(message=EVIL)
    assert read(listed([evil], EVENTS, form, name="number", now=NOW)) == {"items": [evil]}
    assert read(planned("train-a", PLAN, form)) == PLAN


def test_names_alone_can_be_given_to_the_next_command() -> None:
    assert listed([event()], EVENTS, ListFormat.NAME, name="number", now=NOW) == "7"
    both = [revision(2), revision(1)]
    assert listed(both, HISTORY, ListFormat.NAME, name="generation", now=NOW) == "2\n1"


def test_a_plan_is_a_sentence_and_a_line_for_each_field() -> None:
    assert planned("train-a", PLAN, ListFormat.TABLE).splitlines() == [
        "deployment train-a: restarts; does not fit now: none has 2 free",
        "  TaskGroups[usergroup].Count: 0 -> 1",
        '  job: nothing -> "a job"',
    ]


@pytest.mark.parametrize("form", list(ListFormat))
def test_no_text_can_drive_the_terminal(form: ListFormat) -> None:
    evil = event(message=EVIL, actor=EVIL, source=EVIL, reason=EVIL, number=EVIL)
    changes = [{"path": EVIL, "from": EVIL, "to": EVIL, "wanted": EVIL, "actual": EVIL}]
    past = revision(1) | {"actor": EVIL, "changes": changes}
    plan = PLAN | {"message": EVIL, "changes": changes}
    texts = [
        listed([evil], EVENTS, form, name="number", now=NOW),
        listed([past], HISTORY, form, name="generation", now=NOW),
        planned("a", plan, form),
    ]
    for text in texts:
        assert not {"\x1b", "\x07", "\u202e"} & set(text)
        assert "\nroot" not in text


@pytest.mark.parametrize(
    ("revisions", "generation"),
    [
        ([], None),
        ([revision(1)], None),
        ([revision(2, "hardware.ram"), revision(1)], 1),
        ([revision(3, "restart"), revision(2, "general.desc"), revision(1)], 1),
        ([revision(2, "suspend", "update.policy"), revision(1)], None),
        ([revision(2, "ttl", "module"), revision(1)], 1),
        (
            [
                revision(3, "hardware.ram", pinnedGeneration=1),
                revision(2, "hardware.ram"),
                revision(1),
            ],
            2,
        ),
    ],
)
def test_the_generation_before_is_the_one_before_the_last_change_of_what_runs(
    revisions: list[dict[str, Any]], generation: int | None
) -> None:
    assert generation_before(revisions) == generation
