"""What this server is, and whether it does its work. Open to everybody."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version

from fastapi import APIRouter, Request

from api import DISTRIBUTION
from api.problems import NotHealthy, documented
from api.routers.requests import services_of
from api.schemas import Health, Links, ReplicaView
from specs.leases import Standing

router = APIRouter(tags=["meta"], responses=documented(431, 500))


@router.get("/", operation_id="readRoot", summary="Versions and links")
def read_root(request: Request) -> Links:
    """Say what this is, which versions it speaks, and where to read on."""
    links = {"v1": "/v1", "docs": "/docs", "redoc": "/redoc", "openapi": "/openapi.json"}
    return _links(request, links | {"livez": "/livez", "readyz": "/readyz"})


@router.get("/v1", operation_id="readV1", summary="The collections of version 1")
def read_v1(request: Request) -> Links:
    """Say what version 1 offers."""
    paths = {"specs": "/v1/specs", "deployments": "/v1/deployments"}
    paths |= {"events": "/v1/events", "trash": "/v1/trash", "login": "/v1/auth/config"}
    paths |= {"schema": "/v1/schema/deployment.json"}
    return _links(request, paths | {"conf": "/v1/info/conf/{module_name}"})


@router.get(
    "/livez",
    operation_id="readLivez",
    summary="Is it alive?",
    response_model_exclude_none=True,
    responses=documented(503),
)
def read_livez(request: Request) -> Health:
    """Answer 503, with what is wrong, when a restart would help."""
    if faults := services_of(request).faults():
        raise NotHealthy(faults)
    return Health()


@router.get(
    "/readyz",
    operation_id="readReadyz",
    summary="Can it serve?",
    response_model_exclude_none=True,
    responses=documented(503),
)
def read_readyz(request: Request) -> Health:
    """Answer 503 while the server does not see the cluster; specs are accepted all the same."""
    services = services_of(request)
    if not services.ready():
        raise NotHealthy(["the cluster is not in sight"])
    standing = services.standing()
    return Health(replica=None if standing is None else replica_view(standing))


def replica_view(standing: Standing) -> ReplicaView:
    """Return the part of this process in the work as it is shown."""
    return ReplicaView(
        id=standing.id,
        parts=len(standing.terms),
        of=standing.of,
        replicas=standing.replicas,
        term=max(standing.terms.values(), default=0),
        since=standing.since,
    )


def _links(request: Request, links: dict[str, str]) -> Links:
    # Where a real cluster is, is its operator's business.
    cluster = services_of(request).cluster_title.partition(" at ")[0]
    return Links(
        name=DISTRIBUTION, version=_version(), cluster=cluster, versions=["v1"], links=links
    )


@cache
def _version() -> str:
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:  # a checkout that is not installed
        return "0"
