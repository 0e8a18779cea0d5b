"""The values of this system: what a person declares and what is recorded about it (pure).

A *manifest* is what people write (YAML or JSON). A *deployment* is the record of it that the store
keeps: the same spec with identity, generation and status. Secrets never travel inside a spec: the
spec carries `SECRET_SET` in their place and the store hands the values out on request only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
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

DNS_LABEL: Final = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
Name = Annotated[str, StringConstraints(pattern=DNS_LABEL)]


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
    """How a change reaches running work."""

    policy: Literal["safe", "queue"] = "safe"


class DeploymentSpec(Frozen):
    """One complete wish: every field has a value, defaults already filled in."""

    module: str | None = None
    general: General
    hardware: Hardware
    storage: Storage
    suspend: bool = False
    update: Update = Update()


class Owner(NamedTuple):
    """Who a deployment belongs to: the pair that an identity provider guarantees to be unique."""

    iss: str
    sub: str


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
    """What the reconciler last saw and did; written by the reconciler only."""

    observed_generation: int = 0
    phase: Phase = Phase.ACCEPTED
    reason: str = ""
    message: str = ""
    conditions: tuple[Condition, ...] = ()
    nomad: JobStatus = JobStatus()
    endpoints: Mapping[str, str] = Field(default_factory=dict)
    resources: Mapping[str, int] = Field(default_factory=dict)
    placement: Mapping[str, Any] = Field(default_factory=dict)
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


@dataclass(frozen=True, slots=True)
class Deployment:
    """The record of one wish.

    `generation` counts changes of the wish, `resource_version` changes of anything (the ETag),
    `secrets_generation` is the generation at which a secret last changed (0: there is none).
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
    finalizers: tuple[str, ...] = (JOB_FINALIZER,)
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    source: Mapping[str, str] = field(default_factory=dict)
    status: DeploymentStatus = field(default_factory=DeploymentStatus)
    applied: Applied | None = None

    @property
    def being_deleted(self) -> bool:
        """Whether its owner asked for the deletion."""
        return self.deletion_requested_at is not None


def secret_name(group: str, key: str) -> str:
    """Return the one name of a secret, `group.key`."""
    return f"{group}.{key}"
