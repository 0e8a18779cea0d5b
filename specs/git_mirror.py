"""The folder in which git keeps its copy of a repository: bare, ours alone, and small.

Nothing in it is precious: whatever is wrong with it, it is made anew from the repository.
"""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from specs.git_program import GitTrouble

MAX_PACKS: Final = 30
"""Each fetch that finds something new leaves a pack; with more than that they become one."""

TIP: Final = "refs/ai4papi/tip"

_MARK: Final = "ai4papi-mirror"
_CONFIG: Final = "[core]\n\trepositoryformatversion = 0\n\tbare = true\n"


def mirror_name(source: str) -> str:
    """Return the name of the folder for a source, which may be called anything."""
    return hashlib.sha256(source.encode()).hexdigest()[:16]


class TooBig(GitTrouble):
    """The repository needs more room than a mirror may take."""


class Mirror:
    """A bare repository at `path`. It may be used only while it is `held`."""

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        self.path = path
        self._max_bytes = max_bytes

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes away, and have a mirror in which git obeys no settings but ours.

        Raises: GitTrouble, OSError.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(self.path.with_name(self.path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._lock(lock)
            if not self._is_sound() or self.size() > self._max_bytes:
                self.make_anew()
            self._sweep()
            yield
        finally:
            os.close(lock)

    def make_anew(self) -> None:
        """Put an empty mirror in the place of whatever mirror is there."""
        self.remove()
        for folder in ("objects", "refs"):
            (self.path / folder).mkdir(parents=True)
        (self.path / _MARK).touch()
        (self.path / "HEAD").write_text("ref: refs/heads/none\n", encoding="ascii")
        (self.path / "config").write_text(_CONFIG, encoding="ascii")

    def remove(self) -> None:
        """Remove the mirror, and never a folder that is something else.

        Raises: GitTrouble, OSError.
        """
        if self.path.is_dir() and not any(self.path.iterdir()):
            return
        if self.path.exists() and not (self.path / _MARK).exists():
            raise GitTrouble(
                f"{self.path} is there and is no mirror of ours: move it away, or name another"
                " folder for the mirror"
            )
        if self.path.exists():
            shutil.rmtree(self.path)

    def check_size(self) -> None:
        """Raises: TooBig."""
        if self.size() > self._max_bytes:
            raise TooBig(
                f"its history takes more than {self._max_bytes // 1_000_000} MB: keep spec files in"
                " a repository without large files, or raise the limit"
            )

    def size(self) -> int:
        """Return the bytes of all its files."""
        total = 0
        for folder, _, names in os.walk(self.path):
            for name in names:
                # Git renames and removes its temporary files meanwhile.
                with suppress(FileNotFoundError):
                    total += Path(folder, name).lstat().st_size
        return total

    def wants_packing(self) -> bool:
        """Whether so many fetches have left a pack that they should become one."""
        return len(list(self.path.glob("objects/pack/*.pack"))) > MAX_PACKS

    def _lock(self, lock: int) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise GitTrouble(
                f"another process reads it through the mirror {self.path}: it is tried again"
            ) from error

    def _is_sound(self) -> bool:
        try:
            return (self.path / "config").read_text(encoding="ascii") == _CONFIG and (
                self.path / _MARK
            ).exists()
        except (FileNotFoundError, NotADirectoryError, UnicodeDecodeError):
            return False

    def _sweep(self) -> None:
        """Remove what a killed git left: locks and half-written packs."""
        for pattern in ("*.lock", "refs/**/*.lock", "objects/**/tmp_*"):
            for left in self.path.glob(pattern):
                if left.is_dir():
                    shutil.rmtree(left)
                else:
                    left.unlink()
