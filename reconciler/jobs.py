"""Nomad's objects as the loop needs them, and how to read them from Nomad's JSON (pure).

Only the few fields that decisions are made on are kept: the mirror holds one of these for every
job and allocation. The words are Nomad's own, except `Rollout`, which Nomad calls a deployment:
that word belongs to our users here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias

Json: TypeAlias = Mapping[str, Any]

MANAGED_BY: Final = "ai4papi"
"""Value of the Meta key `managed_by` on every job of ours."""

NO_DEVICES: Final[Mapping[str, int]] = {}
"""One value for all that hold none: there are many of them."""

TERMINAL: Final = frozenset({"complete", "failed", "lost"})
"""Client statuses that an allocation never leaves."""


class JobRef(NamedTuple):
    """Where one job is: Nomad's namespace and the job's id."""

    namespace: str
    id: str


@dataclass(frozen=True, slots=True)
class Job:
    """What a job list or a job event says of one job.

    `job_modify_index` moves with every write of the job's definition, `modify_index` with its
    status too. `meta` is the job's own Meta.
    """

    ref: JobRef
    job_modify_index: int
    modify_index: int
    stopped: bool
    status: str
    version: int | None = None
    meta: Mapping[str, str] = field(default_factory=dict)

    @property
    def managed(self) -> bool:
        """Whether the job carries our marker. Whose it is only the store can say."""
        return self.meta.get("managed_by") == MANAGED_BY


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """One entry of a task's history; `at_ns` is Unix time in nanoseconds."""

    type: str
    message: str
    at_ns: int
    exit_code: int | None = None
    oom: bool = False


@dataclass(frozen=True, slots=True)
class TaskState:
    """How one task of an allocation is doing; `events` oldest first, at most Nomad's last ten."""

    name: str
    state: str
    failed: bool
    restarts: int
    events: tuple[TaskEvent, ...] = ()


@dataclass(frozen=True, slots=True)
class Allocation:
    """One placement of a job on a node. `ports` maps a label to (host address, port), `devices`
    maps vendor/type/name to how many of them it was given. `cpu_mhz` and `memory_mb` are what is
    set aside for it."""

    id: str
    ref: JobRef
    job_version: int | None
    create_index: int
    modify_index: int
    client_status: str
    desired_status: str
    node_id: str
    node_name: str
    healthy: bool | None = None
    ports: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    tasks: tuple[TaskState, ...] = ()
    devices: Mapping[str, int] = field(default_factory=lambda: NO_DEVICES)
    cpu_mhz: int = 0
    memory_mb: int = 0

    @property
    def terminal(self) -> bool:
        """Whether nothing of it runs any more."""
        return self.client_status in TERMINAL


@dataclass(frozen=True, slots=True)
class PlacementFailure:
    """Why the scheduler could not place a task group, as its evaluation tells it."""

    group: str
    nodes_evaluated: int
    nodes_filtered: int
    nodes_exhausted: int
    constraint_filtered: Mapping[str, int] = field(default_factory=dict)
    dimension_exhausted: Mapping[str, int] = field(default_factory=dict)
    quota_exhausted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One pass of Nomad's scheduler over a job."""

    id: str
    ref: JobRef
    status: str
    triggered_by: str
    create_index: int
    modify_index: int
    blocked_eval: str = ""
    failures: tuple[PlacementFailure, ...] = ()

    @property
    def waits(self) -> bool:
        """Whether the job waits for room: it is blocked itself, or left one that is."""
        return bool(self.failures) and (self.status == "blocked" or bool(self.blocked_eval))


@dataclass(frozen=True, slots=True)
class Rollout:
    """What Nomad calls a deployment: the roll-out of one job version."""

    id: str
    ref: JobRef
    job_version: int
    status: str
    description: str
    modify_index: int


@dataclass(frozen=True, slots=True)
class JobGone:
    """The job was purged."""

    ref: JobRef
    modify_index: int


@dataclass(frozen=True, slots=True)
class Node:
    """One client of the cluster; `devices` maps vendor/type/name to its number of instances."""

    id: str
    name: str
    status: str
    eligible: bool
    modify_index: int
    cpu_mhz: int = 0
    memory_mb: int = 0
    disk_mb: int = 0
    devices: Mapping[str, int] = field(default_factory=dict)


Change: TypeAlias = Job | JobGone | Allocation | Evaluation | Rollout | Node


@dataclass(frozen=True, slots=True)
class Changes:
    """One message of the event stream: everything that changed at `index`.

    An empty `changes` with `index` 0 is a heartbeat.
    """

    index: int
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class Registered:
    """Nomad's answer to a write of a job. `index` is the job's index after it, `eval_id` may be
    ""."""

    index: int
    eval_id: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one plan call says that a register would do.

    `effect`: "none" nothing differs; "in place" running work stays; "restarts" it is replaced;
    "creates" there is no such job. `failures` are the groups that would not be placed. `index` is
    the `JobModifyIndex` the plan was made on (0: no such job). `diff` is Nomad's own job diff.
    """

    effect: str
    index: int
    failures: tuple[PlacementFailure, ...] = ()
    diff: Json = field(default_factory=dict)

    @property
    def fits(self) -> bool:
        """Whether everything would be placed at once."""
        return not self.failures
