"""Shows what a deployment goes through while a command waits for it.

Piped, one line per change. On a terminal the same, and below them the time as it passes; never a
percentage, which nobody knows.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

from api.cli.follow import Sight
from api.cli.texts import duration, printable

Teller = Callable[[Sight], None]


@contextmanager
def progress(name: str) -> Iterator[Teller]:
    """Give what shows each new sight of the deployment `name` on standard output."""
    tell = changes_only(name, clock=time.monotonic, write=typer.echo)
    if not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        yield tell
        return
    with _live(name) as live:
        yield live


def changes_only(name: str, *, clock: Callable[[], float], write: Callable[[str], None]) -> Teller:
    """Return a teller that writes a line where something changed: name, time so far, phase, why."""
    started, last = clock(), [Sight("", "")]

    def tell(sight: Sight) -> None:
        if sight != last[0]:
            last[0] = sight
            write(line_of(name, sight, clock() - started))

    return tell


def line_of(name: str, sight: Sight, elapsed_s: float) -> str:
    """Return one line of progress."""
    return printable(f"{name}  {duration(elapsed_s)}  {sight.phase}  {sight.message}").rstrip()


@contextmanager
def _live(name: str) -> Iterator[Teller]:
    from rich.console import Console  # noqa: PLC0415
    from rich.live import Live  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(highlight=False)
    started, last = time.monotonic(), [Sight("", "")]

    def moving() -> Text:
        line = line_of(name, last[0], time.monotonic() - started)
        return Text(line, style="bold cyan", no_wrap=True, overflow="ellipsis")

    write = changes_only(
        name, clock=time.monotonic, write=lambda line: console.print(Text(line), soft_wrap=True)
    )
    with Live(console=console, get_renderable=moving, refresh_per_second=4, transient=True):

        def tell(sight: Sight) -> None:
            last[0] = sight
            write(sight)

        yield tell
