"""What a shell completes with: the names of deployments, asked from the server.

An answer is kept for some seconds, as one word takes several TABs. Nothing that goes wrong is said:
there is then nothing to complete with.
"""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import typer

from api.cli.failures import CommandFailed
from api.cli.texts import is_name

KEPT_S: Final = 5.0
PATIENCE_S: Final = 1.0
"""How long a person who pressed TAB waits for a server."""

FILE: Final = "names.json"


def names_starting(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the caller's deployments whose names start so, in their order."""
    try:
        names = _known_names(ctx.params.get("server"), now=time.time)
    except CommandFailed:
        return []
    return [name for name in names if name.startswith(incomplete)]


def _known_names(server: str | None, *, now: Callable[[], float]) -> list[str]:
    from api.cli.access import find_access  # noqa: PLC0415
    from api.cli.client import Client  # noqa: PLC0415
    from api.cli.private_file import PrivateFile  # noqa: PLC0415

    access = find_access(server, None, environ=os.environ)
    folder = _cache_folder(os.environ)
    key = f"{access.server} {access.token_from}"
    kept = PrivateFile(folder / FILE, writer="ai4papi completion") if folder else None
    if kept and (names := fresh(kept.read(), key, now())) is not None:
        return names
    names = [view["metadata"]["name"] for view in Client(access, timeout_s=PATIENCE_S).list()]
    if kept:
        with kept.locked():
            kept.write({"of": key, "at": now(), "names": names})
    return names


def fresh(tree: Mapping[str, Any], key: str, now: float) -> list[str] | None:
    """Return the names that were kept for `key` less than `KEPT_S` ago, None where none were."""
    at, names = tree.get("at"), tree.get("names")
    if tree.get("of") != key or not isinstance(at, float) or not isinstance(names, list):
        return None
    return [name for name in names if is_name(name)] if 0 <= now - at < KEPT_S else None


def _cache_folder(environ: Mapping[str, str]) -> Path | None:
    given, home = (Path(environ.get(key, "")) for key in ("XDG_CACHE_HOME", "HOME"))
    if given.is_absolute():
        return given / "ai4papi"
    return home / ".cache/ai4papi" if home.is_absolute() else None
