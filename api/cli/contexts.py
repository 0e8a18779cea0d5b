"""Contexts: servers by name, kept in one file, one of them in use."""

import difflib
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from api.cli.failures import Code, CommandFailed
from api.cli.private_file import PrivateFile

FILE: Final = "contexts.json"
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@dataclass(frozen=True, slots=True)
class Context:
    """A server's address, and the file with the token for it, "" where a login gives it."""

    server: str
    token_file: str = ""


class Contexts:
    """The contexts in one folder."""

    def __init__(self, folder: Path) -> None:
        self._kept = PrivateFile(folder / FILE, writer="ai4papi context set")

    def all(self) -> Mapping[str, Context]:
        """Return the contexts by name, in their order. Raises: CommandFailed."""
        entries = self._kept.read().get("contexts", {})
        if not isinstance(entries, dict):
            raise self._kept.not_ours()
        return {name: self._context(entry) for name, entry in sorted(entries.items())}

    def current(self) -> str | None:
        """Return the name of the one in use, None where none is. Raises: CommandFailed."""
        name = self._kept.read().get("current")
        if not isinstance(name, str | None):
            raise self._kept.not_ours()
        return name

    def named(self, name: str) -> Context:
        """Return the context `name`. Raises: CommandFailed where there is none."""
        contexts = self.all()
        if name not in contexts:
            raise unknown_context(name, contexts)
        return contexts[name]

    def write(self, contexts: Mapping[str, Context], current: str | None) -> None:
        """Replace them all. Only under `locked`. Raises: CommandFailed."""
        entries = {name: asdict(context) for name, context in contexts.items()}
        self._kept.write({"current": current, "contexts": entries})

    def locked(self) -> AbstractContextManager[None]:
        """Keep every other command from changing contexts; waits for its turn."""
        return self._kept.locked()

    def _context(self, entry: Any) -> Context:
        texts = entry if isinstance(entry, dict) else {}
        server, token_file = texts.get("server"), texts.get("token_file", "")
        if not isinstance(server, str) or not isinstance(token_file, str):
            raise self._kept.not_ours()
        return Context(server, token_file)


def unknown_context(name: str, contexts: Mapping[str, Context]) -> CommandFailed:
    """Return the failure of a name that is no context's, with the one that may be meant."""
    close = difflib.get_close_matches(name, contexts, n=1)
    hint = f"Did you mean {close[0]}?" if close else ""
    if not close and not contexts:
        hint = "There are no contexts yet; an address starts with https://."
    return CommandFailed(
        Code.USAGE,
        f"there is no context {name!r}",
        hint=hint,
        next_command="ai4papi context list"
        if contexts
        else "ai4papi context set NAME --server URL",
    )
