"""How a caller watches deployments: the parameters, and the stream that answers."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Annotated, Any, Final

from fastapi import Header, Query, Request
from starlette.concurrency import run_in_threadpool

from api.auth import NotAuthenticated, ProviderUnavailable, User, bearer_token
from api.problems import problem_of
from api.routers.requests import changes_of, limits_of, recognised, services_of
from api.routers.streams import Stream
from api.sse import MEDIA_TYPE, sse_event
from api.waiting import Changes
from api.watching import Watch, Watched, bookmark
from specs.faults import Expired, Forbidden
from specs.model import Reach
from specs.moves import Opening
from specs.records import json_text
from specs.store import SpecStore

BOOKMARK_S: Final = 15.0
"""A stream that has nothing to tell says so this often; proxies cut off what is silent."""

CHUNK_BYTES: Final = 1 << 16

Watching = Annotated[
    bool,
    Query(
        alias="watch",
        description="Answer with server-sent events: ADDED, MODIFIED, DELETED and BOOKMARK, as"
        " Kubernetes means them. Each has an id to go on from with Last-Event-ID.",
    ),
]
Since = Annotated[
    str | None,
    Query(
        alias="resourceVersion",
        pattern="^[0-9]{1,18}$",
        description="Watch from this version on, which a list or an event gave. Left out: what is"
        " there is ADDED first. 410 where what changed since is forgotten.",
    ),
]
LastEventId = Annotated[
    str | None,
    Header(
        pattern="^[0-9]{0,18}$",
        description="Goes on behind this event, and before resourceVersion. Where what changed"
        " since is forgotten, an ERROR event says so, and what is there is ADDED anew.",
    ),
]

EVENT_STREAM: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "content": {
            MEDIA_TYPE: {
                "schema": {"type": "string"},
                "example": 'event: MODIFIED\nid: 8\ndata: {"type":"MODIFIED","object":{…}}\n\n',
            }
        }
    }
}


def watch_stream(
    request: Request,
    user: User,
    watched: Watched,
    *,
    reach_of: Callable[[User], Reach],
    resource_version: str | None,
    last_event_id: str | None,
) -> Stream:
    """Return the answer to who watches. `reach_of` says what they may see, asked now and then."""
    store, changes = services_of(request).store, changes_of(request)
    resumes = bool(last_event_id)
    version = last_event_id or resource_version
    return Stream(
        watch_events(
            store,
            changes,
            watched,
            after=int(version) if version else None,
            announce=_expired(request) if resumes else None,
            place=limits_of(request).wait(user.owner),
            still=still_sees(request, watched.reach, reach_of),
        ),
        media_type=MEDIA_TYPE,
    )


async def watch_events(
    store: SpecStore,
    changes: Changes,
    watched: Watched,
    *,
    after: int | None,
    announce: bytes | None,
    place: AbstractContextManager[None],
    still: Callable[[], Awaitable[bool]],
) -> AsyncGenerator[bytes]:
    """Yield the events of a watch for as long as `still` allows it.

    Where `after` is forgotten, `announce` is sent and the watch begins anew.
    Raises: Expired, where there is nothing to announce; TooManyRequests; StoreUnavailable.
    """
    woken = asyncio.Event()
    watch = Watch(watched, woken.set)
    with place:
        since = await run_in_threadpool(store.newest_version)
        with changes.watching(watch, since=since):

            def read(version: int | None) -> Opening:
                return store.opening(watched.reach, vo=watched.vo, name=watched.name, after=version)

            try:
                opening = await run_in_threadpool(read, after)
            except Expired:
                if announce is None:
                    raise
                yield announce
                after = None
                opening = await run_in_threadpool(read, None)
            watch.open(opening, after=after)
            while not watch.lost:
                woken.clear()
                chunk = watch.take(CHUNK_BYTES)
                if not chunk and await _woken(woken):
                    continue
                if not await still():
                    return
                yield chunk or bookmark(max(watch.position, changes.told))


async def _woken(event: asyncio.Event) -> bool:
    try:
        async with asyncio.timeout(BOOKMARK_S):
            return await event.wait()
    except TimeoutError:
        return False


def still_sees(
    request: Request, reach: Reach, reach_of: Callable[[User], Reach]
) -> Callable[[], Awaitable[bool]]:
    """Return whether the request's token is still good and its user sees the same.

    Asks their provider at most once a minute, as other requests do.
    """
    token = bearer_token(request.headers.getlist("authorization"))

    async def still() -> bool:
        try:
            return reach_of(await recognised(request, token)) == reach
        except (NotAuthenticated, ProviderUnavailable, Forbidden):
            return False

    return still


def _expired(request: Request) -> bytes:
    error = Expired("what changed since that event is not known any more: the list comes anew")
    problem = problem_of(
        error, instance=request.url.path, request_id=request.state.request_id
    ).model_dump()
    return sse_event("ERROR", json_text({"type": "ERROR", "object": problem}))
