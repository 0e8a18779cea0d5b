"""What the benchmark tells of its figures: medians, goals, the table, the JSON, an older run."""

import json
from pathlib import Path

import pytest

from tests.bench.figures import (
    Figure,
    at_least,
    at_most,
    comparison,
    miss_in_words,
    missed,
    must_fail,
    no_more_than,
    quantile,
    read_json,
    table,
    within,
    write_json,
)

RATE = Figure("rate", "/s", (300, 500, 400), (600, 500, 400), goal=at_least(0.8))
SLOW = Figure("pass", "s", (3.0,), (1.0,), goal=at_most(2))
PLAIN = Figure("memory per watcher", "KB", (12.5,))
CALLS = Figure("calls", "calls", (7,), goal=no_more_than(6))


def test_value_floor_and_ratio_are_of_medians() -> None:
    assert (RATE.value, RATE.floor_value, RATE.ratio) == (400, 500, 0.8)


def test_without_a_floor_there_is_no_ratio() -> None:
    assert PLAIN.ratio is None
    assert Figure("x", "s", (1.0,), (0.0,)).ratio is None


@pytest.mark.parametrize(
    ("figure", "ok"),
    [
        (RATE, True),
        (Figure("x", "/s", (79,), (100,), goal=at_least(0.8)), False),
        (SLOW, False),
        (Figure("x", "s", (2.0,), (1.0,), goal=at_most(2)), True),
        (Figure("x", "ms", (250,), goal=within(250)), True),
        (Figure("x", "ms", (251,), goal=within(250)), False),
        (CALLS, False),
        (Figure("x", "calls", (0,), goal=no_more_than(0)), True),
        (Figure("x", "s", (1.0,), goal=at_most(2)), False),
        (PLAIN, None),
    ],
)
def test_ok_is_judged_where_there_is_a_goal(figure: Figure, ok: bool | None) -> None:
    assert figure.ok is ok


def test_only_a_miss_that_was_counted_must_fail() -> None:
    assert missed([RATE, SLOW, PLAIN, CALLS]) == [SLOW, CALLS]
    assert not must_fail([RATE, SLOW, PLAIN])
    assert must_fail([RATE, SLOW, PLAIN, CALLS])


def test_a_miss_says_what_was_reached_and_what_was_wanted() -> None:
    assert miss_in_words(SLOW) == "missed: pass: ratio 3.00, and the goal is ratio ≤ 2"
    assert miss_in_words(CALLS) == "missed: calls: 7 calls, and the goal is value ≤ 6"


def test_the_table_has_each_figure_beside_its_floor_and_goal() -> None:
    assert table([RATE, PLAIN, CALLS]).splitlines() == [
        "| figure | value (min - max) | floor, same run | ratio | goal | reached |",
        "| --- | --- | --- | --- | --- | --- |",
        "| rate | 400 /s (300 - 500) | 500 /s (400 - 600) | 0.80 | ratio ≥ 0.8 | yes |",
        "| memory per watcher | 12.5 KB | - | - | - | - |",
        "| calls | 7 calls | - | - | value ≤ 6 | no |",
    ]


def test_the_json_has_what_programs_read(tmp_path: Path) -> None:
    write_json([RATE, PLAIN], tmp_path / "out.json", machine={"cores": 2})
    assert json.loads((tmp_path / "out.json").read_text()) == {
        "machine": {"cores": 2},
        "figures": [
            {
                "name": "rate",
                "value": 400,
                "unit": "/s",
                "floor": 500,
                "ratio": 0.8,
                "goal": "ratio ≥ 0.8",
                "ok": True,
                "rounds": [300, 500, 400],
                "floor_rounds": [600, 500, 400],
            },
            {
                "name": "memory per watcher",
                "value": 12.5,
                "unit": "KB",
                "floor": None,
                "ratio": None,
                "goal": "",
                "ok": None,
                "rounds": [12.5],
                "floor_rounds": [],
            },
        ],
    }


def test_an_older_run_is_compared_figure_by_figure(tmp_path: Path) -> None:
    older = tmp_path / "older.json"
    write_json([Figure("rate", "/s", (200,), (400,)), SLOW], older, machine={})
    assert comparison([RATE, CALLS], read_json(older)).splitlines()[2:] == [
        "| rate | 200 /s | 400 /s | 2.00 | 0.50 | 0.80 |",
        "| calls | - | 7 calls | new | - | - |",
    ]


def test_what_changed_its_unit_is_another_figure(tmp_path: Path) -> None:
    older = tmp_path / "older.json"
    write_json([Figure("pass", "ms", (3000,))], older, machine={})
    assert comparison([SLOW], read_json(older)).endswith("| pass | - | 3 s | new | - | 3.00 |")


@pytest.mark.parametrize("text", ["", "[]", '{"figures": [{"name": "x"}]}', '{"figures": 1}'])
def test_a_file_that_is_no_run_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "older.json").write_text(text)
    with pytest.raises(ValueError, match=r"older\.json is no OUT= of an earlier run"):
        read_json(tmp_path / "older.json")


def test_a_quantile_is_one_of_the_values() -> None:
    values = [float(n) for n in range(100, 0, -1)]
    assert (quantile(values, 0.5), quantile(values, 0.99), quantile(values, 1.0)) == (50, 99, 100)
    assert quantile([7.0], 0.99) == 7
