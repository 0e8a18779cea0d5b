"""The HTTP sessions of the real adapter: whom we trust, as whom we speak, how many connections."""

import threading
from collections.abc import Callable, Mapping
from io import BytesIO
from time import monotonic
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError

from reconciler.logs import request_id
from reconciler.nomad_section import NomadSettings

CONNECTIONS: Final = 32
"""Connections to Nomad at most, the event stream aside. Nomad grants one address 100."""

CONNECT_S: Final = 3.0
"""How long a connection may take to come about."""

BODY_BYTES_MAX: Final = 1 << 27
"""No answer is near 128 MB, a page of a thousand allocations is some five: what grows beyond is not
Nomad's, or would take the memory of everybody else."""

CHUNK_BYTES: Final = 1 << 16


Heard = Callable[[str, str, int, float], None]
"""Told of each call: method, path, status (0: no answer) and seconds."""


def unheard(method: str, path: str, status: int, seconds: float) -> None:
    """Tell nobody."""


class Sessions:
    """One session per thread over one bounded pool; `heard` is told of each call but streams.

    The pool is made for many threads; a `requests.Session` is not promised to be.
    """

    def __init__(self, settings: NomadSettings, heard: Heard = unheard) -> None:
        self._settings = settings
        self.heard = heard
        self.adapter: Final = NomadAdapter(
            settings.tls_server_name, pool_maxsize=CONNECTIONS, pool_block=True
        )
        self._here = threading.local()

    def here(self) -> requests.Session:
        """Return this thread's session."""
        session: requests.Session | None = getattr(self._here, "session", None)
        if session is None:
            session = open_session(self._settings, self.adapter, self.heard)
            self._here.session = session
        return session

    def own(self) -> requests.Session:
        """Open a session with a connection of its own, for the event stream."""
        return open_session(self._settings, NomadAdapter(self._settings.tls_server_name))


class BoundedSession(requests.Session):
    """A session whose answers arrive in time, in bounds and from a server that may know, or not at
    all.

    The time-out of requests counts from byte to byte: an answer that trickles would hold a worker
    for hours. Here it counts from the request to the last byte of the body. Streams are left alone.

    Each call carries the id of the request or the deployment that it is made for.
    """

    heard: Heard = staticmethod(unheard)

    def send(self, request: requests.PreparedRequest, **how: Any) -> requests.Response:
        """Send, and unless a stream is asked for read the body.

        Raises: requests.RequestException where that takes longer or brings more than it may.
        """
        if (made_for := request_id()) is not None:
            request.headers["X-Request-ID"] = made_for
        if how.get("stream"):
            return super().send(request, **how)
        began_s, status = monotonic(), 0
        try:
            response = self._whole(request, how)
            status = response.status_code
            return response
        finally:
            self.heard(request.method or "", request.path_url, status, monotonic() - began_s)

    def _whole(self, request: requests.PreparedRequest, how: dict[str, Any]) -> requests.Response:
        connect_s, answer_s = how["timeout"]
        until_s = monotonic() + connect_s + answer_s
        response = super().send(request, **{**how, "stream": True})
        try:
            require_leader(response.headers)
            response.raw = BytesIO(read_whole(response.raw, until_s=until_s))
        except (HTTPError, OSError) as error:
            response.close()
            if isinstance(error, requests.RequestException):
                raise
            raise requests.ConnectionError(error) from error
        return response


def require_leader(headers: Mapping[str, str]) -> None:
    """Do nothing where the server that answered may know; `headers` take any case.

    Raises: requests.ConnectionError where it has lost its leader.
    """
    if headers.get("X-Nomad-KnownLeader") == "false":
        raise requests.ConnectionError("the server that answered knows no leader: its word is old")


def read_whole(raw: BaseHTTPResponse, *, until_s: float) -> bytes:
    """Return the whole body and give the connection back. `until_s` is on the monotonic clock.

    Raises: requests.RequestException where it is late or too long; urllib3's HTTPError, OSError.
    """
    body = bytearray()
    while chunk := raw.read1(CHUNK_BYTES, decode_content=True):
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise requests.ConnectionError(f"the answer is longer than {BODY_BYTES_MAX} bytes")
        if monotonic() > until_s:
            raise requests.Timeout("the answer timed out: it came, but too slowly")
    raw.release_conn()
    return bytes(body)


class NomadAdapter(HTTPAdapter):
    """An adapter that may expect another name in the certificate than the address has."""

    def __init__(self, server_name: str | None, **pool: Any) -> None:
        self._server_name = server_name
        super().__init__(**pool)

    def init_poolmanager(
        self, connections: int, maxsize: int, block: bool = False, **pool: Any
    ) -> None:
        """Make the pool; `server_hostname` is urllib3's word for the name to expect."""
        if self._server_name:
            pool["server_hostname"] = self._server_name
        super().init_poolmanager(connections, maxsize, block, **pool)


def open_session(
    settings: NomadSettings, adapter: HTTPAdapter, heard: Heard = unheard
) -> requests.Session:
    """Open a session that takes nothing from the environment and follows no redirect.

    A redirect would carry the token to whoever is named in it.
    """
    session = BoundedSession()
    session.heard = heard
    session.trust_env = False
    session.max_redirects = 0
    session.auth = _basic(settings.http_auth)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def trusted(settings: NomadSettings) -> bool | str:
    """Return whom to trust, as requests wants it: True, a file of authorities, or False."""
    if settings.skip_verify:
        return False
    return str(settings.cacert) if settings.cacert else True


def client_certificate(settings: NomadSettings) -> tuple[str, ...]:
    """Return certificate and key for mutual TLS; empty where they are not set."""
    if settings.client_cert is None or settings.client_key is None:
        return ()
    return (str(settings.client_cert), str(settings.client_key))


def _basic(http_auth: str | None) -> tuple[str, str] | None:
    if not http_auth:
        return None
    user, _, password = http_auth.partition(":")
    return user, password
