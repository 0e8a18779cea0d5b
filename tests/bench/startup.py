"""What the command line costs before it does anything: whole processes, beside an empty Python."""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tests.bench.figures import Figure, at_most
from tests.bench.nomads import a_nomad
from tests.bench.place import Place, tell
from tests.bench.processes import TOKEN, OurServer, of_this_checkout

EMPTY: Final = (sys.executable, "-c", "pass")


class Cost(NamedTuple):
    """What a process took, in milliseconds."""

    cpu_ms: float
    wall_ms: float


def measure(place: Place) -> list[Figure]:
    """Run `ai4papi --help` and `ai4papi get`, the latter against a server with a deployment."""
    home, pairs = place.sub("startup"), place.sized(5, 20)
    program = str(Path(sys.executable).with_name("ai4papi"))
    with a_nomad(home / "nomad") as address, OurServer(home, address) as server:
        server.put("bench")
        known = {"AI4PAPI_SERVER": server.url, "AI4PAPI_TOKEN": TOKEN}
        environ = compiled_once(of_this_checkout({**os.environ, **known}), home / "bytecode")
        commands = ((program, "--help"), (program, "get"))
        return [figure for words in commands for figure in _beside_empty(words, environ, pairs)]


def compiled_once(environ: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Return `environ` so that Python keeps its bytecode, as an installed program has it."""
    kept = {key: value for key, value in environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": str(folder)}


def _beside_empty(words: Sequence[str], environ: Mapping[str, str], pairs: int) -> list[Figure]:
    """Run both once for their files to be cached, then in pairs, each first every other time."""
    for command in (words, EMPTY):
        _cost(command, environ)
    ours, floors = [], []
    for number in range(pairs):
        for is_floor in (True, False) if number % 2 else (False, True):
            (floors if is_floor else ours).append(_cost(EMPTY if is_floor else words, environ))
    name = f"ai4papi {words[1]}, whole process"
    tell(f"{name}: {ours[-1]}, python -c pass: {floors[-1]}")
    return [
        Figure(
            f"{name}, {kind}",
            "ms",
            tuple(cost[at] for cost in ours),
            tuple(cost[at] for cost in floors),
            at_most(5),
        )
        for at, kind in enumerate(("CPU", "wall"))
    ]


def _cost(command: Sequence[str], environ: Mapping[str, str]) -> Cost:
    """Run a command; return its user and system time, and how long it took.

    Raises: RuntimeError where it does not end well.
    """
    with Path(os.devnull).open("wb") as nowhere:
        to_nowhere = [(os.POSIX_SPAWN_DUP2, nowhere.fileno(), at) for at in (1, 2)]
        began_s = time.perf_counter()
        pid = os.posix_spawn(command[0], command, environ, file_actions=to_nowhere)
        _, status, used = os.wait4(pid, 0)
        wall_s = time.perf_counter() - began_s
    if status:
        raise RuntimeError(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return Cost((used.ru_utime + used.ru_stime) * 1000, wall_s * 1000)
