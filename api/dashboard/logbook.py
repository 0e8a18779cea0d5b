"""A deployment's log: its end as a page, and what is written from now on as a stream."""

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response

from api.dashboard import words
from api.dashboard.html import PageRoute, page
from api.dashboard.visitor import Seen, path_to
from api.logs import Kind
from api.routers.v1.logs import logs_of, read_log

LINES: Final = 1000
"""How many of the last lines are shown."""

router = APIRouter(route_class=PageRoute, include_in_schema=False)

Which = Annotated[Kind, Query(alias="stream")]


@router.get("/ui/d/{vo}/{name}/log")
def read_log_page(
    request: Request, visitor: Seen, vo: str, name: str, kind: Which = "stdout"
) -> Response:
    """Show the last lines of the log."""
    logs = logs_of(request)
    chosen = logs.choose(visitor.reader.reach, name=name, vo=vo, kind=kind)
    text = logs.tail(chosen, lines=LINES).decode("utf-8", "replace")
    return page(
        request,
        "logbook.html",
        visitor=visitor,
        d=chosen.deployment,
        kind=kind,
        text=words.plain(text),
        path_to=lambda *more: path_to(chosen.deployment, visitor, *more),
    )


@router.get("/ui/d/{vo}/{name}/log/follow")
def follow_log(
    request: Request, visitor: Seen, vo: str, name: str, kind: Which = "stdout"
) -> Response:
    """Stream the last lines and what follows, a line an event, as the API does."""
    return read_log(request, visitor.reader, name, vo=vo, stream=kind, tail=LINES, follow=True)
