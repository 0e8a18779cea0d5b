"""The promises, each as a function from a finished history to what breaks it.

Pure: an oracle sees only `Evidence`. It knows nothing of plans, diffs or mirrors: what a job must
look like is said here a second time, in a few fields.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias

from reconciler.jobs import Json
from specs.model import Deployment, DeploymentSpec, Phase
from specs.priorities import USUAL_PRIORITY
from specs.quota import Claimant, admitted, asks_of, total
from tests.simulation.counting import LIVE, MHZ_PER_CPU
from tests.simulation.evidence import Evidence, Wished
from tests.simulation.journal import HANDS, NOMAD, Entry
from tests.whole import PRIORITIES

Oracle: TypeAlias = Callable[[Evidence], Iterator[str]]

BUDGET_COUNT: Final = 1
BUDGET_PERCENT: Final = 20
TOLD_WHILE_IT_RUNS: Final = (Phase.RUNNING, Phase.HELD, Phase.DEGRADED)


def became_quiet(seen: Evidence) -> Iterator[str]:
    """Once the faults have ended, everything settles and stays settled."""
    if seen.quiet_after_s is None:
        yield "it never became quiet"


def nothing_broke_by_itself(seen: Evidence) -> Iterator[str]:
    """No look ends in an error that no fault explains."""
    yield from dict.fromkeys(seen.surprises)


def converged(seen: Evidence) -> Iterator[str]:
    """Every wish runs as its owner wrote it, or its status says why not (P2, P5)."""
    for uid, record in seen.records.items():
        trouble = _why_not_converged(seen, record, seen.jobs.get(uid))
        if trouble:
            yield f"{record.name} {trouble}"


def nothing_runs_twice(seen: Evidence) -> Iterator[str]:
    """A deployment has one set of live allocations at most, and as many as it asked for (P1)."""
    for uid, record in seen.records.items():
        job = seen.jobs.get(uid)
        if job is not None and taken(seen, record, job):
            continue
        live = [a for a in seen.allocations.get(uid, ()) if _shall_run(a)]
        if len(live) > 1 and not (job and _left_as_found(seen, record, job)):
            yield f"{record.name} has {len(live)} live allocations"
        ending = [a for a in seen.allocations.get(uid, ()) if a["ClientStatus"] in LIVE]
        if must_rest(record, seen.now) and ending:
            yield f"{record.name} shall not run, and an allocation does"


def nothing_was_written_that_nobody_wished(seen: Evidence) -> Iterator[str]:
    """Every version of a job that we wrote is one that had been wished by then (P1)."""
    for entry in _our_writes(seen):
        if entry.gone or entry.item["Stop"]:
            continue
        uid = entry.key[1]
        wished = [w for w in seen.wishes_of(uid) if w.number < entry.number]
        if essence_of_job(entry.item) not in [essence(w.record.target) for w in wished]:
            yield f"version {entry.item['Version']} of {uid[:8]} is no wish: {_short(entry)}"


def no_write_was_repeated(seen: Evidence) -> Iterator[str]:
    """Versions written by us: one for a wish, a repair or a restore, one for a kill at most."""
    for uid in {entry.key[1]: None for entry in _our_writes(seen)}:
        versions = sum(
            not e.gone and not e.item["Stop"] for e in _our_writes(seen) if e.key[1] == uid
        )
        last = max((w.record.generation for w in seen.wishes_of(uid)), default=0)
        reasons = last + seen.hands.get(uid, 0) + len(seen.restored_at)
        if versions > reasons + seen.kills:
            yield f"{versions} versions of {uid[:8]} written for {reasons} reasons"
        calls = seen.registers.get(uid, 0)
        if calls > 2 * (reasons + seen.kills) + 2:
            yield f"{calls} registers of {uid[:8]} sent for {reasons} reasons"


def no_foreign_job_was_touched(seen: Evidence) -> Iterator[str]:
    """What does not carry our marker and our record's id is never written by us (P4)."""
    for entry in _our_writes(seen):
        if entry.before is not None and not ours(seen, entry.before, entry.key[1]):
            # A stop knows no index in Nomad: what was put there during the look is not seen, nor
            # what an answer from an older state kept back.
            misled = entry.misled_at >= entry.look_began_at
            unseen = misled or _changed_by_hand_since(seen, entry)
            if not (unseen and (entry.gone or entry.item["Stop"])):
                yield f"we wrote somebody else's job {entry.key[1]}: {_short(entry)}"
        uids = {wished.record.uid for wished in seen.wishes}
        if entry.key[1] not in uids:
            yield f"we wrote job {entry.key[1]}, which no record of ours has"


def nothing_was_stopped_unasked(seen: Evidence) -> Iterator[str]:
    """We stop or purge a job only for a deletion, a suspension or an end that was wished (P3)."""
    for entry in _our_writes(seen):
        if not entry.gone and not entry.item["Stop"]:
            continue
        known = [w for w in seen.wishes_of(entry.key[1]) if w.number < entry.number]
        # A look acts on the wish it read; a newer one is acted on by the next look.
        valid = [w for w in known if w.number > entry.look_began_at] + _last(
            [w for w in known if w.number <= entry.look_began_at]
        )
        at = datetime.fromtimestamp(entry.at_ns / 10**9, tz=seen.now.tzinfo if seen.now else None)
        asked = any(must_rest(w.record, at) or w.record.being_deleted for w in valid)
        if not asked and not _makes_way(seen, entry):
            yield f"{entry.key[1][:8]} was stopped though nobody asked: {_short(entry)}"


def adopted_work_goes_on(seen: Evidence) -> Iterator[str]:
    """What was taken over is stopped or replaced only for a wish of something else (P1, P3)."""
    for entry in _our_writes(seen):
        uid, before = entry.key[1], entry.before
        if before is None or before["Stop"] or uid not in seen.theirs or marked(before, uid):
            continue
        known = [w for w in seen.wishes_of(uid) if w.number < entry.number]
        at = datetime.fromtimestamp(entry.at_ns / 10**9, tz=seen.now.tzinfo if seen.now else None)
        if not any(_wants_other(wished, known[0], at) for wished in known):
            yield f"{uid} was taken over, and written though nobody wished: {_short(entry)}"


def nothing_was_pruned_on_doubt(seen: Evidence) -> Iterator[str]:
    """A source deletes only what a complete, non-empty read lacks, within the budget (P3)."""
    for number, one in enumerate(seen.passes, 1):
        if not one.deleted:
            continue
        share = 100 * len(one.deleted) / len(one.before)
        if not one.complete:
            yield f"pass {number} deleted {sorted(one.deleted)} after an incomplete read"
        elif not one.read:
            yield f"pass {number} deleted {sorted(one.deleted)} after an empty read"
        elif one.deleted & one.read:
            yield f"pass {number} deleted {sorted(one.deleted & one.read)}, which it had read"
        elif len(one.deleted) > BUDGET_COUNT and share > BUDGET_PERCENT:
            yield f"pass {number} deleted {len(one.deleted)} of {len(one.before)}"


def no_accepted_spec_was_lost(seen: Evidence) -> Iterator[str]:
    """Every answered wish is in the store as it was accepted, or in the trash (P2)."""
    for uid in {wished.record.uid: None for wished in seen.wishes}:
        last = seen.wishes_of(uid)[-1]
        kept = seen.records.get(uid) or seen.trash.get(uid)
        if last.record.being_deleted:
            if uid in seen.records:
                yield f"{last.record.name}: its deletion was accepted and it is still there"
        elif kept is None or uid in seen.trash:
            yield f"{last.record.name}: accepted ({last.what}) and gone"
        elif kept.generation < last.record.generation:
            yield f"{last.record.name}: generation {last.record.generation} was accepted and lost"
        elif kept.generation == last.record.generation and kept.spec != last.record.spec:
            yield f"{last.record.name}: the accepted spec is not what is stored"


def deletions_really_stop(seen: Evidence) -> Iterator[str]:
    """An acknowledged deletion ends with the job, its work and its secrets gone (P7)."""
    for uid in {w.record.uid: w for w in seen.wishes if w.record.being_deleted}:
        job = seen.jobs.get(uid)
        if (
            uid in seen.records
            or seen.restored_at
            or (job is not None and not ours(seen, job, uid))
        ):
            continue
        if job is not None and _last_writer(seen, uid) != HANDS:
            yield f"{uid[:8]} was deleted, and its job is there"
        if uid in seen.variables and not _was_taken(seen, uid):
            yield f"{uid[:8]} was deleted, and its secrets are there"


def statuses_are_true(seen: Evidence) -> Iterator[str]:
    """A status says what is: running where it runs, and of the generation that it says (P8)."""
    yield from seen.told
    for uid, record in seen.records.items():
        status = record.status
        if status.observed_generation != record.generation:
            yield f"{record.name}: status is of generation {status.observed_generation}"
        live = [a for a in seen.allocations.get(uid, ()) if _shall_run(a)]
        up = [
            a
            for a in live
            if a["ClientStatus"] == "running" and seen.nodes[a["NodeID"]]["Status"] == "ready"
        ]
        if status.phase is Phase.RUNNING and not up:
            yield f"{record.name} is told as running, and nothing runs"
        job = seen.jobs.get(uid)
        runs = bool(up) and job is not None and ours(seen, job, uid) and not job["Stop"]
        if runs and status.phase not in TOLD_WHILE_IT_RUNS:
            yield f"{record.name} runs, and {_told(record)}"


def quotas_were_kept(seen: Evidence) -> Iterator[str]:
    """What is used is what is counted, and no wish was let in beyond a limit (P6)."""
    yield from dict.fromkeys(seen.miscounts)


def nothing_ran_uncounted(seen: Evidence) -> Iterator[str]:
    """No job that we wrote asked for more than was counted for its record (P6)."""
    yield from dict.fromkeys(seen.uncounted)


def nobody_waits_in_vain(seen: Evidence) -> Iterator[str]:
    """Who stands in line would exceed a quota, and only what can run is counted (P2, P6)."""
    if seen.now is None:
        return
    records, line = seen.records.values(), []
    used = {
        scope: total(
            r.reservation.counted for r in records if scope in _claimant(r, seen.now).scopes
        )
        for record in records
        for scope in _claimant(record, seen.now).scopes
    }
    for record in sorted(records, key=_place):
        claimant = _claimant(record, seen.now)
        if record.over_quota and claimant.asks:
            line.append(claimant)
        elif record.over_quota:
            yield f"{record.name} stands in line, and asks for nothing"
        elif claimant.asks != claimant.counted and record.status.phase is not Phase.HELD:
            yield f"{record.name} asks for {claimant.asks}, and {claimant.counted} are counted"
    for claimant in admitted(line, used, seen.quotas):
        yield f"{seen.records[claimant.uid].name} stands in line, and there is room"


ORACLES: Final[tuple[Oracle, ...]] = (
    became_quiet,
    nothing_broke_by_itself,
    converged,
    nothing_runs_twice,
    nothing_was_written_that_nobody_wished,
    no_write_was_repeated,
    no_foreign_job_was_touched,
    nothing_was_stopped_unasked,
    adopted_work_goes_on,
    nothing_was_pruned_on_doubt,
    no_accepted_spec_was_lost,
    deletions_really_stop,
    statuses_are_true,
    quotas_were_kept,
    nothing_ran_uncounted,
    nobody_waits_in_vain,
)


def violations_of(seen: Evidence) -> list[tuple[str, str]]:
    """Return every broken promise: the oracle's name and what breaks it."""
    return [(oracle.__name__, text) for oracle in ORACLES for text in oracle(seen)]


def essence(spec: DeploymentSpec) -> dict[str, Any]:
    """Return what a job must say for `spec`, in the few fields that histories change."""
    return {
        "image": f"{spec.general.docker_image}:{spec.general.docker_tag}",
        "title": spec.general.title,
        "memory_mb": spec.hardware.ram,
        "cpus": spec.hardware.cpu_num,
        "gpus": spec.hardware.gpu_num,
        "count": 1,
        "priority": PRIORITIES.get(spec.priority_class or "", USUAL_PRIORITY),
    }


def essence_of_job(job: Json) -> dict[str, Any]:
    """Return the same of a job."""
    (group,) = job["TaskGroups"]
    task = next(t for t in group["Tasks"] if t["Name"] == "usertask")
    return {
        "image": task["Config"]["image"],
        "title": (job["UI"] or {}).get("Description"),
        "memory_mb": task["Resources"]["MemoryMB"],
        "cpus": task["Resources"]["CPU"] // MHZ_PER_CPU,
        "gpus": sum(d["Count"] for d in task["Resources"]["Devices"] or ()),
        "count": group["Count"],
        "priority": job["Priority"],
    }


def marked(job: Json, uid: str) -> bool:
    """Tell whether the job carries our marker and the record's id."""
    meta = job["Meta"] or {}
    return meta.get("managed_by") == "ai4papi" and meta.get("ai4papi_uid") == uid


def ours(seen: Evidence, job: Json, uid: str) -> bool:
    """Tell whether the job is marked, or one of theirs as it was when it was taken over."""
    return marked(job, uid) or (uid in seen.theirs and job["Meta"] == seen.theirs[uid])


def taken(seen: Evidence, record: Deployment, job: Json) -> bool:
    """Tell whether the job under the record's id is somebody else's.

    So is one of theirs that was brought back by hand, or by a restore, after ours had replaced it.
    """
    if marked(job, record.uid) or not ours(seen, job, record.uid):
        return not marked(job, record.uid)
    replaced = any(
        e.table == "jobs" and e.key[1] == record.uid and marked(e.item, record.uid)
        for e in seen.journal
    )
    return replaced and record.status.reason == "JobNotOurs"


def reads_secrets(record: Deployment) -> bool:
    """Tell whether what shall run needs the deployment's secrets."""
    return bool(record.target.general.jupyter_password)


def must_rest(record: Deployment, at: datetime | None) -> bool:
    """Tell whether the owner's own word is that nothing runs at that instant."""
    expired = at is not None and record.expires_at is not None and record.expires_at <= at
    return record.spec.suspend or expired


def _why_not_converged(seen: Evidence, record: Deployment, job: Json | None) -> str:
    status, rests = record.status, must_rest(record, seen.now)
    if record.being_deleted:
        return "is still being deleted"
    if job is not None and taken(seen, record, job):
        told = (status.phase, status.reason) == (Phase.HELD, "JobNotOurs") or record.over_quota
        return "" if told or rests else f"has its id taken, and {_told(record)}"
    if rests:
        return "" if job is None or job["Stop"] else "shall not run, and its job is not stopped"
    if record.over_quota and (status.reason != "QuotaExceeded" or not status.message):
        return f"waits for its quota, and {_told(record)}"
    if job is None or job["Stop"]:
        if record.over_quota and status.phase in (Phase.QUEUED, Phase.HELD):
            return ""
        return f"shall run, has no live job, and {_told(record)}"
    return _why_not_as_wished(seen, record, job)


def _why_not_as_wished(seen: Evidence, record: Deployment, job: Json) -> str:
    if not marked(job, record.uid):
        return _why_not_as_found(seen, record, job)
    runs = essence_of_job(job)
    if record.over_quota or record.status.phase is Phase.HELD:
        wished = [essence(w.record.target) for w in seen.wishes_of(record.uid)]
        by_hand = seen.hands.get(record.uid, 0)
        return "" if runs in wished or by_hand else "is held, and what runs was never wished"
    if runs != essence(record.target):
        return f"wished {essence(record.target)}, runs {runs}, and {_told(record)}"
    if reads_secrets(record) and seen.variables.get(record.uid) != seen.secrets[record.uid]:
        return "has other secrets than its job reads"
    return ""


def _wants_other(wished: Wished, first: Wished, at: datetime) -> bool:
    spec = wished.record.target
    return (
        _work(essence(spec)) != _work(essence(first.record.target))
        or wished.secrets != first.secrets
        or spec.priority_class is not None
        or wished.record.being_deleted
        or must_rest(wished.record, at)
    )


def _why_not_as_found(seen: Evidence, record: Deployment, job: Json) -> str:
    runs, wished = _work(essence_of_job(job)), _work(essence(record.target))
    held = record.over_quota or record.status.phase is Phase.HELD
    if runs == wished or held or _left_as_found(seen, record, job):
        return ""
    return f"wished {wished}, runs {runs} since before it was taken over, and {_told(record)}"


def _left_as_found(seen: Evidence, record: Deployment, job: Json) -> bool:
    """Whether the job was taken over, and then changed by others: that is told, and left."""
    drifted = record.status.condition("Drifted")
    told = drifted is not None and (drifted.status, drifted.reason) == ("True", "LeftAsFound")
    by_others = bool(seen.hands.get(record.uid) or seen.restored_at)
    return told and by_others and not marked(job, record.uid)


def _work(essence: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in essence.items() if key not in ("title", "priority")}


def _our_writes(seen: Evidence) -> list[Entry]:
    return [e for e in seen.journal if e.definition and e.by not in (HANDS, NOMAD)]


def _changed_by_hand_since(seen: Evidence, entry: Entry) -> bool:
    return any(
        e.key == entry.key and e.by == HANDS and entry.look_began_at < e.number < entry.number
        for e in seen.journal
    )


def _last_writer(seen: Evidence, uid: str) -> str:
    writers = [e.by for e in seen.journal if e.definition and e.key[1] == uid]
    return writers[-1] if writers else ""


def _makes_way(seen: Evidence, entry: Entry) -> bool:
    """Whether the job was stopped for one of another type, which Nomad takes only in its place."""
    before = entry.before
    return before is not None and any(
        e.key == entry.key and e.number > entry.number and e.item["Type"] != before["Type"]
        for e in _our_writes(seen)
    )


def _was_taken(seen: Evidence, uid: str) -> bool:
    return any(
        e.table == "jobs" and e.key[1] == uid and not ours(seen, e.item, uid) for e in seen.journal
    )


def _shall_run(allocation: Json) -> bool:
    return allocation["DesiredStatus"] == "run" and allocation["ClientStatus"] in LIVE


def _last(wishes: Sequence[Wished]) -> list[Wished]:
    return list(wishes[-1:])


def _claimant(record: Deployment, now: datetime) -> Claimant:
    counted = record.reservation.counted
    return Claimant(record.uid, record.owner, record.vo, counted, asks_of(record, now))


def _place(record: Deployment) -> tuple[int, int]:
    return -record.reservation.rank, record.reservation.queued_at or 0


def _told(record: Deployment) -> str:
    status = record.status
    return f"its status is {status.phase.value} ({status.reason}: {status.message})"


def _short(entry: Entry) -> str:
    return f"{entry.kind} by {entry.by} at index {entry.item['ModifyIndex']}"
