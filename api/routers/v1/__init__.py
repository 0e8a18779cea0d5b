"""Version 1 of the HTTP API."""

from fastapi import APIRouter

from api.problems import documented
from api.routers.v1 import deployments, history, info, operations, specs

router = APIRouter(prefix="/v1", responses=documented(422, 500, 503, 507))
for part in (specs, history, deployments, info, operations):
    router.include_router(part.router)
