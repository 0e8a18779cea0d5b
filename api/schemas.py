"""The shapes of the HTTP API's answers and bodies, with an example of each (pure)."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from specs.model import API_VERSION, KIND, DeploymentSpec, DeploymentStatus, Shown

LegacyWord = Literal["queued", "starting", "running", "down", "complete", "failed", "error"]
"""The seed's words for where a deployment stands."""

EXAMPLE_SPEC: Final[dict[str, Any]] = {
    "general": {
        "virtual_organization": "vo.ai4eosc.eu",
        "title": "Train A",
        "desc": "",
        "docker_image": "deephdc/deep-oc-image-classification-tf",
        "docker_tag": "cpu",
        "service": "deepaas",
        "jupyter_password": "",
    },
    "hardware": {"cpu_num": 1, "gpu_num": 1, "gpu_type": "", "ram": 8000, "disk": 20000},
    "storage": {
        "rclone_conf": "/srv/.rclone/rclone.conf",
        "rclone_url": "",
        "rclone_vendor": "nextcloud",
        "rclone_user": "",
        "rclone_password": "",
    },
    "suspend": False,
    "restart": 0,
    "update": {"policy": "safe", "rollbackOnFailure": False},
}

EXAMPLE_UID: Final = "0b9f3a52-6c0e-4c83-9f2e-2f1d4f6b7a10"
_EXAMPLE_ENDPOINTS: Final = {
    "deepaas": "http://192.0.2.10:23143",
    "monitor": "http://192.0.2.10:22365",
    "lab": "http://192.0.2.10:20820",
}

_EXAMPLE_STATUS: Final[dict[str, Any]] = {
    "observedGeneration": 1,
    "phase": "Running",
    "reason": "Running",
    "message": "running on node gpu-1",
    "conditions": [
        {
            "type": "Ready",
            "status": "True",
            "reason": "Running",
            "message": "running on node gpu-1",
            "lastTransitionTime": "2026-11-24T09:30:12Z",
        }
    ],
    "nomad": {
        "jobID": EXAMPLE_UID,
        "namespace": "ai4eosc",
        "version": 0,
        "jobModifyIndex": 21,
        "evalID": "6a0d3f5e-3f50-9c0f-7d3c-0d3f7b2b9a11",
        "allocations": [
            {
                "id": "e6b24722-e332-185a-a9b6-817ce8d26f48",
                "clientStatus": "running",
                "nodeName": "gpu-1",
                "jobVersion": 0,
            }
        ],
    },
    "endpoints": _EXAMPLE_ENDPOINTS,
    "resources": {"cpu_num": 1, "gpu_num": 1, "memoryMB": 8000, "diskMB": 20000},
    "placement": {},
    "observedAt": "2026-11-24T09:30:12Z",
}

MANIFEST_EXAMPLE: Final[dict[str, Any]] = {
    "apiVersion": API_VERSION,
    "kind": KIND,
    "metadata": {"name": "train-a"},
    "spec": {
        "general": {
            "title": "Train A",
            "docker_image": "deephdc/deep-oc-image-classification-tf:cpu",
            "service": "deepaas",
        },
        "hardware": {"gpu_num": 1},
    },
}

_EXAMPLE: Final[dict[str, Any]] = {
    "apiVersion": API_VERSION,
    "kind": KIND,
    "metadata": {
        "name": "train-a",
        "vo": "vo.ai4eosc.eu",
        "uid": EXAMPLE_UID,
        "owner": {"iss": "local", "sub": "local", "name": "local"},
        "generation": 1,
        "resourceVersion": "7",
        "creationTimestamp": "2026-11-24T09:30:00Z",
        "labels": {},
        "annotations": {},
        "source": {"type": "http"},
    },
    "spec": EXAMPLE_SPEC,
    "status": _EXAMPLE_STATUS,
}


_GROUP: Final = {
    "type": "object",
    "description": "Keys and values as GET /v1/info/conf lists them.",
}
_TEXTS: Final = {"type": "object", "additionalProperties": {"type": "string"}}
MANIFEST: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["metadata", "spec"],
    "additionalProperties": False,
    "properties": {
        "apiVersion": {"type": "string", "enum": [API_VERSION]},
        "kind": {"type": "string", "enum": [KIND]},
        "metadata": {
            "type": "object",
            "required": ["name"],
            "additionalProperties": False,
            "properties": {
                "name": {"type": "string", "description": "A DNS label, unique in your VO."},
                "vo": {"type": "string", "description": "Needed where you have several."},
                "labels": _TEXTS,
                "annotations": _TEXTS,
            },
        },
        "spec": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "module": {"type": ["string", "null"]},
                "general": _GROUP,
                "hardware": _GROUP,
                "storage": _GROUP,
                "suspend": {"type": "boolean", "description": "Stops the job, keeps the spec."},
                "restart": {
                    "type": "integer",
                    "minimum": 0,
                    "description": "A higher number restarts the running work once.",
                },
                "ttl": {
                    "type": ["string", "null"],
                    "description": "The work ends so long after the creation: 90m, 12h, 7d.",
                },
                "expiresAt": {
                    "type": ["string", "null"],
                    "format": "date-time",
                    "description": "The work ends then; its spec is kept.",
                },
                "priorityClass": {
                    "type": ["string", "null"],
                    "description": "One of the site's classes: who goes first where there is no"
                    " room for all. A change restarts nothing.",
                },
                "update": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "policy": {"type": "string", "enum": ["safe", "queue"]},
                        "rollbackOnFailure": {"type": "boolean"},
                    },
                },
            },
        },
    },
}


def with_example(example: dict[str, Any]) -> ConfigDict:
    """Return the configuration of a shape whose documentation shows `example`."""
    return ConfigDict(json_schema_extra={"examples": [example]})


class OwnerView(Shown):
    """Who a deployment belongs to."""

    iss: str
    sub: str
    name: str


class MetadataView(Shown):
    """Identity and bookkeeping of a deployment; people set name, vo, labels and annotations."""

    name: str
    vo: str
    uid: str
    owner: OwnerView
    generation: int
    resource_version: str
    creation_timestamp: datetime
    deletion_timestamp: datetime | None = None
    deletion_held: str | None = Field(
        default=None, description="why its source's deletion waits for an operator's yes"
    )
    pinned_generation: int | None = Field(
        default=None, description="the older generation that runs in place of this spec"
    )
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    source: Mapping[str, str]


class PlanView(Shown):
    """What storing a spec would do to what runs; `message` says why it would not fit."""

    effect: Literal["unchanged", "creates", "in place", "restarts", "stops", "refused", "unknown"]
    fits: bool | None = None
    message: str = ""


class FieldView(Shown):
    """One field of the job that is not as it should be; what is absent is not set."""

    path: str = Field(description="such as TaskGroups[usergroup].Count")
    wanted: Any = None
    actual: Any = None


class ComparisonView(PlanView):
    """What the next look would do to what runs, and the fields in which the two differ."""

    model_config = with_example(
        {
            "effect": "in place",
            "fits": True,
            "message": "",
            "changes": [{"path": "TaskGroups[usergroup].Count", "wanted": 1, "actual": 0}],
        }
    )

    changes: Sequence[FieldView] = ()


class DeploymentView(Shown):
    """A deployment as the declarative API shows it; `plan` is there on a dry run only."""

    model_config = with_example(_EXAMPLE)

    api_version: Literal["ai4papi/v1"] = "ai4papi/v1"
    kind: Literal["Deployment"] = "Deployment"
    metadata: MetadataView
    spec: DeploymentSpec
    status: DeploymentStatus
    plan: PlanView | None = None


class ListMetadata(Shown):
    """Where a list goes on ("" at its end) and which version of the store it shows."""

    continue_: str = Field(alias="continue")
    resource_version: str


class DeploymentList(Shown):
    """One page of deployments, newest first."""

    model_config = with_example(
        {"items": [_EXAMPLE], "metadata": {"continue": "", "resourceVersion": "7"}}
    )

    items: Sequence[DeploymentView]
    metadata: ListMetadata


class StatusView(DeploymentStatus):
    """The small status: what is told, and of which generation of which deployment."""

    model_config = with_example(
        {"name": "train-a", "vo": "vo.ai4eosc.eu", "uid": EXAMPLE_UID, "generation": 1}
        | _EXAMPLE_STATUS
    )

    name: str
    vo: str
    uid: str
    generation: int
    deletion_timestamp: datetime | None = None


class SeedResources(BaseModel):
    """What a deployment asks for, in the seed's words."""

    cpu_num: int
    gpu_num: int
    memoryMB: int  # noqa: N815
    diskMB: int  # noqa: N815


class SeedDeployment(BaseModel):
    """A deployment as the seed shows it; `error_msg` only where something is wrong."""

    model_config = with_example(
        {
            "job_ID": EXAMPLE_UID,
            "status": "running",
            "owner": "local",
            "title": "Train A",
            "description": "",
            "docker_image": "deephdc/deep-oc-image-classification-tf:cpu",
            "submit_time": "2026-11-24 09:30:00",
            "resources": {"cpu_num": 1, "gpu_num": 1, "memoryMB": 8000, "diskMB": 20000},
            "endpoints": _EXAMPLE_ENDPOINTS,
            "alloc_ID": "e6b24722-e332-185a-a9b6-817ce8d26f48",
        }
    )

    job_ID: str  # noqa: N815
    status: LegacyWord
    owner: str
    title: str
    description: str
    docker_image: str
    submit_time: str
    resources: SeedResources
    endpoints: Mapping[str, str]
    alloc_ID: str | None  # noqa: N815
    error_msg: str | None = None


class Created(BaseModel):
    """The seed's answer to a create."""

    model_config = with_example({"status": "success", "job_ID": EXAMPLE_UID})

    status: Literal["success"] = "success"
    job_ID: str  # noqa: N815


class Done(BaseModel):
    """The seed's answer to a delete."""

    model_config = with_example({"status": "success"})

    status: Literal["success"] = "success"


class FormFieldView(BaseModel):
    """One field of the form: its title, default, and what it may be."""

    name: str
    value: str | int
    options: list[str | int] | None = None
    range: list[int] | None = Field(default=None, description="lowest and highest, both allowed")
    description: str | None = None
    free: Mapping[str, int] | None = Field(
        default=None, description="of each option, how many are free now; on gpu_type alone"
    )


class FormView(BaseModel):
    """What a user may set, by group and key."""

    model_config = with_example(
        {
            "general": {"title": {"name": "Deployment title", "value": "", "range": [0, 45]}},
            "hardware": {
                "gpu_num": {"name": "Number of GPUs", "value": 0, "range": [0, 8]},
                "gpu_type": {
                    "name": "GPU model",
                    "value": "",
                    "options": ["", "NVIDIA A100"],
                    "free": {"NVIDIA A100": 2},
                },
            },
            "storage": {
                "rclone_vendor": {
                    "name": "RCLONE vendor",
                    "value": "nextcloud",
                    "options": ["nextcloud"],
                }
            },
        }
    )

    general: Mapping[str, FormFieldView]
    hardware: Mapping[str, FormFieldView]
    storage: Mapping[str, FormFieldView]


class Links(BaseModel):
    """What there is, and where."""

    model_config = with_example(
        {
            "name": "ai4papi",
            "version": "0.1.0",
            "cluster": "simulated",
            "versions": ["v1"],
            "links": {"v1": "/v1", "docs": "/docs"},
        }
    )

    name: str
    version: str
    cluster: str = Field(description="what the deployments run on; says so where it is simulated")
    versions: list[str]
    links: Mapping[str, str]


class ReplicaView(BaseModel):
    """What this process does of the work that several reconcilers share."""

    id: str = Field(description="what it calls itself, in its log too; another one at every start")
    parts: int = Field(description="parts of the deployments that it looks after")
    of: int = Field(description="how many parts there are")
    replicas: int = Field(description="reconcilers that share them now")
    term: int = Field(description="the newest term of its leases; 0 where it holds none")
    since: datetime = Field(description="when its parts last changed")


class Health(BaseModel):
    """The server does its work."""

    model_config = with_example({"status": "ok"})

    status: Literal["ok"] = "ok"
    replica: ReplicaView | None = Field(
        default=None, description="only where several reconcilers may share the work"
    )
