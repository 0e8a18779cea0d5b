"""What Nomad has of ours, in memory: filled by one list and one stream, so that a look costs no
call.

The rules that keep it true:

- Every object carries the Raft index at which it last changed; an older one never replaces a newer.
- A list replaces everything, except what we wrote ourselves at a later index than the list's.
- After our own write the mirror says what we wrote; what the stream tells of an earlier index is
  ignored until the echo arrives, so that nobody acts on the past.
- An index that went backwards means that Nomad was restored from an older state: everything known
  is dropped, the list is the truth.
- While there is no connection nothing is known: a look raises, and nobody decides on old news.
"""

import threading
from dataclasses import dataclass, field, replace
from typing import Final, assert_never

from reconciler.cluster.protocol import Listing
from reconciler.errors import ClusterUnavailable
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
from reconciler.plan import Observed

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

    def index(self) -> int:
        newest = [a.modify_index for a in self.allocations.values()]
        newest.append(self.job.job_modify_index if self.job else 0)
        newest.append(self.evaluation.modify_index if self.evaluation else 0)
        return max(newest)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One complete picture of the cluster: the lists that `replace` takes."""

    jobs: Listing[Job]
    allocations: Listing[Allocation]
    evaluations: Listing[Evaluation]


class Mirror:
    """Our jobs and what became of them. Safe to use from any thread; nothing in it blocks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[JobRef, _Entry] = {}
        self._connected = False
        self._trouble = "the first list of Nomad's jobs has not arrived yet"
        self._job_index = 0
        self._listed: dict[type, int] = {}

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
            for allocation in snapshot.allocations.items:
                self._put_allocation(allocation)
            for evaluation in snapshot.evaluations.items:
                self._put_evaluation(evaluation)
            self._listed = {
                Job: snapshot.jobs.index,
                JobGone: snapshot.jobs.index,
                Allocation: snapshot.allocations.index,
                Evaluation: snapshot.evaluations.index,
            }
            newest = [snapshot.jobs.index, *(entry.written_index for entry in written.values())]
            self._job_index = max(newest)
            self._connected = True

    def compare(self, jobs: Listing[Job], *, known_index: int) -> frozenset[JobRef]:
        """Take a complete list of jobs while the stream runs; return the jobs it had missed.

        A list below `known_index` ends the connection, so that everything is listed again.
        """
        with self._lock:
            if jobs.index < known_index:
                self._connected, self._trouble = False, "Nomad went back in time; listing again"
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
            ordered = sorted(changes.changes, key=lambda change: not isinstance(change, Job))
            if ordered and isinstance(ordered[0], Job):
                self._job_index = max(self._job_index, changes.index)
            return frozenset(
                change.ref
                for change in ordered
                if not isinstance(change, Node)
                and changes.index > self._listed.get(type(change), 0)
                and self._put(change)
            )

    def lose(self, trouble: str) -> None:
        """Note that the connection is gone: looks raise, with this word, until the next list."""
        with self._lock:
            self._connected = False
            self._trouble = trouble

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

    def note_read(self, ref: JobRef, job: Job | None) -> None:
        """Note the job as it was just read, or that there is none: the way out of a conflict."""
        with self._lock:
            if job is None:
                self._entries.pop(ref, None)
            else:
                self._entries.setdefault(ref, _Entry()).job = job

    def look(self, ref: JobRef) -> Observed:
        """Return what is known of one job. Raises: ClusterUnavailable while there is no
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
                index=entry.index(),
            )

    def indexes(self) -> dict[JobRef, tuple[Job, int]]:
        """Return of every job of ours the job and the newest index in its entry.

        Raises: ClusterUnavailable while there is no connection.
        """
        with self._lock:
            self._require_connection()
            return {r: (e.job, e.index()) for r, e in self._entries.items() if e.job is not None}

    @property
    def job_index(self) -> int:
        """The newest index at which a job is known to have changed."""
        return self._job_index

    @property
    def connected(self) -> bool:
        """Whether lists and stream are in place."""
        return self._connected

    def _require_connection(self) -> None:
        if not self._connected:
            raise ClusterUnavailable(self._trouble)

    def _written_after(self, index: int) -> dict[JobRef, _Entry]:
        return {ref: e for ref, e in self._entries.items() if e.written_index > index}

    def _put(self, change: Change) -> bool:
        match change:
            case Job():
                return self._put_job(change)
            case JobGone():
                return self._put_gone(change)
            case Allocation():
                return self._put_allocation(change)
            case Evaluation():
                return self._put_evaluation(change)
            case Rollout() | Node():
                return False
            case _:
                assert_never(change)

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
        entry = self._entries.get(evaluation.ref)
        if entry is None or evaluation.status not in DECIDED:
            return False
        before = entry.evaluation
        if before is not None and evaluation.modify_index < before.modify_index:
            return False
        entry.evaluation = evaluation
        # One failed placement arrives twice: with the evaluation and with the blocked one it left.
        return evaluation.failures != (before.failures if before else ())


def _forget_old(allocations: dict[str, Allocation]) -> None:
    ended = [a for a in allocations.values() if a.terminal]
    for old in sorted(ended, key=lambda a: a.create_index)[:-KEPT_TERMINAL]:
        del allocations[old.id]
