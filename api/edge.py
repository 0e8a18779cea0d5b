"""The outermost layers of the HTTP face: what holds for every request, whatever its route.

`Edge` names requests and dresses answers, `Gate` behind it refuses what is too big, too slow or
from too far; what allows other origins stands between them, so that a browser shows refusals too.
"""

import asyncio
import hashlib
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from time import monotonic
from typing import Final
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import (
    BodyTooLarge,
    BodyTooSlow,
    HeadersTooLarge,
    NotLocal,
    reason_of,
    response_of,
)
from reconciler.logs import about

CORS_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
CORS_REQUEST_HEADERS: Final = (
    "Authorization",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "Last-Event-ID",
    "X-Request-ID",
)
CORS_ANSWER_HEADERS: Final = (
    "Age",
    "ETag",
    "Location",
    "Retry-After",
    "WWW-Authenticate",
    "X-Catalog-Stale",
    "X-Request-ID",
)

DENIALS: Final = frozenset({401, 403, 429})
"""Answers that are put on record: who was refused, rather than what."""

PROBES: Final = frozenset({"readLivez", "readReadyz", "readMetrics"})
"""Asked every few seconds: what goes well there is no line of the log."""

UNMATCHED: Final = "unmatched"
"""Stands for the operation where no route of the API has the path."""

Network = IPv4Network | IPv6Network
LOOPBACK: Final = (ip_network("127.0.0.0/8"), ip_network("::1/128"))

Answered = Callable[[str, str, int, float], None]
"""Told of each answer: method, operation, status, seconds."""

HSTS: Final = "max-age=31536000"

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
    """Give each request an id, and each answer safe headers and a line in the log.

    A trailing slash is taken off, so that collections answer with and without it, and HEAD is
    answered as GET without its body.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        answered: Answered,
        new_id: Callable[[], str] = lambda: uuid4().hex,
    ) -> None:
        self._app = app
        self._answered = answered
        self._new_id = new_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).getlist("x-request-id")
        request_id = _request_id(given) or self._new_id()
        scope.setdefault("state", {})["request_id"] = request_id
        sender = _Sender(send, scope)
        inner = _plain(scope)
        began_s = monotonic()
        with about(request_id=request_id):
            try:
                await self._app(inner, receive, sender)
            finally:
                seconds = monotonic() - began_s
                self._answered(inner["method"], _operation(inner), sender.status, seconds)
                _record(inner, sender.status, seconds)


class Gate:
    """Refuse what no route should see, and give each crash an answer.

    `max_header_bytes` counts the request line too; the whole body must be there within `body_s` of
    its first being asked for. `local_only` refuses requests that reached a non-loopback address of
    this machine.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_body_bytes: int,
        max_header_bytes: int,
        body_s: float,
        local_only: bool = False,
    ) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._max_header_bytes = max_header_bytes
        self._body_s = body_s
        self._local_only = local_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def sender(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            self._refuse(scope)
            await self._app(scope, self._limited(receive), sender)
        except Exception as error:
            request_id = scope["state"]["request_id"]
            response = response_of(error, instance=scope["path"], request_id=request_id)
            if response.status_code >= 500:
                _log.exception("request failed", extra={"request_id": request_id})
            if started:
                raise  # too late for an answer; the server closes the connection
            scope["state"]["reason"] = reason_of(error)
            await response(scope, receive, send)

    def _refuse(self, scope: Scope) -> None:
        if self._local_only and not _is_loopback(scope.get("server")):
            raise NotLocal("local authentication is for requests from this machine only")
        if _head_bytes(scope) > self._max_header_bytes:
            raise HeadersTooLarge(
                f"the address and the headers have more than {self._max_header_bytes} bytes"
            )
        length = Headers(scope=scope).get("content-length", "0")
        if not length.isdecimal() or int(length[:20]) > self._max_body_bytes:
            raise self._too_large()

    def _limited(self, receive: Receive) -> Receive:
        taken = 0
        whole = False
        deadline = 0.0

        async def limited() -> Message:
            nonlocal taken, whole, deadline
            if whole:  # what comes now is that the client has left, whenever it does
                return await receive()
            deadline = deadline or asyncio.get_running_loop().time() + self._body_s
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError as error:
                raise BodyTooSlow(f"the body was not here within {self._body_s:g} s") from error
            taken += len(message.get("body", b""))
            if taken > self._max_body_bytes:
                raise self._too_large()
            whole = not message.get("more_body", False)
            return message

        return limited

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"the body has more than {self._max_body_bytes} bytes")


class _Sender:
    """Sends the answer on, with the headers that every answer carries."""

    def __init__(self, send: Send, scope: Scope) -> None:
        self._send = send
        self._request_id = scope["state"]["request_id"]
        self._page = scope["path"] in _PAGES
        self._encrypted = scope.get("scheme") == "https"
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
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
        # For what is loaded without asking; whom `cors` names asks, and is not stopped by it.
        yield "Cross-Origin-Resource-Policy", "same-origin"
        yield "Content-Security-Policy", _PAGE_POLICY if self._page else _POLICY
        if self._page:
            yield "Permissions-Policy", "camera=(), geolocation=(), microphone=()"
        if self._encrypted:
            yield "Strict-Transport-Security", HSTS


def _record(scope: Scope, status: int, seconds: float) -> None:
    operation = _operation(scope)
    quiet = operation in PROBES and status == 200
    if quiet or not _log.isEnabledFor(logging.INFO):
        return
    # The operation, not the path: what the caller wrote does not get into the log.
    state, owner = scope["state"], scope["state"].get("owner")
    fields = {
        "request_id": state["request_id"],
        "method": scope["method"],
        "operation": operation,
        "address": address_of(scope),
        "status": status,
        "ms": round(seconds * 1000, 1),
        "reason": state.get("reason"),
        "issuer": owner and owner.iss,
        "subject_digest": owner
        and hashlib.sha256(owner.sub.encode("utf-8", "backslashreplace")).hexdigest()[:16],
    }
    _log.info("request denied" if status in DENIALS else "request answered", extra=fields)


def _operation(scope: Scope) -> str:
    return getattr(scope.get("route"), "operation_id", None) or UNMATCHED


def is_among(address: str, networks: Sequence[Network]) -> bool:
    """Whether a client's address lies in one of `networks`; that of a Unix socket, "", always."""
    if not address:
        return True
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return any(ip in network for network in networks)


def address_of(scope: Scope) -> str:
    """Return the client's address, "" where there is none (a Unix socket).

    Behind a proxy it is the one that uvicorn takes from X-Forwarded-For, which it believes only
    where the proxy is named in FORWARDED_ALLOW_IPS.
    """
    client = scope.get("client")
    return str(client[0]) if client else ""


def _head_bytes(scope: Scope) -> int:
    target = len(scope.get("raw_path") or b"") + len(scope["query_string"])
    return target + sum(len(name) + len(value) + 4 for name, value in scope["headers"])


def _request_id(given: Sequence[str]) -> str:
    return given[0] if len(given) == 1 and _REQUEST_ID.fullmatch(given[0]) else ""


def _plain(scope: Scope) -> Scope:
    # A copy: the server decides by its own scope's method whether to send a body.
    path = scope["path"]
    head = scope["method"] == "HEAD"
    method = "GET" if head else scope["method"]
    # For answers that would go on for ever, and of which nobody sees a word.
    scope["state"]["head"] = head
    return {
        **scope,
        "method": method,
        "path": path[:-1] if len(path) > 1 and path[-1] == "/" else path,
    }


def _is_loopback(server: tuple[str, int | None] | None) -> bool:
    if server is None or server[1] is None:  # a Unix socket
        return True
    try:
        return ip_address(server[0]).is_loopback
    except ValueError:
        return False
