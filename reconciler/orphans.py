"""Jobs that carry our marker and have no record: told, and stopped only where the operator says so.

A job is an orphan of this store where it carries the store's id; jobs of other stores are told as
well, and never touched. A job that is gone by now costs nothing: stopping it is no fault.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
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
    """What is done about orphans: `policy` report or stop. `store_id` is that of our own jobs."""

    cluster: Cluster
    store_id: str
    policy: Literal["report", "stop"] = "report"
    _told: frozenset[JobRef] = field(default=frozenset(), init=False)

    def look(self, jobs: Mapping[JobRef, Job], heads: Sequence[Head], *, may_stop: bool) -> None:
        """Tell new orphans to the operator's log; stop our own where the policy is `stop`.

        Raises: ClusterError.
        """
        found = orphans_among(jobs.values(), heads)
        refs = frozenset(job.ref for job in found)
        for job in found:
            if job.ref not in self._told:
                log.warning("orphan job", extra={"job": job.ref.id, "namespace": job.ref.namespace})
        self._told = refs
        if self.policy != "stop" or not may_stop:
            return
        for job in found:
            if self.store_id and job.meta.get("ai4papi_store") == self.store_id:
                log.warning("orphan job stopped", extra={"job": job.ref.id})
                self.cluster.stop_job(job.ref)
