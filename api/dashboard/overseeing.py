"""The pages about the whole: nodes, use, the loop, the sources of spec files."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from api.account import Account
from api.dashboard import words
from api.dashboard.html import HEADERS, PageRoute, page, see_other
from api.dashboard.sights import Room
from api.dashboard.visitor import Seen, Sent, Visitor
from api.problems import ClusterSilent
from api.routers.requests import deployments_of, history_of, operations_of, services_of
from specs.faults import Forbidden
from specs.model import Deployment

MOST_COUNTED: Final = 5_000
MOST_DRIFT: Final = 20
LOOKED_THROUGH: Final = 500

router = APIRouter(route_class=PageRoute, include_in_schema=False)


class Bar(NamedTuple):
    """How much of one thing a node has given away; `heat` is its step of the ramp, 0 to 5."""

    label: str
    percent: int
    heat: int
    said: str


class Tile(NamedTuple):
    """One node of the heat map; `trouble` says why it takes no work, "" where it does."""

    room: Room
    bars: tuple[Bar, ...]
    trouble: str


@router.get("/ui/nodes")
def read_nodes(request: Request, visitor: Seen) -> Response:
    """Show how full the nodes are; costs no call to the cluster."""
    services = services_of(request)
    rooms = services.rooms()
    tiles = None if rooms is None else [tile_of(room) for room in rooms]
    return page(
        request, "nodes.html", visitor=visitor, tiles=tiles, gpus=services.gpus() if tiles else None
    )


@router.get("/ui/usage")
def read_usage(request: Request, visitor: Seen) -> Response:
    """Show what the visitor and their VOs use of their quotas, and to some who uses what."""
    owners = None
    if visitor.may_see_all:
        owners = words.use_by_owner(_everybodys(request, visitor))
    return page(
        request,
        "usage.html",
        visitor=visitor,
        quota=Account(services_of(request).store).quota(visitor.user),
        shares_of=words.shares_of,
        owners=owners,
    )


@router.get("/ui/reconciler")
def read_loop(request: Request, visitor: Seen) -> Response:
    """Show how the loop stands, and which drift it set right last."""
    _refuse_all_but_operators(visitor)
    entries = history_of(request).newest_events(visitor.user, everybody=True, limit=LOOKED_THROUGH)
    try:
        orphans = operations_of(request).orphans(visitor.user).items
    except ClusterSilent:
        orphans = None
    return page(
        request,
        "reconciler.html",
        visitor=visitor,
        state=services_of(request).loop_state(),
        cluster=services_of(request).cluster_title,
        drift=[e for e in entries if e.event.reason == "Drifted"][:MOST_DRIFT],
        orphans=orphans,
    )


@router.get("/ui/reconciler/now")
def read_loop_now(request: Request, visitor: Seen) -> Response:
    """Return how the loop stands, for the chart."""
    _refuse_all_but_operators(visitor)
    state = services_of(request).loop_state()
    told = {}
    if state is not None:
        told = {"waiting": state.waiting, "working": state.working, "lag_s": round(state.lag_s, 3)}
    return JSONResponse(told, headers=HEADERS)


@router.get("/ui/sources")
def read_sources(request: Request, visitor: Seen) -> Response:
    """Show the sources of spec files with their faults and held deletions."""
    sources = operations_of(request).sources(visitor.user).items
    return page(request, "sources.html", visitor=visitor, sources=sources)


@router.post("/ui/sources/confirm")
def confirm(request: Request, visitor: Seen, form: Sent) -> Response:
    """Let the held deletions of a source through."""
    operations_of(request).confirm_deletions(visitor.user, form.get("source", ""))
    return see_other("/ui/sources")


@router.post("/ui/sources/sync")
def sync(request: Request, visitor: Seen, form: Sent) -> Response:
    """Have a source read now."""
    operations_of(request).sync(visitor.user, form.get("source", ""))
    return see_other("/ui/sources")


def tile_of(room: Room) -> Tile:
    """Return a node as the heat map shows it."""
    bars = [
        _bar("CPU", room.cpu_taken_mhz, room.cpu_mhz, f"{room.cpu_mhz / 1000:.0f} GHz"),
        _bar("Memory", room.memory_taken_mb, room.memory_mb, words.size(room.memory_mb)),
    ]
    if room.gpus:
        bars.append(_bar("GPU", room.gpus_taken, room.gpus, f"{room.gpus}"))
    trouble = room.status if room.status != "ready" else ""
    return Tile(room, tuple(bars), trouble or ("" if room.eligible else "takes no new work"))


def _bar(label: str, taken: int, whole: int, said: str) -> Bar:
    share = words.percent(taken, whole)
    return Bar(label, share, -(-share // 20), f"{share} % of {said}")


def _everybodys(request: Request, visitor: Visitor) -> Iterator[Deployment]:
    desk, counted, continue_ = deployments_of(request), 0, None
    while counted < MOST_COUNTED:
        found = desk.page(visitor.user, everybody=True, continue_=continue_)
        yield from found.items
        counted, continue_ = counted + len(found.items), found.continue_
        if continue_ is None:
            return


def _refuse_all_but_operators(visitor: Visitor) -> None:
    if not visitor.user.operator:
        raise Forbidden("this page is for operators")
