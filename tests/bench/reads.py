"""What people ask all the time, a second: their statuses and their lists, beside an empty route.

The store holds 10,000 deployments of 200 users, each with its job in Nomad; 50 are the caller's.
What the server asks Nomad meanwhile is counted at a port between the two.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from specs.model import Owner
from tests.bench.clones import Clone, clone, clone_uid
from tests.bench.converge import await_applied
from tests.bench.counting import CountingProxy
from tests.bench.figures import Figure, at_least, no_more_than
from tests.bench.nomads import a_nomad, await_scheduler
from tests.bench.place import Place, tell
from tests.bench.processes import ROOT, TOKEN, OurServer, empty_server
from tests.bench.site import OWNER, etc_without_limits, fill, open_site
from tests.real import wait_until

EACH: Final = 50
"""Deployments of one user."""

STATUS: Final = "/v1/specs/mine-0/status"
LIST: Final = "/v1/deployments"


def measure(place: Place) -> list[Figure]:
    """Measure both reads and the empty route in turns."""
    home, count = place.sub("reads"), place.sized(1000, 10_000)
    etc = etc_without_limits(home)
    with a_nomad(home / "nomad") as address, CountingProxy(address) as proxy:
        _fill(home, address, count)
        with OurServer(home, proxy.address, etc=etc) as server, empty_server() as empty_port:
            await_applied(home, count)
            await_scheduler(address)
            _await_silence(proxy)
            asked = {STATUS: server.port, LIST: server.port, "/": empty_port}
            loads: dict[str, list[dict[str, float]]] = {path: [] for path in asked}
            for number in range(place.rounds):
                for path, port in list(asked.items())[:: -1 if number % 2 else 1]:
                    loads[path].append(load(port, path, seconds=place.sized(2, 4)))
            calls = list(proxy.calls)
    tell(f"calls to Nomad meanwhile: {calls}")
    rates, p99s = (
        {path: tuple(load[kind] for load in loads[path]) for path in asked}
        for kind in ("rate", "p99_ms")
    )
    a_list = f"GET /deployments ({EACH} own of {count})"
    return [
        Figure("GET status", "requests/s", rates[STATUS], rates["/"], at_least(0.5)),
        Figure("GET status, p99", "ms", p99s[STATUS], p99s["/"]),
        Figure(a_list, "requests/s", rates[LIST], rates["/"], at_least(0.3)),
        Figure(f"{a_list}, p99", "ms", p99s[LIST], p99s["/"]),
        Figure("reads: calls to Nomad", "calls", (len(calls),), goal=no_more_than(0)),
    ]


def load(port: int, path: str, *, token: str = TOKEN, seconds: float) -> dict[str, float]:
    """Ask for `path` from a process of its own; return `rate` and `p99_ms`."""
    command = [sys.executable, "-m", "tests.bench.load", str(port), path, token, str(seconds)]
    run = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    loaded: dict[str, float] = json.loads(run.stdout)
    return loaded


def _fill(home: Path, address: str, count: int) -> None:
    with open_site(home, address) as runtime:
        (uid,) = fill(runtime, 1, prefix="mine")
    url = f"sqlite:///{home}/ai4papi.db"
    clones = []
    for number in range(1, count):
        user = number // EACH
        owner = Owner(OWNER.iss, f"user-{user}") if user else OWNER
        texts = {uid: clone_uid(number), "mine-0": f"mine-{number}"}
        clones.append(Clone(texts[uid], owner, texts))
    clone(url, uid, clones)


def _await_silence(proxy: CountingProxy) -> None:
    """Wait until the server has not called Nomad for three seconds, and forget what it called."""

    def is_silent() -> bool:
        proxy.calls.clear()
        time.sleep(3)
        return not proxy.calls

    wait_until(is_silent, within_s=300, what="a server that has nothing to ask")
