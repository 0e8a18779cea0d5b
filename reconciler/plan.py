"""What to do next for one deployment (pure).

`make_plan` sees what is wanted, what was last written and what is there, and returns one step.
When there is nothing to do is decided by the pair (generation, the job's `JobModifyIndex`) that
was recorded after our last write: while both stand still nothing is read and nothing is called.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from reconciler.diff import hands_over_counts, with_live_counts
from reconciler.drift import NO_JOB, Drift, found_in, left_as_found, repair_wait_s
from reconciler.jobs import Allocation, Job, JobRef, Json, Verdict
from reconciler.lease import has_ended
from reconciler.reasons import why_not_placed
from reconciler.render import Wanted, is_ours
from reconciler.steps import (
    USUAL,
    EvaluateJob,
    ForgetSecrets,
    Hold,
    Observed,
    PinLastGood,
    Plan,
    PurgeJob,
    RegisterJob,
    RemoveFinalizer,
    RestartAllocation,
    Rules,
    StopJob,
    WriteSecrets,
)
from specs.model import JOB_FINALIZER, Applied, Deployment

ENDING_S: Final = 15.0
"""How soon to look again at allocations that are ending, should their event be lost."""


QUOTA_S: Final = 60.0
"""How soon to tell a wish in line anew where it stands; being let in wakes it at once."""


def wants_live_job(deployment: Deployment, wanted: Wanted, job: Job | None, *, audit: bool) -> bool:
    """Whether the job in full is needed: its index moved without us, it is being audited, or a
    count in it is somebody else's."""
    if job is None or not _decides_by_content(deployment, wanted, job):
        return False
    applied = deployment.applied
    if applied is None:
        return True
    if job.job_modify_index != applied.index:
        return True
    return hands_over_counts(wanted.job) if applied.digest != wanted.digest else audit


def wants_verdict(deployment: Deployment, wanted: Wanted, job: Job | None) -> bool:
    """Whether the scheduler's word is needed: the wish changed and there is a job to lose."""
    applied = deployment.applied
    return (
        _decides_by_content(deployment, wanted, job)
        and not deployment.over_quota
        and applied is not None
        and applied.digest != wanted.digest
    )


def wants_owner_check(
    deployment: Deployment, wanted: Wanted, observed: Observed, now: datetime
) -> bool:
    """Whether the next step would stop or purge the job, give away what is counted for it, or say
    that nothing of it runs.

    Nomad lets nobody name an index for a stop, so whose job it is must be read first. The lists
    leave other people's out, ours looks gone then: also where one of its earlier versions, from
    before the job was taken over, was brought back by hand. And that nothing runs is taken from
    Nomad's own word, not from events, which may be late.
    """
    job = observed.job
    if deployment.being_deleted or _changes_type(deployment, wanted):
        return job is None or not (job.stopped and _live(observed.allocations))
    if not (deployment.spec.suspend or has_ended(deployment, now)):
        return deployment.over_quota and deployment.applied is not None and job is None
    return not _made_room(deployment) or (job is not None and not job.stopped)


def make_plan(
    deployment: Deployment,
    wanted: Wanted,
    observed: Observed,
    *,
    now: datetime,
    rules: Rules = USUAL,
) -> Plan:
    """Return the next step towards `wanted`; an empty one when there is nothing to do."""
    job = observed.job
    if observed.live is not None:
        wanted = replace(wanted, job=with_live_counts(wanted.job, observed.live))
    if job is not None and not is_ours(deployment, wanted, job):
        return _plan_foreign(deployment, job)
    if wanted.own is not None and job is not None and job.managed:
        # The job that was taken over is ours by now, though a crash kept that off the record.
        wanted = wanted.own
    if rules.frozen:
        return Plan("nothing is written", hold=Hold("StoreNotRecognised", rules.frozen))
    if deployment.being_deleted:
        return _plan_deletion(wanted.ref, observed)
    if deployment.spec.suspend or has_ended(deployment, now):
        return _plan_stop(deployment, wanted.ref, observed)
    if deployment.over_quota:
        return _plan_waiting(deployment, observed, now=now, rules=rules)
    if _rejected(deployment):
        return Plan("Nomad refused this generation; waiting for the wish to change")
    plan = _plan_running(deployment, wanted, observed, now=now, rules=rules)
    return _with_question(plan, wanted, observed)


def _plan_running(
    deployment: Deployment, wanted: Wanted, observed: Observed, *, now: datetime, rules: Rules
) -> Plan:
    job = observed.job
    if _changes_type(deployment, wanted) and not _has_type(observed.live, wanted):
        return _plan_type_change(deployment, wanted, observed)
    if job is None:
        return _plan_missing(deployment, wanted, now=now, rules=rules)
    if observed.verdict is not None:
        return _plan_change(deployment, wanted, observed, observed.verdict, now=now, rules=rules)
    if observed.live is not None:
        return _plan_found(deployment, wanted, observed.live, now=now, rules=rules)
    return _plan_in_sync(deployment, wanted, observed, job)


def _decides_by_content(deployment: Deployment, wanted: Wanted, job: Job | None) -> bool:
    return (
        job is not None
        and is_ours(deployment, wanted, job)
        and not deployment.being_deleted
        and not deployment.spec.suspend
        and not _rejected(deployment)
        and not _changes_type(deployment, wanted)
    )


def _made_room(deployment: Deployment) -> bool:
    return not deployment.reservation.counted and not deployment.over_quota


def _rejected(deployment: Deployment) -> bool:
    stalled = deployment.status.condition("Stalled")
    return (
        stalled is not None
        and stalled.status == "True"
        and deployment.status.observed_generation == deployment.generation
    )


def _changes_type(deployment: Deployment, wanted: Wanted) -> bool:
    # Nomad refuses another type under the same id, for a stopped job too.
    applied = deployment.applied
    return applied is not None and applied.job.get("Type") != wanted.job.get("Type")


def _has_type(live: Json | None, wanted: Wanted) -> bool:
    # What is on record may be older than what was written: a process can die in between.
    return live is not None and live.get("Type") == wanted.job.get("Type")


def _plan_foreign(deployment: Deployment, job: Job) -> Plan:
    if deployment.being_deleted:
        go = (ForgetSecrets(job.ref), RemoveFinalizer(JOB_FINALIZER))
        return Plan("the job is not ours; letting the record go", go)
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


def _plan_stop(deployment: Deployment, ref: JobRef, observed: Observed) -> Plan:
    if observed.job is None or observed.job.stopped:
        look_again_s = None if _made_room(deployment) else ENDING_S
        return Plan("stopped, as it should be", look_again_s=look_again_s)
    # With the index of the stop on record, a job that we stopped is no drift when it is wanted
    # again, and needs no look while it is not.
    return Plan("stop the job", (StopJob(ref),), applied=deployment.applied)


def _plan_waiting(
    deployment: Deployment, observed: Observed, *, now: datetime, rules: Rules
) -> Plan:
    held = Plan("over quota: waits in line")
    if deployment.reservation.counted:
        # What ran before the wish is counted, so it goes on.
        held = _plan_before(deployment, observed, now=now, rules=rules, held=held)
    hold = held.hold or Hold("QuotaExceeded", observed.quota)
    return replace(held, hold=hold, look_again_s=held.look_again_s or QUOTA_S)


def _plan_type_change(deployment: Deployment, wanted: Wanted, observed: Observed) -> Plan:
    job = observed.job
    if job is None:
        return _register(deployment, wanted, 0, "of a new type, after the old job is gone")
    if not job.stopped:
        return Plan("type change: stop the job", (StopJob(wanted.ref),), look_again_s=ENDING_S)
    if _live(observed.allocations):
        return Plan("type change: allocations are ending", look_again_s=ENDING_S)
    register = _register(deployment, wanted, 0, "type change: the old job makes way")
    return replace(register, actions=(PurgeJob(wanted.ref), *register.actions))


def _plan_missing(deployment: Deployment, wanted: Wanted, *, now: datetime, rules: Rules) -> Plan:
    applied = deployment.applied
    if applied is None or applied.generation != deployment.generation:
        return _register(deployment, wanted, 0, "new")
    repair = _register(deployment, wanted, 0, "job missing")
    return _plan_drift(deployment, repair, Drift((NO_JOB,)), now=now, rules=rules)


def _plan_change(
    deployment: Deployment,
    wanted: Wanted,
    observed: Observed,
    verdict: Verdict,
    *,
    now: datetime,
    rules: Rules,
) -> Plan:
    stopped = observed.job is not None and observed.job.stopped
    if verdict.effect == "none" and not stopped:
        reason = "wish changed, job does not"
        return _with_restarts(
            deployment, observed, _record(deployment, wanted, verdict.index, reason)
        )
    hold = _hold(deployment, observed, verdict, rules)
    if hold is not None:
        held = Plan("held: would restart and can't be placed")
        before = _plan_before(deployment, observed, now=now, rules=rules, held=held)
        return replace(before, hold=before.hold or hold)
    plan = _register(deployment, wanted, verdict.index, f"wish changed: {verdict.effect}")
    return plan if verdict.effect == "restarts" else _with_restarts(deployment, observed, plan)


def _plan_before(
    deployment: Deployment, observed: Observed, *, now: datetime, rules: Rules, held: Plan
) -> Plan:
    # While a change is held, what was written before it is what is wanted of the job.
    applied, live = deployment.applied, observed.live
    if applied is None or live is None or live["JobModifyIndex"] == applied.index:
        return held
    index = int(live["JobModifyIndex"])
    drift = found_in(live, with_live_counts(applied.job, live))
    seen = replace(applied, index=index)
    if drift is None:
        return replace(held, applied=seen)
    if applied.adopted:
        return replace(held, applied=seen, drift=replace(drift, handled="reported"))
    actions = (RegisterJob(with_live_counts(applied.job, live), index),)
    repair = Plan(f"drift while a change is held: {drift.paths}", actions, applied=seen)
    return _plan_drift(deployment, repair, drift, now=now, rules=rules)


def _hold(
    deployment: Deployment, observed: Observed, verdict: Verdict, rules: Rules
) -> Hold | None:
    if verdict.fits or deployment.spec.update.policy == "queue":
        return None
    running = any(a.client_status == "running" for a in observed.allocations)
    would_lose = verdict.effect == "restarts" and running
    if not would_lose and not _comes_back(deployment, observed):
        return None
    hardware = deployment.target.hardware
    why = why_not_placed(verdict.failures, hardware, gpu_model=rules.gpu_model)
    message = f"the change can't be placed: {why.message}; the version before it stays"
    return Hold("WouldNotPlace", message)


def _comes_back(deployment: Deployment, observed: Observed) -> bool:
    # Work that ran and is down by no wish of its owner's: drained, lost or crashed. Nomad brings it
    # back as long as it has no other version of the job.
    applied = deployment.applied
    ran = applied is not None and deployment.status.ran_generation >= applied.generation
    return ran and observed.job is not None and not observed.job.stopped


def _plan_found(
    deployment: Deployment, wanted: Wanted, live: Json, *, now: datetime, rules: Rules
) -> Plan:
    index = int(live["JobModifyIndex"])
    drift = found_in(live, wanted.job)
    if drift is None:
        found = _record(deployment, wanted, index, "index moved, content is as wished")
        # A Variable tells no index of its own: it is compared when its job is.
        secrets = (WriteSecrets(wanted.ref),) if wanted.with_secrets else ()
        return replace(found, actions=secrets)
    if wanted.own is not None and not live.get("Stop"):
        # What was found can't be written back, and our own job would end work that goes on.
        left = _record(deployment, wanted, index, f"left as found, drift: {drift.paths}")
        return replace(left, drift=replace(drift, handled="reported"))
    applied = deployment.applied
    if applied is None or applied.generation != deployment.generation:
        return _register(deployment, wanted, index, "resume, or the end of a step cut short")
    repair = _register(deployment, wanted, index, f"drift: {drift.paths}")
    return _plan_drift(deployment, repair, drift, now=now, rules=rules)


def _plan_drift(
    deployment: Deployment, repair: Plan, drift: Drift, *, now: datetime, rules: Rules
) -> Plan:
    if rules.drift == "report":
        applied = deployment.applied
        if applied is not None and repair.applied is not None:
            # With their index on record it is quiet until somebody changes something again.
            applied = replace(applied, index=repair.applied.index)
        told = replace(drift, handled="reported")
        return Plan(f"reported, {repair.reason}", applied=applied, drift=told)
    wait_s = repair_wait_s(deployment.status.repairs, now)
    if wait_s > 0:
        message = f"somebody undoes every repair ({drift.paths}); next one in {wait_s:.0f} s"
        hold = Hold("FightingWithAnother", message)
        waits = replace(drift, handled="waits")
        return Plan("fight: wait", hold=hold, drift=waits, look_again_s=wait_s)
    return replace(repair, drift=drift)


def _plan_in_sync(deployment: Deployment, wanted: Wanted, observed: Observed, job: Job) -> Plan:
    applied = deployment.applied
    if applied is not None and job.stopped and not _left_alone(deployment):
        return _register(deployment, wanted, job.job_modify_index, "resume")
    if applied is None or applied.generation != deployment.generation:
        reason = "wish changed, job does not"
        plan = _record(deployment, wanted, job.job_modify_index, reason)
        return _with_restarts(deployment, observed, plan)
    return _roll_back(deployment, observed) or Plan("in sync")


def _with_question(plan: Plan, wanted: Wanted, observed: Observed) -> Plan:
    # Nomad wakes nobody who waits when a node gets one more device of a kind that it had before
    # (2.0.6). The evaluation that this makes is newer than the device: each is asked for once.
    job, evaluation = observed.job, observed.evaluation
    busy = plan.actions or plan.hold or plan.drift
    if busy or job is None or job.stopped or not _asks_for_devices(wanted.job):
        return plan
    if evaluation is None or not evaluation.waits:
        return plan
    if evaluation.modify_index >= observed.devices_index:
        return plan
    reason = "devices appeared: ask the scheduler again"
    return replace(plan, reason=reason, actions=(EvaluateJob(wanted.ref),))


def _asks_for_devices(job: Json) -> bool:
    tasks = (task for group in job["TaskGroups"] for task in group["Tasks"])
    return any((task.get("Resources") or {}).get("Devices") for task in tasks)


def _left_alone(deployment: Deployment) -> bool:
    applied = deployment.applied
    same = applied is not None and applied.generation == deployment.generation
    return same and left_as_found(deployment.status) is not None


def _roll_back(deployment: Deployment, observed: Observed) -> Plan | None:
    applied, rollout = deployment.applied, observed.rollout
    good = deployment.status.ready_generation
    failed = (
        rollout is not None
        and applied is not None
        and rollout.status == "failed"
        and rollout.modify_index > applied.index
    )
    wished = deployment.spec.update.rollback_on_failure and deployment.pin is None
    if rollout is None or not failed or not wished or not 0 < good < deployment.generation:
        return None
    message = f"generation {deployment.generation} failed ({rollout.description})"
    return Plan("roll back", (PinLastGood(deployment.generation, good, message),))


def _with_restarts(deployment: Deployment, observed: Observed, plan: Plan) -> Plan:
    applied = deployment.applied
    if applied is None or deployment.spec.restart <= applied.restart or plan.applied is None:
        return plan
    running = [a for a in _live(observed.allocations) if a.client_status == "running"]
    restarts = tuple(RestartAllocation(a.ref, a.id) for a in running if a.desired_status == "run")
    return replace(plan, actions=(*plan.actions, *restarts))


def _register(deployment: Deployment, wanted: Wanted, if_index: int, reason: str) -> Plan:
    wanted = wanted.own or wanted
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
        restart=deployment.spec.restart,
    )
    secrets_moved = before is not None and (
        before.secrets_generation != deployment.secrets_generation
    )
    actions = (WriteSecrets(wanted.ref),) if secrets_moved and wanted.with_secrets else ()
    return Plan(reason, actions, applied=applied)


def _live(allocations: Sequence[Allocation]) -> list[Allocation]:
    return [allocation for allocation in allocations if not allocation.terminal]
