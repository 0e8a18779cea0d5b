"""What is kept of logins between commands: one file that only its owner can read.

One entry by server, so that a token reaches exactly the server it was made for. Each write replaces
the file whole; who changes it holds the lock, also while a token is renewed: with a provider that
turns refresh tokens over, two renewals at once would end the login.
"""

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal, get_args

from api.cli.failures import Code, CommandFailed
from api.cli.tokens import instant, is_token

Source = Literal["provider", "agent", "given"]
"""Whence tokens come: from the provider itself, from an oidc-agent, or one was given once."""

FILE: Final = "logins.json"
MAX_FILE: Final = 1_000_000


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


def login_folder(environ: Mapping[str, str]) -> Path | None:
    """Return where logins are kept, None where the environment names no home."""
    given = environ.get("XDG_CONFIG_HOME", "")
    if Path(given).is_absolute():  # the XDG specification: others are ignored
        return Path(given, "ai4papi")
    home = environ.get("HOME", "")
    return Path(home, ".config", "ai4papi") if Path(home).is_absolute() else None


class Logins:
    """The logins in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.file = folder / FILE

    def read(self, server: str) -> Login | None:
        """Return the login at `server`, None where there is none. Raises: CommandFailed."""
        entry = self._all().get(server)
        if entry is None:
            return None
        login = _login(entry)
        if login is None:
            raise self._fault(f"what it holds for {server} is no login", "Log in again.")
        return login

    def write(self, server: str, login: Login | None) -> None:
        """Keep the login at `server` in the place of the one before; None: forget it.

        Only under `locked`. Raises: CommandFailed.
        """
        entries = {key: value for key, value in self._all().items() if key != server}
        if login is not None:
            entries[server] = asdict(login)
        text = json.dumps({"servers": entries}, indent=1)
        draft = self._folder / f".{FILE}.{secrets.token_hex(4)}"
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                # A refresh token that was turned over must not be lost with the power.
                os.fsync(file.fileno())
            draft.replace(self.file)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise self._fault(f"it can't be written: {error.strerror}") from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other command from changing logins; waits for its turn."""
        import fcntl  # noqa: PLC0415 - not on every system, and only a login needs it

        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise self._fault(f"it can't be locked: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _all(self) -> Mapping[str, Any]:
        try:
            with self.file.open("rb") as file:
                self._refuse_open_file(os.fstat(file.fileno()))
                tree = json.loads(file.read(MAX_FILE))
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._fault(f"it can't be read: {error.strerror}") from error
        except (ValueError, RecursionError):
            tree = None
        servers = tree.get("servers") if isinstance(tree, dict) else None
        if not isinstance(servers, dict):
            raise self._fault("it is not what `ai4papi login` writes", "Remove it and log in.")
        return servers

    def _refuse_open_file(self, told: os.stat_result) -> None:
        if told.st_mode & 0o077 or told.st_uid != os.geteuid():
            raise self._fault(
                f"others can read or change it (mode {told.st_mode & 0o777:04o}, user"
                f" {told.st_uid})",
                f"chmod 600 {self.file}, or remove it and log in.",
            )

    def _fault(self, why: str, hint: str = "") -> CommandFailed:
        return CommandFailed(Code.FAILED, f"{self.file} can't be used: {why}", hint=hint)


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
