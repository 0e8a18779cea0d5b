"""Jobs that carry our marker and have no record: told, and stopped only where the operator says so.

A job is an orphan of this store where it carries the store's id; jobs of other stores are told as
well, and never touched. A job that is gone by now costs nothing: stopping it is no fault.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from reconciler.cluster.protocol import Cluster
from reconciler.jobs import Job, JobRef
from specs.records import Head

log = logging.getLogger(__name__)


def orphans_among(jobs: Collection[Job], heads: Sequence[Head]) -> list[Job]:
    """Return the jobs that run and have no record, by id (pure).

    `heads` must have been read after `jobs`: a job has its record before it exists. Children that a
    periodic job started have their parent's Meta, and with it its record.
    """
    known = {head.uid for head in heads}
    return sorted(
        (
            job
            for job in jobs
            if not job.stopped and known.isdisjoint((job.ref.id, job.meta.get("ai4papi_uid", "")))
        ),
        key=lambda job: job.ref,
    )


@dataclass(slots=True)
class Orphans:
    """What is done about orphans: `policy` report or stop. `store_id` is that of our own jobs.

    `deleted` returns those of some uids whose records lie in the trash: their end was asked for.
    """

    cluster: Cluster
    store_id: str
    deleted: Callable[[Sequence[str]], frozenset[str]]
    policy: Literal["report", "stop"] = "report"
    _told: frozenset[JobRef] = field(default=frozenset(), init=False)

    @property
    def told(self) -> int:
        """How many orphans there were at the last look."""
        return len(self._told)

    def look(self, jobs: Mapping[JobRef, Job], heads: Sequence[Head], *, may_stop: bool) -> None:
        """Tell new orphans to the operator's log; stop our own where the policy is `stop`.

        A job of ours whose record was deleted is purged whatever the policy: a reconciler that was
        paused in the middle of a look can register it again when the other has let the record go.

        Raises: ClusterError.
        """
        found = orphans_among(jobs.values(), heads)
        refs = frozenset(job.ref for job in found)
        for job in found:
            if job.ref not in self._told:
                log.warning("orphan job", extra={"job": job.ref.id, "namespace": job.ref.namespace})
        self._told = refs
        if not may_stop:
            return
        ours = [job for job in found if job.meta.get("ai4papi_store") == self.store_id]
        deleted = self.deleted([job.ref.id for job in ours])
        for job in ours:
            if job.ref.id in deleted:
                log.warning("deleted job purged again", extra={"job": job.ref.id})
                self.cluster.purge_job(job.ref)
                self.cluster.delete_variable(job.ref)
            elif self.policy == "stop":
                log.warning("orphan job stopped", extra={"job": job.ref.id})
                self.cluster.stop_job(job.ref)
