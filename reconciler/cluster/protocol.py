"""The only door to a cluster. Everything that is done to or read from Nomad is one of these calls.

Held to one behaviour by `tests/contract/test_cluster.py`, which runs the same cases on the
simulator in process, on the simulator over HTTP and on a real Nomad. All methods block, are safe
to call from several threads and raise only `reconciler.errors.ClusterError` kinds.
"""

import threading
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from reconciler.jobs import (
    Allocation,
    Changes,
    Evaluation,
    Job,
    JobRef,
    Json,
    Node,
    Registered,
    Rollout,
    Verdict,
)

T = TypeVar("T")

LogKind = Literal["stdout", "stderr"]


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """A complete list and the state index it is at least as new as.

    Complete means every page arrived: a list that could not be finished raises instead.
    """

    index: int
    items: Sequence[T]


class Cluster(Protocol):
    """A Nomad, real or simulated."""

    @property
    def title(self) -> str:
        """What people are told they talk to: "Nomad 2.0.5 at http://…" or "simulated"."""
        ...

    def parse_job(self, hcl: str) -> Json:
        """Turn HCL into Nomad's job JSON. Raises `JobRejected` with the parser's words."""
        ...

    def ensure_namespaces(self) -> None:
        """Create those of our namespaces that are missing; what is there stays as it is.

        Raises `ClusterForbidden`, with what an operator has to run, where one is missing and our
        token may not create it; and where our token may not read what the event stream tells.
        """
        ...

    def list_jobs(self) -> Listing[Job]:
        """List all managed jobs of our namespaces, paged. Foreign jobs are left out."""
        ...

    def list_foreign_jobs(self) -> Listing[Job]:
        """List the jobs of our namespaces that do not carry our marker, paged."""
        ...

    def list_allocations(self) -> Listing[Allocation]:
        """List the allocations of our namespaces, foreign jobs' included, paged."""
        ...

    def list_evaluations(self) -> Listing[Evaluation]:
        """List the evaluations of our namespaces that are blocked, paged.

        Completed ones are left out: they go on naming failures that are long over.
        """
        ...

    def list_rollouts(self) -> Listing[Rollout]:
        """List the rollouts (Nomad's deployments) of our namespaces, ended ones included, paged."""
        ...

    def list_nodes(self) -> Listing[Node]:
        """List the cluster's nodes with their capacity and devices."""
        ...

    def read_job(self, ref: JobRef) -> Json | None:
        """Read one job in full, or None where it does not exist (stopped ones do)."""
        ...

    def plan_job(self, job: Json) -> Verdict:
        """Ask the scheduler what a register would do. Costs a scheduler pass: suspects only."""
        ...

    def register_job(self, job: Json, *, if_index: int) -> Registered:
        """Write the job, if it is still at `if_index` (0: if it does not exist, stopped counts).

        Raises `JobConflict` where it moved, `JobRejected` where Nomad will never take it.
        """
        ...

    def stop_job(self, ref: JobRef) -> Registered:
        """Stop the job; its record and allocations stay. Stopping a stopped or missing one is
        fine."""
        ...

    def purge_job(self, ref: JobRef) -> Registered:
        """Stop the job and forget it. Purging a missing one is fine."""
        ...

    def restart_allocation(self, ref: JobRef, allocation_id: str) -> None:
        """Restart every task of a running allocation in place.

        One that is gone or does not run has nothing to restart: that is fine.
        """
        ...

    def evaluate_job(self, ref: JobRef) -> None:
        """Let the scheduler look at the job again; running work and the job stay as they are.

        A missing one has nothing to evaluate: that is fine.
        """
        ...

    def read_variable(self, ref: JobRef) -> tuple[Mapping[str, str], int] | None:
        """Read the items and the index of the Variable at `nomad/jobs/<job id>`, or None."""
        ...

    def put_variable(self, ref: JobRef, items: Mapping[str, str], *, if_index: int) -> int:
        """Write the Variable if it is at `if_index` (0: absent); return its new index.

        Raises `JobConflict` where it moved.
        """
        ...

    def delete_variable(self, ref: JobRef) -> None:
        """Remove the Variable. Removing a missing one is fine."""
        ...

    def read_log(
        self,
        ref: JobRef,
        allocation_id: str,
        *,
        task: str,
        kind: LogKind,
        tail_bytes: int,
        follow: bool,
        stop: threading.Event,
    ) -> Generator[bytes, None, None]:
        """Read the last `tail_bytes` of what a task has written, and with `follow` what comes.

        The text comes in pieces that end anywhere. Who follows gets b"" about once a second, when
        there may be nothing new, and goes on for ever: when the allocation has ended is for the
        caller to know. The iterator ends within about a second once `stop` is set.

        Raises: LogMissing where there is nothing to read, or not any more.
        """
        ...

    def changes(self, *, after: int, stop: threading.Event) -> Generator[Changes, None, None]:
        """Follow the event stream from `after` on, heartbeats included, in order by namespace.

        The iterator ends or raises `ClusterUnavailable` when a connection is lost or silent; it
        ends when `stop` is set. Nomad may skip or repeat what lies around the start: list after
        every (re)connect.
        """
        ...
