"""Carry out a plan, action by action; nothing is decided and nothing waits here.

A crash between any two actions is harmless: the next look starts from what is there.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Protocol, assert_never

from reconciler.cluster.protocol import Cluster
from reconciler.errors import JobConflict
from reconciler.jobs import JobRef
from reconciler.mirror import Mirror
from reconciler.render import variable_items
from reconciler.steps import (
    Action,
    EvaluateJob,
    ForgetSecrets,
    PinLastGood,
    Plan,
    PurgeJob,
    RegisterJob,
    RemoveFinalizer,
    RestartAllocation,
    StopJob,
    WriteSecrets,
)
from specs.model import Applied, Deployment


class Records(Protocol):
    """What applying needs of the spec store."""

    def secrets(self, uid: str) -> Mapping[str, str]:
        """Return the secrets of one deployment."""
        ...

    def generation(self, uid: str) -> int | None:
        """Return the present generation of one deployment, None where it is gone."""
        ...

    def pin_last_good(
        self, uid: str, *, failed_generation: int, good_generation: int, message: str
    ) -> bool:
        """Let an older generation run again, unless the wish moved on meanwhile."""
        ...

    def remove_finalizer(self, uid: str, finalizer: str) -> None:
        """Let the record go once its last finalizer is removed."""
        ...


@dataclass(frozen=True, slots=True)
class Hands:
    """Everything an action may touch.

    `turn` is held while a job is registered: see `Pressure`. `require_lease` raises LeaseLost where
    a deployment is another replica's by now.
    """

    cluster: Cluster
    mirror: Mirror
    store: Records
    turn: Callable[[], AbstractContextManager[None]] = nullcontext
    require_lease: Callable[[str], None] = lambda _: None


def apply(plan: Plan, deployment: Deployment, hands: Hands) -> Applied | None:
    """Carry out `plan` for `deployment`; return what to record as last written.

    Raises: ClusterError, LeaseLost, with the actions before the failed one done.
    """
    if not any(isinstance(action, RegisterJob) for action in plan.actions):
        return _carry_out(plan, deployment, hands)
    with hands.turn():
        _require_current(deployment, hands)
        return _carry_out(plan, deployment, hands)


def _carry_out(plan: Plan, deployment: Deployment, hands: Hands) -> Applied | None:
    applied = plan.applied
    for action in plan.actions:
        hands.require_lease(deployment.uid)
        index = _act(action, deployment.uid, hands)
        if applied is not None and index is not None:
            applied = replace(applied, index=index)
    return applied


def _require_current(deployment: Deployment, hands: Hands) -> None:
    # The index to register at was read before this. So whoever writes a newer wish from here on
    # moves it, and who has written one already is found here: an older wish never comes after.
    if hands.store.generation(deployment.uid) != deployment.generation:
        raise JobConflict("the wish changed while it was looked at")


def _act(action: Action, uid: str, hands: Hands) -> int | None:
    match action:
        case RegisterJob(job, if_index):
            ref = JobRef(job["Namespace"], job["ID"])
            registered = hands.cluster.register_job(job, if_index=if_index)
            hands.mirror.note_registered(ref, job, registered.index)
            return registered.index
        case WriteSecrets(ref):
            _write_secrets(ref, uid, hands)
        case RestartAllocation(ref, allocation_id):
            hands.cluster.restart_allocation(ref, allocation_id)
        case EvaluateJob(ref):
            hands.cluster.evaluate_job(ref)
        case StopJob(ref):
            stopped = hands.cluster.stop_job(ref)
            hands.mirror.note_stopped(ref, stopped.index)
            return stopped.index
        case PurgeJob(ref):
            hands.cluster.purge_job(ref)
            hands.cluster.delete_variable(ref)
            hands.mirror.note_purged(ref)
        case ForgetSecrets(ref):
            hands.cluster.delete_variable(ref)
        case PinLastGood(failed, good, message):
            hands.store.pin_last_good(
                uid, failed_generation=failed, good_generation=good, message=message
            )
        case RemoveFinalizer(finalizer):
            hands.store.remove_finalizer(uid, finalizer)
        case _:
            assert_never(action)
    return None


def _write_secrets(ref: JobRef, uid: str, hands: Hands) -> None:
    items = variable_items(hands.store.secrets(uid))
    before = hands.cluster.read_variable(ref)
    if before is None:
        hands.cluster.put_variable(ref, items, if_index=0)
    elif dict(before[0]) != items:
        hands.cluster.put_variable(ref, items, if_index=before[1])
