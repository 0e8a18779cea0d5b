"""From a template to an answer: escaping, the headers of pages, refusals as pages."""

import hashlib
import logging
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from api.auth import NotAuthenticated
from api.dashboard import words
from api.dashboard.visitor import Visitor, sessions_of
from api.problems import problem_of, reason_of, response_of

HERE: Final = Path(__file__).parent
STATIC_PATH: Final = "/ui/static"

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
        " font-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none';"
        " base-uri 'none'"
    ),
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Vary": "Accept, Cookie",
}

FOR_A_YEAR: Final = "public, max-age=31536000, immutable"

_log = logging.getLogger(__name__)


class Files(StaticFiles):
    """What the pages load; an address names its content, so a browser asks for it once."""

    def file_response(self, *args: Any, **options: Any) -> Response:
        """Return a file, to be kept."""
        response = super().file_response(*args, **options)
        response.headers["Cache-Control"] = FOR_A_YEAR
        return response


def page_files() -> StaticFiles:
    """Return the application that serves what the pages load."""
    return Files(directory=HERE / "static")


@cache
def address_of(file: str) -> str:
    """Return the address of a static file as it is now."""
    digest = hashlib.sha256((HERE / "static" / file).read_bytes()).hexdigest()[:12]
    return f"{STATIC_PATH}/{file}?v={digest}"


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"static": address_of, "quote": lambda text: quote(text, safe="")}
    environment.filters |= {
        "ago": words.ago,
        "mb": words.size,
        "stamp": words.stamp,
        "link": words.safe_link,
        "item": words.item_word,
    }
    return environment


def page(
    request: Request, template: str, *, visitor: Visitor | None, status: int = 200, **told: Any
) -> HTMLResponse:
    """Return a page with its headers."""
    context = {"visitor": visitor, "path": request.url.path, "now": datetime.now(UTC)} | told
    text = _templates().get_template(template).render(context)
    return HTMLResponse(text, status, HEADERS)


def see_other(path: str) -> RedirectResponse:
    """Return the answer to a form: the page that shows what became of it."""
    return RedirectResponse(path, 303, HEADERS)


class PageRoute(APIRoute):
    """A route for people: who is not logged in is sent to do that, a refusal is a page."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, with its refusals as pages."""
        handler = super().get_route_handler()

        async def answered(request: Request) -> Response:
            try:
                return await handler(request)
            except NotAuthenticated:
                return _to_login(request)
            except Exception as error:
                return problem_page(request, error)

        return answered


def problem_page(request: Request, error: Exception) -> Response:
    """Return the page that tells of `error`, with the status that the API has for it."""
    request_id = request.state.request_id
    told = problem_of(error, instance=request.url.path, request_id=request_id)
    if told.status >= 500 and told.reason == "InternalError":
        _log.error("request failed", exc_info=error, extra={"request_id": request_id})
    request.state.reason = reason_of(error)
    response = page(request, "problem.html", visitor=None, status=told.status, problem=told)
    said = response_of(error, instance=request.url.path, request_id=request_id).headers
    if "retry-after" in said:
        response.headers["Retry-After"] = said["retry-after"]
    return response


def _to_login(request: Request) -> Response:
    back = request.url.path if request.method == "GET" else "/"
    query = request.url.query
    target = f"/login?next={quote(back + (query and '?' + query), safe='')}"
    if request.headers.get("hx-request") == "true":
        response: Response = Response(status_code=204, headers=HEADERS | {"HX-Redirect": "/login"})
    else:
        response = see_other(target)
    sessions_of(request).end(response, request)
    return response
