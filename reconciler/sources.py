"""Why a deployment is looked at: its wish changed, the cluster changed, or it is time to look
anyway.

Sources only put ids on the queue. What an event says is used for the mirror and then thrown away:
it means "look", never "do".
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final, Protocol

from reconciler.cluster.protocol import Cluster
from reconciler.errors import ClusterError
from reconciler.jobs import Changes, Job, JobRef
from reconciler.mirror import Mirror, Snapshot
from reconciler.queue import Urgency, WorkQueue, backoff_s
from specs.records import Head
from specs.store import SpecStore

log = logging.getLogger(__name__)

WISHES_WAIT_S: Final = 1.0
"""How long the wait for wishes lasts before it looks whether it should end."""

OUTAGE_TRIES: Final = 3
"""So many failed connects in a row, some 2 s, are an outage that every status must tell."""


class Source(Protocol):
    """Something that tells which deployments to look at."""

    name: str

    def run(self, stop: threading.Event) -> None:
        """Put ids on the queue until `stop` is set. A source that returns before is a fault."""
        ...


@dataclass(slots=True)
class WishChanges:
    """The store's feed after `position`: every change of a wish, urgent.

    What came before is found by the first list, so `position` is read before anything starts.
    """

    store: SpecStore
    queue: WorkQueue[str]
    position: int
    name: str = "wishes"

    def run(self, stop: threading.Event) -> None:
        """Follow the feed."""
        while not stop.is_set():
            for position, uid, _ in self.store.wishes_after(self.position):
                self.queue.add(uid, Urgency.USER)
                self.position = position
            self.store.wait_for_wishes(self.position, timeout_s=WISHES_WAIT_S)


@dataclass(slots=True)
class ClusterChanges:
    """Nomad's event stream, with a fresh list after every connect: it fills the mirror."""

    cluster: Cluster
    mirror: Mirror
    store: SpecStore
    queue: WorkQueue[str]
    namespaces: dict[str, str]
    random: Callable[[], float]
    name: str = "cluster"
    failures: int = field(default=0, init=False)

    def run(self, stop: threading.Event) -> None:
        """Connect, list, follow; after a break begin again, with back-off."""
        while not stop.is_set():
            try:
                for changes in self._follow(stop):
                    self.failures = 0
                    if not self.mirror.connected:  # a resync found it wrong
                        break
                    for ref in self.mirror.apply(changes):
                        self.queue.add(ref.id, Urgency.DRIFT)
                trouble = "the event stream ended"
            except ClusterError as error:
                trouble = str(error)
            if stop.is_set():
                return
            self.mirror.lose(trouble)
            self.failures += 1
            log.warning("cluster lost", extra={"error": trouble, "failures": self.failures})
            if self.failures == OUTAGE_TRIES:
                self._look_at_all()
            stop.wait(backoff_s(self.failures, random=self.random))

    def _follow(self, stop: threading.Event) -> Iterator[Changes]:
        # The stream is opened before the list is read: whatever happens while the list is on its
        # way waits in the connection, so nothing falls between the two. And before that our
        # namespaces are made: a stream follows those that exist when it is opened (Nomad 2.0.6).
        # It starts at the oldest message there is: an index from before would be in the future of a
        # Nomad that lost its state, and what is older than the list is ignored anyway.
        self.cluster.ensure_namespaces()
        with closing(self.cluster.changes(after=0, stop=stop)) as stream:
            first = next(stream, None)
            if first is None:
                return
            fill(self.mirror, self.cluster)
            due = enqueue_due(self.store, self.mirror, self.queue, self.namespaces, Urgency.RESYNC)
            if self.failures >= OUTAGE_TRIES:
                self._look_at_all()
            log.info("cluster listed", extra={"index": self.mirror.job_index, "due": due})
            yield first
            yield from stream

    def _look_at_all(self) -> None:
        # Once when an outage begins and once when it is over: nobody shall read yesterday's
        # "Synced" meanwhile, nor an outage that is over.
        for head in self.store.heads():
            self.queue.add(head.uid, Urgency.RESYNC)


@dataclass(frozen=True, slots=True)
class Resync:
    """One look at everything, whatever the events said: a list of jobs, one query, no call per
    job."""

    cluster: Cluster
    mirror: Mirror
    store: SpecStore
    queue: WorkQueue[str]
    namespaces: dict[str, str]

    def run_once(self) -> int:
        """Compare everything once; return how many deployments need a look.

        Raises: ClusterError; the stream's own loop deals with the cause.
        """
        known_index = self.mirror.job_index
        for ref in self.mirror.compare(self.cluster.list_jobs(), known_index=known_index):
            self.queue.add(ref.id, Urgency.DRIFT)
        return enqueue_due(self.store, self.mirror, self.queue, self.namespaces, Urgency.RESYNC)


@dataclass(frozen=True, slots=True)
class Audit:
    """The slow comparison by content, so that no wrong index pair can live for ever."""

    store: SpecStore
    queue: WorkQueue[str]
    audits: set[str]
    random: Callable[[], float]

    def run_once(self, *, over_s: float) -> int:
        """Have every job read and compared once, spread over `over_s` seconds; return how many."""
        uids = [h.uid for h in self.store.heads() if not h.being_deleted and not h.suspended]
        self.audits.update(uids)
        for uid in uids:
            self.queue.add_after(uid, self.random() * over_s, Urgency.RESYNC)
        return len(uids)


def fill(mirror: Mirror, cluster: Cluster) -> None:
    """List all there is into `mirror`.

    Jobs first: later lists may know more, which the stream then repeats. Raises: ClusterError.
    """
    known_index = mirror.job_index
    snapshot = Snapshot(
        jobs=cluster.list_jobs(),
        allocations=cluster.list_allocations(),
        evaluations=cluster.list_evaluations(),
    )
    mirror.replace(snapshot, known_index=known_index)


def enqueue_due(
    store: SpecStore,
    mirror: Mirror,
    queue: WorkQueue[str],
    namespaces: dict[str, str],
    urgency: Urgency,
) -> int:
    """Put every deployment that needs a look on the queue; return how many."""
    due = due_among(store.heads(), mirror.indexes(), namespaces)
    for uid in due:
        queue.add(uid, urgency)
    return len(due)


def due_among(
    heads: Sequence[Head],
    indexes: dict[JobRef, tuple[Job, int]],
    namespaces: dict[str, str],
) -> list[str]:
    """Return the ids of the deployments that are not known to be settled as they were last seen."""
    return [
        head.uid
        for head in heads
        if _due(head, indexes.get(JobRef(namespaces.get(head.vo, ""), head.uid)))
    ]


def _due(head: Head, seen: tuple[Job, int] | None) -> bool:
    if head.being_deleted or head.observed_generation < head.generation:
        return True
    if seen is None:
        return not head.suspended
    job, index = seen
    if head.suspended:
        return not job.stopped or index > head.seen_index
    if head.applied_generation < head.generation:
        return True
    return job.job_modify_index != head.applied_index or index > head.seen_index
