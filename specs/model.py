"""The values of this system: what a person declares and what is recorded about it (pure).

A *manifest* is what people write (YAML or JSON). A *deployment* is the record of it that the store
keeps: the same spec with identity, generation and status. Secrets never travel inside a spec: the
spec carries `SECRET_SET` in their place and the store hands the values out on request only.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

API_VERSION: Final = "ai4papi/v1"
KIND: Final = "Deployment"

SECRET_SET: Final = "(set)"  # noqa: S105
"""Stands for a secret in everything that is shown; sent back, it means "keep the stored one"."""

SECRET_FIELDS: Final = (("general", "jupyter_password"), ("storage", "rclone_password"))
"""(group, key) of every secret; the store's and the Variable's names come from `secret_name`."""

JOB_FINALIZER: Final = "ai4papi/nomad-job"
"""Keeps a record until its job is gone; there from insertion."""

ADOPTED: Final = "adopted:"
"""Begins the digest of an applied job that somebody else had written when it was taken over."""

TTL: Final = re.compile(r"([1-9][0-9]{0,5})([mhd])")
TTL_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}

DNS_LABEL: Final = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
Name = Annotated[str, StringConstraints(pattern=DNS_LABEL)]


CAMEL_CASE: Final = ConfigDict(populate_by_name=True, serialize_by_alias=True)
"""For values whose keys people write in camelCase."""


class Frozen(BaseModel):
    """An immutable value that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class General(Frozen):
    """Group `general` of a spec, as in `etc/userconf.yaml`."""

    virtual_organization: str
    title: str
    desc: str
    docker_image: str
    docker_tag: str
    service: str
    jupyter_password: str


class Hardware(Frozen):
    """Group `hardware` of a spec; `ram` and `disk` are MB, `cpu_num` whole CPUs."""

    cpu_num: int
    gpu_num: int
    gpu_type: str
    ram: int
    disk: int


class Storage(Frozen):
    """Group `storage` of a spec: the remote that rclone mounts inside the container."""

    rclone_conf: str
    rclone_url: str
    rclone_vendor: str
    rclone_user: str
    rclone_password: str


class Update(Frozen):
    """How a change reaches running work.

    `rollback_on_failure` pins the last generation that was Ready where a newer one fails.
    """

    model_config = CAMEL_CASE

    policy: Literal["safe", "queue"] = "safe"
    rollback_on_failure: bool = Field(default=False, alias="rollbackOnFailure")


class DeploymentSpec(Frozen):
    """One complete wish: every field has a value, defaults already filled in.

    `restart` is a counter: a higher number restarts the running work once. `ttl` ("90m", "12h",
    "7d", counted from the creation) or `expires_at` say when the work ends; its spec is kept.
    `priority_class` names one of the operator's classes; None: the template's own priority.
    """

    model_config = CAMEL_CASE

    module: str | None = None
    general: General
    hardware: Hardware
    storage: Storage
    suspend: bool = False
    restart: int = 0
    ttl: str | None = None
    expires_at: datetime | None = Field(default=None, alias="expiresAt")
    priority_class: str | None = Field(default=None, alias="priorityClass")
    update: Update = Update()


SWITCHES: Final = ("suspend", "restart", "ttl", "expires_at", "priority_class", "update")
"""Fields of a spec that say how the work lives, not what runs: a pin leaves them to the wish.

So no rollback brings back a priority that its owner may not ask for any more.
"""


class Owner(NamedTuple):
    """Who a deployment belongs to: the pair that an identity provider guarantees to be unique."""

    iss: str
    sub: str


class Reach(NamedTuple):
    """Whose records somebody may reach: those of `owner` (None: of everybody) in `vos`."""

    owner: Owner | None
    vos: frozenset[str]

    def covers(self, owner: Owner, vo: str) -> bool:
        """Whether a record of `owner` in `vo` is within reach."""
        return vo in self.vos and self.owner in {None, owner}


class Phase(StrEnum):
    """Where a deployment stands, in one word."""

    ACCEPTED = "Accepted"
    QUEUED = "Queued"
    STARTING = "Starting"
    RUNNING = "Running"
    DEGRADED = "Degraded"
    FAILED = "Failed"
    COMPLETE = "Complete"
    SUSPENDED = "Suspended"
    HELD = "Held"
    DELETING = "Deleting"


class Shown(BaseModel):
    """A value that is shown in camelCase and stored the same way."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True
    )


class Condition(Shown):
    """One fact about a deployment, in the Kubernetes form."""

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str = ""
    last_transition_time: datetime


class AllocationStatus(Shown):
    """One allocation as its owner may see it."""

    id: str
    client_status: str
    node_name: str = ""
    job_version: int = 0


class JobStatus(Shown):
    """Where the deployment lives in Nomad."""

    job_id: str = Field(default="", alias="jobID")
    namespace: str = ""
    version: int | None = None
    job_modify_index: int | None = None
    eval_id: str | None = Field(default=None, alias="evalID")
    allocations: tuple[AllocationStatus, ...] = ()


class DeploymentStatus(Shown):
    """What the reconciler last saw and did; written by the reconciler only.

    `message` says how it is, `hint` what to do next ("" where nothing). `ran_generation` is the
    newest generation that ran at all, `ready_generation` the newest that Nomad's rollout found good
    (0: none yet). `repairs` are the instants of the latest repairs
    of drift, oldest first.
    """

    observed_generation: int = 0
    ran_generation: int = 0
    ready_generation: int = 0
    pinned_generation: int | None = None
    phase: Phase = Phase.ACCEPTED
    reason: str = ""
    message: str = ""
    hint: str = ""
    conditions: tuple[Condition, ...] = ()
    nomad: JobStatus = JobStatus()
    endpoints: Mapping[str, str] = Field(default_factory=dict)
    resources: Mapping[str, int] = Field(default_factory=dict)
    placement: Mapping[str, Any] = Field(default_factory=dict)
    expires_at: datetime | None = None
    repairs: tuple[datetime, ...] = ()
    observed_at: datetime | None = None

    def condition(self, kind: str) -> Condition | None:
        """Return the condition of type `kind`, or None where it was never set."""
        return next((c for c in self.conditions if c.type == kind), None)


@dataclass(frozen=True, slots=True)
class Applied:
    """What the reconciler last wrote to the cluster for one deployment.

    With `generation` and `index` unchanged there is nothing to do. `job` is the rendered job as it
    was sent; this package stores it and never looks inside. `index` is the job's `JobModifyIndex`
    after that write.
    """

    generation: int
    secrets_generation: int
    digest: str
    index: int
    job: Mapping[str, Any]
    restart: int = 0

    @property
    def adopted(self) -> bool:
        """Whether `job` was never written by us: another platform's, of which this is a part."""
        return self.digest.startswith(ADOPTED)


@dataclass(frozen=True, slots=True)
class Pin:
    """An older generation that runs in place of the wish until a newer wish lifts it.

    `by` is who rolled back: a person's name, or the reconciler (`update.rollbackOnFailure`).
    """

    generation: int
    spec: DeploymentSpec
    by: str


@dataclass(frozen=True, slots=True)
class Reservation:
    """What the quota counts of a deployment, and the present wish's place in line.

    `asks` is what a wish in line asks for, empty for one that was let in. `queued_at` is the number
    of the write since which the wish stands in line (None: it was let in); until then what ran
    before goes on and nothing new starts. A higher `rank` comes first.
    """

    counted: Mapping[str, int] = field(default_factory=dict)
    asks: Mapping[str, int] = field(default_factory=dict)
    queued_at: int | None = None
    rank: int = 0


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to a deployment.

    `reason` is a stable CamelCase word, `message` one sentence. `actor` is who did it: a person, a
    Nomad token's accessor, or "reconciler". `source` is the way in: http, cli, python, git,
    reconciler or nomad. The phases are "" where the phase stayed.
    """

    reason: str
    message: str
    kind: Literal["Normal", "Warning"] = "Normal"
    actor: str = "reconciler"
    source: str = "reconciler"
    from_phase: str = ""
    to_phase: str = ""


@dataclass(frozen=True, slots=True)
class Deployment:
    """The record of one wish.

    `generation` counts changes of the wish, `resource_version` changes of anything (the ETag),
    `secrets_generation` is the generation at which a secret last changed (0: there is none). `pin`
    is the older generation that runs instead. `deletion_held` says why its source's deletion waits
    for a person's yes ("": nothing waits), `source_fault` what is wrong with the file that declares
    it ("": nothing): the record keeps what that file said last. `module_defaults` are what the
    module of the spec set by (group, key) when the wish was let in: its numbers are minimums.
    """

    uid: str
    owner: Owner
    owner_name: str
    vo: str
    name: str
    spec: DeploymentSpec
    generation: int
    secrets_generation: int
    resource_version: int
    created_at: datetime
    deletion_requested_at: datetime | None = None
    deletion_held: str = ""
    source_fault: str = ""
    pin: Pin | None = None
    finalizers: tuple[str, ...] = (JOB_FINALIZER,)
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    source: Mapping[str, str] = field(default_factory=dict)
    module_defaults: Mapping[tuple[str, str], str | int] = field(default_factory=dict)
    reservation: Reservation = Reservation()
    status: DeploymentStatus = field(default_factory=DeploymentStatus)
    applied: Applied | None = None

    @property
    def being_deleted(self) -> bool:
        """Whether its owner asked for the deletion."""
        return self.deletion_requested_at is not None

    @property
    def adopted(self) -> bool:
        """Whether its job is one that was taken over and that we have not written yet."""
        return self.applied is not None and self.applied.adopted

    @property
    def over_quota(self) -> bool:
        """Whether the present wish stands in line for its quota."""
        return self.reservation.queued_at is not None

    @property
    def target(self) -> DeploymentSpec:
        """What should run: the wish, or what is pinned in its place with the wish's switches."""
        if self.pin is None:
            return self.spec
        return self.pin.spec.model_copy(update={s: getattr(self.spec, s) for s in SWITCHES})

    @property
    def expires_at(self) -> datetime | None:
        """When the work ends by its owner's own word; None: never."""
        if self.spec.ttl is not None:
            return self.created_at + lease(self.spec.ttl)
        return self.spec.expires_at


@dataclass(frozen=True, slots=True)
class Revision:
    """What was wished at one generation; secrets are not in it.

    `pinned_generation` is the older generation that ran in place of `spec`, None where `spec` ran.
    """

    generation: int
    spec: DeploymentSpec
    at: datetime
    actor: str
    source: Mapping[str, str]
    pinned_generation: int | None = None


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """An event where it stands in the timeline; `number` only grows, over all deployments."""

    number: int
    uid: str
    name: str
    at: datetime
    generation: int
    event: Event


@dataclass(frozen=True, slots=True)
class Trashed:
    """A deployment that is gone from the cluster and can still be had back."""

    deployment: Deployment
    deleted_at: datetime


@dataclass(frozen=True, slots=True)
class StoreIdentity:
    """Tells one store from another and from an older copy of itself.

    `store_id` is made once, with the tables. `durable` is the number of the newest write that was
    answered as being on the disk: it only grows, and a power cut does not take it back.
    """

    store_id: str
    durable: int


def secret_name(group: str, key: str) -> str:
    """Return the one name of a secret, `group.key`."""
    return f"{group}.{key}"


def lease(ttl: str) -> timedelta:
    """Return how long a `ttl` such as "90m", "12h" or "7d" lasts. Raises: ValueError."""
    found = TTL.fullmatch(ttl)
    if found is None:
        raise ValueError(f"{ttl!r} is no whole number of m, h or d")
    return timedelta(**{TTL_UNITS[found[2]]: int(found[1])})
