"""A file of ours that only its owner can read: what is kept between commands.

Each write replaces the file whole, under a lock that every other command waits for.
"""

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from api.cli.failures import Code, CommandFailed

MAX_FILE: Final = 1_000_000


def config_folder(environ: Mapping[str, str]) -> Path | None:
    """Return where such files are, None where the environment names no home."""
    given = environ.get("XDG_CONFIG_HOME", "")
    if Path(given).is_absolute():  # the XDG specification: others are ignored
        return Path(given, "ai4papi")
    home = environ.get("HOME", "")
    return Path(home, ".config", "ai4papi") if Path(home).is_absolute() else None


class PrivateFile:
    """A JSON object in a file; `writer` is the command that writes it, as messages name it."""

    def __init__(self, path: Path, *, writer: str) -> None:
        self.path = path
        self._writer = writer

    def read(self) -> Mapping[str, Any]:
        """Return what it holds, nothing where it is not there. Raises: CommandFailed."""
        try:
            with self.path.open("rb") as file:
                self._refuse_open_file(os.fstat(file.fileno()))
                tree = json.loads(file.read(MAX_FILE))
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self.fault(f"it can't be read: {error.strerror}") from error
        except (ValueError, RecursionError):
            tree = None
        if not isinstance(tree, dict):
            raise self.not_ours()
        return tree

    def write(self, tree: Mapping[str, Any]) -> None:
        """Replace what it holds. Only under `locked`. Raises: CommandFailed."""
        draft = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(json.dumps(tree, indent=1))
                file.flush()
                # A refresh token that was turned over must not be lost with the power.
                os.fsync(file.fileno())
            draft.replace(self.path)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise self.fault(f"it can't be written: {error.strerror}") from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other command from changing files of this folder; waits for its turn."""
        import fcntl  # noqa: PLC0415 - not on every system, and only a change needs it

        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.path.with_name("lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise self.fault(f"it can't be locked: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def not_ours(self) -> CommandFailed:
        """Return the failure of a file that holds something else."""
        return self.fault(f"it is not what `{self._writer}` writes", "Remove it and start anew.")

    def fault(self, why: str, hint: str = "") -> CommandFailed:
        """Return the failure of a file that can't be used."""
        return CommandFailed(Code.FAILED, f"{self.path} can't be used: {why}", hint=hint)

    def _refuse_open_file(self, told: os.stat_result) -> None:
        if told.st_mode & 0o077 or told.st_uid != os.geteuid():
            raise self.fault(
                f"others can read or change it (mode {told.st_mode & 0o777:04o}, user"
                f" {told.st_uid})",
                f"chmod 600 {self.path}, or remove it.",
            )
