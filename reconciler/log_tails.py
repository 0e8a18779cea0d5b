"""Keeps the end of the log of every allocation that failed, before Nomad forgets it.

A source in a thread of its own that follows what the loop has written: no look waits for a log, and
where one can't be read nothing is lost but that log.
"""

import logging
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from reconciler.cluster.protocol import LogKind
from reconciler.errors import ClusterError, LogMissing
from specs.faults import LeaseLost, StoreUnavailable
from specs.log_tails import ENDED_BADLY, KEPT, LogTail
from specs.model import Deployment
from specs.store import SpecStore

log = logging.getLogger(__name__)

TAIL_BYTES: Final = 64 * 1024
TAIL_LINES: Final = 200

WAIT_S: Final = 1.0
"""Longest time that one look at the store blocks; bounds how long a stop takes."""

GATHER_S: Final = 1.0
"""How far apart two looks at the store are, however much changes: nobody waits for a tail."""

AGAIN_S: Final = 5.0
"""How soon to go on after the store or the cluster did not answer."""

TRIES: Final = 3
"""How often the log of one allocation is asked for while the cluster does not answer."""

USER_TASKS: Final = ("usertask", "main")
"""What the task with the user's own container is called, here and on older platforms."""


class ReadEnd(Protocol):
    """Reads the end of a log of one allocation. Raises: ClusterError."""

    def __call__(
        self, deployment: Deployment, allocation_id: str, *, task: str, kind: LogKind
    ) -> bytes:
        """Return some `TAIL_BYTES` at most."""
        ...


@dataclass(slots=True)
class LogTails:
    """Follows the store's changes and keeps what failed allocations wrote.

    `ours` says of a deployment whether it is this process's work.
    """

    store: SpecStore
    read_end: ReadEnd
    tasks_of: Callable[[Deployment], Sequence[str]]
    ours: Callable[[str], bool] = lambda _: True
    name: str = "log tails"

    def run(self, stop: threading.Event) -> None:
        """Keep tails until `stop` is set: of what is there first, then of what fails."""
        tries: dict[str, int] = {}
        position: int | None = None
        while not stop.is_set():
            try:
                position = self._pass(position, tries)
                stop.wait(GATHER_S)  # what changes together is asked for together
            except StoreUnavailable as error:
                log.warning("log tails not kept", extra={"error": str(error)})
                stop.wait(AGAIN_S)
            except Exception:  # the top of the thread: one broken pass must not end it
                log.exception("log tails not kept")
                stop.wait(AGAIN_S)

    def _pass(self, position: int | None, tries: dict[str, int]) -> int:
        """Look at what changed after `position` (None: at everything); return the next one."""
        if position is None:
            newest, uids = self.store.newest_version(), None
        else:
            self.store.wait_for_changes(position, timeout_s=WAIT_S)
            newest, changed = self.store.changes_after(position)
            # Those whose cluster did not answer are tried again, whether they change or not.
            uids = {*changed, *tries}
        self.look(uids, tries)
        return newest

    def look(self, uids: Collection[str] | None, tries: dict[str, int]) -> None:
        """Keep what is not kept yet of `uids`, None: of all. `tries` counts failures by uid."""
        if uids is not None and not uids:
            return
        for uid in self.store.ended_badly(uids):
            record = self.store.get(uid) if self.ours(uid) else None
            if record is None:
                continue
            try:
                self._keep(record)
                tries.pop(uid, None)
            except LeaseLost:
                continue
            except ClusterError as error:
                tries[uid] = tries.get(uid, 0) + 1
                if tries[uid] >= TRIES:
                    del tries[uid]
                    log.warning("log tail not kept", extra={"uid": uid, "error": str(error)})

    def _keep(self, record: Deployment) -> None:
        kept = {tail.allocation_id for tail in self.store.log_tails(record.uid)}
        newest = record.status.nomad.allocations[:KEPT]
        for allocation in newest[::-1]:
            if allocation.client_status in ENDED_BADLY and allocation.id not in kept:
                self.store.keep_log_tails(record.uid, self._tails(record, allocation.id))

    def _tails(self, record: Deployment, allocation_id: str) -> Sequence[LogTail]:
        kinds: tuple[LogKind, ...] = ("stdout", "stderr")
        return [
            LogTail(allocation_id, task, kind, self._end(record, allocation_id, task, kind))
            for task in self.tasks_of(record)
            for kind in kinds
        ]

    def _end(self, record: Deployment, allocation_id: str, task: str, kind: LogKind) -> str:
        try:
            raw = self.read_end(record, allocation_id, task=task, kind=kind)
        except LogMissing:
            # It never started, or its node went with it: that nothing is kept is kept too.
            return ""
        lines = raw.decode("utf-8", "replace").splitlines(keepends=True)
        return "".join(lines[-TAIL_LINES:])


def tasks_of(deployment: Deployment) -> Sequence[str]:
    """Return the tasks of the job that was applied, the user's own first; none before that."""
    groups = deployment.applied.job["TaskGroups"] if deployment.applied else ()
    names = [str(task["Name"]) for group in groups or () for task in group["Tasks"] or ()]
    return sorted(names, key=lambda name: name not in USER_TASKS)
