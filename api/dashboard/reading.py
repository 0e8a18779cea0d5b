"""The pages about deployments: the list, one of them, the past of all, the trash."""

from typing import Annotated, Any, Final
from urllib.parse import urlencode

import yaml
from fastapi import APIRouter, Query, Request, Response

from api.account import Account
from api.dashboard import words
from api.dashboard.html import PageRoute, page, see_other
from api.dashboard.visitor import Seen, Visitor, path_to
from api.routers.health import read_root
from api.routers.requests import deployments_of, history_of, services_of
from api.schemas import ComparisonView
from api.timeline import revision_list, trash_list
from specs.faults import Forbidden, NotFound
from specs.model import Deployment, Phase
from specs.wish import manifest_of

EVERYBODY: Final = "*"
ROWS: Final = 100
EVENTS: Final = 60
AUDIT_EVENTS: Final = 200

router = APIRouter(route_class=PageRoute, include_in_schema=False)


def wants_page(request: Request) -> bool:
    """Whether the caller would rather have HTML than JSON, as a browser says that it would."""
    if request.headers.get("hx-request") == "true":  # a page of ours asks for a part of itself
        return True
    weights = {"text/html": 0.0, "application/json": 0.0}
    for part in request.headers.get("accept", "")[:1000].split(","):
        kind, _, rest = part.strip().partition(";")
        weight = rest.strip().removeprefix("q=") if "q=" in rest else "1"
        if kind.strip().lower() in weights:
            try:
                weights[kind.strip().lower()] = float(weight)
            except ValueError:
                continue
    return weights["text/html"] > weights["application/json"]


class HomeRoute(PageRoute):
    """The first page for browsers; versions and links, as JSON, for everybody else."""

    def get_route_handler(self) -> Any:
        """Return the handler that looks at what the caller would rather have."""
        handler = super().get_route_handler()

        async def answered(request: Request) -> Response:
            if wants_page(request):
                return await handler(request)
            links = read_root(request).model_dump_json(by_alias=True)
            return Response(links, headers={"Vary": "Accept"}, media_type="application/json")

        return answered


home = APIRouter(route_class=HomeRoute, include_in_schema=False)


@home.get("/")
def read_deployments(
    request: Request,
    visitor: Seen,
    *,
    phase: Annotated[str, Query(max_length=20)] = "",
    vo: Annotated[str, Query(max_length=253)] = "",
    continue_: Annotated[str, Query(alias="continue", max_length=500)] = "",
) -> Response:
    """Show the visitor's deployments, or everybody's to who may see them."""
    everybody = visitor.owner == EVERYBODY
    whose = Visitor(visitor.user, "", visitor.proof) if everybody else visitor
    found = deployments_of(request).page(
        whose.reader,
        everybody=everybody,
        vo=vo or None,
        phase=Phase(phase) if phase in set(Phase) else None,
        limit=ROWS,
        continue_=continue_ or None,
    )
    kept = {"owner": visitor.owner, "phase": phase, "vo": vo, "continue": found.continue_ or ""}
    return page(
        request,
        "deployments.html",
        visitor=visitor,
        deployments=found.items,
        more=urlencode({k: v for k, v in kept.items() if v}) if found.continue_ else "",
        everybody=everybody,
        phase=phase,
        vo=vo,
        vos=sorted(visitor.user.roles),
        phases=[(str(phase), words.BADGES[phase]) for phase in Phase],
        quota=None if visitor.owner else Account(services_of(request).store).quota(visitor.user),
        **_sayings(visitor),
    )


@router.get("/ui/d/{vo}/{name}")
def read_deployment(request: Request, visitor: Seen, vo: str, name: str) -> Response:
    """Show one deployment with all that is known of it; costs no call to the cluster."""
    return _deployment_page(request, visitor, vo=vo, name=name, comparison=None)


@router.get("/ui/d/{vo}/{name}/diff")
def read_diff(request: Request, visitor: Seen, vo: str, name: str) -> Response:
    """Show one deployment with where what runs differs from what should; asks the cluster."""
    comparison = history_of(request).plan(visitor.reader, name, vo=vo)
    return _deployment_page(request, visitor, vo=vo, name=name, comparison=comparison)


@router.get("/ui/d/{vo}/{name}/delete")
def read_deletion(request: Request, visitor: Seen, vo: str, name: str) -> Response:
    """Show what a deletion will do, and ask."""
    deployment = deployments_of(request).find(visitor.reader, name, vo=vo)
    return page(
        request,
        "delete.html",
        visitor=visitor,
        d=deployment,
        trash_days=services_of(request).trash_for.days,
        **_sayings(visitor),
    )


@router.get("/ui/u/{uid}")
def find_deployment(request: Request, visitor: Seen, uid: str) -> Response:
    """Lead to the page of a deployment that something names by its uid."""
    store = services_of(request).store
    record = store.get(uid)
    reaches = [visitor.user.reach, *([visitor.user.everybody()] if visitor.may_see_all else [])]
    if record is None or not any(reach.covers(record.owner, record.vo) for reach in reaches):
        raise NotFound("this deployment is gone, or is not yours; look into the trash")
    return see_other(path_to(record, visitor))


@router.get("/ui/events")
def read_events(
    request: Request, visitor: Seen, before: Annotated[int, Query(ge=0, lt=2**62)] = 0
) -> Response:
    """Show what happened last to everything within the visitor's reach."""
    everybody = visitor.owner == EVERYBODY
    entries = history_of(request).newest_events(
        visitor.user, everybody=everybody, before=before or None, limit=AUDIT_EVENTS + 1
    )
    shown = entries[:AUDIT_EVENTS]
    return page(
        request,
        "events.html",
        visitor=visitor,
        entries=shown,
        everybody=everybody,
        older=shown[-1].number if len(entries) > AUDIT_EVENTS else None,
    )


@router.get("/ui/trash")
def read_trash(request: Request, visitor: Seen) -> Response:
    """Show what was deleted and can be had back."""
    trashed = history_of(request).trash(visitor.reader)
    listed = trash_list(trashed, kept_for=services_of(request).trash_for)
    return page(request, "trash.html", visitor=visitor, items=listed.items)


def _deployment_page(
    request: Request, visitor: Visitor, *, vo: str, name: str, comparison: ComparisonView | None
) -> Response:
    reader = visitor.reader
    deployment = deployments_of(request).find(reader, name, vo=vo)
    entries = history_of(request).newest_events(reader, uid=deployment.uid, limit=EVENTS)
    manifest = yaml.safe_dump(manifest_of(deployment), sort_keys=False, allow_unicode=True)
    return page(
        request,
        "deployment.html",
        visitor=visitor,
        d=deployment,
        entries=entries,
        revisions=revision_list(history_of(request).revisions(reader, name, vo=vo)).items,
        comparison=comparison,
        manifest=manifest,
        may_write=not visitor.owner or _may_write(visitor),
        title=deployment.spec.general.title or deployment.name,
        file=words.file_of(deployment),
        **_sayings(visitor),
    )


def _may_write(visitor: Visitor) -> bool:
    try:
        return bool(visitor.writer)
    except Forbidden:  # an auditor reads, and no more
        return False


def _sayings(visitor: Visitor) -> dict[str, Any]:
    """Return the words for deployments that templates use."""

    def path(deployment: Deployment, *more: str) -> str:
        return path_to(deployment, visitor, *more)

    return {
        "badge_of": words.badge_of,
        "sentence_of": words.sentence_of,
        "endpoints_of": words.endpoints_of,
        "resources_of": words.resources_of,
        "ends_soon": words.ends_soon,
        "lanes_of": words.lanes_of,
        "path_to": path,
    }
