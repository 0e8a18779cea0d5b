"""The routes for operators: where specs come from, and jobs that nobody declared."""

from typing import Annotated

from fastapi import APIRouter, Path, Request

from api.operations import Asked, Confirmed, OrphanList, SourceList
from api.problems import documented
from api.routers.requests import Caller, operations_of

router = APIRouter(tags=["operations"], responses=documented(401, 403))

# A source is an address: its id holds slashes and colons.
SourceId = Annotated[str, Path(min_length=1, max_length=1000, description="As /v1/sources has it.")]


@router.get("/sources", operation_id="listSources", summary="List the sources of spec files")
def list_sources(request: Request, user: Caller) -> SourceList:
    """List the sources with the deletions that wait for a person's yes. For operators."""
    return operations_of(request).sources(user)


@router.post(
    "/sources/{source_id:path}/confirm",
    operation_id="confirmDeletions",
    summary="Let held deletions through",
    responses=documented(404),
)
def confirm_deletions(request: Request, user: Caller, source_id: SourceId) -> Confirmed:
    """Say yes to the deletions that are held for a source. For operators."""
    return operations_of(request).confirm_deletions(user, source_id)


@router.post(
    "/sources/{source_id:path}/sync",
    operation_id="syncSource",
    summary="Read a source now",
    status_code=202,
    responses=documented(404),
)
def sync_source(request: Request, user: Caller, source_id: SourceId) -> Asked:
    """Have a source of spec files read now, rather than when it is time. For operators."""
    return operations_of(request).sync(user, source_id)


@router.get("/orphans", operation_id="listOrphans", summary="List jobs that nobody declared")
def list_orphans(request: Request, user: Caller) -> OrphanList:
    """List the jobs with this platform's marker that no record knows. For operators."""
    return operations_of(request).orphans(user)
