"""What one process takes over many deployments: `python -m tests.bench.many_steady …`.

`list FOLDER ADDRESS` lists and decodes everything once. `run FOLDER ADDRESS WINDOW_S CHANGES
SETTLE_S` starts cold, rests, compares everything, audits some, makes some changes, and weighs the
mirror. Either prints what it took as JSON.
"""

import gc
import json
import os
import statistics
import sys
import time
import types
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from reconciler.queue import Urgency
from reconciler.runtime import Runtime
from specs.userconf import read_userconf
from tests.bench.site import OWNER, a_wish, etc_without_limits, open_site
from tests.real import wait_until

RESYNCS: Final = 3
AUDITS: Final = 200
NO_DATA: Final = (type, types.ModuleType, types.FunctionType, types.MethodType)


class Took(NamedTuple):
    """Seconds of this process and of the clock."""

    cpu_s: float
    wall_s: float


@dataclass(frozen=True, slots=True)
class Steady:
    """What one process took. `idle` and `resync_s`, `audit_s` and `change_s` are CPU seconds: of a
    second at rest, one resync, one look of an audit, one change with all that follows from it.
    """

    cold: Took
    idle: float
    resync_s: float
    audit_s: float
    change_s: float
    mirror_bytes: int
    resident_bytes: int


def list_all(folder: Path, address: str) -> Took:
    """List and decode all that a start lists."""
    with open_site(folder, address) as runtime:
        cluster = runtime.targets[0].cluster

        def run() -> object:
            return (
                cluster.list_jobs(),
                cluster.list_allocations(),
                cluster.list_evaluations(),
                cluster.list_rollouts(),
                cluster.list_nodes(),
            )

        return took(run)


def run(folder: Path, address: str, *, window_s: float, changes: int, settle_s: float) -> Steady:
    """Live through a start and some time at rest; `settle_s` is what a change may have in tow.

    Raises: RuntimeError where the store and Nomad do not agree at the start.
    """
    began = Took(time.process_time(), time.monotonic())
    with open_site(folder, address, etc=etc_without_limits(folder / str(os.getpid()))) as runtime:
        runtime.start()
        wait_until(lambda: _is_at_rest(runtime), within_s=900, every_s=0.05)
        cold = Took(time.process_time() - began.cpu_s, time.monotonic() - began.wall_s)
        resident = _resident_bytes()
        idle = took(lambda: time.sleep(window_s)).cpu_s / window_s
        due = runtime.targets[0].resync.run_once()
        if due:
            raise RuntimeError(f"{due} deployments are due: the store and Nomad do not agree")
        resyncs = [took(runtime.targets[0].resync.run_once).cpu_s for _ in range(RESYNCS)]
        audit = took(lambda: _audit(runtime))
        changed = took(lambda: _change(runtime, changes, settle_s))
        return Steady(
            cold,
            idle,
            statistics.median(resyncs),
            max(0.0, audit.cpu_s - idle * audit.wall_s) / AUDITS,
            max(0.0, changed.cpu_s - idle * changed.wall_s) / changes,
            weight(runtime.targets[0].mirror),
            resident,
        )


def took(do: Callable[[], object]) -> Took:
    """Return what `do` took."""
    began = Took(time.process_time(), time.monotonic())
    do()
    return Took(time.process_time() - began.cpu_s, time.monotonic() - began.wall_s)


def weight(root: object) -> int:
    """Return the bytes of all the data that hangs on `root`, each object once."""
    seen, waiting, size = {id(root)}, [root], 0
    while waiting:
        thing = waiting.pop()
        size += sys.getsizeof(thing)
        for part in gc.get_referents(thing):
            if id(part) not in seen and not isinstance(part, NO_DATA):
                seen.add(id(part))
                waiting.append(part)
    return size


def _audit(runtime: Runtime) -> None:
    uids = [head.uid for head in runtime.store.heads()[:AUDITS]]
    runtime.targets[0].reconciler.audits.update(uids)
    for uid in uids:
        runtime.targets[0].queue.add(uid, Urgency.RESYNC)
    wait_until(lambda: _is_at_rest(runtime), within_s=120, every_s=0.1)


def _change(runtime: Runtime, count: int, settle_s: float) -> None:
    """Give some another title, and wait until each runs so and what follows is over."""
    conf = read_userconf(runtime.settings.userconf)
    uids = {}
    for number in range(count):
        wish = a_wish(conf, f"many-{number}", title=f"changed-{number}")
        record, _ = runtime.store.put(wish, owner=OWNER, owner_name="Local", source={"type": "api"})
        uids[record.uid] = record.generation
    for uid, generation in uids.items():
        wait_until(lambda u=uid, g=generation: _runs(runtime, u, g), within_s=120)
    time.sleep(settle_s)


def _runs(runtime: Runtime, uid: str, generation: int) -> bool:
    deployment = runtime.store.get(uid)
    assert deployment is not None
    status = deployment.status
    return status.observed_generation == generation and status.phase == "Running"


def _is_at_rest(runtime: Runtime) -> bool:
    queue = runtime.targets[0].queue.state()
    return runtime.ready() and not (queue.waiting or queue.working)


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _main(kind: str, folder: str, address: str, *more: str) -> Any:
    if kind == "list":
        return list_all(Path(folder), address)
    window_s, changes, settle_s = more
    steady = run(
        Path(folder),
        address,
        window_s=float(window_s),
        changes=int(changes),
        settle_s=float(settle_s),
    )
    return asdict(steady)


if __name__ == "__main__":
    print(json.dumps(_main(*sys.argv[1:])))
