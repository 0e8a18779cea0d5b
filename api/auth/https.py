"""One HTTPS answer within a time and a size, whatever the other side does.

Every read gets what is left of one deadline (`specs.timed`). Redirects are answers like any other,
no proxy and no .netrc is looked at, and nothing is unpacked: what is asked for is a little JSON.
"""

import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from typing import Final, Protocol, cast
from urllib.parse import urlencode, urlsplit

from api.auth.users import AuthFault
from specs import authorities
from specs.timed import Deadline, Timed

MAX_BYTES: Final = 1_000_000


class Unreachable(Exception):
    """No whole answer came in time. `str()` says why and quotes nothing that was received."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said: its status, and all of its body."""

    status: int
    body: bytes


class Get(Protocol):
    """Asks one URL, with a bearer token or without. Raises `Unreachable`."""

    def __call__(self, url: str, deadline: Deadline, *, token: str | None = None) -> Answer:
        """Return the answer, of any status."""
        ...


class Post(Protocol):
    """Sends a form to one URL. Raises `Unreachable`."""

    def __call__(self, url: str, deadline: Deadline, *, form: Mapping[str, str]) -> Answer:
        """Return the answer, of any status."""
        ...


def trust(environ: Mapping[str, str]) -> ssl.SSLContext:
    """Return whose certificates are trusted. Raises: AuthFault; see `specs.authorities`."""
    try:
        return authorities.trust(environ)
    except authorities.NoAuthorities as error:
        raise AuthFault(str(error)) from error


def getter(context: ssl.SSLContext) -> Get:
    """Return how to ask URLs that begin with https://, with the trust in `context`."""

    def get(url: str, deadline: Deadline, *, token: str | None = None) -> Answer:
        return _answered(url, context, deadline, lambda: _request(url, token))

    return get


def poster(context: ssl.SSLContext) -> Post:
    """Return how to send forms to URLs that begin with https://, with the trust in `context`."""

    def post(url: str, deadline: Deadline, *, form: Mapping[str, str]) -> Answer:
        return _answered(url, context, deadline, lambda: _form_request(url, form))

    return post


def _answered(
    url: str, context: ssl.SSLContext, deadline: Deadline, request: Callable[[], bytes]
) -> Answer:
    try:
        return _ask(url, context, deadline, request())
    except ssl.SSLCertVerificationError as error:
        raise Unreachable(f"its certificate is not trusted: {error.verify_message}") from error
    except (OSError, HTTPException, ValueError) as error:
        raise Unreachable(type(error).__name__) from error


def _ask(url: str, context: ssl.SSLContext, deadline: Deadline, request: bytes) -> Answer:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 443
    with (
        socket.create_connection((host, port), timeout=deadline.left_s()) as plain,
        context.wrap_socket(plain, server_hostname=host) as secure,
    ):
        timed = Timed(secure, deadline)
        timed.sendall(request)
        response = HTTPResponse(cast("socket.socket", timed))
        with response:
            response.begin()
            body = response.read(MAX_BYTES + 1)
    if len(body) > MAX_BYTES:
        raise Unreachable(f"it answered more than {MAX_BYTES} bytes")
    return Answer(response.status, body)


def _request(url: str, token: str | None) -> bytes:
    more = [] if token is None else [f"Authorization: Bearer {token}"]
    return _head("GET", url, more)


def _form_request(url: str, form: Mapping[str, str]) -> bytes:
    body = urlencode(form).encode("ascii")
    kind = "Content-Type: application/x-www-form-urlencoded"
    return _head("POST", url, [kind, f"Content-Length: {len(body)}"]) + body


def _head(method: str, url: str, more: Sequence[str]) -> bytes:
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"{method} {target} HTTP/1.1", f"Host: {parts.netloc}", "User-Agent: ai4papi"]
    lines += ["Accept: application/json", "Accept-Encoding: identity", "Connection: close"]
    return ("\r\n".join([*lines, *more]) + "\r\n\r\n").encode("ascii")
