"""The seed's routes, in the seed's shapes, on top of the same specs."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request, Response

from api.problems import documented
from api.routers.requests import (
    Caller,
    ConfBody,
    IdempotencyKey,
    deployments_of,
    seed_list_of,
)
from api.schemas import Created, Done, SeedDeployment
from api.views import seed_view

router = APIRouter(tags=["deployments"], responses=documented(401, 403))

Uuid = Annotated[str, Path(description="The job_ID that creating it answered.")]

_GROUP: Final = {"type": "object"}
_TAKES_CONF: Final[Mapping[str, Any]] = {
    "requestBody": {
        "required": False,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {"general": _GROUP, "hardware": _GROUP, "storage": _GROUP},
                    "description": "As GET /v1/info/conf lists it; what is missing is the default.",
                },
                "example": {
                    "general": {
                        "docker_image": "deephdc/deep-oc-image-classification-tf:cpu",
                        "service": "deepaas",
                    },
                    "hardware": {"gpu": 1},
                },
            }
        },
    }
}


@router.get(
    "/deployments",
    operation_id="listDeployments",
    summary="List your deployments",
    response_model=list[SeedDeployment],
)
def list_deployments(request: Request, user: Caller) -> Response:
    """List all your deployments, newest first."""
    return Response(seed_list_of(request).of(user.reach), media_type="application/json")


@router.get(
    "/deployments/{deployment_uuid}",
    operation_id="readDeployment",
    summary="Read a deployment",
    response_model_exclude_unset=True,
    responses=documented(404),
)
def read_deployment(request: Request, user: Caller, deployment_uuid: Uuid) -> SeedDeployment:
    """Read one of your deployments."""
    return seed_view(deployments_of(request).find_uid(user, deployment_uuid))


@router.post(
    "/deployments",
    operation_id="createDeployment",
    summary="Create a deployment",
    responses=documented(400, 413, 415),
    openapi_extra=dict(_TAKES_CONF),
)
def create_deployment(
    request: Request, user: Caller, conf: ConfBody, idempotency_key: IdempotencyKey = None
) -> Created:
    """Write the spec of a new deployment; it starts as soon as the reconciler gets to it."""
    made = deployments_of(request).create_from_conf(user, conf, key=idempotency_key)
    return Created(job_ID=made.uid)


@router.delete(
    "/deployments/{deployment_uuid}",
    operation_id="deleteDeployment",
    summary="Delete a deployment",
    responses=documented(404, 409),
)
def delete_deployment(request: Request, user: Caller, deployment_uuid: Uuid) -> Done:
    """Ask for the end of one of your deployments."""
    deployments_of(request).delete_uid(user, deployment_uuid)
    return Done()
