"""A hundred thousand deployments on the simulator: start, rest, one change, memory.

The simulator is at a port, in a process of its own, so that lists are read and decoded as Nomad's
are. What is compared is the CPU time of the process that starts, not the simulator's.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from tests.bench.figures import Figure, at_most, within
from tests.bench.place import Place, tell
from tests.bench.processes import ROOT, OwnProcess, of_this_checkout

FEW: Final = 1000
RESYNC_S: Final = 300
AUDIT_S: Final = 3600
"""How often each is done by default (README)."""

Json = dict[str, Any]


def measure(place: Place) -> list[Figure]:
    """Measure a thousand, then a hundred thousand."""
    count, rounds = place.sized(5_000, 100_000), place.sized(1, 2)
    homes = place.sub("few"), place.sub("many")
    with _simulated(homes[0], FEW) as fewer, _simulated(homes[1], count) as more:
        few = _steady(place, homes[0], fewer.line().strip())
        lists, runs = [], []
        for number in range(rounds):
            address = more.line().strip()
            lists.append(_asked("list", homes[1], address))
            runs.append(_steady(place, homes[1], address))
            tell(f"round {number}: list and decode {lists[-1]}, {runs[-1]}")
            more.say("make the lists anew")
    return _figures(count, lists, runs, few)


def _figures(count: int, lists: list[Any], runs: list[Json], few: Json) -> list[Figure]:
    starts = [run["cold"] for run in runs]
    steady = [100 * (run["idle"] + run["resync_s"] / RESYNC_S) for run in runs]
    audit = [
        100 * (run["audit_s"] * count + cpu_s) / AUDIT_S
        for run, (cpu_s, _) in zip(runs, lists, strict=True)
    ]
    name = f"{count} deployments"
    return [
        Figure(
            f"{name}: cold start to steady, {kind}",
            "s",
            tuple(start[at] for start in starts),
            tuple(listed[at] for listed in lists),
            at_most(3),
        )
        for at, kind in enumerate(("CPU", "wall"))
    ] + [
        Figure(f"{name}: steady CPU of a core", "%", tuple(steady), goal=within(2)),
        Figure(f"{name}: audits beside it, CPU of a core", "%", tuple(audit)),
        Figure(
            f"{name}: one change, CPU, beside {FEW}",
            "ms",
            tuple(run["change_s"] * 1000 for run in runs),
            (few["change_s"] * 1000,),
            at_most(1.5),
        ),
        Figure(
            f"{name}: mirror, each",
            "bytes",
            tuple(run["mirror_bytes"] / count for run in runs),
            goal=within(4096),
        ),
        Figure(
            f"{name}: whole process, each",
            "bytes",
            tuple(run["resident_bytes"] / count for run in runs),
        ),
    ]


def _simulated(home: Path, count: int) -> OwnProcess:
    return OwnProcess([sys.executable, "-m", "tests.bench.many_simulated", str(home), str(count)])


def _steady(place: Place, home: Path, address: str) -> Json:
    # What a change has in tow lasts ten seconds: then Nomad takes its rollout for good.
    words = place.sized(("3", "20", "1"), ("10", "50", "12"))
    steady: Json = _asked("run", home, address, *words)
    return steady


def _asked(kind: str, home: Path, address: str, *more: str) -> Any:
    command = [sys.executable, "-m", "tests.bench.many_steady", kind, str(home), address, *more]
    run = subprocess.run(
        command,
        env=of_this_checkout(os.environ),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {run.stderr[-2000:]}")
    return json.loads(run.stdout)
