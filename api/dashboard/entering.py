"""Logging in and out: through the provider's page, or with a token that somebody has."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final
from urllib.parse import quote

from anyio.to_thread import run_sync
from fastapi import APIRouter, Query, Request, Response

from api.auth import InvalidToken, NotAuthenticated
from api.auth.code_flow import PENDING_S, CodeLogin, LoginRefused
from api.auth.tokens import MAX_LIFETIME_S
from api.auth.users import MAX_TOKEN
from api.dashboard.html import PageRoute, page, see_other
from api.dashboard.session import LoginUnderWay
from api.dashboard.visitor import HOME, Sent, local_path, read_form, sessions_of
from api.edge import address_of
from api.problems import TooManyRequests
from api.routers.requests import authenticated, limits_of, services_of
from specs.faults import NotFound

CALLBACK: Final = "/auth/callback"

TOKEN_SESSION_S: Final = float(MAX_LIFETIME_S)
"""Longest session of somebody who brought a token: it ends with the token where that is sooner."""

router = APIRouter(route_class=PageRoute, include_in_schema=False)

Next = Annotated[str, Query(alias="next", max_length=2000)]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why somebody was not let in, and what to do."""

    status: int
    words: str


@router.get("/login")
def read_login(request: Request, next_path: Next = HOME) -> Response:
    """Show how to log in."""
    return _login_page(request, local_path(next_path), None)


@router.post("/login")
async def log_in(request: Request) -> Response:
    """Log in with the token that was pasted: the local user's, or an access token."""
    form = await read_form(request)
    next_path = local_path(form.get("next", HOME))
    token = form.get("token", "").strip()
    refusal = Refusal(401, "This token is not valid here, or not any more.")
    if not 0 < len(token) <= MAX_TOKEN or not token.isascii() or " " in token:
        return _login_page(request, next_path, _counted(request, refusal))
    try:
        await authenticated(request, token)
    except NotAuthenticated:
        return _login_page(request, next_path, _counted(request, refusal))
    response = see_other(next_path)
    sessions = sessions_of(request)
    sessions.begin(response, request, token, expires_at=sessions.now() + TOKEN_SESSION_S)
    return response


@router.get("/auth/start")
async def start_login(
    request: Request, provider: Annotated[int, Query(ge=0, le=99)] = 0, next_path: Next = HOME
) -> Response:
    """Send the browser to a provider's login."""
    logins = services_of(request).browser_logins
    if provider >= len(logins):
        raise NotFound("there is no such provider")
    pending, url = await run_sync(logins[provider].begin, _callback_of(request))
    response = see_other(url)
    login = LoginUnderWay(pending, local_path(next_path))
    sessions_of(request).begin_login(response, request, login, lives_s=int(PENDING_S))
    return response


@router.get(CALLBACK)
async def end_login(request: Request) -> Response:
    """Take the provider's answer; who it lets in here gets a session."""
    sessions = sessions_of(request)
    under_way = sessions.read_login(request)
    try:
        response = await _entered(request, under_way)
    except InvalidToken:
        words = "The login did not come to its end. Begin it again from here."
        next_path = HOME if under_way is None else under_way.next_path
        response = _login_page(request, next_path, _counted(request, Refusal(401, words)))
    sessions.end_login(response, request)
    return response


@router.post("/logout")
def log_out(request: Request, form: Sent) -> Response:
    """End the session of this browser."""
    del form
    response = see_other("/login")
    sessions_of(request).end(response, request)
    return response


async def _entered(request: Request, under_way: LoginUnderWay | None) -> Response:
    told = _once(request)
    login = None if under_way is None else _login_at(request, under_way.pending.issuer)
    if under_way is None or login is None:
        raise LoginRefused("this browser began no login")
    done = await run_sync(login.finish, under_way.pending, told, _callback_of(request))
    user = await authenticated(request, done.token)
    if user.owner.sub != done.subject:
        raise LoginRefused("the access token is another's than the ID token")
    response = see_other(under_way.next_path)
    sessions_of(request).begin(response, request, done.token, expires_at=done.expires_at)
    return response


def _once(request: Request) -> Mapping[str, str]:
    pairs = request.query_params.multi_items()
    if len({name for name, _ in pairs}) != len(pairs):
        raise LoginRefused("the answer says something twice")
    return dict(pairs)


def _login_at(request: Request, issuer: str) -> CodeLogin | None:
    logins = services_of(request).browser_logins
    return next((login for login in logins if login.issuer == issuer), None)


def _callback_of(request: Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc}{CALLBACK}"


def _counted(request: Request, refusal: Refusal) -> Refusal:
    try:
        limits_of(request).fail(address_of(request.scope))
    except TooManyRequests as error:
        return Refusal(429, str(error))
    request.state.reason = "NotAuthenticated"
    return refusal


def _login_page(request: Request, next_path: str, refusal: Refusal | None) -> Response:
    services = services_of(request)
    return page(
        request,
        "login.html",
        visitor=None,
        status=200 if refusal is None else refusal.status,
        refusal=refusal,
        next_path=next_path,
        local=services.login.mode == "local",
        providers=[login.issuer for login in services.browser_logins],
        start=f"/auth/start?next={quote(next_path, safe='')}",
    )
