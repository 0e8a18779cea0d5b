"""Colour in what is printed: where it may be, and which line gets which (pure but for `show`)."""

import os
import sys
from collections.abc import Iterable, Mapping
from typing import Final

import typer

BOLD, RED, GREEN, YELLOW, CYAN = "1", "31", "32", "33", "36"

DIFF: Final[Mapping[str, str]] = {"  +": GREEN, "  -": RED, "  @": CYAN, "   ": ""}
"""By the first three characters of a line; others are headings."""

EFFECTS: Final[Mapping[str, str]] = {
    "creates": GREEN,
    "in place": CYAN,
    "restarts": YELLOW,
    "stops": YELLOW,
    "refused": RED,
}
"""By what a plan would do to what runs."""


def in_colour(environ: Mapping[str, str], *, terminal: bool) -> bool:
    """Return whether to use colour: NO_COLOR and FORCE_COLOR say so, else whether one looks."""
    if environ.get("NO_COLOR"):
        return False
    return bool(environ.get("FORCE_COLOR")) or (terminal and environ.get("TERM") != "dumb")


def painted(text: str, colour: str) -> str:
    """Return `text` in a colour, "" in none."""
    return f"\x1b[{colour}m{text}\x1b[0m" if colour else text


def show(lines: Iterable[tuple[str, str]]) -> None:
    """Print lines on standard output, each with its colour."""
    coloured = in_colour(os.environ, terminal=sys.stdout.isatty())
    for text, colour in lines:
        typer.echo(painted(text, colour) if coloured else text, color=coloured)


def show_diff(lines: Iterable[str]) -> None:
    """Print the lines of a diff."""
    show((line, DIFF.get(line[:3], BOLD)) for line in lines)
