"""The form that a person fills in before creating a deployment."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from api.auth import NotAuthenticated
from api.problems import documented
from api.routers.requests import MAX_NAME, Guest, services_of
from api.schemas import FormView
from specs.faults import Forbidden, NotFound
from specs.userconf import is_module

router = APIRouter(tags=["info"])


@router.get(
    "/info/conf/{module_name}",
    operation_id="readConf",
    summary="Read what a user may set",
    response_model=FormView,
    response_model_exclude_unset=True,
    responses=documented(401, 403, 404),
    openapi_extra={"security": [{}, {"bearer": []}]},
)
def read_conf(
    request: Request,
    guest: Guest,
    module_name: str,
    vo: Annotated[
        str | None,
        Query(max_length=MAX_NAME, description="One of yours; its options and ranges are shown."),
    ] = None,
) -> FormView:
    """Read the form with the module's image and, with a token, your VOs filled in.

    Without `vo` it is the form of the VO that a deployment goes to where you name none.
    """
    if not is_module(module_name):
        raise NotFound(f"{module_name[:60]!a} is not the name of a module")
    if vo is not None and guest is None:
        raise NotAuthenticated("the form of a VO is for its members: send a token")
    vos = guest.vos if guest else ()
    if vo is not None and vo not in vos:
        raise Forbidden(f"{vo[:60]!a} is not one of your VOs: {', '.join(vos) or 'you have none'}")
    form = services_of(request).conf.form(vos=vos, vo=vo, module=module_name)
    return FormView.model_validate(form)
