"""What this server is, and whether it does its work. Open to everybody."""

from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse

from api import DISTRIBUTION
from api.edge import address_of, is_among
from api.problems import MetricsRefused, NotHealthy, documented
from api.routers.requests import services_of
from api.schemas import Health, Links, ReplicaView
from specs.leases import Standing
from specs.program import own_version

PROMETHEUS_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"

FIGURES: Final = {"type": "string", "examples": ['ai4papi_deployments{phase="Running"} 3.0\n']}

router = APIRouter(tags=["meta"], responses=documented(431, 500))


@router.get("/", operation_id="readRoot", summary="Versions and links")
def read_root(request: Request) -> Links:
    """Say what this is, which versions it speaks, and where to read on."""
    links = {"v1": "/v1", "docs": "/docs", "redoc": "/redoc", "openapi": "/openapi.json"}
    health = {"livez": "/livez", "readyz": "/readyz", "metrics": "/metrics"}
    return _links(request, links | health)


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
    """Answer 503, with what is wrong, while the store or the cluster is out of reach.

    Without the cluster specs are accepted all the same.
    """
    services = services_of(request)
    troubles = [*services.unready()]
    if not services.ready():
        troubles.append("the cluster is not in sight")
    if troubles:
        raise NotHealthy(troubles)
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


@router.get(
    "/metrics",
    operation_id="readMetrics",
    summary="Figures for Prometheus",
    response_class=PlainTextResponse,
    responses=documented(403) | {200: {"content": {"text/plain": {"schema": FIGURES}}}},
)
def read_metrics(request: Request) -> PlainTextResponse:
    """Answer this machine, and the addresses of `metrics.allow`, in Prometheus' text format."""
    services = services_of(request)
    if not is_among(address_of(request.scope), services.metrics_for):
        raise MetricsRefused("metrics are not for this address")
    return PlainTextResponse(services.measures.page(), media_type=PROMETHEUS_TEXT)


def _links(request: Request, links: dict[str, str]) -> Links:
    # Where a real cluster is, is its operator's business.
    cluster = services_of(request).cluster_title.partition(" at ")[0]
    return Links(
        name=DISTRIBUTION, version=own_version(), cluster=cluster, versions=["v1"], links=links
    )
