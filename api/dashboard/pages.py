"""All routes of the page, in the order in which they are tried."""

from fastapi import APIRouter, Response

from api.dashboard import acting, entering, logbook, making, overseeing, reading, stream
from api.dashboard.html import PageRoute
from specs.faults import NotFound

router = APIRouter(include_in_schema=False)
for part in (reading.home, reading, logbook, acting, making, overseeing, entering, stream):
    router.include_router(part if isinstance(part, APIRouter) else part.router)

_rest = APIRouter(route_class=PageRoute, include_in_schema=False)


@_rest.get("/ui")
@_rest.get("/ui/{path:path}")
def read_nothing(path: str = "") -> Response:
    """Say on a page that there is none."""
    del path
    raise NotFound("there is no such page")


router.include_router(_rest)
