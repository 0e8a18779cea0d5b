"""One pass over everything, told in words: `make reconcile`, `python -m reconciler --once`."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from reconciler.errors import ClusterError
from reconciler.loop import work_once
from reconciler.runtime import Runtime
from reconciler.sources import adopted_among, enqueue_due, fill
from reconciler.target import Target
from specs.model import Deployment, Phase
from specs.store import utc_now

PASS_S: Final = 60.0
"""How long a pass waits for what it started (allocations that end) before it gives its report."""

SHORTLY_S: Final = 0.1

BAD: Final = frozenset({Phase.FAILED, Phase.HELD})


@dataclass(frozen=True, slots=True)
class Report:
    """What a pass did: one line per deployment it looked at, and those that are not settled."""

    lines: tuple[str, ...]
    unsettled: tuple[Deployment, ...]

    @property
    def failed(self) -> tuple[str, ...]:
        """The names of the deployments that are not settled."""
        return tuple(deployment.name for deployment in self.unsettled)


def reconcile_once(runtime: Runtime, *, tell: Callable[[str], None]) -> Report:
    """List once, look at every deployment that needs it until each is settled, and report.

    `tell` gets a line as soon as it is known. One cluster after the other; one that can't be listed
    does not keep the pass from the others. Raises: ClusterError where it was so, at the end.
    """
    looked: dict[str, str] = {}
    trouble: list[ClusterError] = []
    for target in runtime.targets:
        try:
            _pass(target, runtime, looked, tell)
        except ClusterError as error:
            trouble.append(error)
    if trouble:
        raise trouble[0]
    return Report(tuple(looked.values()), tuple(_unsettled(runtime, list(looked))))


def _pass(
    target: Target, runtime: Runtime, looked: dict[str, str], tell: Callable[[str], None]
) -> None:
    """Do what is due in one cluster; `looked` gets the last line of each deployment."""
    target.cluster.ensure_namespaces()
    target.guard.check()
    fill(target.mirror, target.cluster, adopted_among(target.heads(), target.namespaces))
    jobs = target.mirror.indexes()
    due = enqueue_due(target.heads(), jobs, target.queue, target.namespaces, now=utc_now())
    tell(f"{target.cluster.title}: {due} deployments need a look")
    for ref in target.orphans():
        tell(f"job {ref.id} in {ref.namespace} has our marker and no record; it is left alone")
    telling = threading.Lock()
    until = time.monotonic() + PASS_S

    def look() -> None:
        while (uid := _next(target, until)) is not None:
            before = runtime.store.get(uid)
            work_once(target.queue, target.reconciler.reconcile, uid)
            if before is None:
                continue
            line = _line(before, runtime.store.get(uid))
            with telling:
                if looked.get(uid) != line:
                    looked[uid] = line
                    tell(line)

    workers = runtime.settings.workers
    with _following(target), ThreadPoolExecutor(workers, thread_name_prefix="pass") as pool:
        for done in [pool.submit(look) for _ in range(workers)]:
            done.result()


@contextmanager
def _following(target: Target) -> Iterator[None]:
    """Follow the event stream meanwhile: allocations that end say so there."""
    stop = threading.Event()
    follower = threading.Thread(target=target.changes.run, args=(stop,), daemon=True)
    follower.start()
    try:
        yield
    finally:
        stop.set()
        follower.join(timeout=PASS_S)


def _next(target: Target, until: float) -> str | None:
    """Return the next to look at; None when the pass is over."""
    # In short waits: another worker may settle what this one waits for.
    while (patience_s := _patience_s(target, until)) > 0:
        if (uid := target.queue.get(timeout_s=min(patience_s, SHORTLY_S))) is not None:
            return uid
    return target.queue.get(timeout_s=0)


def _patience_s(target: Target, until: float) -> float:
    # Nothing waiting and nothing due later: the pass is over. Else wait for it, up to the limit.
    state = target.queue.state()
    return max(0.0, until - time.monotonic()) if state.waiting or state.delayed else 0.0


def _line(before: Deployment, after: Deployment | None) -> str:
    if after is None:
        return f"deployment {before.name}: gone"
    status = after.status
    return f"deployment {after.name} ({after.vo}): {status.phase.value}: {status.message}"


def _unsettled(runtime: Runtime, uids: list[str]) -> list[Deployment]:
    deployments = [d for uid in uids if (d := runtime.store.get(uid)) is not None]
    return [
        d
        for d in deployments
        if d.being_deleted
        or d.status.observed_generation < d.generation
        or d.status.phase in BAD
        or (synced := d.status.condition("Synced")) is None
        or synced.status != "True"
    ]
