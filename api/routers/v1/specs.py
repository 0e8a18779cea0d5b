"""The declarative routes: one deployment is one object with `spec` (yours) and `status` (ours)."""

from contextlib import nullcontext
from functools import partial
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from api.auth import User, bearer_token
from api.deployments import Outcome, refuse_other_vo
from api.problems import documented
from api.routers.requests import (
    Caller,
    DryRun,
    IdempotencyKey,
    IfMatch,
    IfNoneMatch,
    JsonBody,
    TakeOver,
    Vo,
    Whose,
    Writer,
    answer,
    authenticated,
    changes_of,
    deployments_of,
    etag_of,
    is_unchanged,
    labels_of,
    limits_of,
    owner_of,
    precondition,
    services_of,
    takes,
)
from api.routers.waits import STATUS_PARAMETERS, status_query
from api.routers.watches import EVENT_STREAM, LastEventId, Since, Watching, watch_stream
from api.schemas import (
    MANIFEST,
    MANIFEST_EXAMPLE,
    DeploymentList,
    DeploymentView,
    StatusView,
)
from api.views import (
    deployment_view,
    is_ready,
    is_settled,
    list_view,
    status_view,
)
from api.waiting import look_until
from api.watching import Watched
from specs.model import Deployment, Phase, Reach

RETRY_AFTER_S: Final = 2
"""When to look again at a status that is still moving, where the caller does not wait for it."""

EVERYBODY: Final = "*"

router = APIRouter(tags=["specs"], responses=documented(401, 403))


_takes_manifest = takes("application/json", MANIFEST, MANIFEST_EXAMPLE)
_takes_patch = takes(
    "application/merge-patch+json",
    {"type": "object", "description": "A part of a manifest; null takes a value back (RFC 7396)."},
    {"spec": {"hardware": {"ram": 16000}}},
)


@router.get(
    "/specs/{name}/status",
    operation_id="readSpecStatus",
    summary="Read or await the status of a deployment",
    response_model=StatusView,
    responses={304: {"description": "Unchanged since If-None-Match"}, **documented(404)},
    openapi_extra={"parameters": STATUS_PARAMETERS, "security": [{"bearer": []}]},
)
async def read_spec_status(request: Request) -> Response:
    """Read the small status; costs no call to the cluster.

    With `wait`, answer at the first of: it changed since If-None-Match; it is what `for` names, or
    can't become Ready by itself; the time is up. What is gone ends in 404.
    """
    # The route that everybody polls: no dependencies and parameters for FastAPI to solve, which
    # doubles its rate, and one trip to the thread pool.
    token = bearer_token(request.headers.getlist("authorization"))
    query = status_query(request)
    if_none_match = request.headers.get("if-none-match")
    desk, authenticate = deployments_of(request), services_of(request).auth
    name = request.path_params["name"]
    user = await authenticated(request, token)

    # Each look asks anew who they are: a wait does not outlive its token.
    def find() -> Deployment:
        caller = authenticate(token)
        if query.owner is not None:
            caller = caller.looking_at(owner_of(query.owner, caller))
        return desk.find(caller, name, vo=query.vo)

    def enough(deployment: Deployment) -> bool:
        if if_none_match is not None and not is_unchanged(etag_of(deployment), if_none_match):
            return True
        match query.until:
            case "Ready":
                return is_ready(deployment) or is_settled(deployment)
            case "Deleted":
                return False
            case None:
                return if_none_match is None

    place = limits_of(request).wait(user.owner) if query.wait_s else nullcontext()
    with place:
        deployment = await look_until(
            enough,
            lambda: run_in_threadpool(find),
            changes=changes_of(request),
            timeout_s=query.wait_s,
        )
    return _status_answer(deployment, if_none_match)


@router.post(
    "/specs",
    operation_id="createSpec",
    summary="Create a deployment",
    status_code=201,
    response_model=DeploymentView,
    responses={
        200: {"model": DeploymentView, "description": "It is there already, or a dry run"},
        **documented(400, 409, 413, 415),
    },
    openapi_extra=_takes_manifest,
)
def create_spec(
    request: Request,
    user: Caller,
    body: JsonBody,
    dry_run: DryRun = False,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Store a manifest under a free name. The same again changes nothing and answers 200."""
    desk = deployments_of(request)
    return _written(desk.create(user, body, key=idempotency_key, dry_run=dry_run))


@router.get(
    "/specs",
    operation_id="listSpecs",
    summary="List your deployments",
    response_model=DeploymentList,
    responses={**EVENT_STREAM, **documented(410)},
)
def list_specs(
    request: Request,
    user: Caller,
    *,
    owner: Whose = None,
    vo: Annotated[str | None, Query(max_length=253)] = None,
    phase: Phase | None = None,
    label_selector: Annotated[
        str, Query(alias="labelSelector", max_length=1000, examples=["team=vision,stage=test"])
    ] = "",
    limit: Annotated[int, Query(ge=1, le=500)] = 500,
    continue_: Annotated[str | None, Query(alias="continue", max_length=500)] = None,
    watch: Watching = False,
    resource_version: Since = None,
    last_event_id: LastEventId = None,
) -> Response:
    """List your deployments, newest first; `metadata.continue` leads to the next page.

    Operators and auditors see with `owner=*` everybody's in their VOs. With `watch`, what changes
    is told as it happens; `limit` and `continue` then mean nothing.
    """
    everybody = owner == EVERYBODY
    if watch:
        reach_of = partial(_reach, owner=owner)
        reach = reach_of(user)
        refuse_other_vo(reach, vo)
        return watch_stream(
            request,
            user,
            Watched(reach, vo=vo, phase=phase, labels=labels_of(label_selector)),
            reach_of=reach_of,
            resource_version=resource_version,
            last_event_id=last_event_id,
        )
    if owner is not None and not everybody:
        user = user.looking_at(owner_of(owner, user))
    page = deployments_of(request).page(
        user,
        everybody=everybody,
        vo=vo,
        phase=phase,
        labels=labels_of(label_selector),
        limit=limit,
        continue_=continue_,
    )
    return answer(list_view(page.items, continue_=page.continue_, version=page.resource_version))


@router.get(
    "/specs/{name}",
    operation_id="readSpec",
    summary="Read a deployment",
    response_model=DeploymentView,
    responses={
        304: {"description": "Unchanged since If-None-Match"},
        **EVENT_STREAM,
        **documented(404, 410),
    },
)
def read_spec(
    request: Request,
    user: Caller,
    name: str,
    *,
    owner: Whose = None,
    vo: Vo = None,
    if_none_match: IfNoneMatch = None,
    watch: Watching = False,
    resource_version: Since = None,
    last_event_id: LastEventId = None,
) -> Response:
    """Read a deployment with its spec and its status, or watch what becomes of it.

    A watch that goes on from a version is answered whether the deployment is there or not.
    """
    reach_of = partial(_reach, owner=owner)
    reader = user if owner is None else user.looking_at(owner_of(owner, user))
    if watch:
        if resource_version is None and not last_event_id:
            deployments_of(request).find(reader, name, vo=vo)
        return watch_stream(
            request,
            user,
            Watched(reach_of(user), vo=vo, name=name),
            reach_of=reach_of,
            resource_version=resource_version,
            last_event_id=last_event_id,
        )
    deployment = deployments_of(request).find(reader, name, vo=vo)
    etag = etag_of(deployment)
    if is_unchanged(etag, if_none_match):
        return Response(status_code=304, headers={"ETag": etag})
    return answer(deployment_view(deployment), headers={"ETag": etag})


@router.put(
    "/specs/{name}",
    operation_id="applySpec",
    summary="Create or replace a deployment",
    response_model=DeploymentView,
    responses={
        201: {"model": DeploymentView, "description": "It was not there"},
        **documented(400, 404, 409, 412, 413, 415),
    },
    openapi_extra=_takes_manifest,
)
def apply_spec(
    request: Request,
    user: Writer,
    name: str,
    *,
    body: JsonBody,
    vo: Vo = None,
    dry_run: DryRun = False,
    take_over: TakeOver = False,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Make the deployment what the manifest says. The same again changes nothing."""
    outcome = deployments_of(request).apply(
        user,
        name,
        body,
        vo=vo,
        precondition=precondition(if_match, if_none_match),
        dry_run=dry_run,
        take_over=take_over,
    )
    return _written(outcome)


@router.patch(
    "/specs/{name}",
    operation_id="patchSpec",
    summary="Change parts of a deployment",
    response_model=DeploymentView,
    responses=documented(400, 404, 409, 412, 413, 415),
    openapi_extra=_takes_patch,
)
def patch_spec(
    request: Request,
    user: Writer,
    name: str,
    *,
    body: JsonBody,
    vo: Vo = None,
    dry_run: DryRun = False,
    take_over: TakeOver = False,
    if_match: IfMatch = None,
) -> Response:
    """Merge a patch (RFC 7396) into the manifest and apply it."""
    outcome = deployments_of(request).patch(
        user,
        name,
        body,
        vo=vo,
        precondition=precondition(if_match, None),
        dry_run=dry_run,
        take_over=take_over,
    )
    return _written(outcome)


@router.delete(
    "/specs/{name}",
    operation_id="deleteSpec",
    summary="Delete a deployment",
    status_code=202,
    response_model=DeploymentView,
    responses={
        200: {"model": DeploymentView, "description": "A dry run"},
        **documented(404, 409, 412),
    },
)
def delete_spec(
    request: Request,
    user: Writer,
    name: str,
    *,
    vo: Vo = None,
    dry_run: DryRun = False,
    take_over: TakeOver = False,
    if_match: IfMatch = None,
) -> Response:
    """Ask for the end of a deployment; it is gone when its job is. The same again is the same."""
    outcome = deployments_of(request).delete(
        user,
        name,
        vo=vo,
        precondition=precondition(if_match, None),
        dry_run=dry_run,
        take_over=take_over,
    )
    return _written(outcome, status=202)


def _reach(user: User, *, owner: str | None) -> Reach:
    """Return what a caller sees of whom `owner=` names. Raises: Forbidden."""
    if owner == EVERYBODY:
        return user.everybody()
    return (user if owner is None else user.looking_at(owner_of(owner, user))).reach


def _written(outcome: Outcome, *, status: int = 200) -> Response:
    view = deployment_view(outcome.deployment, outcome.plan)
    if outcome.plan is not None:
        return answer(view)
    headers = {"ETag": etag_of(outcome.deployment)}
    if outcome.created:
        deployment = outcome.deployment
        headers["Location"] = f"/v1/specs/{deployment.name}?vo={deployment.vo}"
        status = 201
    return answer(view, status, headers)


def _status_answer(deployment: Deployment, if_none_match: str | None) -> Response:
    etag = etag_of(deployment)
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if not is_settled(deployment):
        headers["Retry-After"] = str(RETRY_AFTER_S)
    if is_unchanged(etag, if_none_match):
        return Response(status_code=304, headers=headers)
    return answer(status_view(deployment), headers=headers)
