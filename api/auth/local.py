"""The one user of local mode, and the file that holds their token."""

import hmac
import os
import secrets
from pathlib import Path
from typing import Final

from api.auth.users import AuthFault, NotAuthenticated, Role, User
from specs.model import Owner

LOCAL_OWNER: Final = Owner("local", "local")


class LocalAuthenticator:
    """Accepts exactly one token: that of the user `local`, a member and operator of `vo`."""

    def __init__(self, *, token: str, vo: str) -> None:
        self._expected = token.encode()
        roles = {vo: frozenset({Role.USER, Role.EDITOR, Role.OPERATOR})}
        self._user = User(LOCAL_OWNER, name="local", roles=roles, operator=True)

    def known(self, token: str) -> User | None:
        """Return the local user, or None where the token is another."""
        given = token.encode("utf-8", "backslashreplace")
        return self._user if hmac.compare_digest(given, self._expected) else None

    def __call__(self, token: str) -> User:
        """Return the local user. Raises `NotAuthenticated`."""
        user = self.known(token)
        if user is None:
            raise NotAuthenticated("the token is not the local user's")
        return user


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
