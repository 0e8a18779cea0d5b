"""A thousand open watchers and one change each second: how late they hear, and what they cost."""

import json
import sys

from tests.bench.figures import Figure, quantile, within
from tests.bench.nomads import a_nomad
from tests.bench.place import Place, tell
from tests.bench.processes import TOKEN, OurServer, OwnProcess
from tests.bench.site import etc_without_limits
from tests.bench.watch_client import NAME


def measure(place: Place) -> list[Figure]:
    """Open them from a process of their own, as many connections of one user."""
    home = place.sub("watchers")
    count, changes = place.sized(200, 1000), place.sized(5, 30)
    etc = etc_without_limits(home)
    with a_nomad(home / "nomad") as address, OurServer(home, address, etc=etc) as server:
        server.put(NAME)
        words = [str(server.port), TOKEN, str(count), str(changes)]
        before = server.resident_bytes
        with OwnProcess([sys.executable, "-m", "tests.bench.watch_client", *words]) as client:
            kind = client.line().strip()
            each_kb = (server.resident_bytes - before) / count / 1000
            client.say("go")
            waits_ms: list[float] = json.loads(client.line())
    tell(f"by {kind}; all of them hear of each of {changes} changes")
    name = f"{count} open watchers, one change each second"
    return [
        Figure(f"{name}: delivery median", "ms", (quantile(waits_ms, 0.5),)),
        Figure(f"{name}: delivery p99", "ms", (quantile(waits_ms, 0.99),), goal=within(250)),
        Figure(f"{name}: memory for each", "KB", (each_kb,)),
    ]
