"""One Nomad cluster, and all that keeps the deployments of its VOs as they were declared.

A site has one, or several. Nothing is shared between two but the store: each has its own mirror,
queue, workers and back-off, so one that is down or slow delays no other.
"""

import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Final

from reconciler.apply import Hands
from reconciler.cluster.protocol import Cluster
from reconciler.diff import FieldChange, with_live_counts
from reconciler.drift import NO_JOB, found_in
from reconciler.endpoints import Endpoints
from reconciler.errors import ClusterError, ClusterForbidden, JobRejected
from reconciler.guard import StoreGuard
from reconciler.jobs import JobRef, Json, Verdict
from reconciler.loop import Reconciler
from reconciler.measures import Measures
from reconciler.mirror import Mirror
from reconciler.nomad_section import TargetSettings
from reconciler.orphans import Orphans, orphans_among
from reconciler.pressure import Pressure
from reconciler.queue import WorkQueue
from reconciler.render import Site, TemplateFault, Wanted, check_template, render
from reconciler.replica import Replica
from reconciler.settings import Settings
from reconciler.sources import (
    OUTAGE_TRIES,
    Audit,
    ClusterChanges,
    Resync,
    enqueue_due,
    look_at_all,
)
from reconciler.steps import Rules
from reconciler.waiting import WaitingForRoom
from specs.model import Deployment
from specs.records import Head
from specs.shards import shard_of
from specs.store import SpecStore, utc_now


@dataclass(slots=True)
class Template:
    """`etc/job.nomad`, parsed by the cluster at first use and then kept: Nomad may be down at
    start."""

    cluster: Cluster
    hcl: str
    _parsed: Json | None = field(default=None, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __call__(self) -> Json:
        """Return the template as Nomad's job JSON.

        Raises: ClusterUnavailable; ClusterForbidden where the template itself is at fault.
        """
        with self._lock:
            if self._parsed is None:
                try:
                    parsed = self.cluster.parse_job(self.hcl)
                    check_template(parsed)
                except (JobRejected, TemplateFault) as error:
                    raise ClusterForbidden(f"etc/job.nomad: {error}") from error
                self._parsed = parsed
            return self._parsed


class Target:
    """The cluster of `chosen`, and the loop on it. Nothing runs before a `Controller` starts it.

    `is_ours` says of a VO whether its deployments belong here; also VOs that the settings no longer
    name belong somewhere.
    """

    def __init__(
        self,
        chosen: TargetSettings,
        cluster: Cluster,
        store: SpecStore,
        settings: Settings,
        *,
        is_ours: Callable[[str], bool],
        measures: Measures,
        replica: Replica,
    ) -> None:
        self.name: Final = chosen.name
        self.cluster = cluster
        self.mirror = Mirror()
        self.queue: WorkQueue[str] = WorkQueue(clock=time.monotonic, random=random.random)
        self.namespaces = dict(chosen.namespaces)
        self._store = store
        self._is_ours = is_ours
        self._replica = replica
        self._measures = measures
        self.guard = StoreGuard(
            cluster, store, min(self.namespaces.values(), default="default"), replica.does_site
        )
        self.template = Template(cluster, settings.job_template)
        store_id = store.identity().store_id
        waiting = WaitingForRoom(clock=time.monotonic)
        pressure = Pressure(line=self.mirror.line, clock=time.monotonic, most=settings.workers)
        self.reconciler = Reconciler(
            store=store,
            hands=Hands(cluster, self.mirror, store, pressure.turn, replica.require),
            template=self.template,
            site=_site(settings, self.namespaces, store_id),
            endpoints=Endpoints(settings.endpoints.scheme, settings.endpoints.domain),
            now=utc_now,
            rules=lambda: Rules(
                drift=settings.drift, gpu_model=settings.gpu.model, frozen=self.guard.trouble
            ),
            waiting=waiting,
            measure=partial(measures.looked, taken=self._wished_at),
        )
        self.changes = ClusterChanges(
            cluster,
            self.mirror,
            self.heads,
            self.queue,
            self.namespaces,
            random=random.random,
            now=utc_now,
            waiting=waiting,
            guard=self.guard,
            heard=measures.heard,
            name=f"cluster-{self.name}",
        )
        self.resync = Resync(
            cluster,
            self.mirror,
            self.heads,
            self.queue,
            self.namespaces,
            guard=self.guard,
            orphans=Orphans(cluster, store_id, store.deleted, settings.orphans),
            let_in=store.let_in,
            does_site=replica.does_site,
            now=utc_now,
        )
        self.audit = Audit(
            self.mirror, self.heads, self.queue, self.reconciler.audits, random.random
        )

    def look(self, uid: str) -> float | None:
        """Bring one deployment a step closer to its spec, where that is this replica's work.

        Returns and raises what `Reconciler.reconcile` does; None for what is another's.
        """
        with self._replica.looking(uid) as ours:
            if ours:
                with self._measures.look(uid):
                    return self.reconciler.reconcile(uid)
        self.reconciler.audits.discard(uid)
        return None

    def _wished_at(self, deployment: Deployment) -> datetime | None:
        """Return when the present wish was taken, None where the store kept no word of it."""
        if deployment.generation == 1:
            return deployment.created_at
        return self._store.wished_at(deployment.uid, deployment.generation)

    def take_up(self, parts: frozenset[int]) -> None:
        """Put what is due in parts that are ours from now on the queue.

        Raises: StoreUnavailable.
        """
        if self.mirror.connected:
            with suppress(ClusterError):
                jobs = self.mirror.indexes()
                enqueue_due(self._of(parts), jobs, self.queue, self.namespaces, now=utc_now())
        elif self.changes.failures >= OUTAGE_TRIES:
            look_at_all(self._of(parts), self.queue)
        # Else the first list is still to come, and finds what is due.

    def heads(self) -> Sequence[Head]:
        """Return the head of every deployment that belongs to this cluster, in no order."""
        return [head for head in self._store.heads() if self._is_ours(head.vo)]

    def _of(self, parts: frozenset[int]) -> list[Head]:
        return [head for head in self.heads() if shard_of(head.uid) in parts]

    def orphans(self) -> Sequence[JobRef]:
        """Return the jobs here that carry our marker and have no record, of whatever VO.

        Raises: ClusterUnavailable while Nomad is out of sight.
        """
        jobs = [job for job, _ in self.mirror.indexes().values()]
        return [job.ref for job in orphans_among(jobs, self._store.heads())]

    def preview(self, deployment: Deployment) -> Verdict:
        """Ask the scheduler what applying `deployment` would do now; nothing is changed.

        Raises: ClusterError.
        """
        fresh = replace(deployment, generation=deployment.generation + 1)
        wanted = render(fresh, self.template(), self.reconciler.site)
        live = self.cluster.read_job(wanted.ref) if wanted.own else None
        return self._verdict(wanted, wanted.job, live)

    def compare(self, deployment: Deployment) -> tuple[Verdict, Sequence[FieldChange]]:
        """Ask the scheduler what writing the wanted job would do, and find where the live differs.

        A count that the job hands over to others is theirs. Nothing is changed.
        Raises: ClusterError.
        """
        wanted = render(deployment, self.template(), self.reconciler.site)
        live = self.cluster.read_job(wanted.ref)
        if live is None:
            return self._verdict(wanted, wanted.job, live), (NO_JOB,)
        job = with_live_counts(wanted.job, live)
        drift = found_in(live, job)
        return self._verdict(wanted, job, live), drift.changes if drift else ()

    def _verdict(self, wanted: Wanted, job: Json, live: Json | None) -> Verdict:
        if wanted.own is None:
            return self.cluster.plan_job(job)
        if live is None or live["Stop"]:
            return self.cluster.plan_job(wanted.own.job)
        # A job that was taken over stays as it is, whatever of it is known.
        return Verdict("none", live["JobModifyIndex"])


def _site(settings: Settings, namespaces: dict[str, str], store_id: str) -> Site:
    """Return the operator's choices that rendering depends on."""
    return Site(
        namespaces=namespaces,
        gpu_device=settings.gpu.device,
        gpu_model=settings.gpu.model,
        mhz_per_cpu=settings.cpu.mhz_per_cpu if settings.cpu.unit == "mhz" else None,
        store_id=store_id,
        priorities={name: known.priority for name, known in settings.priorities.items()},
    )
