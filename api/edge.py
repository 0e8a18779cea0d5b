"""The outermost layer of the HTTP face: what holds for every request, whatever its route."""

import ipaddress
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import BodyTooLarge, NotLocal, response_of

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}", re.ASCII)

_PAGES: Final = ("/docs", "/redoc")

_POLICY: Final = "default-src 'none'; frame-ancestors 'none'"
_PAGE_POLICY: Final = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline';"
    " style-src 'self' 'unsafe-inline'; frame-ancestors 'none'"
)
"""The reference pages carry inline scripts of FastAPI's; nothing is loaded from elsewhere."""

_log = logging.getLogger(__name__)


class Edge:
    """Give each request an id, a limit and safe headers, and each crash an answer.

    A trailing slash is taken off, so that collections answer with and without it, and HEAD is
    answered as GET without its body. `local_only` refuses requests that reached a non-loopback
    address of this machine.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_body_bytes: int,
        local_only: bool = False,
        new_id: Callable[[], str] = lambda: uuid4().hex,
    ) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._local_only = local_only
        self._new_id = new_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = _request_id(headers.getlist("x-request-id")) or self._new_id()
        scope.setdefault("state", {})["request_id"] = request_id
        sender = _Sender(send, request_id, page=scope["path"] in _PAGES)
        try:
            self._refuse(scope, headers)
            await self._app(_plain(scope), self._limited(receive), sender)
        except Exception as error:
            response = response_of(error, instance=scope["path"], request_id=request_id)
            if response.status_code >= 500:
                _log.exception("request failed", extra={"request_id": request_id})
            if sender.started:
                raise  # too late for an answer; the server closes the connection
            await response(scope, receive, sender)

    def _refuse(self, scope: Scope, headers: Headers) -> None:
        if self._local_only and not _is_loopback(scope.get("server")):
            raise NotLocal("local authentication is for requests from this machine only")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length[:20]) > self._max_body_bytes:
            raise self._too_large()

    def _limited(self, receive: Receive) -> Receive:
        taken = 0

        async def limited() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self._max_body_bytes:
                raise self._too_large()
            return message

        return limited

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"the body has more than {self._max_body_bytes} bytes")


class _Sender:
    """Sends the answer on, with the headers that every answer carries."""

    def __init__(self, send: Send, request_id: str, *, page: bool) -> None:
        self._send = send
        self._request_id = request_id
        self._page = page
        self.started = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            headers = MutableHeaders(raw=message.setdefault("headers", []))
            for name, value in self._headers():
                headers.setdefault(name, value)
        await self._send(message)

    def _headers(self) -> Iterator[tuple[str, str]]:
        yield "X-Request-ID", self._request_id
        yield "X-Content-Type-Options", "nosniff"
        yield "Referrer-Policy", "no-referrer"
        yield "X-Frame-Options", "DENY"
        yield "Cache-Control", "no-store"
        yield "Content-Security-Policy", _PAGE_POLICY if self._page else _POLICY


def _request_id(given: Sequence[str]) -> str:
    return given[0] if len(given) == 1 and _REQUEST_ID.fullmatch(given[0]) else ""


def _plain(scope: Scope) -> Scope:
    # A copy: the server decides by its own scope's method whether to send a body.
    path = scope["path"]
    method = "GET" if scope["method"] == "HEAD" else scope["method"]
    return {
        **scope,
        "method": method,
        "path": path[:-1] if len(path) > 1 and path[-1] == "/" else path,
    }


def _is_loopback(server: tuple[str, int | None] | None) -> bool:
    if server is None or server[1] is None:  # a Unix socket
        return True
    try:
        return ipaddress.ip_address(server[0]).is_loopback
    except ValueError:
        return False
