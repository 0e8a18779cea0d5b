"""Version 1 of the HTTP API."""

from fastapi import APIRouter

from api.problems import documented
from api.routers.v1 import (
    account,
    auth,
    deployments,
    history,
    hooks,
    info,
    logs,
    modules,
    operations,
    schema,
    specs,
)

router = APIRouter(prefix="/v1", responses=documented(408, 422, 429, 431, 500, 503, 507))
for part in (
    modules,
    specs,
    history,
    logs,
    deployments,
    info,
    operations,
    hooks,
    account,
    auth,
    schema,
):
    router.include_router(part.router)
