"""The form that a person fills in before creating a deployment."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from api.auth import NotAuthenticated
from api.problems import documented
from api.routers.requests import MAX_NAME, Guest, forms_of
from api.schemas import FormView
from specs.faults import Forbidden

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
    """Read the form with what is known of the module, of you and of the cluster filled in.

    The module's image, its tags and the least it needs; with a token your VOs; the ranges are what
    you may have there by your quota, whatever of it is in use. `gpu_type` offers the models that
    the cluster has, and says in `free` how many of each are free now; it has no `free` where that
    is not known. Without `vo` it is the form of the VO that a deployment goes to where you name
    none. A name that is not in the catalogue has a form too: that of the image of that name, which
    the description of the image says.
    """
    if vo is not None and guest is None:
        raise NotAuthenticated("the form of a VO is for its members: send a token")
    vos = guest.vos if guest else ()
    if vo is not None and vo not in vos:
        raise Forbidden(f"{vo[:60]!a} is not one of your VOs: {', '.join(vos) or 'you have none'}")
    return FormView.model_validate(forms_of(request).form(guest, module_name, vo=vo))
