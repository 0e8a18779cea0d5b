"""The one user of local mode, and the file that holds their token."""

import hmac
import secrets
from pathlib import Path
from typing import Final

from api.auth.users import AuthFault, InvalidToken, Role, User
from specs.model import Owner
from specs.private import beside_store, text_made_once

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
        """Return the local user. Raises `InvalidToken`."""
        user = self.known(token)
        if user is None:
            raise InvalidToken("not the local user's")
        return user


def local_token_file(store_url: str) -> Path:
    """Return where the local token is kept: beside a SQLite store, else in `var/`."""
    return beside_store(store_url, "token")


def local_token(path: Path) -> str:
    """Read the local user's token from `path`, or make one there that only its owner can read.

    Safe when several processes start at once: all of them get the same token. Raises `AuthFault`.
    """
    try:
        token = text_made_once(path, lambda: secrets.token_urlsafe(32))
    except PermissionError as error:
        raise AuthFault(str(error)) from error
    if not token:
        raise AuthFault(f"{path} holds no token; remove it, and a new one is made")
    return token
