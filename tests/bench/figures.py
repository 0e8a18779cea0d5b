"""What a benchmark run found: each figure with its floor and its goal, as a table and as JSON.

Pure, but for `write_json` and `read_json`.
"""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure shall reach: its value, or its ratio to its floor, within `bound`.

    `counted` goals are about numbers of things, not of seconds: they hold on every machine,
    however busy, and a miss is an error.
    """

    of: Literal["value", "ratio"]
    relation: Literal["≤", "≥"]
    bound: float
    counted: bool = False

    def __str__(self) -> str:
        return f"{self.of} {self.relation} {_short(self.bound)}"

    def reached(self, number: float) -> bool:
        """Tell whether `number`, which is what this goal is of, is within the bound."""
        return number <= self.bound if self.relation == "≤" else number >= self.bound


def at_least(ratio: float) -> Goal:
    """Return the goal of a rate: so much of its floor."""
    return Goal("ratio", "≥", ratio)


def at_most(ratio: float) -> Goal:
    """Return the goal of a duration or a cost: so many times its floor."""
    return Goal("ratio", "≤", ratio)


def within(bound: float) -> Goal:
    """Return the goal of a figure without a floor."""
    return Goal("value", "≤", bound)


def no_more_than(count: int) -> Goal:
    """Return the goal of a number that was counted, such as of calls: it must hold."""
    return Goal("value", "≤", count, counted=True)


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure. `floor` is what the bare thing costs or reaches in the same run.

    `values` and `floor` have one entry per round, in the same unit.
    """

    name: str
    unit: str
    values: tuple[float, ...]
    floor: tuple[float, ...] | None = None
    goal: Goal | None = None

    @property
    def value(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.values)

    @property
    def floor_value(self) -> float | None:
        """The median of the floor's rounds."""
        return statistics.median(self.floor) if self.floor else None

    @property
    def ratio(self) -> float | None:
        """The median figure over the median floor; None without a floor to divide by."""
        return self.value / self.floor_value if self.floor_value else None

    @property
    def ok(self) -> bool | None:
        """Whether the goal is reached; None without one. A ratio that is unknown reaches none."""
        if self.goal is None:
            return None
        number = self.value if self.goal.of == "value" else self.ratio
        return number is not None and self.goal.reached(number)


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest of `values` that `share` (0 to 1) of them do not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def write_json(figures: Sequence[Figure], path: Path, *, machine: Mapping[str, Any]) -> None:
    """Write the figures for machines, and on which one they were measured."""
    rows = [
        {
            "name": figure.name,
            "value": figure.value,
            "unit": figure.unit,
            "floor": figure.floor_value,
            "ratio": figure.ratio,
            "goal": str(figure.goal) if figure.goal else "",
            "ok": figure.ok,
            "rounds": list(figure.values),
            "floor_rounds": list(figure.floor or ()),
        }
        for figure in figures
    ]
    told = {"machine": dict(machine), "figures": rows}
    path.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Mapping[str, Mapping[str, Any]]:
    """Return what `write_json` wrote of an earlier run, by the figures' names.

    Raises: ValueError where the file is none.
    """
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
        return {row["name"]: {**row, "value": float(row["value"])} for row in read["figures"]}
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no OUT= of an earlier run: {error!r}") from error


def table(figures: Sequence[Figure]) -> str:
    """Return the figures as a Markdown table, ready for the README."""
    rows = [
        [
            figure.name,
            _spread(figure.values, figure.unit),
            _spread(figure.floor, figure.unit) if figure.floor else "-",
            _ratio(figure.ratio),
            str(figure.goal) if figure.goal else "-",
            {True: "yes", False: "no", None: "-"}[figure.ok],
        ]
        for figure in figures
    ]
    return _markdown(
        ["figure", "value (min - max)", "floor, same run", "ratio", "goal", "reached"], rows
    )


def comparison(figures: Sequence[Figure], older: Mapping[str, Mapping[str, Any]]) -> str:
    """Return what became of each figure since the older run, as a Markdown table.

    The ratios to the floors are beside it: they tell a change of ours from one of the machine's.
    """
    rows = []
    for figure in figures:
        before = older.get(figure.name)
        if before is None or before["unit"] != figure.unit:
            rows.append([figure.name, "-", _with_unit(figure), "new", "-", _ratio(figure.ratio)])
            continue
        rows.append(
            [
                figure.name,
                f"{_short(before['value'])} {figure.unit}",
                _with_unit(figure),
                _ratio(figure.value / before["value"] if before["value"] else None),
                _ratio(before.get("ratio")),
                _ratio(figure.ratio),
            ]
        )
    head = ["figure", "older run", "this run", "this / older", "older ratio", "ratio"]
    return _markdown(head, rows)


def missed(figures: Sequence[Figure]) -> Sequence[Figure]:
    """Return the figures that do not reach their goal."""
    return [figure for figure in figures if figure.ok is False]


def miss_in_words(figure: Figure) -> str:
    """Return a line about a figure that misses its goal."""
    is_ratio = figure.goal is not None and figure.goal.of == "ratio"
    reached = f"ratio {_ratio(figure.ratio)}" if is_ratio else _with_unit(figure)
    return f"missed: {figure.name}: {reached}, and the goal is {figure.goal}"


def must_fail(figures: Sequence[Figure]) -> bool:
    """Tell whether a goal is missed that must be reached: one that is counted."""
    return any(figure.goal is not None and figure.goal.counted for figure in missed(figures))


def _with_unit(figure: Figure) -> str:
    return f"{_short(figure.value)} {figure.unit}"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _spread(values: Sequence[float], unit: str) -> str:
    middle = f"{_short(statistics.median(values))} {unit}"
    if len(values) == 1:
        return middle
    return f"{middle} ({_short(min(values))} - {_short(max(values))})"


def _ratio(ratio: float | None) -> str:
    return f"{ratio:.2f}" if ratio is not None else "-"


def _short(value: float) -> str:
    if value == int(value):
        return str(int(value))
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
