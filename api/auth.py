"""Who is asking: from a bearer token to a `User`.

The one door of authentication. Every face calls an `Authenticator` and nothing else; today there is
the local one, OIDC providers come in here too.
"""

import hmac
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from specs.model import Owner

LOCAL_OWNER: Final = Owner("local", "local")

MAX_TOKEN: Final = 16_384
"""Longest `Authorization` header that is looked at, in characters."""


class NotAuthenticated(Exception):
    """Nobody we know sent this. Log in (again), then repeat the request."""


class AuthFault(Exception):
    """Authentication can't be set up as configured; `str()` says what to change."""


@dataclass(frozen=True, slots=True)
class User:
    """A known caller and the VOs that they may deploy in, sorted, never empty."""

    owner: Owner
    name: str
    vos: tuple[str, ...]
    operator: bool = False


Authenticator: TypeAlias = Callable[[str], User]
"""Turns a bearer token into its user; may block. Raises `NotAuthenticated` or `Forbidden`."""


def bearer_token(headers: list[str]) -> str:
    """Return the token of a request's `Authorization` headers. Raises `NotAuthenticated`."""
    if not headers:
        raise NotAuthenticated("the request carries no Authorization header")
    if len(headers) > 1 or len(headers[0]) > MAX_TOKEN:
        raise NotAuthenticated("one Authorization header of at most 16384 characters is read")
    scheme, _, token = headers[0].strip().partition(" ")
    token = token.strip(" ")
    if scheme.lower() != "bearer" or not token or " " in token:
        raise NotAuthenticated("the Authorization header is not `Bearer <token>`")
    return token


def local_authenticator(*, token: str, vo: str) -> Authenticator:
    """Accept exactly one token: that of the user `local`, an operator and member of `vo`."""
    expected = token.encode()
    user = User(LOCAL_OWNER, name="local", vos=(vo,), operator=True)

    def authenticate(given: str) -> User:
        if not hmac.compare_digest(given.encode("utf-8", "backslashreplace"), expected):
            raise NotAuthenticated("the token is not the local user's")
        return user

    return authenticate


def local_token_file(store_url: str) -> Path:
    """Return where the local token is kept: beside a SQLite store, else in `var/`."""
    scheme, _, path = store_url.partition(":///")
    if not scheme.startswith("sqlite") or not path or ":memory:" in path:
        return Path("var", "token")
    return Path(path.partition("?")[0]).parent / "token"


def local_token(path: Path) -> str:
    """Read the local user's token from `path`, or make one there that only its owner can read.

    Safe when several processes start at once: all of them get the same token. Raises `AuthFault`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_urlsafe(32))
    try:
        # A link appears complete or not at all, and never replaces a token that is in use.
        os.link(draft, path)
    except FileExistsError:
        _refuse_open_file(path)
    finally:
        draft.unlink()
    token = path.read_text(encoding="utf-8").strip()
    if not token:
        raise AuthFault(f"{path} holds no token; remove it, and a new one is made")
    return token


def _refuse_open_file(path: Path) -> None:
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise AuthFault(f"{path} has mode {mode:04o}: others can read the token; chmod 600 {path}")
