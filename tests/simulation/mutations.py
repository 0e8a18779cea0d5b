"""Deliberate bugs, put into the product from outside: what an oracle is worth shows only on them.

Nothing of this is in the product; each mutation replaces one function for as long as it is active.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Final, TypeAlias
from unittest.mock import patch

from reconciler import apply, loop, plan, render, sources, status
from reconciler.cluster.simulator.state import SimulatedNomad
from reconciler.steps import Plan, RemoveFinalizer
from specs import admission, declaring, pruning, trash
from specs.model import JOB_FINALIZER, Phase, Reach, Reservation
from specs.quota import NOTHING, asks_of, difference, scopes_of
from specs.store import SpecStore
from tests.simulation.oracles import (
    adopted_work_goes_on,
    became_quiet,
    converged,
    deletions_really_stop,
    no_accepted_spec_was_lost,
    no_foreign_job_was_touched,
    no_write_was_repeated,
    nobody_waits_in_vain,
    nothing_broke_by_itself,
    nothing_ran_uncounted,
    nothing_runs_twice,
    nothing_was_pruned_on_doubt,
    nothing_was_stopped_unasked,
    nothing_was_written_that_nobody_wished,
    quotas_were_kept,
    statuses_are_true,
)

Mutation: TypeAlias = AbstractContextManager[Any]


def drop_if_index() -> Mutation:
    """Register whatever is there: no index is enforced."""
    register = SimulatedNomad.register

    def careless(self: Any, sent: Any, **options: Any) -> Any:
        return register(self, sent, **{**options, "if_index": None})

    return patch.object(SimulatedNomad, "register", careless)


def skip_relist() -> Mutation:
    """After a reconnect go on with what was known."""
    fill = sources.fill

    def lazy(mirror: Any, cluster: Any, adopted: Any) -> None:
        if not mirror._listed:
            fill(mirror, cluster, adopted)
        mirror._connected, mirror._doubted = True, False

    return patch.object(sources, "fill", lazy)


def prune_on_empty() -> Mutation:
    """Take a read that found nothing for a source that has nothing."""
    doubt = pruning._doubt

    def trusting(listing: Any, absent: Any, budget: Any, **load: Any) -> str:
        return doubt(listing, absent, budget, **load) if listing.places else ""

    return patch.object(pruning, "_doubt", trusting)


def never_repair() -> Mutation:
    """Leave what others changed, and say that it is as wished."""
    return patch.object(plan, "found_in", lambda live, wanted: None)


def acknowledge_before_the_write() -> Mutation:
    """Answer a change of a wish, and forget some of them."""
    put = SpecStore.put

    def hasty(self: Any, wish: Any, **who: Any) -> Any:
        before = (
            self.find(_reach(wish, who), vo=wish.vo, name=wish.name)
            if _has(self, wish, who)
            else None
        )
        if before is None or before.generation % 3 or before.spec == wish.spec:
            return put(self, wish, **who)
        promised = replace(before, generation=before.generation + 1, spec=wish.spec)
        return promised, False

    return patch.object(SpecStore, "put", hasty)


def forget_the_job() -> Mutation:
    """Let a record go without its job."""

    def careless(ref: Any, observed: Any) -> Plan:
        return Plan("deleting", (RemoveFinalizer(JOB_FINALIZER),))

    return patch.object(plan, "_plan_deletion", careless)


def touch_anybodys() -> Mutation:
    """Take every job under an id of ours for ours."""
    return patch.object(plan, "is_ours", lambda *_: True)


def stop_what_waits() -> Mutation:
    """Stop a job whose change can't be placed."""
    change = plan._plan_change

    def stopping(deployment: Any, wanted: Any, observed: Any, verdict: Any) -> Plan:
        planned = change(deployment, wanted, observed, verdict)
        if planned.hold is None:
            return planned
        return Plan("make room", (plan.StopJob(wanted.ref),))

    return patch.object(plan, "_plan_change", stopping)


def write_again() -> Mutation:
    """Register at every look, and change a little each time."""
    counter = iter(range(10**9))
    in_sync = plan._plan_in_sync

    def restless(deployment: Any, wanted: Any, observed: Any, job: Any) -> Plan:
        planned = in_sync(deployment, wanted, observed, job)
        if planned.reason != "in sync":
            return planned
        fresh = {**wanted.job, "Constraints": [_nothing(next(counter))]}
        return plan._register(deployment, replace(wanted, job=fresh), job.job_modify_index, "again")

    return patch.object(plan, "_plan_in_sync", restless)


def write_the_unwished() -> Mutation:
    """Register with a bit more memory than was wished."""
    render = loop.render

    def generous(*args: Any) -> Any:
        wanted = render(*args)
        (group,) = wanted.job["TaskGroups"]
        task = group["Tasks"][0]
        resources = {**task["Resources"], "MemoryMB": task["Resources"]["MemoryMB"] + 1}
        tasks = [{**task, "Resources": resources}, *group["Tasks"][1:]]
        return replace(wanted, job={**wanted.job, "TaskGroups": [{**group, "Tasks": tasks}]})

    return patch.object(loop, "render", generous)


def run_two() -> Mutation:
    """Write a job that runs twice."""
    act = apply._act

    def doubling(action: Any, uid: Any, hands: Any) -> Any:
        if isinstance(action, plan.RegisterJob):
            (group,) = action.job["TaskGroups"]
            job = {**action.job, "TaskGroups": [{**group, "Count": 2}]}
            action = replace(action, job=job)
        return act(action, uid, hands)

    return patch.object(apply, "_act", doubling)


def say_running() -> Mutation:
    """Say that everything runs."""
    doing = status.doing_of

    def rosy(*args: Any, **options: Any) -> Any:
        return replace(doing(*args, **options), phase=Phase.RUNNING)

    return patch.object(status, "doing_of", rosy)


def break_looks() -> Mutation:
    """Let a look at a suspended deployment end in an error."""

    def broken(*args: Any) -> Plan:
        raise KeyError("suspend")

    return patch.object(plan, "_plan_stop", broken)


def never_rest() -> Mutation:
    """Ask for another look at once, always."""
    return patch.object(loop.Reconciler, "_look_again_s", lambda self, deployment, plan: 0.0)


def release_at_the_suspend() -> Mutation:
    """Count no more of what is suspended as soon as its owner says so."""
    admit = admission.admit

    def hasty(write: Any, record: Any, quotas: Any) -> Any:
        before = record.reservation.counted
        admitted = admit(write, record, quotas)
        if admitted.over_quota or asks_of(record, write.now()):
            return admitted
        admission.count(write, scopes_of(record.owner, record.vo), difference(NOTHING, before))
        return replace(admitted, reservation=Reservation())

    return patch.object(declaring, "admit", hasty)


def undelete_uncounted() -> Mutation:
    """Take what was deleted back and forget to count it."""
    return patch.object(
        trash, "admit", lambda write, record, quotas: replace(record, reservation=Reservation())
    )


def let_in_uncounted() -> Mutation:
    """Let in who waits, and forget what is used."""

    def generous(write: Any, claimant: Any) -> None:
        with patch.object(admission, "count"):
            let_in(write, claimant)

    let_in = admission._let_in
    return patch.object(admission, "_let_in", generous)


def let_in_everybody() -> Mutation:
    """Let in all that wait when somebody makes room, however much that is."""
    return patch.object(admission, "admitted", lambda line, used, quotas: line)


def let_in_nobody() -> Mutation:
    """Leave in line who waits, whoever makes room."""
    return patch.object(admission, "_let_in", lambda write, claimant: None)


def register_what_waits() -> Mutation:
    """Have the loop take no notice of the line."""
    look = loop.Reconciler._look

    def blind(self: Any, deployment: Any) -> Any:
        counted = Reservation(deployment.reservation.counted)
        return look(self, replace(deployment, reservation=counted))

    return patch.object(loop.Reconciler, "_look", blind)


def release_with_the_stop() -> Mutation:
    """Take a job for stopped, and its work for ended, when the stop was only sent."""

    def hasty(deployment: Any, look: Any, now: Any) -> bool:
        return look.plan is not None and look.plan.hold is None and look.error is None

    return patch.object(loop, "runs_no_more_than_wished", hasty)


def never_release() -> Mutation:
    """Count for ever what ran once."""
    return patch.object(loop, "runs_no_more_than_wished", lambda *look: False)


def wait_without_a_reason() -> Mutation:
    """Say nothing to those in line."""
    return patch.object(loop, "standing_in_words", lambda standing: "")


def _has(store: Any, wish: Any, who: Any) -> bool:
    return any(r.name == wish.name for r in store.page(_reach(wish, who)).items)


def _reach(wish: Any, who: Any) -> Reach:
    return Reach(who["owner"], frozenset({wish.vo}))


def _nothing(number: int) -> dict[str, str]:
    return {"LTarget": "${node.unique.name}", "RTarget": f"no-{number}", "Operand": "!="}


def write_at_once() -> Mutation:
    """Render our own job over one that was taken over."""
    return patch.object(render, "_runs_as_found", lambda deployment, applied: False)


def repair_what_was_adopted() -> Mutation:
    """Set right what was changed by hand in a job that was taken over."""
    found = plan._plan_found

    def eager(deployment: Any, wanted: Any, live: Any, **rest: Any) -> Plan:
        return found(deployment, wanted.own or wanted, live, **rest)

    return patch.object(plan, "_plan_found", eager)


MUTATIONS: Final[dict[str, tuple[Callable[[], Mutation], str]]] = {
    "drop-if-index": (drop_if_index, ""),
    "skip-relist": (skip_relist, ""),
    "prune-on-empty": (prune_on_empty, nothing_was_pruned_on_doubt.__name__),
    "never-repair": (never_repair, converged.__name__),
    "acknowledge-before-write": (acknowledge_before_the_write, no_accepted_spec_was_lost.__name__),
    "forget-the-job": (forget_the_job, deletions_really_stop.__name__),
    "touch-anybodys": (touch_anybodys, no_foreign_job_was_touched.__name__),
    "stop-what-waits": (stop_what_waits, nothing_was_stopped_unasked.__name__),
    "write-again": (write_again, no_write_was_repeated.__name__),
    "write-the-unwished": (write_the_unwished, nothing_was_written_that_nobody_wished.__name__),
    "run-two": (run_two, nothing_runs_twice.__name__),
    "say-running": (say_running, statuses_are_true.__name__),
    "break-looks": (break_looks, nothing_broke_by_itself.__name__),
    "never-rest": (never_rest, became_quiet.__name__),
    "release-at-the-suspend": (release_at_the_suspend, nothing_ran_uncounted.__name__),
    "undelete-uncounted": (undelete_uncounted, nothing_ran_uncounted.__name__),
    "let-in-uncounted": (let_in_uncounted, quotas_were_kept.__name__),
    "let-in-everybody": (let_in_everybody, quotas_were_kept.__name__),
    "let-in-nobody": (let_in_nobody, nobody_waits_in_vain.__name__),
    "register-what-waits": (register_what_waits, nothing_ran_uncounted.__name__),
    "release-with-the-stop": (release_with_the_stop, nothing_ran_uncounted.__name__),
    "never-release": (never_release, nobody_waits_in_vain.__name__),
    "write-at-once": (write_at_once, adopted_work_goes_on.__name__),
    "repair-what-was-adopted": (repair_what_was_adopted, adopted_work_goes_on.__name__),
    "wait-without-a-reason": (wait_without_a_reason, converged.__name__),
}
"""By name: the bug, and the oracle that must catch it ("": any)."""
