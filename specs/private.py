"""Files that only their owner can read: a token, a key."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path


def beside_store(store_url: str, name: str) -> Path:
    """Return where a file of that name is kept: beside a SQLite store, else in `var/`."""
    scheme, _, path = store_url.partition(":///")
    if not scheme.startswith("sqlite") or not path or ":memory:" in path:
        return Path("var", name)
    return Path(path.partition("?")[0]).parent / name


def text_made_once(path: Path, make: Callable[[], str]) -> str:
    """Return the text of `path`, stripped; `make` it in a file of mode 0600 where there is none.

    Safe when several processes start at once: all of them get the same text.

    Raises:
        PermissionError: others can read the file. The message says what to do.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(make())
    try:
        # A link appears complete or not at all, and never replaces a file that is in use.
        os.link(draft, path)
    except FileExistsError:
        _refuse_open_file(path)
    finally:
        draft.unlink()
    return path.read_text(encoding="utf-8").strip()


def _refuse_open_file(path: Path) -> None:
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise PermissionError(f"{path} has mode {mode:04o}: others can read it; chmod 600 {path}")
