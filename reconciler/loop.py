"""The loop: one deployment at a time, one step at a time.

get -> observe -> make_plan (pure) -> apply -> status_of (pure) -> put_status
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from reconciler.apply import Hands, apply
from reconciler.cluster.decode import job as job_of
from reconciler.endpoints import Endpoints
from reconciler.errors import ClusterError, ClusterForbidden, JobConflict, JobRejected
from reconciler.jobs import Json
from reconciler.plan import Observed, make_plan, wants_live_job, wants_verdict
from reconciler.queue import QueueShutDown, WorkQueue
from reconciler.render import Site, Wanted, job_ref, render
from reconciler.status import Look, current_allocation, status_of
from specs.model import Deployment
from specs.store import SpecStore

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reconciler:
    """Everything one look needs. `template` parses `etc/job.nomad` at most once; `now` is UTC.

    `audits` holds the ids whose next look compares the job by content even if no index moved.
    """

    store: SpecStore
    hands: Hands
    template: Callable[[], Json]
    site: Site
    endpoints: Endpoints
    now: Callable[[], datetime]
    audits: set[str] = field(default_factory=set)

    def reconcile(self, uid: str) -> float | None:
        """Bring one deployment a step closer to its spec and record how it is doing.

        Returns: seconds until it needs another look, None if the next event will do.
        Raises: ClusterError, other than a refusal of the job itself: come back with back-off.
        """
        deployment = self.store.get(uid)
        if deployment is None:
            return None
        look = self._look(deployment)
        self._record(deployment, look)
        if look.error is not None and not isinstance(look.error, JobRejected):
            raise look.error
        return look.plan.look_again_s if look.plan else None

    def _look(self, deployment: Deployment) -> Look:
        look = Look(applied=deployment.applied)
        try:
            wanted = render(deployment, self.template(), self.site)
            observed = self._observe(deployment, wanted)
            plan = make_plan(deployment, wanted, observed)
            look = replace(look, observed=observed, plan=plan)
            applied = apply(plan, deployment.uid, self.hands)
            return replace(look, applied=applied or look.applied)
        except JobConflict as error:
            self._read_again(deployment)
            return replace(look, error=error)
        except ClusterError as error:
            return replace(look, error=error)

    def _observe(self, deployment: Deployment, wanted: Wanted) -> Observed:
        observed = self.hands.mirror.look(wanted.ref)
        cluster = self.hands.cluster
        if wants_verdict(deployment, wanted, observed.job):
            return replace(observed, verdict=cluster.plan_job(wanted.job))
        if wants_live_job(deployment, observed.job, audit=deployment.uid in self.audits):
            live = cluster.read_job(wanted.ref)
            self.audits.discard(deployment.uid)
            return replace(observed, live=live, job=observed.job if live else None)
        return observed

    def _read_again(self, deployment: Deployment) -> None:
        ref = job_ref(deployment, self.site)
        live = self.hands.cluster.read_job(ref)
        self.hands.mirror.note_read(ref, job_of(live) if live else None)

    def _record(self, deployment: Deployment, look: Look) -> None:
        allocation = current_allocation(look.observed.allocations) if look.observed else None
        status = status_of(
            deployment,
            look,
            endpoints=self.endpoints.of(deployment.uid, allocation),
            namespace=self.site.namespaces.get(deployment.vo, ""),
            now=self.now(),
        )
        seen = look.observed.index if look.observed else 0
        self.store.put_status(deployment.uid, status, applied=look.applied, seen_index=seen)
        if look.error is not None or (look.plan is not None and look.plan.actions):
            log.info("looked", extra=_told(deployment, look))


def work_once(queue: WorkQueue[str], reconcile: Callable[[str], float | None], uid: str) -> None:
    """Look at `uid`, which came from `queue`, and decide whether and when it comes back.

    The only place that does: every failure goes through the queue's back-off.
    """
    try:
        look_again_s = reconcile(uid)
    except ClusterForbidden as error:
        log.error("cluster forbids", extra={"uid": uid, "error": str(error)})  # noqa: TRY400
        queue.retry(uid)
    except ClusterError as error:
        delay_s = queue.retry(uid)
        log.info(
            "will retry", extra={"uid": uid, "error": str(error), "delay_s": round(delay_s, 2)}
        )
    except Exception:  # the top of a worker thread: one broken look must not end it
        log.exception("look failed", extra={"uid": uid})
        queue.retry(uid)
    else:
        queue.forget(uid)
        if look_again_s is not None:
            queue.add_after(uid, look_again_s)
    finally:
        queue.done(uid)


def work(queue: WorkQueue[str], reconcile: Callable[[str], float | None]) -> None:
    """Look at what the queue hands out until it is shut down. A worker thread's whole life."""
    while True:
        try:
            uid = queue.get()
        except QueueShutDown:
            return
        if uid is not None:
            work_once(queue, reconcile, uid)


def _told(deployment: Deployment, look: Look) -> Mapping[str, object]:
    plan = look.plan
    return {
        "uid": deployment.uid,
        "deployment": deployment.name,
        "generation": deployment.generation,
        "plan": plan.reason if plan else None,
        "error": str(look.error) if look.error else None,
    }
