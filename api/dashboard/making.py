"""From a module to a deployment: look one up, fill in its form, see whether it would fit."""

import secrets
from collections.abc import Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response

from api.catalog import summary_of
from api.dashboard import fields
from api.dashboard.html import PageRoute, page, see_other
from api.dashboard.visitor import Form, Seen, Sent, Visitor, path_to
from api.routers.requests import catalog_of, deployments_of, forms_of
from api.schemas import PlanView
from specs.faults import AlreadyExists, Fault, Forbidden, InvalidSpec, QuotaExceeded

MOST_SHOWN: Final = 200

router = APIRouter(route_class=PageRoute, include_in_schema=False)

Words = Annotated[str, Query(max_length=200)]
Vo = Annotated[str, Query(max_length=253)]


@router.get("/ui/new")
def read_modules(request: Request, visitor: Seen, q: Words = "") -> Response:
    """Show the modules with all the words."""
    found = catalog_of(request).look().found(q.split(), ())
    modules = sorted((summary_of(module) for module in found), key=lambda s: str(s["name"]))
    return page(
        request,
        "modules.html",
        visitor=visitor,
        modules=modules[:MOST_SHOWN],
        hidden=max(0, len(modules) - MOST_SHOWN),
        q=q,
    )


@router.get("/ui/new/{module}")
def read_form_of(request: Request, visitor: Seen, module: str, vo: Vo = "") -> Response:
    """Show the form of a module, filled in with what is known of it and of the cluster."""
    vo = _vo_of(visitor, vo)
    given = {fields.NAME: f"{_stem(module)}-{secrets.token_hex(2)}"}
    form = forms_of(request).form(visitor.user, module, vo=vo)
    return _form_page(request, visitor, form, module=module, vo=vo, given=given)


@router.post("/ui/new/{module}")
def create(request: Request, visitor: Seen, form: Sent, module: str, vo: Vo = "") -> Response:
    """Create the deployment that the form declares; its faults stand beside their fields."""
    vo = _vo_of(visitor, vo)
    form_of_module = forms_of(request).form(visitor.user, module, vo=vo)
    manifest = fields.manifest_from(form, form_of_module, module=module, vo=vo)
    try:
        outcome = deployments_of(request).create(visitor.user, manifest)
    except (InvalidSpec, AlreadyExists, QuotaExceeded) as error:
        return _form_page(
            request,
            visitor,
            form_of_module,
            module=module,
            vo=vo,
            given=form,
            faults=_faults_of(error),
            status=422,
        )
    return see_other(path_to(outcome.deployment, visitor))


@router.post("/ui/new/{module}/fit")
def try_fit(request: Request, visitor: Seen, form: Sent, module: str, vo: Vo = "") -> Response:
    """Say whether what the form declares would fit now; nothing is stored."""
    vo = _vo_of(visitor, vo)
    form_of_module = forms_of(request).form(visitor.user, module, vo=vo)
    manifest = fields.manifest_from(form, form_of_module, module=module, vo=vo)
    plan: PlanView | None = None
    faults: Sequence[Fault] = ()
    try:
        plan = deployments_of(request).create(visitor.user, manifest, dry_run=True).plan
    except (InvalidSpec, AlreadyExists, QuotaExceeded) as error:
        faults = _faults_of(error)
    return page(request, "fit.html", visitor=visitor, plan=plan, faults=faults)


def _form_page(
    request: Request,
    visitor: Visitor,
    form: dict[str, Any],
    *,
    module: str,
    vo: str,
    given: Form,
    faults: Sequence[Fault] = (),
    status: int = 200,
) -> Response:
    groups = fields.groups_of(form, given, faults)
    known = catalog_of(request).look().catalog.modules.get(module)
    return page(
        request,
        "new.html",
        visitor=visitor,
        status=status,
        module=module,
        summary=None if known is None else summary_of(known),
        vo=vo,
        vos=visitor.user.vos,
        groups=groups,
        given=given,
        name_faults=fields.faults_at(faults, fields.OF_NAME),
        ttl_faults=fields.faults_at(faults, fields.OF_TTL),
        loose=fields.loose_faults(faults, groups),
        faults=faults,
        plan=None,
    )


def _vo_of(visitor: Visitor, asked: str) -> str:
    vos = visitor.user.vos
    if not vos:
        raise Forbidden("you have no role in which you could deploy something")
    if asked and asked not in vos:
        raise Forbidden("this is not one of your VOs")
    return asked or vos[0]


def _stem(module: str) -> str:
    """Return the beginning of a name for a deployment of the module."""
    kept = "".join(c if c.isascii() and c.isalnum() else "-" for c in module.lower())
    return kept.removeprefix("deep-oc-").strip("-")[:50].strip("-") or "work"


def _faults_of(error: Exception) -> Sequence[Fault]:
    if isinstance(error, AlreadyExists):
        return [Fault(fields.OF_NAME, "AlreadyExists", str(error))]
    return error.faults if isinstance(error, InvalidSpec) else [Fault("", "Refused", str(error))]
