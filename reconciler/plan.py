"""What to do next for one deployment (pure).

`make_plan` sees what is wanted, what was last written and what is there, and returns one step.
When there is nothing to do is decided by the pair (generation, the job's `JobModifyIndex`) that
was recorded after our last write: while both stand still nothing is read and nothing is called.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from reconciler.diff import FieldChange, diff_job
from reconciler.jobs import Allocation, Evaluation, Job, JobRef, Json, Verdict
from reconciler.reasons import why_not_placed
from reconciler.render import Wanted
from specs.model import JOB_FINALIZER, Applied, Deployment

ENDING_S: Final = 15.0
"""How soon to look again at allocations that are ending, should their event be lost."""

HELD_S: Final = 30.0
"""How soon to plan a held change again, should no event say that there is room."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What is there, as one consistent look: the mirror's view plus what was read for this look.

    `live` is the whole job, read only when its index moved without us. `verdict` is the
    scheduler's answer to the wanted job, asked only when the wish changed. `index` is the newest
    Nomad index in it.
    """

    job: Job | None = None
    allocations: tuple[Allocation, ...] = ()
    evaluation: Evaluation | None = None
    index: int = 0
    live: Json | None = None
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True)
class RegisterJob:
    """Write the job if it is still at `if_index` (0: if it does not exist)."""

    job: Json
    if_index: int


@dataclass(frozen=True, slots=True)
class WriteSecrets:
    """Write the deployment's secrets to its Variable; always before the job that reads them."""

    ref: JobRef


@dataclass(frozen=True, slots=True)
class StopJob:
    """Stop the job; it stays known to Nomad."""

    ref: JobRef


@dataclass(frozen=True, slots=True)
class PurgeJob:
    """Make Nomad forget the job and its Variable."""

    ref: JobRef


@dataclass(frozen=True, slots=True)
class RemoveFinalizer:
    """Let the record go: nothing of it is left in the cluster."""

    finalizer: str


Action: TypeAlias = RegisterJob | WriteSecrets | StopJob | PurgeJob | RemoveFinalizer


@dataclass(frozen=True, slots=True)
class Hold:
    """Why nothing is done although something is wanted."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """One step. `reason` is for people, logs and tests.

    `applied` is what to record once the actions succeeded (None: leave the record as it is).
    `drift` is what somebody else changed. `look_again_s` asks for another look without an event.
    """

    reason: str
    actions: tuple[Action, ...] = ()
    applied: Applied | None = None
    hold: Hold | None = None
    drift: tuple[FieldChange, ...] = ()
    look_again_s: float | None = None


def wants_live_job(deployment: Deployment, job: Job | None, *, audit: bool = False) -> bool:
    """Whether the job in full is needed: its index moved without us, or it is being audited."""
    applied = deployment.applied
    return (
        _decides_by_content(deployment, job)
        and job is not None
        and (audit or applied is None or job.job_modify_index != applied.index)
    )


def wants_verdict(deployment: Deployment, wanted: Wanted, job: Job | None) -> bool:
    """Whether the scheduler's word is needed: the wish changed and there is a job to lose."""
    applied = deployment.applied
    return (
        _decides_by_content(deployment, job)
        and applied is not None
        and applied.digest != wanted.digest
    )


def make_plan(deployment: Deployment, wanted: Wanted, observed: Observed) -> Plan:
    """Return the next step towards `wanted`; an empty one when there is nothing to do."""
    job = observed.job
    if job is not None and not _ours(deployment, job):
        return _plan_foreign(deployment, job)
    if deployment.being_deleted:
        return _plan_deletion(wanted.ref, observed)
    if deployment.spec.suspend:
        return _plan_suspension(wanted.ref, observed)
    if _rejected(deployment):
        return Plan("Nomad refused this generation; waiting for the wish to change")
    if job is None:
        reason = "job missing" if deployment.applied else "new"
        drift = (FieldChange("", "a job", None),) if deployment.applied else ()
        return replace(_register(deployment, wanted, 0, reason), drift=drift)
    if observed.verdict is not None:
        return _plan_change(deployment, wanted, observed, observed.verdict)
    if observed.live is not None:
        return _plan_drift(deployment, wanted, observed.live)
    return _plan_in_sync(deployment, wanted, job)


def _decides_by_content(deployment: Deployment, job: Job | None) -> bool:
    return (
        job is not None
        and _ours(deployment, job)
        and not deployment.being_deleted
        and not deployment.spec.suspend
        and not _rejected(deployment)
    )


def _ours(deployment: Deployment, job: Job) -> bool:
    # Ownership is the store's word: the job's id is the record's uid. Meta is the cross-check.
    return job.managed and job.meta.get("ai4papi_uid") == deployment.uid


def _rejected(deployment: Deployment) -> bool:
    stalled = deployment.status.condition("Stalled")
    return (
        stalled is not None
        and stalled.status == "True"
        and deployment.status.observed_generation == deployment.generation
    )


def _plan_foreign(deployment: Deployment, job: Job) -> Plan:
    if deployment.being_deleted:
        return Plan("the job is not ours; letting the record go", (RemoveFinalizer(JOB_FINALIZER),))
    message = (
        f"a job {job.ref.id} that ai4papi did not make is in namespace {job.ref.namespace};"
        " it is left alone"
    )
    return Plan("job is not ours", hold=Hold("JobNotOurs", message))


def _plan_deletion(ref: JobRef, observed: Observed) -> Plan:
    purge = (PurgeJob(ref), RemoveFinalizer(JOB_FINALIZER))
    if observed.job is None:
        # Purging what is gone is harmless, and takes along a Variable that outlived its job.
        return Plan("deleting: nothing runs", purge)
    if not observed.job.stopped:
        return Plan("deleting: stop the job", (StopJob(ref),), look_again_s=ENDING_S)
    if _live(observed.allocations):
        return Plan("deleting: allocations are ending", look_again_s=ENDING_S)
    return Plan("deleting: purge the job", purge)


def _plan_suspension(ref: JobRef, observed: Observed) -> Plan:
    if observed.job is None or observed.job.stopped:
        return Plan("suspended")
    return Plan("suspend: stop the job", (StopJob(ref),))


def _plan_change(
    deployment: Deployment, wanted: Wanted, observed: Observed, verdict: Verdict
) -> Plan:
    stopped = observed.job is not None and observed.job.stopped
    if verdict.effect == "none" and not stopped:
        return _record(deployment, wanted, verdict.index, "wish changed, job does not")
    hold = _hold(deployment, observed, verdict)
    if hold is not None:
        return Plan("held: would restart and can't be placed", hold=hold, look_again_s=HELD_S)
    return _register(deployment, wanted, verdict.index, f"wish changed: {verdict.effect}")


def _hold(deployment: Deployment, observed: Observed, verdict: Verdict) -> Hold | None:
    running = [a for a in _live(observed.allocations) if a.client_status == "running"]
    would_lose = verdict.effect == "restarts" and not verdict.fits and running
    if not would_lose or deployment.spec.update.policy == "queue":
        return None
    why = why_not_placed(verdict.failures, deployment.spec.hardware)
    message = f"the change would restart the work and can't be placed: {why.message}"
    return Hold("WouldNotPlace", f"{message}; the version before it runs on")


def _plan_drift(deployment: Deployment, wanted: Wanted, live: Json) -> Plan:
    index = int(live["JobModifyIndex"])
    changes = diff_job(wanted.job, live)
    if live.get("Stop"):
        changes = (FieldChange("Stop", wanted=False, actual=True), *changes)
    if not changes:
        return _record(deployment, wanted, index, "index moved, content is as wished")
    applied = deployment.applied
    if applied is None or applied.generation != deployment.generation:
        return _register(deployment, wanted, index, "resume, or the end of a step cut short")
    plan = _register(deployment, wanted, index, "drift: " + ", ".join(c.path for c in changes[:5]))
    return replace(plan, drift=changes)


def _plan_in_sync(deployment: Deployment, wanted: Wanted, job: Job) -> Plan:
    applied = deployment.applied
    if applied is not None and applied.generation == deployment.generation:
        return Plan("in sync")
    return _record(deployment, wanted, job.job_modify_index, "wish changed, job does not")


def _register(deployment: Deployment, wanted: Wanted, if_index: int, reason: str) -> Plan:
    record = _record(deployment, wanted, if_index, reason)
    secrets = (WriteSecrets(wanted.ref),) if wanted.with_secrets else ()
    return replace(record, actions=(*secrets, RegisterJob(wanted.job, if_index)))


def _record(deployment: Deployment, wanted: Wanted, index: int, reason: str) -> Plan:
    before = deployment.applied
    applied = Applied(
        generation=deployment.generation,
        secrets_generation=deployment.secrets_generation,
        digest=wanted.digest,
        index=index,
        job=wanted.job,
    )
    secrets_moved = before is not None and (
        before.secrets_generation != deployment.secrets_generation
    )
    actions = (WriteSecrets(wanted.ref),) if secrets_moved and wanted.with_secrets else ()
    return Plan(reason, actions, applied=applied)


def _live(allocations: Sequence[Allocation]) -> list[Allocation]:
    return [allocation for allocation in allocations if not allocation.terminal]
