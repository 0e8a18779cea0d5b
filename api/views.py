"""What the faces show of the records, and how it is made (pure)."""

from collections.abc import Mapping, Sequence
from typing import Final

from api.schemas import (
    DeploymentList,
    DeploymentView,
    LegacyWord,
    ListMetadata,
    MetadataView,
    OwnerView,
    PlanView,
    SeedDeployment,
    SeedResources,
    StatusView,
)
from specs.images import is_digest
from specs.model import AllocationStatus, Deployment, Phase

SEED_TIME: Final = "%Y-%m-%d %H:%M:%S"

LEGACY_WORDS: Final[Mapping[Phase, LegacyWord]] = {
    Phase.ACCEPTED: "queued",
    Phase.QUEUED: "queued",
    Phase.STARTING: "starting",
    Phase.RUNNING: "running",
    Phase.DEGRADED: "down",
    Phase.FAILED: "failed",
    Phase.COMPLETE: "complete",
    Phase.SUSPENDED: "down",
    Phase.HELD: "queued",
    Phase.DELETING: "down",
}

ENDED: Final = frozenset({Phase.FAILED, Phase.COMPLETE, Phase.SUSPENDED})
"""Phases that nothing leaves before the wish changes."""


def deployment_view(deployment: Deployment, plan: PlanView | None = None) -> DeploymentView:
    """Return a deployment as the declarative API shows it."""
    d = deployment
    return DeploymentView(
        metadata=MetadataView(
            name=d.name,
            vo=d.vo,
            uid=d.uid,
            owner=OwnerView(iss=d.owner.iss, sub=d.owner.sub, name=d.owner_name),
            generation=d.generation,
            resource_version=str(d.resource_version),
            creation_timestamp=d.created_at,
            deletion_timestamp=d.deletion_requested_at,
            deletion_held=d.deletion_held or None,
            pinned_generation=d.pin.generation if d.pin else None,
            labels=d.labels,
            annotations=d.annotations,
            source=d.source,
        ),
        spec=d.spec,
        status=d.status,
        plan=plan,
    )


def list_view(
    deployments: Sequence[Deployment], *, continue_: str | None, version: int
) -> DeploymentList:
    """Return one page of deployments."""
    return DeploymentList(
        items=[deployment_view(d) for d in deployments],
        metadata=ListMetadata(continue_=continue_ or "", resource_version=str(version)),
    )


def status_view(deployment: Deployment) -> StatusView:
    """Return the small status."""
    # Built without checking again what the store has just checked: this is the hottest answer.
    return StatusView.model_construct(
        name=deployment.name,
        vo=deployment.vo,
        uid=deployment.uid,
        generation=deployment.generation,
        deletion_timestamp=deployment.deletion_requested_at,
        **dict(deployment.status),
    )


def seed_view(deployment: Deployment) -> SeedDeployment:
    """Return a deployment as the seed shows it."""
    general, hardware = deployment.spec.general, deployment.spec.hardware
    word = legacy_word(deployment)
    view = SeedDeployment(
        job_ID=deployment.uid,
        status=word,
        owner=deployment.owner.sub,
        title=general.title or deployment.name,
        description=general.desc,
        docker_image=_reference(general.docker_image, general.docker_tag),
        submit_time=deployment.created_at.strftime(SEED_TIME),
        resources=SeedResources(
            cpu_num=hardware.cpu_num,
            gpu_num=hardware.gpu_num,
            memoryMB=hardware.ram,
            diskMB=hardware.disk,
        ),
        endpoints=deployment.status.endpoints,
        alloc_ID=_allocation_id(deployment.status.nomad.allocations),
    )
    trouble = _trouble(deployment, word)
    return view.model_copy(update={"error_msg": trouble}) if trouble else view


def legacy_word(deployment: Deployment) -> LegacyWord:
    """Return the seed's word for where a deployment stands."""
    if _is_true(deployment, "Stalled") and not deployment.being_deleted:
        return "error"
    if deployment.status.phase is Phase.HELD and _runs(deployment):
        return "running"  # what ran before goes on running
    return LEGACY_WORDS[deployment.status.phase]


def is_ready(deployment: Deployment) -> bool:
    """Whether the present wish runs and answers."""
    return _is_told(deployment) and _is_true(deployment, "Ready")


def is_settled(deployment: Deployment) -> bool:
    """Whether the status stays as it is until the wish or the cluster changes."""
    if deployment.being_deleted or not _is_told(deployment):
        return False
    ended = deployment.status.phase in ENDED or _is_true(deployment, "Stalled")
    return ended or _is_true(deployment, "Ready")


def _is_told(deployment: Deployment) -> bool:
    return deployment.status.observed_generation >= deployment.generation


def is_looked_at(deployment: Deployment) -> bool:
    """Whether the reconciler has looked since somebody last asked it to."""
    return deployment.status.observed_at is not None


def _runs(deployment: Deployment) -> bool:
    return any(a.client_status == "running" for a in deployment.status.nomad.allocations)


def _is_true(deployment: Deployment, kind: str) -> bool:
    condition = deployment.status.condition(kind)
    return condition is not None and condition.status == "True"


def _trouble(deployment: Deployment, word: LegacyWord) -> str:
    """Say what keeps the deployment from running, or "" where nothing does."""
    synced = deployment.status.condition("Synced")
    if word in ("failed", "error", "down") or deployment.status.phase is Phase.QUEUED:
        return deployment.status.message
    if deployment.status.phase is Phase.HELD:
        return deployment.status.message
    if synced is not None and synced.status == "False" and synced.reason != "Pending":
        return synced.message
    return ""


def _reference(repository: str, tag: str) -> str:
    return f"{repository}{'@' if is_digest(tag) else ':'}{tag}"


def _allocation_id(allocations: Sequence[AllocationStatus]) -> str | None:
    """Return the running allocation, else the first: the status lists the newest first."""
    running = [a.id for a in allocations if a.client_status == "running"]
    return next(iter(running or [a.id for a in allocations]), None)
