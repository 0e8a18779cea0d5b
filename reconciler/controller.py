"""Starts the workers, the sources and the timers, and stops them again.

Every thread has a name, takes the stop event and is joined. A thread that ends by itself is a
fault: a controller that is half dead must not look alive.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from apscheduler.schedulers.background import BackgroundScheduler

from reconciler.errors import ClusterError
from reconciler.loop import work
from reconciler.sources import Source
from reconciler.target import Target
from specs.faults import StoreUnavailable

log = logging.getLogger(__name__)

OLDEST_WAIT_S: Final = 120.0
"""A key that has been due for longer means that the workers are stuck."""

CLEAN_UP_S: Final = 3600.0
"""How often the trash and the timeline are cleaned up."""

JOIN_S: Final = 20.0
"""How long a stop waits for looks in progress; what is cut off is taken up again by the next
start."""


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How many workers a cluster has, and how often everything is compared, in seconds, jittered by
    a tenth."""

    workers: int
    resync_s: float
    audit_s: float


class Controller:
    """The running loop of one process. Start it once, stop it once."""

    def __init__(
        self,
        *,
        targets: Sequence[Target],
        sources: Sequence[Source],
        clean_up: Callable[[], int],
        rhythm: Rhythm,
        polls: Sequence[tuple[float, Callable[[], None]]] = (),
    ) -> None:
        """`polls` are what else is to be called, each every so many seconds."""
        self._targets = targets
        self._stop = threading.Event()
        self._clean_up = clean_up
        self._rhythm = rhythm
        self._polls = polls
        self._threads = [
            *map(self._source_thread, (*sources, *(target.changes for target in targets))),
            *(
                threading.Thread(
                    target=work,
                    args=(target.queue, target.look),
                    name=f"worker-{target.name}-{number}",
                )
                for target in targets
                for number in range(rhythm.workers)
            ),
        ]
        self._timers = BackgroundScheduler(timezone="UTC")

    def start(self) -> None:
        """Start every thread and timer."""
        for thread in self._threads:
            thread.daemon = True
            thread.start()
        for target in self._targets:
            self._every(self._rhythm.resync_s, partial(self._run_resync, target))
            self._every(self._rhythm.audit_s, partial(self._run_audit, target))
        self._every(CLEAN_UP_S, self._run_clean_up)
        for seconds, call in self._polls:
            self._every(seconds, call)
        self._timers.start()

    def stop(self) -> None:
        """Stop taking work, let looks in progress end, join every thread."""
        self._timers.shutdown(wait=False)
        self._stop.set()
        for target in self._targets:
            target.queue.shut_down()
        for thread in self._threads:
            thread.join(timeout=JOIN_S)

    def faults(self) -> Sequence[str]:
        """Say what makes this loop not alive: dead threads, work that waits too long."""
        dead = [f"thread {t.name} has ended" for t in self._threads if not t.is_alive()]
        if not self._timers.running:
            dead.append("the timers have stopped")
        oldest_s = max(target.queue.state().oldest_s for target in self._targets)
        if oldest_s > OLDEST_WAIT_S:
            dead.append(f"a deployment has been due for {oldest_s:.0f} s; the workers are stuck")
        return dead

    def _every(self, seconds: float, run: Callable[[], None]) -> None:
        self._timers.add_job(run, "interval", seconds=seconds, jitter=seconds / 10, coalesce=True)

    def _run_resync(self, target: Target) -> None:
        try:
            due = target.resync.run_once()
        except (ClusterError, StoreUnavailable) as error:
            log.warning("resync failed", extra={"cluster": target.name, "error": str(error)})
        else:
            log.info("resynced", extra={"cluster": target.name, "due": due})

    def _run_clean_up(self) -> None:
        try:
            log.info("cleaned up", extra={"forgotten": self._clean_up()})
        except StoreUnavailable as error:
            log.warning("not cleaned up", extra={"error": str(error)})

    def _run_audit(self, target: Target) -> None:
        try:
            count = target.audit.run_once(over_s=self._rhythm.audit_s / 2)
        except StoreUnavailable as error:
            log.warning("no audit", extra={"cluster": target.name, "error": str(error)})
        else:
            log.info("audit begun", extra={"cluster": target.name, "jobs": count})

    def _source_thread(self, source: Source) -> threading.Thread:
        return threading.Thread(target=source.run, args=(self._stop,), name=f"source-{source.name}")
