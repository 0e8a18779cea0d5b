"""Values for tests: sensible defaults, so that a case shows only what matters to it."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from reconciler.jobs import (
    MANAGED_BY,
    Allocation,
    Evaluation,
    Job,
    JobRef,
    Node,
    PlacementFailure,
    Rollout,
)
from reconciler.render import Site
from specs.model import (
    Applied,
    Deployment,
    DeploymentSpec,
    General,
    Hardware,
    Owner,
    Reach,
    Storage,
)
from specs.sealing import Seal

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
UID = "11111111-1111-4111-8111-111111111111"
VO = "vo.ai4eosc.eu"
REF = JobRef("ai4eosc", UID)
SITE = Site(namespaces={VO: "ai4eosc"})
ALICE = Owner("https://aai.egi.eu/auth/realms/egi", "alice@egi.eu")
ALICE_REACH = Reach(ALICE, frozenset({VO, "vo.imagine-ai.eu"}))
SEAL = Seal(["c" * 43 + "="])

TEMPLATE: Mapping[str, Any] = {
    "Type": "service",
    "Datacenters": ["*"],
    "Meta": {"template_version": "1"},
    "UI": None,
    "TaskGroups": [
        {
            "Name": "usergroup",
            "Count": 1,
            "EphemeralDisk": {"SizeMB": 300},
            "Services": [
                {"Name": "deepaas", "PortLabel": "deepaas", "Provider": "nomad", "Meta": None},
                {
                    "Name": "lab",
                    "PortLabel": "lab",
                    "Provider": "nomad",
                    "Meta": {"when": "service=jupyterlab"},
                },
            ],
            "Tasks": [
                {
                    "Name": "usertask",
                    "Driver": "docker",
                    "Config": {"image": "", "command": "", "args": [], "ports": ["deepaas"]},
                    "Env": {"RCLONE_CONFIG": ""},
                    "Resources": {"CPU": 100, "MemoryMB": 300, "Devices": None},
                    "Templates": [{"DestPath": "secrets/ai4papi.env", "Envvars": True}],
                },
                {"Name": "sidecar", "Driver": "docker", "Meta": {"when": "storage"}},
            ],
        }
    ],
}


def a_spec(**changes: Any) -> DeploymentSpec:
    spec = DeploymentSpec(
        general=General(
            virtual_organization=VO,
            title="My training",
            desc="",
            docker_image="deephdc/image",
            docker_tag="cpu",
            service="deepaas",
            jupyter_password="",
        ),
        hardware=Hardware(cpu_num=2, gpu_num=0, gpu_type="", ram=8000, disk=20000),
        storage=Storage(
            rclone_conf="/srv/.rclone/rclone.conf",
            rclone_url="https://store.example/webdav",
            rclone_vendor="nextcloud",
            rclone_user="",
            rclone_password="",
        ),
    )
    for group in ("general", "hardware", "storage"):
        keys = {
            k: changes.pop(k) for k in list(changes) if k in type(getattr(spec, group)).model_fields
        }
        spec = spec.model_copy(update={group: getattr(spec, group).model_copy(update=keys)})
    return spec.model_copy(update=changes)


def a_deployment(spec: DeploymentSpec | None = None, **changes: Any) -> Deployment:
    deployment = Deployment(
        uid=UID,
        owner=ALICE,
        owner_name="Alice",
        vo=VO,
        name="train-a",
        spec=spec or a_spec(),
        generation=1,
        secrets_generation=0,
        resource_version=1,
        created_at=NOW,
    )
    return replace(deployment, **changes)


def applied_as(
    wanted: Any, *, generation: int = 1, index: int = 10, secrets_generation: int = 0
) -> Applied:
    return Applied(generation, secrets_generation, wanted.digest, index, wanted.job)


def a_job(index: int = 10, **changes: Any) -> Job:
    job = Job(
        ref=REF,
        job_modify_index=index,
        modify_index=index,
        stopped=False,
        status="running",
        version=0,
        meta={"managed_by": MANAGED_BY, "ai4papi_uid": UID},
    )
    return replace(job, **changes)


def an_allocation(status: str = "running", **changes: Any) -> Allocation:
    allocation = Allocation(
        id="aaaaaaaa-0000-4000-8000-000000000001",
        ref=REF,
        job_version=0,
        create_index=11,
        modify_index=12,
        client_status=status,
        desired_status="run",
        node_id="n1",
        node_name="node-1",
        ports={"deepaas": ("10.0.0.7", 23143)},
    )
    return replace(allocation, **changes)


def a_rollout(status: str = "running", **changes: Any) -> Rollout:
    rollout = Rollout(
        id="r1", ref=REF, job_version=0, status=status, description=status, modify_index=11
    )
    return replace(rollout, **changes)


def a_node(status: str = "ready", **changes: Any) -> Node:
    node = Node(id="n1", name="node-1", status=status, eligible=True, modify_index=5)
    return replace(node, **changes)


def a_failure(**changes: Any) -> PlacementFailure:
    return replace(PlacementFailure("usergroup", 3, 0, 0), **changes)


def an_evaluation(*failures: PlacementFailure, **changes: Any) -> Evaluation:
    evaluation = Evaluation(
        id="e1",
        ref=REF,
        status="blocked" if failures else "complete",
        triggered_by="job-register",
        create_index=11,
        modify_index=11,
        failures=tuple(failures),
    )
    return replace(evaluation, **changes)
