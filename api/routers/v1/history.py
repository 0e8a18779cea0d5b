"""The routes of the past and the present of a deployment: what happened, and going back."""

from contextlib import nullcontext
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from api.problems import documented
from api.routers.requests import (
    IfMatch,
    JsonBody,
    Reader,
    Vo,
    Writer,
    answer,
    changes_of,
    etag_of,
    history_of,
    limits_of,
    precondition,
    services_of,
    takes,
)
from api.routers.waits import WAIT_PATTERN, seconds_of
from api.schemas import ComparisonView, DeploymentView, StatusView
from api.timeline import (
    EventList,
    RevisionList,
    TrashList,
    event_list,
    revision_list,
    trash_list,
)
from api.views import deployment_view, is_looked_at, status_view
from api.waiting import look_until
from specs.model import Deployment

router = APIRouter(tags=["history"], responses=documented(401, 403))

After = Annotated[
    int, Query(ge=0, lt=2**62, description="The number of the last event that you know.")
]
Limit = Annotated[int, Query(ge=1, le=500)]
Wait = Annotated[
    str,
    Query(
        pattern=WAIT_PATTERN,
        description="Wait at most so long, up to 60s, until the look is over.",
        examples=["30s"],
    ),
]

_GENERATION: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["generation"],
    "additionalProperties": False,
    "properties": {"generation": {"type": "integer", "minimum": 1}},
}


@router.get(
    "/events",
    operation_id="listEvents",
    summary="Read what happened to your deployments",
    response_model=EventList,
)
def list_events(request: Request, user: Reader, after: After = 0, limit: Limit = 500) -> Response:
    """List the events of all your deployments, oldest first, those that are gone included."""
    entries = history_of(request).all_events(user, after=after, limit=limit + 1)
    return answer(event_list(entries, limit=limit))


@router.get(
    "/specs/{name}/events",
    operation_id="listSpecEvents",
    summary="Read what happened to a deployment",
    response_model=EventList,
    responses=documented(404),
)
def list_spec_events(
    request: Request,
    user: Reader,
    name: str,
    *,
    vo: Vo = None,
    after: After = 0,
    limit: Limit = 500,
) -> Response:
    """List the events of a deployment, oldest first, also while it is in the trash."""
    entries = history_of(request).events(user, name, vo=vo, after=after, limit=limit + 1)
    return answer(event_list(entries, limit=limit))


@router.get(
    "/specs/{name}/history",
    operation_id="readSpecHistory",
    summary="Read who changed what",
    response_model=RevisionList,
    responses=documented(404),
)
def read_spec_history(request: Request, user: Reader, name: str, vo: Vo = None) -> Response:
    """List the revisions of a deployment, newest first, each with what it changed."""
    return answer(revision_list(history_of(request).revisions(user, name, vo=vo)))


@router.post(
    "/specs/{name}/rollback",
    operation_id="rollbackSpec",
    summary="Go back to an older generation",
    response_model=DeploymentView,
    responses=documented(400, 404, 409, 412, 413, 415),
    openapi_extra=takes("application/json", _GENERATION, {"generation": 1}),
)
def rollback_spec(
    request: Request,
    user: Writer,
    name: str,
    *,
    body: JsonBody,
    vo: Vo = None,
    if_match: IfMatch = None,
) -> Response:
    """Run an older generation in place of the spec, until the spec is changed."""
    deployment = history_of(request).rollback(
        user, name, body, vo=vo, precondition=precondition(if_match, None)
    )
    return _shown(deployment)


@router.post(
    "/specs/{name}/reconcile",
    operation_id="reconcileSpec",
    summary="Look at a deployment now",
    status_code=202,
    response_model=StatusView,
    responses=documented(404),
)
async def reconcile_spec(
    request: Request, user: Writer, name: str, vo: Vo = None, wait: Wait = "0s"
) -> Response:
    """Have the reconciler look now; `observedAt` is absent until it did, `wait` waits for that."""
    history = history_of(request)
    timeout_s = seconds_of(wait)
    with limits_of(request).wait(user.owner) if timeout_s else nullcontext():
        asked = await run_in_threadpool(history.look_now, user, name, vo=vo)

        def find() -> Deployment:
            return history.store.find_uid(user.reach, uid=asked.uid)

        seen = await look_until(
            is_looked_at,
            lambda: run_in_threadpool(find),
            changes=changes_of(request),
            timeout_s=timeout_s,
        )
    return answer(status_view(seen), 202, {"ETag": etag_of(seen)})


@router.get(
    "/specs/{name}/plan",
    operation_id="planSpec",
    summary="Compare what should run with what does",
    response_model=ComparisonView,
    responses=documented(404),
)
def plan_spec(request: Request, user: Reader, name: str, vo: Vo = None) -> Response:
    """Say field by field where the two differ, and whether there is room for what should run.

    Costs a pass of the cluster's scheduler; nothing is changed.
    """
    return answer(history_of(request).plan(user, name, vo=vo))


@router.post(
    "/specs/{name}/undelete",
    operation_id="undeleteSpec",
    summary="Take a deletion back",
    response_model=DeploymentView,
    responses=documented(404, 409),
)
def undelete_spec(request: Request, user: Writer, name: str, vo: Vo = None) -> Response:
    """Declare the latest deleted deployment of that name again, as it was."""
    return _shown(history_of(request).undelete(user, name, vo=vo))


@router.get(
    "/trash",
    operation_id="listTrash",
    summary="List what you deleted",
    response_model=TrashList,
)
def list_trash(request: Request, user: Reader) -> Response:
    """List your deleted deployments, the latest first; after `expiresAt` they are gone."""
    kept_for = services_of(request).trash_for
    return answer(trash_list(history_of(request).trash(user), kept_for=kept_for))


def _shown(deployment: Deployment) -> Response:
    return answer(deployment_view(deployment), headers={"ETag": etag_of(deployment)})
