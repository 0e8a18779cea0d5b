"""One guarded GET, the catalogue's only way to the network, and a POST that is guarded the same.

It asks nobody but `Hosts`, connects to the very address that was checked, follows few redirects and
checks each anew. Time, size and unpacked size are bounded. There is no proxy, no cookie, no .netrc
and no credential but the token that a caller hands over for one host.
"""

import contextlib
import socket
import ssl
import threading
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse
from ipaddress import ip_address
from typing import Final, Self, cast
from urllib.parse import urljoin

from reconciler.catalog.hosts import Address, Hosts, Refused, Target, is_public
from specs.texts import shown
from specs.timed import Deadline, Timed

MAX_BYTES: Final = 1_000_000
MAX_REDIRECTS: Final = 5
MAX_IDLE: Final = 32
"""Connections that are kept for the next question."""

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_TOLD: Final = ("etag", "link", "location", "www-authenticate")
_CHUNK: Final = 65_536


class Unreachable(Exception):
    """No whole answer came in time; later one may. `str()` says why and quotes no answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said: status, unpacked body, and those headers that somebody needs.

    `url` is the one that answered, after redirects. `headers` have their names in lower case.
    """

    status: int
    body: bytes
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)


Resolve = Callable[[str, int], Iterable[Address]]
"""Finds the addresses of a host. Raises: OSError."""


def resolved(host: str, port: int) -> list[Address]:
    """Ask the system for a host's addresses, in the order in which to try them."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    # A link-local address comes with its interface: `fe80::1%eth0`.
    return [ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]


class Http:
    """Asks the hosts that it was given; `with` closes the connections that it kept.

    Safe to use from any thread, also while another one closes it: who asks then still gets an
    answer. A deadline covers everything but the system's look-up of a name, which ends by itself.
    """

    def __init__(
        self,
        hosts: Hosts,
        context: ssl.SSLContext,
        *,
        resolve: Resolve = resolved,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._hosts = hosts
        self._context = context
        self._resolve = resolve
        self._max_bytes = max_bytes
        self._idle = _Idle()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that were kept."""
        self._idle.close()

    def get(self, url: str, deadline: Deadline, *, etag: str = "", token: str = "") -> Answer:
        """Ask for `url` and return the answer, of any status but a redirect.

        `etag` makes it a question for what is new: 304 is the answer where nothing is. `token` goes
        to the host of `url` alone.

        Raises: Refused; Unreachable.
        """
        target = first = self._hosts.target(url)
        seen = {url}
        for _ in range(MAX_REDIRECTS + 1):
            sent = {"If-None-Match": etag} if etag else {}
            if token and (target.scheme, target.netloc) == (first.scheme, first.netloc):
                sent["Authorization"] = f"Bearer {token}"
            status, headers, body = self._ask(target, sent, deadline)
            if status not in _REDIRECTS:
                return Answer(status, body, url, headers)
            url = _next(url, headers.get("location"), seen)
            target = self._hosts.target(url)
        raise Refused(f"it is sent on more than {MAX_REDIRECTS} times")

    def post(self, url: str, body: bytes, deadline: Deadline, *, headers: Mapping[str, str]) -> int:
        """Send `body` and return the status of the answer; it is never sent on elsewhere.

        It may arrive twice, where the connection broke before the answer to the first.

        Raises: Refused; Unreachable.
        """
        return self._ask(self._hosts.target(url), headers, deadline, body=body)[0]

    def _ask(
        self,
        target: Target,
        sent: Mapping[str, str],
        deadline: Deadline,
        *,
        body: bytes | None = None,
    ) -> tuple[int, Mapping[str, str], bytes]:
        try:
            request = _request(target, sent, body)
            while kept := self._idle.take(target):
                # A server may close what was kept at any moment: then there was no answer to it.
                with contextlib.suppress(ConnectionError, HTTPException, ssl.SSLError):
                    return self._talk(kept, target, request, deadline)
            return self._talk(self._connect(target, deadline), target, request, deadline)
        except TimeoutError as error:
            raise Unreachable(f"{target.netloc} took too long to answer") from error
        except ssl.SSLCertVerificationError as error:
            raise Unreachable(
                f"the certificate of {target.netloc} is not trusted: {error.verify_message}"
            ) from error
        except (OSError, HTTPException, ValueError) as error:
            raise Unreachable(f"{target.netloc} can't be asked: {type(error).__name__}") from error

    def _talk(
        self, timed: Timed, target: Target, request: bytes, deadline: Deadline
    ) -> tuple[int, Mapping[str, str], bytes]:
        timed.deadline = deadline
        try:
            timed.sendall(request)
            with HTTPResponse(cast("socket.socket", timed), method="GET") as response:
                response.begin()
                body = self._body(response, target)
                again = not response.will_close and response.isclosed()
        except BaseException:
            timed.close()
            raise
        if again:
            self._idle.keep(target, timed)
        else:
            timed.close()
        return response.status, _told(response), body

    def _body(self, response: HTTPResponse, target: Target) -> bytes:
        unpack = _unpacking(response.headers.get("Content-Encoding", "").strip().lower())
        whole, came = b"", 0
        while chunk := response.read(_CHUNK):
            came += len(chunk)
            whole += unpack(chunk, self._max_bytes + 1 - len(whole))
            if max(came, len(whole)) > self._max_bytes:
                raise Refused(f"{target.netloc} answers more than {self._max_bytes:,} bytes")
        if response.length:
            raise Unreachable(f"the answer of {target.netloc} ended early")
        return whole

    def _connect(self, target: Target, deadline: Deadline) -> Timed:
        plain = self._reach(target, deadline)
        try:
            plain.settimeout(deadline.left_s())
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if target.scheme == "https":
                plain = self._context.wrap_socket(plain, server_hostname=target.host)
        except BaseException:
            plain.close()
            raise
        return Timed(plain, deadline)

    def _reach(self, target: Target, deadline: Deadline) -> socket.socket:
        """Connect to the first address that answers; what was checked is what is connected to."""
        try:
            addresses = list(dict.fromkeys(self._resolve(target.host, target.port)))
        except (OSError, UnicodeError) as error:
            raise Unreachable(f"the host {shown(target.host)} is not found") from error
        if not target.inside and (inner := [one for one in addresses if not is_public(one)]):
            raise Refused(
                f"the host {shown(target.host)} is at {inner[0]}, which is no public address: to"
                f" allow that, name {target.host}:{target.port} in {self._hosts.setting}"
            )
        trouble: OSError | None = None
        for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            try:
                # One that swallows what is sent there leaves time for the others.
                timeout_s = deadline.left_s() / left
                return socket.create_connection((str(address), target.port), timeout=timeout_s)
            except OSError as error:
                trouble = error
        raise trouble or OSError("no address")


class _Idle:
    """Connections that wait for the next question, the youngest first; none once it is closed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._room = MAX_IDLE
        self._kept: list[tuple[tuple[str, str, int], Timed]] = []

    def take(self, target: Target) -> Timed | None:
        wanted = (target.scheme, target.host, target.port)
        with self._lock:
            for at in range(len(self._kept) - 1, -1, -1):
                if self._kept[at][0] == wanted:
                    return self._kept.pop(at)[1]
        return None

    def keep(self, target: Target, timed: Timed) -> None:
        with self._lock:
            self._kept.append(((target.scheme, target.host, target.port), timed))
        self._close_all_but(self._room)

    def close(self) -> None:
        self._room = 0
        self._close_all_but(0)

    def _close_all_but(self, room: int) -> None:
        with self._lock:
            surplus = self._kept[: max(0, len(self._kept) - room)]
            del self._kept[: len(surplus)]
        for _, timed in surplus:
            timed.close()


def _request(target: Target, sent: Mapping[str, str], body: bytes | None) -> bytes:
    method = "GET" if body is None else "POST"
    lines = [f"{method} {target.path} HTTP/1.1", f"Host: {target.netloc}", "User-Agent: ai4papi"]
    lines += ["Accept: */*", "Accept-Encoding: gzip"]
    lines += [f"{name}: {value}" for name, value in sent.items()]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii") + (body or b"")


def _told(response: HTTPResponse) -> Mapping[str, str]:
    return {name: value for name in _TOLD if (value := response.headers.get(name))}


def _next(url: str, location: str | None, seen: set[str]) -> str:
    if not location:
        raise Refused("it is sent on, but not told where to")
    try:
        following = urljoin(url, location).partition("#")[0]
    except ValueError:
        raise Refused("it is sent on to what is no address") from None
    if following in seen:
        raise Refused("it is sent on in a circle")
    seen.add(following)
    return following


def _unpacking(encoding: str) -> Callable[[bytes, int], bytes]:
    """Return what unpacks a body piece by piece, never more than it is told to."""
    if encoding in {"", "identity"}:
        return lambda chunk, limit: chunk[:limit]
    if encoding not in {"gzip", "x-gzip"}:
        raise Refused(f"the answer is packed as {shown(encoding)}, which nobody asked for")
    packed = zlib.decompressobj(wbits=31)

    def unpack(chunk: bytes, limit: int) -> bytes:
        try:
            return packed.decompress(chunk, limit)
        except zlib.error as error:
            raise Refused("the answer is packed, and can't be unpacked") from error

    return unpack
