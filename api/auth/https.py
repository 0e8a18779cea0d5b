"""One HTTPS answer within a time and a size, whatever the other side does.

A timeout per read is none at all against a server that sends a byte now and then, so every read
gets what is left of one deadline. Redirects are answers like any other, no proxy and no .netrc is
looked at, and nothing is unpacked: what is asked for is a few kilobytes of JSON.
"""

import io
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Final, Protocol, cast
from urllib.parse import urlsplit

from requests.utils import DEFAULT_CA_BUNDLE_PATH

from api.auth.users import AuthFault

MAX_BYTES: Final = 1_000_000

CA_VARIABLES: Final = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
"""Name a file (or the first also a folder) of the certificate authorities that are trusted."""


class Unreachable(Exception):
    """No whole answer came in time. `str()` says why and quotes nothing that was received."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said: its status, and all of its body."""

    status: int
    body: bytes


class Deadline:
    """A point in time by which everything of one conversation must be done."""

    def __init__(self, within_s: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._at = monotonic() + within_s

    def left_s(self) -> float:
        """Return how long there is still to wait, more than 0. Raises `TimeoutError`."""
        left = self._at - self._monotonic()
        if left <= 0:
            raise TimeoutError("the time is up")
        return left


class Get(Protocol):
    """Asks one URL, with a bearer token or without. Raises `Unreachable`."""

    def __call__(self, url: str, deadline: Deadline, *, token: str | None = None) -> Answer:
        """Return the answer, of any status."""
        ...


def trust(environ: Mapping[str, str]) -> ssl.SSLContext:
    """Return the TLS settings: certificates are checked against every authority that is named.

    Where the environment names none: against the system's and those that came with `requests`.

    Raises: AuthFault where the environment names what can't be read.
    """
    named = {variable: environ[variable] for variable in CA_VARIABLES if environ.get(variable)}
    if not named:
        context = ssl.create_default_context()
        context.load_verify_locations(DEFAULT_CA_BUNDLE_PATH)
        return context
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for variable, place in named.items():
        try:
            _load(context, Path(place))
        except OSError as error:
            raise AuthFault(
                f"{variable} names {place}, and no certificates can be read there: set it to a"
                " PEM file or unset it"
            ) from error
    return context


def _load(context: ssl.SSLContext, place: Path) -> None:
    if place.is_dir():
        context.load_verify_locations(capath=place)
    else:
        context.load_verify_locations(cafile=place)


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
        secure.settimeout(deadline.left_s())
        secure.sendall(_request(parts.netloc, parts.path or "/", parts.query, token))
        response = HTTPResponse(cast("socket.socket", _Timed(secure, deadline)), method="GET")
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


class _Timed:
    """A connection as `HTTPResponse` wants it, each read of which keeps the deadline."""

    def __init__(self, secure: ssl.SSLSocket, deadline: Deadline) -> None:
        self._secure = secure
        self._deadline = deadline

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_TimedReads(self._secure, self._deadline))


class _TimedReads(io.RawIOBase):
    def __init__(self, secure: ssl.SSLSocket, deadline: Deadline) -> None:
        self._secure = secure
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        self._secure.settimeout(self._deadline.left_s())
        return self._secure.recv_into(buffer)
