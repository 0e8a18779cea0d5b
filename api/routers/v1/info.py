"""The form that a person fills in before creating a deployment."""

from fastapi import APIRouter, Request

from api.problems import documented
from api.routers.requests import Guest, services_of
from api.schemas import FormView
from specs.faults import NotFound
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
def read_conf(request: Request, guest: Guest, module_name: str) -> FormView:
    """Read the form with the module's image and, with a token, your VOs filled in."""
    if not is_module(module_name):
        raise NotFound(f"{module_name[:60]!a} is not the name of a module")
    vos = guest.vos if guest else ()
    return FormView.model_validate(services_of(request).conf.form(vos=vos, module=module_name))
