"""Tells that something changed in a folder with spec files: a hint to read it, never what changed.

Each folder is watched for itself: the library's own recursion follows links, and one link to `/`
would make it watch the whole machine. Changes that another machine makes on a remote file system
are told by no kernel: for those there are the reads at intervals.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from specs.trees import SourceUnavailable, holds_specs
from specs.walk import identity, opened, walk

log = logging.getLogger(__name__)

QUIET_MS: Final = 200
"""A change is told once nothing followed for so long, so that a checkout is one change."""

BUSY_MS: Final = 1000
"""A change is told after so long, however much follows."""

LOOK_MS: Final = 1000
"""How often to see whether the root is still the same folder: no event tells of a new one."""

POLL_S: Final = 10.0
"""The interval of hints where nothing can be watched, and of the tries to watch again."""


def watch(root: Path, changed: Callable[[], None], stop: threading.Event) -> None:
    """Call `changed` whenever something below `root` may have changed, until `stop` is set.

    It is called in this thread, a few times a second at most, and also when the folder comes, goes
    or is replaced. Where nothing can be watched it is called every `POLL_S`, and the log says why.
    """
    _Watch(root, changed, stop).run()


class _Watch:
    """The watch of one folder, and what keeps it from watching: "" where nothing does."""

    def __init__(self, root: Path, changed: Callable[[], None], stop: threading.Event) -> None:
        self._root = root
        self._changed = changed
        self._stop = stop
        self._trouble = ""

    def run(self) -> None:
        """Watch; where that is not possible, hint at intervals and try again."""
        while not self._stop.is_set():
            same = identity(self._root)
            try:
                self._follow()
            except FileNotFoundError:
                # A folder went after it was listed: the others are listed anew.
                self._changed()
                self._stop.wait(LOOK_MS / 1000)
            except (SourceUnavailable, OSError, RuntimeError) as error:
                # The library says OSError, or a RuntimeError of its own, where a limit is reached.
                self._tell(str(error))
                self._changed()
                self._wait(same)

    def _follow(self) -> None:
        """Watch the folders that there are, until they are others."""
        same, folders = self._folders()
        armed = False
        for paths in self._events(folders):
            if identity(self._root) != same:
                self._changed()
                return
            if not armed:
                # What came between the listing and now was told by nobody.
                armed = True
                self._tell("")
                self._changed()
                if self._folders() != (same, folders):
                    return
            if any(path in folders or _is_folder(Path(path)) for path in paths):
                self._changed()
                return
            if any(holds_specs(Path(path).name) for path in paths):
                self._changed()

    def _folders(self) -> tuple[tuple[int, int] | None, frozenset[str]]:
        """Return which folder the root is, and the paths of all that are watched."""
        same = identity(self._root)
        with opened(self._root) as fd:
            folders = walk(fd).folders
        return same, frozenset(str(self._root / folder) for folder in folders)

    def _events(self, folders: frozenset[str]) -> Iterator[set[str]]:
        """Yield the changed paths of each burst, and nothing once in every quiet `LOOK_MS`."""
        import watchfiles  # noqa: PLC0415  it takes 50 ms, and commands that read once need it not

        for changes in watchfiles.watch(
            *sorted(folders),
            watch_filter=None,
            debounce=BUSY_MS,
            step=QUIET_MS,
            rust_timeout=LOOK_MS,
            yield_on_timeout=True,
            stop_event=self._stop,
            recursive=False,
        ):
            yield {path for _, path in changes}

    def _tell(self, trouble: str) -> None:
        if trouble == self._trouble:
            return
        told = {"folder": str(self._root), "error": trouble, "hint_every_s": POLL_S}
        if trouble:
            log.warning("folder not watched", extra=told)
        else:
            log.info("folder watched again", extra={"folder": str(self._root)})
        self._trouble = trouble

    def _wait(self, same: tuple[int, int] | None) -> None:
        """Wait for the next try: shortly where the root is another than at the last one."""
        looks = int(POLL_S * 1000 / LOOK_MS)
        for _ in range(looks):
            if self._stop.wait(LOOK_MS / 1000) or identity(self._root) != same:
                return


def _is_folder(path: Path) -> bool:
    return not path.name.startswith(".") and path.is_dir()
