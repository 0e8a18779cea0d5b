"""Version 1 of the HTTP API."""

from fastapi import APIRouter

from api.problems import documented
from api.routers.v1 import deployments, info, specs

router = APIRouter(prefix="/v1", responses=documented(422, 500))
for part in (specs, deployments, info):
    router.include_router(part.router)
