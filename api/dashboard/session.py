"""A browser's session: sealed into cookies, so that every replica with the site's keys reads it.

What a cookie holds nobody can read or change without a key. A long access token takes several
cookies, since a browser keeps none of more than 4,096 bytes.
"""

import base64
import hmac
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from fastapi import Request, Response
from pydantic_core import from_json, to_json

from api.auth.code_flow import Pending

COOKIE_CHARS: Final = 3800
MAX_COOKIES: Final = 6

SESSION: Final = "ai4papi-session"
LOGIN: Final = "ai4papi-login"


@dataclass(frozen=True, slots=True)
class Session:
    """Who a browser is: the access token that was checked at login and is checked at each request.

    `proof` stands in every form that the session's pages have. `expires_at` is in seconds since
    1970.
    """

    token: str = field(repr=False)
    proof: str = field(repr=False)
    expires_at: float


@dataclass(frozen=True, slots=True)
class LoginUnderWay:
    """A login that a browser began, and the path that it is to come back to."""

    pending: Pending
    next_path: str


class Sessions:
    """Seals what browsers keep for us, and opens it again.

    `keys` are the site's; without one a session ends with this process.
    """

    def __init__(self, keys: Sequence[str], *, now: Callable[[], float] = time.time) -> None:
        derived = [hmac.digest(key.encode(), b"ai4papi browser sessions", "sha256") for key in keys]
        own = [Fernet(base64.urlsafe_b64encode(key)) for key in derived]
        self._fernet = MultiFernet(own or [Fernet(Fernet.generate_key())])
        self.now = now

    def begin(self, response: Response, request: Request, token: str, *, expires_at: float) -> None:
        """Let the browser keep a new session."""
        session = Session(token, secrets.token_urlsafe(24), expires_at)
        lives_s = int(expires_at - self.now())
        self._keep(response, request, SESSION, asdict(session), lives_s=lives_s)

    def read(self, request: Request) -> Session | None:
        """Return the browser's session; None where it has none that is good."""
        kept = self._kept(request, SESSION)
        session = None if kept is None else Session(**kept)
        return session if session is not None and session.expires_at > self.now() else None

    def end(self, response: Response, request: Request) -> None:
        """Have the browser forget its session."""
        self._forget(response, request, SESSION)

    def begin_login(
        self, response: Response, request: Request, login: LoginUnderWay, *, lives_s: int
    ) -> None:
        """Let the browser keep the login that it began."""
        self._keep(response, request, LOGIN, asdict(login), lives_s=lives_s)

    def end_login(self, response: Response, request: Request) -> None:
        """Have the browser forget the login: its answer counts once."""
        self._forget(response, request, LOGIN)

    def read_login(self, request: Request) -> LoginUnderWay | None:
        """Return the login that the browser began; None where it began none."""
        kept = self._kept(request, LOGIN)
        return kept and LoginUnderWay(Pending(**kept["pending"]), kept["next_path"])

    def _keep(
        self, response: Response, request: Request, name: str, value: object, *, lives_s: int
    ) -> None:
        sealed = self._fernet.encrypt(to_json([name, value])).decode("ascii")
        parts = [sealed[at : at + COOKIE_CHARS] for at in range(0, len(sealed), COOKIE_CHARS)]
        parts[0] = f"{len(parts)}~{parts[0]}"
        for number, part in enumerate(parts):
            self._set(response, request, f"{name}-{number}", part, lives_s=lives_s)

    def _forget(self, response: Response, request: Request, name: str) -> None:
        for number in range(MAX_COOKIES):
            if _named(request, f"{name}-{number}") in request.cookies:
                self._set(response, request, f"{name}-{number}", "", lives_s=0)

    def _kept(self, request: Request, name: str) -> Any:
        count, mark, first = request.cookies.get(_named(request, f"{name}-0"), "").partition("~")
        if not mark or count not in {str(number) for number in range(1, MAX_COOKIES + 1)}:
            return None
        rest = [
            request.cookies.get(_named(request, f"{name}-{number}"), "")
            for number in range(1, int(count))
        ]
        try:
            of_name, value = from_json(self._fernet.decrypt("".join([first, *rest]).encode()))
        except (InvalidToken, ValueError):
            return None
        return value if of_name == name and isinstance(value, Mapping) else None

    def _set(
        self, response: Response, request: Request, name: str, value: str, *, lives_s: int
    ) -> None:
        response.set_cookie(
            _named(request, name),
            value,
            max_age=lives_s,
            path="/",
            secure=_encrypted(request),
            httponly=True,
            samesite="lax",
        )


def _named(request: Request, name: str) -> str:
    # A cookie of that prefix can be set by this very host alone, over TLS.
    return f"__Host-{name}" if _encrypted(request) else name


def _encrypted(request: Request) -> bool:
    return request.url.scheme == "https"
