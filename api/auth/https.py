"""One HTTPS answer within a time and a size, whatever the other side does.

Every read gets what is left of one deadline (`specs.timed`). Redirects are answers like any other,
no proxy and no .netrc is looked at, and nothing is unpacked: what is asked for is a little JSON.
"""

import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from typing import Final, Protocol, cast
from urllib.parse import urlsplit

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


def trust(environ: Mapping[str, str]) -> ssl.SSLContext:
    """Return whose certificates are trusted. Raises: AuthFault; see `specs.authorities`."""
    try:
        return authorities.trust(environ)
    except authorities.NoAuthorities as error:
        raise AuthFault(str(error)) from error


def getter(context: ssl.SSLContext) -> Get:
    """Return how to ask URLs that begin with https://, with the trust in `context`."""

    def get(url: str, deadline: Deadline, *, token: str | None = None) -> Answer:
        try:
            return _get(url, context, deadline, token)
        except ssl.SSLCertVerificationError as error:
            raise Unreachable(f"its certificate is not trusted: {error.verify_message}") from error
        except (OSError, HTTPException, ValueError) as error:
            raise Unreachable(type(error).__name__) from error

    return get


def _get(url: str, context: ssl.SSLContext, deadline: Deadline, token: str | None) -> Answer:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 443
    with (
        socket.create_connection((host, port), timeout=deadline.left_s()) as plain,
        context.wrap_socket(plain, server_hostname=host) as secure,
    ):
        timed = Timed(secure, deadline)
        timed.sendall(_request(parts.netloc, parts.path or "/", parts.query, token))
        response = HTTPResponse(cast("socket.socket", timed), method="GET")
        with response:
            response.begin()
            body = response.read(MAX_BYTES + 1)
    if len(body) > MAX_BYTES:
        raise Unreachable(f"it answered more than {MAX_BYTES} bytes")
    return Answer(response.status, body)


def _request(host: str, path: str, query: str, token: str | None) -> bytes:
    target = f"{path}?{query}" if query else path
    lines = [f"GET {target} HTTP/1.1", f"Host: {host}", "User-Agent: ai4papi"]
    lines += ["Accept: application/json", "Accept-Encoding: identity", "Connection: close"]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")
