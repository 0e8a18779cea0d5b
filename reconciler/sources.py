"""Why a deployment is looked at: its wish changed, the cluster changed, or it is time to look
anyway.

Sources only put ids on the queue. What an event says is used for the mirror and then thrown away:
it means "look", never "do".
"""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

from reconciler.cluster.decode import job as job_of
from reconciler.cluster.protocol import Cluster, Listing
from reconciler.errors import ClusterError, ClusterForbidden, ClusterUnavailable
from reconciler.guard import StoreGuard
from reconciler.jobs import Changes, Job, JobRef
from reconciler.mirror import Mirror, Snapshot
from reconciler.orphans import Orphans
from reconciler.queue import Urgency, WorkQueue, backoff_s
from reconciler.waiting import WaitingForRoom
from specs.faults import StoreUnavailable
from specs.records import Head
from specs.store import SpecStore

log = logging.getLogger(__name__)

WISHES_WAIT_S: Final = 1.0
"""How long the wait for wishes lasts before it looks whether it should end."""

OUTAGE_TRIES: Final = 3
"""So many failed connects in a row, some 2 s, are an outage that every status must tell."""


SLOWEST_TRY: Final = 5
"""The back-off between connects grows for so many tries: to some 4 s."""


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
    `queue_of` returns the queue of a VO's cluster.
    """

    store: SpecStore
    queue_of: Callable[[str], WorkQueue[str]]
    position: int
    name: str = "wishes"

    def run(self, stop: threading.Event) -> None:
        """Follow the feed."""
        while not stop.is_set():
            try:
                self._take()
            except StoreUnavailable as error:
                # Nothing is lost: the feed is read on from where it was.
                log.warning("store unavailable", extra={"error": str(error)})
                stop.wait(WISHES_WAIT_S)

    def _take(self) -> None:
        for wished in self.store.wishes_after(self.position):
            queue = self.queue_of(wished.vo)
            queue.add(wished.uid, Urgency.USER, flow=" ".join(wished.owner))
            self.position = wished.position
        self.store.wait_for_wishes(self.position, timeout_s=WISHES_WAIT_S)


@dataclass(slots=True)
class ClusterChanges:
    """Nomad's event stream, with a fresh list after every connect: it fills the mirror.

    `heads` returns those of the deployments that belong to this cluster. `heard` is told of every
    message.
    """

    cluster: Cluster
    mirror: Mirror
    heads: Callable[[], Sequence[Head]]
    queue: WorkQueue[str]
    namespaces: dict[str, str]
    random: Callable[[], float]
    now: Callable[[], datetime]
    waiting: WaitingForRoom
    guard: StoreGuard
    heard: Callable[[], None] = lambda: None
    name: str = "cluster"
    failures: int = field(default=0, init=False)

    def run(self, stop: threading.Event) -> None:
        """Connect, list, follow; after a break begin again, with back-off."""
        while not stop.is_set():
            trouble = self._connection(stop)
            if stop.is_set():
                return
            if trouble is None:
                continue
            self.mirror.lose(str(trouble), type(trouble))
            self.failures += 1
            forbidden = isinstance(trouble, ClusterForbidden)
            log.log(
                logging.ERROR if forbidden else logging.WARNING,
                "cluster forbids" if forbidden else "cluster lost",
                extra={"error": str(trouble), "failures": self.failures},
            )
            if self.failures == OUTAGE_TRIES:
                look_at_all(self.heads(), self.queue)
            # One connection of one process: to try every few seconds costs nobody anything, and
            # nobody waits for long after an outage of hours.
            tries = min(self.failures, SLOWEST_TRY)
            stop.wait(backoff_s(tries, random=self.random))

    def _connection(self, stop: threading.Event) -> ClusterError | None:
        """Follow one connection to its end; return what ended it, None if only a list is wanted."""
        try:
            for changes in self._follow(stop):
                self.failures = 0
                self.heard()
                if not self.mirror.connected:  # a resync found it wrong
                    break
                if self.mirror.doubted:
                    return None
                for ref in self.mirror.apply(changes):
                    self.queue.add(ref.id, Urgency.DRIFT)
                if self.mirror.took_room():
                    ask_again(self.queue, self.waiting)
        except ClusterError as error:
            return error
        except StoreUnavailable as error:
            return ClusterUnavailable(str(error))
        return ClusterUnavailable("the event stream ended")

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
            self.guard.check()
            fill(self.mirror, self.cluster, adopted_among(self.heads(), self.namespaces))
            jobs = self.mirror.indexes()
            due = enqueue_due(self.heads(), jobs, self.queue, self.namespaces, now=self.now())
            if self.failures >= OUTAGE_TRIES or self.guard.trouble:
                look_at_all(self.heads(), self.queue)
            log.info("cluster listed", extra={"index": self.mirror.job_index, "due": due})
            yield first
            yield from stream


@dataclass(frozen=True, slots=True)
class Resync:
    """One look at everything, whatever the events said: a list of jobs, one query, no call per
    job. `does_site` tells whether the single duties of the site are this process's."""

    cluster: Cluster
    mirror: Mirror
    heads: Callable[[], Sequence[Head]]
    queue: WorkQueue[str]
    namespaces: dict[str, str]
    guard: StoreGuard
    orphans: Orphans
    let_in: Callable[[], int]
    now: Callable[[], datetime]
    does_site: Callable[[], bool] = lambda: True

    def run_once(self) -> int:
        """Compare everything once; return how many deployments need a look.

        Raises: ClusterError; the stream's own loop deals with the cause.
        """
        if self.does_site():
            self.let_in()  # room that nobody's write made: a limit was raised
        adopted = adopted_among(self.heads(), self.namespaces)
        known_index = self.mirror.job_index
        listed = list_ours(self.cluster, adopted)
        for ref in self.mirror.compare(listed, known_index=known_index):
            self.queue.add(ref.id, Urgency.DRIFT)
        trouble = self.guard.trouble
        self.guard.keep_up()
        if trouble != self.guard.trouble:
            look_at_all(self.heads(), self.queue)
        jobs = self.mirror.indexes()
        heads = self.heads()
        due = enqueue_due(heads, jobs, self.queue, self.namespaces, now=self.now())
        known = {ref: job for ref, (job, _) in jobs.items()}
        self.orphans.look(known, heads, may_stop=self.does_site() and not self.guard.trouble)
        return due


@dataclass(frozen=True, slots=True)
class Audit:
    """The slow comparison by content, so that no wrong index pair can live for ever, nor a mirror
    that missed an event."""

    mirror: Mirror
    heads: Callable[[], Sequence[Head]]
    queue: WorkQueue[str]
    audits: set[str]
    random: Callable[[], float]

    def run_once(self, *, over_s: float) -> int:
        """Have every job read and compared once, spread over `over_s` seconds; return how many."""
        uids = [h.uid for h in self.heads() if not h.being_deleted and not h.suspended]
        self.audits.update(uids)
        self.mirror.doubt()
        for uid in uids:
            self.queue.add_after(uid, self.random() * over_s, Urgency.RESYNC)
        return len(uids)


def fill(mirror: Mirror, cluster: Cluster, adopted: Sequence[JobRef]) -> None:
    """List all there is into `mirror`, the `adopted` jobs among it.

    Jobs first: later lists may know more, which the stream then repeats. Raises: ClusterError.
    """
    known_index = mirror.job_index
    snapshot = Snapshot(
        jobs=list_ours(cluster, adopted),
        allocations=cluster.list_allocations(),
        evaluations=cluster.list_evaluations(),
        rollouts=cluster.list_rollouts(),
        nodes=cluster.list_nodes(),
    )
    mirror.replace(snapshot, known_index=known_index)


def list_ours(cluster: Cluster, adopted: Sequence[JobRef]) -> Listing[Job]:
    """List the jobs with our marker, and read one by one those that were taken over without it.

    Raises: ClusterError; then nothing is known, and never that a job is gone.
    """
    listed = cluster.list_jobs()
    read = [live for ref in adopted if (live := cluster.read_job(ref)) is not None]
    return Listing(listed.index, [*listed.items, *map(job_of, read)])


def adopted_among(heads: Sequence[Head], namespaces: Mapping[str, str]) -> list[JobRef]:
    """Return where the jobs are that were taken over and that we have not written yet."""
    return [JobRef(namespaces[h.vo], h.uid) for h in heads if h.adopted and h.vo in namespaces]


def look_at_all(heads: Sequence[Head], queue: WorkQueue[str]) -> None:
    """Put all of these deployments on the queue: when an outage begins, and when it is over.

    Nobody shall read yesterday's "Synced" meanwhile, nor of an outage that is over.
    """
    for head in heads:
        queue.add(head.uid, Urgency.RESYNC, flow=head.flow)


def ask_again(queue: WorkQueue[str], waiting: WaitingForRoom) -> None:
    """Let everybody who waits for room ask the scheduler again, each when it may."""
    for uid, delay_s in waiting.delays().items():
        queue.add_after(uid, delay_s, Urgency.RESYNC)


def enqueue_due(
    heads: Sequence[Head],
    jobs: dict[JobRef, tuple[Job, int]],
    queue: WorkQueue[str],
    namespaces: dict[str, str],
    *,
    now: datetime,
) -> int:
    """Put every deployment that needs a look on the queue; return how many need one now.

    `heads` must have been read after `jobs`, which are the mirror's.
    """
    due = due_among(heads, jobs, namespaces)
    for head in due:
        # A wish that nobody has looked at is as urgent as one that comes in now.
        unseen = head.observed_generation < head.generation
        urgency = Urgency.USER if unseen else Urgency.RESYNC
        queue.add(head.uid, urgency, flow=head.flow)
    for head in heads:
        if head.wake_at is not None:
            delay_s = max(0.0, (head.wake_at - now).total_seconds())
            queue.add_after(head.uid, delay_s, Urgency.RESYNC)
    return len(due)


def due_among(
    heads: Sequence[Head],
    indexes: dict[JobRef, tuple[Job, int]],
    namespaces: dict[str, str],
) -> list[Head]:
    """Return the deployments that are not known to be settled as they were last seen."""
    return [
        head
        for head in heads
        if _due(head, indexes.get(JobRef(namespaces.get(head.vo, ""), head.uid)))
    ]


def _due(head: Head, seen: tuple[Job, int] | None) -> bool:
    if head.being_deleted or head.observed_generation < head.generation:
        return True
    if seen is None:
        # The status may be from before the job was gone, or from no sight at all.
        return not head.suspended or head.seen_index != 0
    job, index = seen
    if head.suspended:
        return not job.stopped or index > head.seen_index
    if head.applied_generation < head.generation:
        return True
    return job.job_modify_index != head.applied_index or index > head.seen_index
