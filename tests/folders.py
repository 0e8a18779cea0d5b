"""A folder with spec files for tests: a clock that stands still, and a reader that remembers."""

import os
import time
from pathlib import Path

from specs import folder, walk
from specs.folder import FolderTree
from specs.trees import Tree


class Clock:
    """Both clocks of a `FolderTree`. It is ahead of the real one: files' own stamps are old."""

    def __init__(self) -> None:
        self.s = 1000.0
        self._start_ns = time.time_ns() + 3600 * 10**9

    @property
    def ns(self) -> int:
        return self._start_ns + round((self.s - 1000) * 1e9)

    def step(self, by_s: float) -> None:
        self.s += by_s


class Reader:
    """Reads like whoever keeps a source's memory between reads; `told` is content in force."""

    def __init__(self, root: Path, clock: Clock) -> None:
        self.root = root
        self.clock = clock
        self.tree = FolderTree(root, clock=lambda: clock.s, now_ns=lambda: clock.ns)
        self.known: dict[str, str] = {}
        self.told: dict[str, bytes] = {}
        self._contents: dict[str, bytes] = {}

    def read(self) -> Tree:
        tree = self.tree.read(self.known)
        self.known = {file.path: file.blob for file in tree.files}
        self.told |= self.told_by(tree)
        return tree

    def settle(self) -> Tree:
        """Read, at the times that are asked for, until nothing is on its way."""
        for _ in range(10):
            tree = self.read()
            if tree.settled:
                return tree
            self.clock.step(tree.again_s)
        raise AssertionError(tree)

    def told_by(self, tree: Tree) -> dict[str, bytes]:
        """The content of all files of that tree, those that were known before too."""
        for file in tree.files:
            if file.content is not None:
                self._contents[file.blob] = file.content
        return {file.path: self._contents[file.blob] for file in tree.files if not file.fault}

    def put(self, path: str, text: str, *, age_s: float = 0) -> None:
        """Write in place, so long ago."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        stamp = self.clock.ns - round(age_s * 1e9)
        os.utime(file, ns=(stamp, stamp))

    # Faults and races, put in at the doors to the file system

    def spy_on_opens(self, monkeypatch) -> list[str]:
        opened: list[str] = []
        real = walk._content

        def content(fd, name, stamp):
            opened.append(name)
            return real(fd, name, stamp)

        monkeypatch.setattr(walk, "_content", content)
        return opened

    def before_open(self, monkeypatch, name: str, act) -> None:
        """Do something just before a file is opened, once."""
        real = walk._content
        acts = [act]

        def content(fd, opened, stamp):
            if opened == name and acts:
                acts.pop()()
            return real(fd, opened, stamp)

        monkeypatch.setattr(walk, "_content", content)

    def before_second_walk(self, monkeypatch, act) -> None:
        """Do something between the two walks of the next read."""
        real = folder.walk
        walks: list[int] = []

        def walked(fd, *wanted):
            walks.append(fd)
            if len(walks) == 2:
                act()
            return real(fd, *wanted)

        monkeypatch.setattr(folder, "walk", walked)

    def refuse(self, monkeypatch, name: str, code: int) -> None:
        """Let `os.open` of that name fail: root, as tests may run, is refused nothing."""
        real = os.open

        def refused(path, *args, **kwargs):
            if str(path) == name:
                raise OSError(code, os.strerror(code))
            return real(path, *args, **kwargs)

        monkeypatch.setattr(os, "open", refused)

    def another_device(self, monkeypatch, name: str) -> None:
        """Let the folder of that name be on another file system."""
        real, inode = os.fstat, (self.root / name).stat().st_ino

        def fstat(fd):
            found = real(fd)
            if found.st_ino != inode:
                return found
            return os.stat_result((*found[:2], found.st_dev + 1, *found[3:]))

        monkeypatch.setattr(os, "fstat", fstat)
