"""The whole application behind a provider of the test's own, on clocks that the test sets."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest

from api.app import create_app
from api.auth import User
from api.auth.https import getter, trust
from api.auth.oidc import OidcAuthenticator
from api.auth.provider import Provider as Asked
from api.trust import rules_of
from reconciler.auth_sections import AuthSettings
from tests.provider import NOW, Provider

PATH = "/v1/specs"
VOS = ("vo.ai4eosc.eu", "vo.imagine-ai.eu")
SECRET_CHARS = 16
PATIENCE_S = 5.0


@dataclass
class Clock:
    """Wall clock and monotonic clock, moved by the test."""

    now: float = NOW
    age: float = 1000.0

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.age += seconds


class Door:
    """The authenticator of the running application; each test hangs in its own."""

    inner: OidcAuthenticator

    def known(self, token: str) -> User | None:
        return self.inner.known(token)

    def __call__(self, token: str) -> User:
        return self.inner(token)


@dataclass
class Site:
    """The application's address, its provider, its clock."""

    client: httpx.Client
    provider: Provider
    door: Door
    clock: Clock
    sent: list[str]

    def restart(self, *, patience_s: float = PATIENCE_S, issuers=(), **auth: Any) -> None:
        """Let the application begin anew, with nothing in its caches."""
        known = {"OP": (self.provider.issuer, *issuers), "VO": VOS}
        settings = AuthSettings.model_validate(known | auth)
        get = getter(trust({"SSL_CERT_FILE": str(self.provider.ca_file)}))
        self.door.inner = OidcAuthenticator(
            [Asked(issuer, get, monotonic=lambda: self.clock.age) for issuer in settings.OP],
            rules_of(settings),
            audiences=settings.audience or (),
            now=lambda: self.clock.now,
            monotonic=lambda: self.clock.age,
            patience_s=patience_s,
        )

    def get(self, token: str, path: str = PATH, **options: Any) -> httpx.Response:
        """Ask for a path with a token; whatever is answered, it is no crash and no echo."""
        self.sent.append(token)
        headers = {"Authorization": f"Bearer {token}"} | options.pop("headers", {})
        answer = self.client.get(path, headers=headers, **options)
        assert answer.status_code not in (500, 502, 504)
        assert not shares_a_secret(answer.text, [token])
        return answer

    def status(self, token: str) -> int:
        return self.get(token).status_code


def refused(answer: httpx.Response) -> bool:
    """Whether the answer is the one 401 that every bad token gets."""
    told = answer.json()
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert told["reason"] == "NotAuthenticated"
    assert told["detail"] == "the token is not valid here, or not any more; log in again"
    return True


def shares_a_secret(text: str, tokens: list[str]) -> bool:
    """Whether 16 characters in a row of a token stand in `text`."""
    windows = {text[at : at + SECRET_CHARS] for at in range(len(text) - SECRET_CHARS + 1)}
    return any(
        token[at : at + SECRET_CHARS] in windows
        for token in tokens
        for at in range(len(token) - SECRET_CHARS + 1)
    )


@pytest.fixture(scope="session")
def provider(tmp_path_factory) -> Iterator[Provider]:
    with Provider(tmp_path_factory.mktemp("provider")) as running:
        yield running


@pytest.fixture(scope="session")
def door(server, serve) -> Iterator[tuple[Door, str]]:
    door = Door()
    app = create_app(replace(server.app.state.services, auth=door))
    with serve(app) as url:
        yield door, url


@pytest.fixture
def site(provider, door) -> Iterator[Site]:
    """The site, as if it had just been started; no test leaves a token in any log (T34)."""
    provider.reset()
    lines = _Lines()
    root = logging.getLogger()
    before = root.level
    root.addHandler(lines)
    root.setLevel(logging.DEBUG)
    try:
        with httpx.Client(base_url=door[1], trust_env=False, timeout=30) as client:
            site = Site(client, provider, door[0], Clock(), [])
            site.restart()
            yield site
    finally:
        root.removeHandler(lines)
        root.setLevel(before)
    assert not shares_a_secret("\n".join(lines.texts), [*site.sent, *provider.minted])


class _Lines(logging.Handler):
    """Keeps every record of this process in full, tracebacks and fields too."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        # Not the test's own client, nor the access log, which `ai4papi-run` does not write.
        if not record.name.startswith(("httpx", "httpcore", "uvicorn.access")):
            fields = {k: v for k, v in record.__dict__.items() if k not in ("args", "msg")}
            traceback = (
                logging.Formatter().formatException(record.exc_info) if record.exc_info else ""
            )
            self.texts.append(f"{record.getMessage()} {fields} {traceback}")
