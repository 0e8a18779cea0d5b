"""A full pass with nothing to do: its time beside one list, and what it asks of Nomad."""

import math
import time
from collections.abc import Callable

from reconciler.cluster.access import PER_PAGE
from reconciler.runtime import Runtime
from tests.bench.converge import await_applied
from tests.bench.counting import CountingProxy
from tests.bench.figures import Figure, at_most, no_more_than
from tests.bench.nomads import a_nomad, await_scheduler, evaluations_index
from tests.bench.place import Place, tell
from tests.bench.site import fill, open_site
from tests.real import NAMESPACES, wait_until

PASSES = 5


def measure(place: Place) -> list[Figure]:
    """Measure passes over 100, 1,000 and 5,000 deployments."""
    counts = place.sized((100, 1000), (100, 1000, 5000))
    return [figure for count in counts for figure in _passes(place, count)]


def _passes(place: Place, count: int) -> list[Figure]:
    home = place.sub(str(count))
    passes, floors = [], []
    with a_nomad(home / "nomad") as address:
        with open_site(home, address) as runtime:
            fill(runtime, count, prefix="q")
            runtime.start()
            await_applied(home, count)
            await_scheduler(address)
            _settle(runtime)
            for number in range(PASSES):
                # The list goes first in one round and second in the next.
                for is_floor in (True, False) if number % 2 else (False, True):
                    run = (
                        runtime.targets[0].cluster.list_jobs
                        if is_floor
                        else runtime.targets[0].resync.run_once
                    )
                    (floors if is_floor else passes).append(_seconds(run))
        with CountingProxy(address) as proxy, open_site(home, proxy.address) as runtime:
            runtime.start()
            wait_until(runtime.ready, within_s=120)
            _settle(runtime)
            before = evaluations_index(address)
            proxy.calls.clear()
            for _ in range(PASSES):
                runtime.targets[0].resync.run_once()
            calls = list(proxy.calls)
            wait_until(lambda: _is_idle(runtime), within_s=60)
            evaluations = evaluations_index(address) - before
    tell(f"{count}: calls {sorted(set(calls))}, {len(calls) / PASSES:g} each")
    name = f"pass with nothing to do, {count} deployments"
    plans = [call for call in calls if call.endswith("/plan")]
    writes = [call for call in calls if not call.startswith("GET ") and call not in plans]
    # Pages, of which an empty namespace has one, too; and whether the namespaces are still there.
    most = math.ceil(count / PER_PAGE) + len(NAMESPACES) - 1 + 1
    return [
        Figure(name, "s", tuple(passes), tuple(floors), at_most(2)),
        Figure(f"{name}: calls", "calls", (len(calls) / PASSES,), goal=no_more_than(most)),
        Figure(f"{name}: plans", "calls", (len(plans),), goal=no_more_than(0)),
        Figure(f"{name}: writes", "calls", (len(writes),), goal=no_more_than(0)),
        Figure(f"{name}: evaluations", "moves", (evaluations,), goal=no_more_than(0)),
    ]


def _settle(runtime: Runtime) -> None:
    wait_until(lambda: _is_idle(runtime), within_s=600)
    wait_until(lambda: runtime.targets[0].resync.run_once() == 0, within_s=300, every_s=1)
    wait_until(lambda: _is_idle(runtime), within_s=60)


def _is_idle(runtime: Runtime) -> bool:
    state = runtime.targets[0].queue.state()
    return not (state.waiting or state.working or state.delayed)


def _seconds(run: Callable[[], object]) -> float:
    began_s = time.monotonic()
    run()
    return time.monotonic() - began_s
