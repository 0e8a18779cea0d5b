"""What a benchmark run found: each figure with its floor, as a table and as JSON."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure. `floor` is what the bare thing costs or reaches in the same run.

    `values` has one entry per round; `more_is_better` says how the ratio is read.
    """

    name: str
    unit: str
    values: tuple[float, ...]
    floor: tuple[float, ...] | None = None
    goal: str = ""
    ok: bool | None = None

    @property
    def value(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.values)

    @property
    def ratio(self) -> float | None:
        """The median figure over the median floor."""
        return self.value / statistics.median(self.floor) if self.floor else None


def write_json(figures: Sequence[Figure], path: Path) -> None:
    """Write the figures for machines."""
    rows = [
        {
            "name": f.name,
            "value": f.value,
            "unit": f.unit,
            "floor": statistics.median(f.floor) if f.floor else None,
            "ratio": f.ratio,
            "goal": f.goal,
            "ok": f.ok,
            "rounds": list(f.values),
        }
        for f in figures
    ]
    path.write_text(json.dumps({"figures": rows}, indent=2) + "\n")


def table(figures: Sequence[Figure]) -> str:
    """Return the figures as a Markdown table, ready for the README."""
    head = ["figure", "value (min - max)", "floor, same run", "ratio"]
    rows = [[f.name, _spread(f.values, f.unit), _floor(f), _ratio(f)] for f in figures]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _spread(values: Sequence[float], unit: str) -> str:
    middle = f"{_short(statistics.median(values))} {unit}"
    return (
        middle if len(values) == 1 else f"{middle} ({_short(min(values))} - {_short(max(values))})"
    )


def _floor(figure: Figure) -> str:
    return _spread(figure.floor, figure.unit) if figure.floor else "-"


def _ratio(figure: Figure) -> str:
    return f"{figure.ratio:.2f}" if figure.ratio is not None else "-"


def _short(value: float) -> str:
    if value == int(value):
        return str(int(value))
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
