"""How to log in. Open to everybody: who has no token yet asks here."""

from fastapi import APIRouter, Request, Response

from api.login import LoginView
from api.routers.requests import answer, refuse_unknown_parameters, services_of

router = APIRouter(tags=["meta"])


@router.get(
    "/auth/config",
    operation_id="readAuthConfig",
    summary="Read how to log in",
    response_model=LoginView,
    openapi_extra={"security": []},
)
def read_auth_config(request: Request) -> Response:
    """Name the providers whose tokens are taken, the VOs served and the scopes to ask for."""
    refuse_unknown_parameters(request)
    return answer(services_of(request).login)
