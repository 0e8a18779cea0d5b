"""Measure every figure beside its floor, print a table, write JSON: `make bench`."""

import argparse
import os
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

from tests.bench.figures import (
    Figure,
    comparison,
    miss_in_words,
    missed,
    must_fail,
    read_json,
    table,
    write_json,
)
from tests.bench.groups import DEFAULT, GROUPS, MORE, measured_by
from tests.bench.nomads import named
from tests.bench.place import Place

BUSY: Final = 1.0
"""Above this load at the start, somebody else has a share of every figure."""


def main() -> int:
    """Run the groups; 0 when all ran and no goal was missed that is a matter of counting."""
    options = _options()
    machine = _machine()
    print("; ".join(f"{name} {said}" for name, said in machine.items()), flush=True)
    if machine["load at the start"] > BUSY:
        print("warning: the machine is busy: read the ratios, and measure again when it is quiet")
    figures, failed = _measured(options.only, quick=options.quick)
    print(table(figures))
    if options.compare:
        print(f"\nbeside {options.compare}:\n{comparison(figures, read_json(options.compare))}")
    for figure in missed(figures):
        print(miss_in_words(figure))
    for name in failed:
        print(f"failed: {name} has no figures: its error is above")
    if options.out:
        write_json(figures, options.out, machine=machine)
    return 1 if failed or must_fail(figures) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n".join(
            [
                "groups:",
                *(f"  {name:<10} {group.what}" for name, group in DEFAULT.items()),
                "measured only when they are named:",
                *(f"  {name:<10} {group.what}" for name, group in MORE.items()),
                "",
                "A goal that is a matter of counting (calls, plans, writes) must be reached: the",
                "exit code is 1 where one is missed, or where a group failed. A goal of seconds",
                "that is missed is told below the table, and the exit code stays 0.",
            ]
        ),
    )
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    parser.add_argument("--quick", action="store_true", help="small and of one round: 3 minutes")
    parser.add_argument("--compare", type=Path, metavar="OLD.json", help="an earlier run's --out")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=list(GROUPS),
        default=list(DEFAULT),
        metavar="GROUP",
        help="run these groups",
    )
    options = parser.parse_args()
    if options.compare:
        try:
            read_json(options.compare)
        except (OSError, ValueError) as error:
            parser.error(f"--compare: {error}")
    return options


def _machine() -> Mapping[str, Any]:
    return {
        "cores": len(os.sched_getaffinity(0)),
        "Python": platform.python_version(),
        "on": named(),
        "load at the start": round(os.getloadavg()[0], 2),
    }


def _measured(names: Sequence[str], *, quick: bool) -> tuple[list[Figure], list[str]]:
    """Run each group in a process of its own; return the figures, and who failed."""
    figures: list[Figure] = []
    failed = []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for name in names:
            place = Place(Path(folder) / name, quick=quick)
            place.folder.mkdir()
            print(f"{name}: {GROUPS[name].what}", flush=True)
            began_s = time.monotonic()
            # A heap of its own: what one group leaves behind costs the next one nothing.
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                try:
                    figures += pool.submit(measured_by, GROUPS[name], place).result()
                except Exception:  # a group that broke must not take the others' figures along
                    traceback.print_exc()
                    failed.append(name)
            print(f"  took {time.monotonic() - began_s:.0f} s", flush=True)
    return figures, failed


if __name__ == "__main__":
    sys.exit(main())
