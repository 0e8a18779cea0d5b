"""The route of a deployment's log."""

from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager, aclosing
from typing import Annotated, Any, Final, cast

from fastapi import APIRouter, Query, Request, Response

from api.logs import MAX_LINES, Chosen, Kind, Logs
from api.problems import documented
from api.routers.requests import Reader, Vo, limits_of
from api.routers.streams import Stream
from api.sse import MEDIA_TYPE, sse_event

router = APIRouter(tags=["history"], responses=documented(401, 403))

PLAIN: Final = "text/plain; charset=utf-8"

TEXT: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "content": {
            "text/plain": {"schema": {"type": "string", "examples": ["epoch 1: loss 0.31\n"]}},
            MEDIA_TYPE: {"schema": {"type": "string", "examples": ["data: epoch 1\n\n"]}},
        }
    }
}


def logs_of(request: Request) -> Logs:
    """Return the use cases of logs."""
    return cast("Logs", request.app.state.logs)


@router.get(
    "/specs/{name}/logs",
    operation_id="readLog",
    summary="Read what a deployment has written",
    response_class=Response,
    responses={**TEXT, **documented(404)},
)
def read_log(
    request: Request,
    user: Reader,
    name: str,
    *,
    vo: Vo = None,
    task: Annotated[
        str | None, Query(max_length=128, description="A task of its job; left out: its own.")
    ] = None,
    stream: Annotated[Kind, Query(description="Which of the two it was written to.")] = "stdout",
    tail: Annotated[
        int, Query(ge=0, le=MAX_LINES, description="How many of the last lines; 1 MB at most.")
    ] = 1000,
    follow: Annotated[
        bool, Query(description="Go on with what is written, until the allocation ends.")
    ] = False,
    previous: Annotated[
        bool, Query(description="Of the allocation before the present one.")
    ] = False,
) -> Response:
    r"""Read the log of what runs, or else of what ran last.

    The cluster has it; the end of what failed is kept when the cluster has forgotten it. It is
    answered as it was written, control characters and all. With `Accept: text/event-stream` each
    line is an event.
    """
    logs = logs_of(request)
    chosen = logs.choose(user.reach, name=name, vo=vo, task=task, kind=stream, previous=previous)
    events = MEDIA_TYPE in request.headers.get("accept", "")
    if not follow:
        text = logs.tail(chosen, lines=tail)
        if events:
            return Response(_events(text.splitlines()), media_type=MEDIA_TYPE)
        return Response(text, media_type=PLAIN)
    chunks = _followed(logs, chosen, tail, place=limits_of(request).wait(user.owner))
    if events:
        return Stream(_by_line(chunks), media_type=MEDIA_TYPE)
    return Stream(chunks, media_type=PLAIN)


async def _followed(
    logs: Logs, chosen: Chosen, lines: int, *, place: AbstractContextManager[None]
) -> AsyncGenerator[bytes]:
    with place:
        async with aclosing(logs.follow(chosen, lines=lines)) as pieces:
            async for piece in pieces:
                yield piece


async def _by_line(pieces: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    pending = b""
    async with aclosing(pieces):
        async for piece in pieces:
            *lines, pending = (pending + piece).split(b"\n")
            yield _events(lines)
    if pending:
        yield _events([pending])


def _events(lines: list[bytes]) -> bytes:
    # A carriage return would end a line of the event stream.
    texts = (line.decode("utf-8", "replace").replace("\r", "") for line in lines)
    return b"".join(sse_event("log", text) for text in texts)
