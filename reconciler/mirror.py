"""What Nomad has of ours, in memory: filled by one list and one stream, so that a look costs no
call.

The rules that keep it true:

- Every object carries the Raft index at which it last changed; an older one never replaces a newer.
- A list replaces everything, except what we wrote ourselves at a later index than the list's.
- After our own write the mirror says what we wrote; what the stream tells of an earlier index is
  ignored until the echo arrives, so that nobody acts on the past.
- An index that went backwards means that Nomad was restored from an older state: everything known
  is dropped, the list is the truth.
- Devices that a node gained concern everybody who waits for room: `devices_index` says when.
- Of everybody's allocations in our namespaces only the devices are kept that they hold; what other
  namespaces hold nobody tells us.
- While there is no connection nothing is known: a look raises, and nobody decides on old news.
"""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, assert_never

from reconciler.capacity import NodeRoom, rooms_of
from reconciler.cluster.protocol import Listing
from reconciler.devices import GpuModel, Holds
from reconciler.errors import ClusterError, ClusterUnavailable
from reconciler.jobs import (
    Allocation,
    Change,
    Changes,
    Evaluation,
    Job,
    JobGone,
    JobRef,
    Json,
    Node,
    Rollout,
)
from reconciler.nodes import LOST, gained_devices, offers_more
from reconciler.steps import Observed

KEPT_TERMINAL: Final = 3
"""Ended allocations kept per job, newest first: they tell why, and Nomad says nothing of their
end."""

DECIDED: Final = frozenset({"complete", "blocked", "failed"})
"""Statuses of an evaluation that say something about placement."""


@dataclass(slots=True)
class _Entry:
    job: Job | None = None
    written_index: int = 0
    allocations: dict[str, Allocation] = field(default_factory=dict)
    evaluation: Evaluation | None = None
    rollout: Rollout | None = None

    @property
    def waits(self) -> bool:
        return self.evaluation is not None and self.evaluation.waits

    def is_on(self, node_id: str) -> bool:
        return any(a.node_id == node_id for a in self.allocations.values())

    def index(self) -> int:
        newest = [a.modify_index for a in self.allocations.values()]
        newest.append(self.job.job_modify_index if self.job else 0)
        newest += [part.modify_index for part in (self.evaluation, self.rollout) if part]
        return max(newest)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One complete picture of the cluster: the lists that `replace` takes."""

    jobs: Listing[Job]
    allocations: Listing[Allocation]
    evaluations: Listing[Evaluation]
    rollouts: Listing[Rollout]
    nodes: Listing[Node]


class Mirror:
    """Our jobs and what became of them. Safe to use from any thread; nothing in it blocks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[JobRef, _Entry] = {}
        self._nodes: dict[str, Node] = {}
        self._holds = Holds()
        self._room = False
        self._devices_index = 0
        self._connected = False
        self._doubted = False
        self._trouble = "the first list of Nomad's jobs has not arrived yet"
        self._kind: type[ClusterError] = ClusterUnavailable
        self._job_index = 0
        self._heard_index = 0
        self._listed: dict[type, int] = {}
        self._evaluating: set[str] = set()
        self._evaluated = 0

    def replace(self, snapshot: Snapshot, *, known_index: int) -> None:
        """Take a complete list as the truth. From here on the mirror answers.

        `known_index` is `job_index` from before the list was asked for: a list below it comes from
        a Nomad that went back in time, and nothing that was known counts any more.
        """
        with self._lock:
            restored = snapshot.jobs.index < known_index
            written = {} if restored else self._written_after(snapshot.jobs.index)
            self._entries = {job.ref: _Entry(job) for job in snapshot.jobs.items}
            for ref, entry in written.items():
                self._entries[ref] = entry
            self._holds = Holds()
            for allocation in snapshot.allocations.items:
                self._put_allocation(allocation)
            for evaluation in snapshot.evaluations.items:
                self._put_evaluation(evaluation)
            for rollout in snapshot.rollouts.items:
                self._put_rollout(rollout)
            self._devices_index = self._devices_index_after(snapshot.nodes, restored=restored)
            self._nodes = {node.id: node for node in snapshot.nodes.items}
            self._room = True
            self._doubted = False
            self._evaluating.clear()
            jobs_index = snapshot.jobs.index
            self._listed = {
                Job: jobs_index,
                JobGone: jobs_index,
                # Of a job that came between the lists they were passed over: it was not known yet.
                Allocation: min(jobs_index, snapshot.allocations.index),
                Evaluation: min(jobs_index, snapshot.evaluations.index),
                Rollout: min(jobs_index, snapshot.rollouts.index),
                Node: snapshot.nodes.index,
            }
            newest = [jobs_index, *(entry.written_index for entry in written.values())]
            self._job_index = max(newest)
            self._heard_index = self._listed[Allocation]
            self._connected = True

    def compare(self, jobs: Listing[Job], *, known_index: int) -> frozenset[JobRef]:
        """Take a complete list of jobs while the stream runs; return the jobs it had missed.

        A list below `known_index` ends the connection, so that everything is listed again.
        """
        with self._lock:
            if jobs.index < known_index:
                self._lose("Nomad went back in time; listing again", ClusterUnavailable)
                return frozenset()
            listed = {job.ref for job in jobs.items}
            gone = [
                JobGone(ref, jobs.index)
                for ref, entry in self._entries.items()
                if ref not in listed and entry.job and entry.job.modify_index <= jobs.index
            ]
            missed = {job.ref for job in jobs.items if self._put_job(job)}
            return frozenset(missed | {job.ref for job in gone if self._put_gone(job)})

    def apply(self, changes: Changes) -> frozenset[JobRef]:
        """Take one message of the stream; return the jobs that are not as they were."""
        with self._lock:
            # Jobs first: whose allocations and evaluations are ours follows from them.
            self._heard_index = max(self._heard_index, changes.index)
            ordered = sorted(changes.changes, key=lambda change: not isinstance(change, Job))
            if ordered and isinstance(ordered[0], Job):
                self._job_index = max(self._job_index, changes.index)
            fresh = [c for c in ordered if changes.index > self._listed.get(type(c), 0)]
            return frozenset(ref for change in fresh for ref in self._put(change))

    def took_room(self) -> bool:
        """Tell whether room may have appeared in the cluster since this was last asked.

        A node that came, got more or takes work again; work of anybody's that ended.
        """
        with self._lock:
            room, self._room = self._room, False
            return room

    def lose(self, trouble: str, kind: type[ClusterError] = ClusterUnavailable) -> None:
        """Note that the connection is gone: looks raise `kind`, with this word, until the next
        list."""
        with self._lock:
            self._lose(trouble, kind)

    def doubt(self) -> None:
        """Ask for a fresh list, without losing sight meanwhile: an event may have been missed."""
        with self._lock:
            self._doubted = True

    def note_registered(self, ref: JobRef, job: Json, index: int) -> None:
        """Note our own write of `job` at `index`, before its echo arrives."""
        with self._lock:
            entry = self._entries.setdefault(ref, _Entry())
            if entry.job is None or entry.job.modify_index < index:
                entry.job = Job(
                    ref=ref,
                    job_modify_index=index,
                    modify_index=index,
                    stopped=False,
                    status="pending",
                    meta=job.get("Meta") or {},
                )
                entry.written_index = index
            self._job_index = max(self._job_index, index)

    def note_stopped(self, ref: JobRef, index: int) -> None:
        """Note that we stopped the job at `index`."""
        with self._lock:
            entry = self._entries.get(ref)
            if entry is not None and entry.job is not None and entry.job.modify_index <= index:
                entry.job = replace(
                    entry.job, stopped=True, job_modify_index=index, modify_index=index
                )
                entry.written_index = index
            self._job_index = max(self._job_index, index)

    def note_purged(self, ref: JobRef) -> None:
        """Note that we purged the job."""
        with self._lock:
            self._entries.pop(ref, None)

    def note_read(self, ref: JobRef, job: Job | None, *, adopted: bool = False) -> None:
        """Note the job as it was just read, or that there is none: the way out of a conflict.

        What runs of an `adopted` one that is new here was never listened to: so everything is
        listed anew before it is known.
        """
        with self._lock:
            if job is None:
                self._entries.pop(ref, None)
            elif adopted and ref not in self._entries:
                self._doubted = True
            else:
                self._entries.setdefault(ref, _Entry()).job = job

    def look(self, ref: JobRef) -> Observed:
        """Return what is known of one job. Raises: what `lose` was told while there is no
        connection."""
        with self._lock:
            self._require_connection()
            entry = self._entries.get(ref)
            if entry is None:
                return Observed()
            return Observed(
                job=entry.job,
                allocations=tuple(entry.allocations.values()),
                evaluation=entry.evaluation,
                rollout=entry.rollout,
                lost_nodes=frozenset(
                    a.node_id for a in entry.allocations.values() if self._is_lost(a.node_id)
                ),
                devices_index=self._devices_index,
                index=self._index(entry),
                heard_index=self._heard_index,
            )

    def indexes(self) -> dict[JobRef, tuple[Job, int]]:
        """Return of every job of ours the job and the newest index of what concerns it.

        Raises: what `lose` was told while there is no connection.
        """
        with self._lock:
            self._require_connection()
            return {
                ref: (entry.job, self._index(entry))
                for ref, entry in self._entries.items()
                if entry.job is not None
            }

    def gpu_models(self, device: str) -> Sequence[GpuModel]:
        """Return which models of `device` the cluster has, and how many of each are free now.

        Raises: what `lose` was told while there is no connection.
        """
        with self._lock:
            self._require_connection()
            return self._holds.models(self._nodes.values(), device)

    def line(self) -> tuple[int, int]:
        """Return how many evaluations wait for a scheduler, as far as the stream told, and how many
        were made since the beginning; those of foreign jobs in our namespaces count."""
        with self._lock:
            return len(self._evaluating), self._evaluated

    def rooms(self, device: str) -> Sequence[NodeRoom]:
        """Return what each node has and what of it is taken, by name; GPUs are those of `device`.

        Raises: what `lose` was told while there is no connection.
        """
        with self._lock:
            self._require_connection()
            ours = [a for entry in self._entries.values() for a in entry.allocations.values()]
            return rooms_of(self._nodes.values(), ours, self._holds.on_nodes(device), device)

    @property
    def trouble(self) -> str:
        """Why nothing is known, "" while lists and stream are in place."""
        return "" if self._connected else self._trouble

    @property
    def heard_index(self) -> int:
        """The newest index that the stream has told of."""
        return self._heard_index

    def sizes(self) -> dict[str, int]:
        """Return how much is known, by kind."""
        return {"jobs": len(self._entries), "nodes": len(self._nodes)}

    @property
    def job_index(self) -> int:
        """The newest index at which a job is known to have changed."""
        return self._job_index

    @property
    def doubted(self) -> bool:
        """Whether a fresh list was asked for and has not arrived."""
        return self._doubted

    @property
    def connected(self) -> bool:
        """Whether lists and stream are in place."""
        return self._connected

    def _require_connection(self) -> None:
        if not self._connected:
            raise self._kind(self._trouble)

    def _lose(self, trouble: str, kind: type[ClusterError]) -> None:
        self._connected, self._trouble, self._kind = False, trouble, kind
        self._evaluating.clear()  # who was in line is not heard of any more

    def _written_after(self, index: int) -> dict[JobRef, _Entry]:
        return {ref: e for ref, e in self._entries.items() if e.written_index > index}

    def _index(self, entry: _Entry) -> int:
        return max(entry.index(), self._devices_index if entry.waits else 0)

    def _devices_index_after(self, nodes: Listing[Node], *, restored: bool) -> int:
        """Return the newest index at which devices appeared, as far as a complete list tells."""
        if restored:
            return 0
        # To the first list every device is a gain: one that came while nobody looked counts, and
        # who has been judged since the node last changed is not asked about again.
        known = self._nodes
        gains = [n.modify_index for n in nodes.items if gained_devices(n, known.get(n.id))]
        return max([self._devices_index, *gains])

    def _put(self, change: Change) -> Iterable[JobRef]:
        """Take one change; return the jobs that are not as they were."""
        match change:
            case Job():
                moved = self._put_job(change)
            case JobGone():
                moved = self._put_gone(change)
            case Allocation():
                self._room = self._room or change.terminal
                moved = self._put_allocation(change)
            case Evaluation():
                moved = self._put_evaluation(change)
            case Rollout():
                moved = self._put_rollout(change)
            case Node():
                return self._put_node(change)
            case _:
                assert_never(change)
        return (change.ref,) if moved else ()

    def _put_rollout(self, rollout: Rollout) -> bool:
        entry = self._entries.get(rollout.ref)
        if entry is None:
            return False
        before = entry.rollout
        if before is not None and rollout.modify_index <= before.modify_index:
            return False
        entry.rollout = rollout
        return before is None or (before.id, before.status) != (rollout.id, rollout.status)

    def _put_node(self, node: Node) -> Iterable[JobRef]:
        before = self._nodes.get(node.id)
        if before is not None and node.modify_index <= before.modify_index:
            return ()
        self._nodes[node.id] = node
        self._room = self._room or offers_more(node, before)
        gained = gained_devices(node, before)
        if gained:
            self._devices_index = max(self._devices_index, node.modify_index)
        moved = before is not None and before.status != node.status
        if not gained and not moved:
            return ()  # what most events of a node come to: nobody need be searched
        return [
            ref
            for ref, entry in self._entries.items()
            if (gained and entry.waits) or (moved and entry.is_on(node.id))
        ]

    def _is_lost(self, node_id: str) -> bool:
        node = self._nodes.get(node_id)
        return node is not None and node.status in LOST

    def _put_job(self, job: Job) -> bool:
        entry = self._entries.get(job.ref)
        if entry is None:
            if not job.managed:
                return False
            self._entries[job.ref] = _Entry(job)
            return True
        before = entry.job
        if before is not None and job.modify_index < before.modify_index:
            return False
        entry.job = job
        return before is None or before.job_modify_index != job.job_modify_index

    def _put_gone(self, gone: JobGone) -> bool:
        entry = self._entries.get(gone.ref)
        if entry is None or (entry.job and entry.job.modify_index > gone.modify_index):
            return False
        del self._entries[gone.ref]
        return True

    def _put_allocation(self, allocation: Allocation) -> bool:
        self._holds.put(allocation)
        entry = self._entries.get(allocation.ref)
        if entry is None:
            return False
        before = entry.allocations.get(allocation.id)
        if before is not None and allocation.modify_index <= before.modify_index:
            return False
        entry.allocations[allocation.id] = allocation
        _forget_old(entry.allocations)
        return True

    def _put_evaluation(self, evaluation: Evaluation) -> bool:
        self._note_line(evaluation)
        entry = self._entries.get(evaluation.ref)
        if entry is None or evaluation.status not in DECIDED:
            return False
        before = entry.evaluation
        if before is not None and evaluation.modify_index < before.modify_index:
            return False
        entry.evaluation = evaluation
        # One failed placement arrives twice: with the evaluation and with the blocked one it left.
        return evaluation.failures != (before.failures if before else ())

    def _note_line(self, evaluation: Evaluation) -> None:
        if evaluation.status == "pending":
            self._evaluating.add(evaluation.id)
        elif evaluation.id in self._evaluating:
            self._evaluating.remove(evaluation.id)
            self._evaluated += 1


def _forget_old(allocations: dict[str, Allocation]) -> None:
    ended = [a for a in allocations.values() if a.terminal]
    for old in sorted(ended, key=lambda a: a.create_index)[:-KEPT_TERMINAL]:
        del allocations[old.id]
