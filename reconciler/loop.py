"""The loop: one deployment at a time, one step at a time.

get -> observe -> make_plan (pure) -> apply -> status_of (pure) -> put_status
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from reconciler.apply import Hands, apply
from reconciler.cluster.decode import job as job_of
from reconciler.diff import with_live_counts
from reconciler.endpoints import Endpoints
from reconciler.errors import (
    ClusterError,
    ClusterForbidden,
    ClusterUnavailable,
    JobConflict,
    JobRejected,
)
from reconciler.jobs import Json, Verdict
from reconciler.lease import has_ended, wakes_at
from reconciler.phase import Look, current_allocation, runs_no_more_than_wished
from reconciler.plan import make_plan, wants_live_job, wants_owner_check, wants_verdict
from reconciler.queue import QueueShutDown, WorkQueue
from reconciler.render import Site, Wanted, job_ref, render
from reconciler.status import status_of
from reconciler.steps import Observed, Plan, Rules
from reconciler.timeline import events_of
from reconciler.waiting import WaitingForRoom
from specs.faults import LeaseLost, StoreUnavailable
from specs.model import Deployment, DeploymentStatus, Event
from specs.quota import asks_of, standing_in_words
from specs.store import SpecStore

log = logging.getLogger(__name__)

ROOM_S: Final = 1.0
"""How soon to look again at what runs with less than is counted for it."""

NOTHING_SEEN: Final = -1
"""The index of a look that saw nothing, 0 being that of one that saw that there is no job."""


def _unmeasured(
    deployment: Deployment, look: Look, after: DeploymentStatus, told: Sequence[Event]
) -> None:
    """Count nothing."""


@dataclass(frozen=True, slots=True)
class Reconciler:
    """Everything one look needs. `template` parses `etc/job.nomad` at most once; `now` is UTC.

    `rules` is asked at every look. `waiting` knows whose changes are held. `audits` holds the ids
    whose next look compares the job by content even if no index moved. `measure` is told of what
    was recorded.
    """

    store: SpecStore
    hands: Hands
    template: Callable[[], Json]
    site: Site
    endpoints: Endpoints
    now: Callable[[], datetime]
    rules: Callable[[], Rules]
    waiting: WaitingForRoom
    audits: set[str] = field(default_factory=set)
    measure: Callable[[Deployment, Look, DeploymentStatus, Sequence[Event]], None] = _unmeasured

    def reconcile(self, uid: str) -> float | None:
        """Bring one deployment a step closer to its spec and record how it is doing.

        Returns: seconds until it needs another look, None if the next event will do.
        Raises: ClusterError, other than a refusal of the job itself: come back with back-off.
        """
        deployment = self.store.get(uid)
        if deployment is None:
            return None
        look = self._look(deployment)
        makes_room = self._makes_room(deployment, look)
        self._record(deployment, look, makes_room=makes_room)
        self._note_waiting(uid, look.plan)
        if look.error is not None and not isinstance(look.error, JobRejected):
            raise look.error
        return self._look_again_s(deployment, look, makes_room=makes_room)

    def _look(self, deployment: Deployment) -> Look:
        rules = self.rules()
        look = Look(applied=deployment.applied, rules=rules)
        try:
            wanted = render(deployment, self.template(), self.site)
            observed = self._observe(deployment, wanted)
            plan = make_plan(deployment, wanted, observed, now=self.now(), rules=rules)
            look = replace(look, observed=observed, plan=plan)
            applied = apply(plan, deployment, self.hands)
            return replace(look, applied=applied or look.applied)
        except JobConflict as error:
            self._read_again(deployment)
            return replace(look, error=error)
        except ClusterError as error:
            return replace(look, error=error)

    def _observe(self, deployment: Deployment, wanted: Wanted) -> Observed:
        observed = self._with_standing(deployment, self.hands.mirror.look(wanted.ref))
        cluster = self.hands.cluster
        if deployment.adopted and observed.job is None and self._read_again(deployment):
            # Without a marker no list and no event brings it, so what is not known may be there.
            raise ClusterUnavailable("a job that was just taken over; Nomad is listed again")
        if wants_owner_check(deployment, wanted, observed, self.now()):
            live = self._read_again(deployment)
            return replace(self.hands.mirror.look(wanted.ref), live=live, quota=observed.quota)
        audit = deployment.uid in self.audits
        if wants_live_job(deployment, wanted, observed.job, audit=audit):
            live = cluster.read_job(wanted.ref)
            self.audits.discard(deployment.uid)
            # Whose job it is says what was read: what was heard before may be older.
            observed = replace(observed, live=live, job=job_of(live) if live else None)
        if wants_verdict(deployment, wanted, observed.job):
            job = with_live_counts(wanted.job, observed.live) if observed.live else wanted.job
            observed = replace(observed, verdict=self._verdict(job, observed))
        return observed

    def _with_standing(self, deployment: Deployment, observed: Observed) -> Observed:
        standing = self.store.standing(deployment.uid) if deployment.over_quota else None
        return replace(observed, quota=standing_in_words(standing)) if standing else observed

    def _verdict(self, job: Json, observed: Observed) -> Verdict:
        verdict = self.hands.cluster.plan_job(job)
        if observed.job is None or verdict.index != observed.job.job_modify_index:
            # Planned on something that was not seen: it may be anybody's.
            raise JobConflict("the job is not the one that was seen")
        return verdict

    def _read_again(self, deployment: Deployment) -> Json | None:
        ref = job_ref(deployment, self.site)
        live = self.hands.cluster.read_job(ref)
        job = job_of(live) if live else None
        self.hands.mirror.note_read(ref, job, adopted=deployment.adopted)
        return live

    def _record(self, deployment: Deployment, look: Look, *, makes_room: bool) -> None:
        allocation = current_allocation(look.observed.allocations) if look.observed else None
        status = status_of(
            deployment,
            look,
            endpoints=self.endpoints.of(deployment.uid, allocation),
            namespace=self.site.namespaces.get(deployment.vo, ""),
            now=self.now(),
        )
        released = self._release(deployment, look)
        events = events_of(deployment, look, status)
        self.store.put_status(
            deployment.uid,
            status,
            applied=look.applied,
            seen_index=look.observed.index if look.observed else NOTHING_SEEN,
            events=events,
            wake_at=self._wake_at(deployment, look, released=released, makes_room=makes_room),
        )
        self.measure(deployment, look, status, events)
        if look.error is not None or (look.plan is not None and look.plan.actions):
            log.info("looked", extra=_told(deployment, look))

    def _release(self, deployment: Deployment, look: Look) -> bool:
        now, counted = self.now(), deployment.reservation.counted
        settled = counted == asks_of(deployment, now) and not deployment.over_quota
        if settled or not runs_no_more_than_wished(deployment, look, now):
            return False
        self.store.release(deployment.uid, generation=deployment.generation, at=now)
        return True

    def _wake_at(
        self, deployment: Deployment, look: Look, *, released: bool, makes_room: bool
    ) -> datetime | None:
        # What the next process must know, too: the lease, and that room is still to be made.
        now = self.now()
        wake_at = wakes_at(deployment, now)
        if makes_room:
            soon = now + timedelta(seconds=ROOM_S)
            return min(soon, wake_at or soon)
        plan, rests = look.plan, deployment.spec.suspend or has_ended(deployment, now)
        if released or not rests or plan is None or plan.look_again_s is None:
            return wake_at
        again_at = now + timedelta(seconds=plan.look_again_s)
        return min(again_at, wake_at or again_at)

    def _makes_room(self, deployment: Deployment, look: Look) -> bool:
        # What runs is on record only after this look, and no event need follow: so it is the next
        # one that gives back what is counted beyond it.
        written, known = look.applied, deployment.applied
        if look.error is not None or written is None:
            return False
        news = known is None or known.generation != written.generation
        asked = asks_of(deployment, self.now())
        return news and deployment.reservation.counted != asked and not deployment.over_quota

    def _note_waiting(self, uid: str, plan: Plan | None) -> None:
        if plan is not None and plan.hold is not None and plan.hold.reason == "WouldNotPlace":
            self.waiting.hold(uid)
        else:
            self.waiting.release(uid)

    def _look_again_s(
        self, deployment: Deployment, look: Look, *, makes_room: bool
    ) -> float | None:
        now = self.now()
        wake_at = wakes_at(deployment, now)
        waits_s = (wake_at - now).total_seconds() if wake_at else None
        asked_s = look.plan.look_again_s if look.plan else None
        room_s = ROOM_S if makes_room else None
        return min((s for s in (waits_s, asked_s, room_s) if s is not None), default=None)


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
        delay_s = _come_back(queue, uid, error)
        log.info(
            "will retry", extra={"uid": uid, "error": str(error), "delay_s": round(delay_s, 2)}
        )
    except LeaseLost as error:
        log.info("left to another replica", extra={"uid": uid, "error": str(error)})
        queue.forget(uid)
    except StoreUnavailable as error:
        log.warning("store unavailable", extra={"uid": uid, "error": str(error)})
        queue.retry(uid)
    except Exception:  # the top of a worker thread: one broken look must not end it
        log.exception("look failed", extra={"uid": uid})
        queue.retry(uid)
    else:
        queue.forget(uid)
        if look_again_s is not None:
            queue.add_after(uid, look_again_s)
    finally:
        queue.done(uid)


def _come_back(queue: WorkQueue[str], uid: str, error: ClusterError) -> float:
    again_s = error.again_s if isinstance(error, ClusterUnavailable) else None
    if again_s is None:
        return queue.retry(uid)
    queue.add_after(uid, again_s)
    return again_s


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
