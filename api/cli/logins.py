"""What is kept of logins between commands: one file that only its owner can read.

One entry by server, so that a token reaches exactly the server it was made for. Each write replaces
the file whole; who changes it holds the lock, also while a token is renewed: with a provider that
turns refresh tokens over, two renewals at once would end the login.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal, get_args

from api.cli.private_file import PrivateFile
from api.cli.tokens import instant, is_token

Source = Literal["provider", "agent", "given"]
"""Whence tokens come: from the provider itself, from an oidc-agent, or one was given once."""

FILE: Final = "logins.json"


@dataclass(frozen=True, slots=True)
class Login:
    """One login at one server.

    `expires_at` is the access token's, in seconds since 1970, None where it is not known. An
    agent's login keeps no token, only the agent's `account` ("": by issuer).
    """

    source: Source
    issuer: str = ""
    client_id: str = ""
    account: str = ""
    access_token: str = field(default="", repr=False)
    refresh_token: str = field(default="", repr=False)
    expires_at: float | None = None

    @property
    def renewable(self) -> bool:
        """Whether a new token can be had without a person."""
        return self.source == "agent" or bool(self.refresh_token)


class Logins:
    """The logins in one folder."""

    def __init__(self, folder: Path) -> None:
        self._kept = PrivateFile(folder / FILE, writer="ai4papi login")
        self.file = self._kept.path

    def read(self, server: str) -> Login | None:
        """Return the login at `server`, None where there is none. Raises: CommandFailed."""
        entry = self._all().get(server)
        if entry is None:
            return None
        login = _login(entry)
        if login is None:
            raise self._kept.fault(f"what it holds for {server} is no login", "Log in again.")
        return login

    def write(self, server: str, login: Login | None) -> None:
        """Keep the login at `server` in the place of the one before; None: forget it.

        Only under `locked`. Raises: CommandFailed.
        """
        entries = {key: value for key, value in self._all().items() if key != server}
        if login is not None:
            entries[server] = asdict(login)
        self._kept.write({"servers": entries})

    def locked(self) -> AbstractContextManager[None]:
        """Keep every other command from changing logins; waits for its turn."""
        return self._kept.locked()

    def _all(self) -> Mapping[str, Any]:
        tree = self._kept.read()
        servers = tree.get("servers", {} if not tree else None)
        if not isinstance(servers, dict):
            raise self._kept.not_ours()
        return servers


def _login(entry: object) -> Login | None:
    if not isinstance(entry, dict) or entry.get("source") not in get_args(Source):
        return None
    names = {each.name for each in fields(Login)} - {"expires_at"}
    texts = {name: entry.get(name, "") for name in names}
    if not all(isinstance(text, str) for text in texts.values()):
        return None
    tokens = (texts["access_token"], texts["refresh_token"])
    if not all(token == "" or is_token(token) for token in tokens):
        return None
    return Login(**texts, expires_at=instant(entry.get("expires_at")))
