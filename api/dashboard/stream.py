"""Tells open pages what changed: one server-sent stream for each tab.

A message lists the deployments of the visitor's that moved, with their phases; the page asks again
for the parts that show them.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from typing import Final

from anyio.to_thread import run_sync
from fastapi import APIRouter, Request, Response

from api.auth import NotAuthenticated, ProviderUnavailable, User
from api.dashboard.html import HEADERS, PageRoute
from api.dashboard.visitor import Seen, sees_all, sessions_of
from api.problems import TooManyRequests
from api.routers.requests import changes_of, limits_of, recognised, services_of
from api.routers.streams import Stream
from api.sse import MEDIA_TYPE, sse_event
from api.watching import News, Watched
from specs.faults import Forbidden
from specs.model import Reach

BEAT_S: Final = 15.0
"""How often a stream says something, so that no proxy takes it for dead."""

GATHER_S: Final = 0.2
"""What happens within this is told at once."""

MOST_TOLD: Final = 200
"""Of more deployments at a time a page is told that much changed, not which."""

BEAT: Final = b": beat\n\n"

router = APIRouter(route_class=PageRoute, include_in_schema=False)


class Pulse:
    """What moved since it was last taken; used on the event loop only."""

    def __init__(self, reaches: Sequence[Reach]) -> None:
        everybody = any(reach.owner is None for reach in reaches)
        self.watched = Watched(Reach(None, frozenset()) if everybody else reaches[0])
        self.moved = asyncio.Event()
        self._reaches = reaches
        self._moves: dict[str, dict[str, str]] = {}

    def offer(self, news: News) -> None:
        """Keep a move that the visitor may be told of."""
        record = news.move.deployment
        if any(reach.covers(record.owner, record.vo) for reach in self._reaches):
            phase = "" if news.move.gone else str(record.status.phase)
            self._moves[record.uid] = {"uid": record.uid, "name": record.name, "phase": phase}
            self.moved.set()

    def take(self) -> bytes:
        """Return the event that tells of what moved, and forget it; empty: nothing did."""
        moves, self._moves = list(self._moves.values()), {}
        self.moved.clear()
        if len(moves) > MOST_TOLD:
            return sse_event("much", "[]")
        return sse_event("changed", json.dumps(moves)) if moves else b""


@router.get("/ui/stream")
def read_stream(request: Request, visitor: Seen) -> Response:
    """Tell what changes of what the visitor may see, until they or their session go."""
    return Stream(_events(request, visitor.user), media_type=MEDIA_TYPE, headers=HEADERS)


async def _events(request: Request, user: User) -> AsyncGenerator[bytes]:
    pulse = Pulse(reaches_of(user))
    try:
        with limits_of(request).wait(user.owner):
            since = await run_sync(services_of(request).store.newest_version)
            with changes_of(request).watching(pulse, since=since):
                yield b"retry: 2000\n" + sse_event("open", "[]")
                while True:
                    await _woken(pulse)
                    if not await _still_in(request):
                        yield sse_event("bye", "[]")
                        return
                    yield pulse.take() or BEAT
    except TooManyRequests:
        yield b"retry: 15000\n" + sse_event("full", "[]")


async def _woken(pulse: Pulse) -> None:
    try:
        async with asyncio.timeout(BEAT_S):
            await pulse.moved.wait()
            await asyncio.sleep(GATHER_S)
    except TimeoutError:
        return


async def _still_in(request: Request) -> bool:
    session = sessions_of(request).read(request)
    if session is None:
        return False
    try:
        await recognised(request, session.token)
    except ProviderUnavailable:
        return True  # nobody is sent away for what they can't help; the session has its own end
    except (NotAuthenticated, Forbidden):
        return False
    return True


def reaches_of(user: User) -> Sequence[Reach]:
    """Return whose records a user may be told of: their own, and everybody's where they may."""
    return [user.reach, *([user.everybody()] if sees_all(user) else [])]
