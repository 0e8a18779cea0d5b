"""The HTTP sessions of the real adapter: whom we trust, as whom we speak, how many connections."""

import threading
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter

from reconciler.settings import NomadSettings

CONNECTIONS: Final = 32
"""Connections to Nomad at most, the event stream aside. Nomad grants one address 100."""

CONNECT_S: Final = 3.0
"""How long a connection may take to come about."""


class Sessions:
    """One session per thread over one bounded pool.

    The pool is made for many threads; a `requests.Session` is not promised to be.
    """

    def __init__(self, settings: NomadSettings) -> None:
        self._settings = settings
        self._adapter = NomadAdapter(
            settings.tls_server_name, pool_maxsize=CONNECTIONS, pool_block=True
        )
        self._here = threading.local()

    def here(self) -> requests.Session:
        """Return this thread's session."""
        session: requests.Session | None = getattr(self._here, "session", None)
        if session is None:
            session = self._here.session = open_session(self._settings, self._adapter)
        return session

    def own(self) -> requests.Session:
        """Open a session with a connection of its own, for the event stream."""
        return open_session(self._settings, NomadAdapter(self._settings.tls_server_name))


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


def open_session(settings: NomadSettings, adapter: HTTPAdapter) -> requests.Session:
    """Open a session that takes nothing from the environment and follows no redirect.

    A redirect would carry the token to whoever is named in it.
    """
    session = requests.Session()
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
