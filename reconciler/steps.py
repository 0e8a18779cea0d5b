"""What planning speaks of: what was seen, and the step that follows from it (pure values)."""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from reconciler.drift import Drift
from reconciler.jobs import Allocation, Evaluation, Job, JobRef, Json, Rollout, Verdict
from specs.model import Applied


@dataclass(frozen=True, slots=True)
class Rules:
    """The site's choices that planning depends on.

    `drift`: what was changed by hand is set right, or only told. `gpu_model`: a wished model is a
    preference or a demand. `frozen` says why nothing may be written to the cluster ("": it may).
    """

    drift: Literal["repair", "report"] = "repair"
    gpu_model: Literal["affinity", "constraint"] = "affinity"
    frozen: str = ""


USUAL: Final = Rules()


@dataclass(frozen=True, slots=True)
class Observed:
    """What is there, as one consistent look: the mirror's view plus what was read for this look.

    `live` is the whole job, read only when its index moved without us. `verdict` is the
    scheduler's answer to the wanted job, asked only when the wish changed. `index` is the newest
    Nomad index in it. `lost_nodes` are the ids of those nodes of its allocations that do not
    answer. `devices_index` is the newest index at which devices appeared in the cluster (0: never).
    `heard_index` is how far Nomad's word of its allocations goes: later starts are not in here.
    `quota` says why the wish stands in line for its quota, and where (empty: it does not).
    """

    job: Job | None = None
    allocations: tuple[Allocation, ...] = ()
    evaluation: Evaluation | None = None
    rollout: Rollout | None = None
    lost_nodes: frozenset[str] = frozenset()
    devices_index: int = 0
    index: int = 0
    heard_index: int = 0
    live: Json | None = None
    verdict: Verdict | None = None
    quota: str = ""


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
class RestartAllocation:
    """Restart the tasks of one running allocation where they are."""

    ref: JobRef
    allocation_id: str


@dataclass(frozen=True, slots=True)
class EvaluateJob:
    """Let the scheduler look at the job again, as it is."""

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
class ForgetSecrets:
    """Remove the deployment's Variable; for a job that another took over, which may read it."""

    ref: JobRef


@dataclass(frozen=True, slots=True)
class PinLastGood:
    """Let the last generation that was Ready run in place of the one that failed."""

    failed_generation: int
    good_generation: int
    message: str


@dataclass(frozen=True, slots=True)
class RemoveFinalizer:
    """Let the record go: nothing of it is left in the cluster."""

    finalizer: str


Action: TypeAlias = (
    RegisterJob
    | WriteSecrets
    | RestartAllocation
    | EvaluateJob
    | StopJob
    | PurgeJob
    | ForgetSecrets
    | PinLastGood
    | RemoveFinalizer
)


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
    drift: Drift | None = None
    look_again_s: float | None = None
