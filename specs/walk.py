"""Walks a folder by its descriptors: which spec files stand there, and what is in them.

Whatever is opened is opened relative to the folder it was found in, and no link is followed below
the root, so nothing outside is ever read, whoever moves things about meanwhile. Only regular files
of a size that people write are opened. A folder that can't be looked into is told, never skipped.
"""

import contextlib
import errno
import os
import stat
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from specs.texts import control
from specs.trees import MAX_FILES, MAX_PATH, SourceUnavailable, holds_specs
from specs.yaml_text import MAX_BYTES

MAX_DEPTH: Final = 32
"""Folders within each other: each holds a descriptor open while it is walked."""

MAX_NAMES: Final = 200_000
"""Names of one tree, of whatever kind: whoever points at `/` is told so within a second."""

MAX_BYTES_IN_ALL: Final = 128 * 1024 * 1024
"""Bytes of all spec files: a first read holds them in memory at once."""

_PASSED_OVER: Final = frozenset({"lost+found"})
"""Root's own folder at the top of a volume: others can't read it, and nobody writes specs there."""

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO})
"""It is not any more what the folder said: it was replaced on the way."""

_STARVED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})

_KINDS: Final = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Stamp(NamedTuple):
    """What changes whenever a file's content does, as far as its file system tells."""

    dev: int
    ino: int
    size: int
    mtime_ns: int
    ctime_ns: int


@dataclass(slots=True)
class Walk:
    """What one walk found; all paths are below the root.

    `files` are those that can be read, `contents` what is in the wanted ones: a file that was
    replaced or written to on the way has none. `faults` say of the other files, and of folders,
    why they are not read. `unknown` are the folders of which nothing is known. `folders` are those
    that were walked; the root is "".
    """

    files: dict[str, Stamp] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)

    @property
    def present(self) -> set[str]:
        """All paths that are there, readable or not."""
        return {*self.files, *self.faults}


@contextlib.contextmanager
def opened(root: Path) -> Iterator[int]:
    """Hold the folder open; `root` itself may be a link, which is followed anew every time.

    Raises: SourceUnavailable, also at the end where `root` is another folder by then.
    """
    try:
        fd = os.open(root, _FOLDER)
    except OSError as error:
        raise SourceUnavailable(_no_root(root, error)) from error
    try:
        yield fd
        if identity(root) != _identity(os.fstat(fd)):
            raise SourceUnavailable(f"{root} was replaced while it was read: it is read again")
    finally:
        os.close(fd)


def identity(root: Path) -> tuple[int, int] | None:
    """Return what tells this folder from another at the same path, None where there is none."""
    try:
        found = root.stat()
    except OSError:
        return None
    return _identity(found) if stat.S_ISDIR(found.st_mode) else None


def walk(fd: int, wanted: Callable[[str, Stamp], bool] = lambda _path, _stamp: False) -> Walk:
    """Walk the folder that is open as `fd`, and read the wanted files.

    Raises: SourceUnavailable: the root can't be listed, or there is more below it than is read.
    """
    walker = _Walker(os.fstat(fd).st_dev, wanted)
    try:
        walker.walk(fd, "", depth=0)
    except OSError as error:
        raise SourceUnavailable(f"the folder can't be listed: {error.strerror}") from error
    _fault_twins(walker.found)
    return walker.found


@dataclass(slots=True)
class _Walker:
    """A walk on its way."""

    dev: int
    wanted: Callable[[str, Stamp], bool]
    found: Walk = field(default_factory=Walk)
    names: int = 0
    size: int = 0

    def walk(self, fd: int, prefix: str, *, depth: int) -> None:
        """Look at everything in one folder. Raises: OSError: the folder can't be listed."""
        entries = self._entries(fd)
        self.found.folders.append(prefix.rstrip("/"))
        for entry in entries:
            if entry.name.startswith(".") or entry.name in _PASSED_OVER:
                continue
            path = prefix + entry.name
            try:
                self._look(fd, entry, path, depth)
            except OSError as error:
                self._failed(path, error)

    def _entries(self, fd: int) -> Sequence[os.DirEntry[str]]:
        with os.scandir(fd) as entries:
            found = list(islice(entries, MAX_NAMES - self.names + 1))
        self.names += len(found)
        if self.names > MAX_NAMES:
            raise SourceUnavailable(
                f"the folder holds more than {MAX_NAMES:,} names: choose one with spec files only"
            )
        return found

    def _look(self, fd: int, entry: os.DirEntry[str], path: str, depth: int) -> None:
        if entry.is_dir(follow_symlinks=False):
            if reason := _bad_name(path) or _too_deep(depth):
                self._not_entered(path, reason)
            else:
                self._enter(fd, path, entry.name, depth)
        elif entry.is_symlink():
            if holds_specs(entry.name) or entry.is_dir():
                self._fault(path, _link(fd, entry.name))
        elif holds_specs(entry.name):
            if reason := _bad_name(path):
                self._fault(path, reason)
            else:
                self._take(fd, entry, path)

    def _enter(self, fd: int, path: str, name: str, depth: int) -> None:
        try:
            below = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=fd)
        except OSError as error:
            self._failed(path, error, folder=True)
            return
        try:
            if os.fstat(below).st_dev == self.dev:
                self.walk(below, f"{path}/", depth=depth + 1)
            else:
                # Its files would seem gone whenever it is not mounted.
                self._not_entered(
                    path, "is a mount of another file system: make it a source of its own"
                )
        except OSError as error:
            self._failed(path, error, folder=True)
        finally:
            os.close(below)

    def _take(self, fd: int, entry: os.DirEntry[str], path: str) -> None:
        found = entry.stat(follow_symlinks=False)
        if not stat.S_ISREG(found.st_mode):
            kind = _KINDS.get(stat.S_IFMT(found.st_mode), "something else")
            self._fault(path, f"is {kind}, and only regular files are read")
            return
        if found.st_size > MAX_BYTES:
            self._fault(
                path, f"has {found.st_size:,} bytes, and at most {MAX_BYTES:,} are read: split it"
            )
            return
        stamp = _stamp(found)
        self._count(stamp.size)
        content = None
        if self.wanted(path, stamp):
            content = _content(fd, entry.name, stamp)
        self.found.files[path] = stamp
        if content is not None:
            self.found.contents[path] = content

    def _count(self, size: int) -> None:
        self.size += size
        if self.size > MAX_BYTES_IN_ALL:
            raise SourceUnavailable(
                f"the spec files have more than {MAX_BYTES_IN_ALL:,} bytes in all: make several "
                "sources of the folder"
            )
        if len(self.found.files) >= MAX_FILES:
            raise SourceUnavailable(
                f"the folder holds more than {MAX_FILES:,} spec files: make several sources of it"
            )

    def _failed(self, path: str, error: OSError, *, folder: bool = False) -> None:
        if error.errno in _GONE:
            return
        if error.errno in _STARVED:
            raise SourceUnavailable(f"{_told(path)} can't be opened: {error.strerror}") from error
        reason = f"can't be read: {error.strerror}"
        if isinstance(error, PermissionError):
            reason += "; let the user that the server runs as read it"
        if folder:
            self._not_entered(path, reason)
        else:
            self._fault(path, reason)

    def _not_entered(self, path: str, reason: str) -> None:
        self.found.unknown.append(_told(path))
        self._fault(path, reason)

    def _fault(self, path: str, reason: str) -> None:
        self.found.faults[_told(path)] = reason
        if len(self.found.faults) > MAX_FILES:
            raise SourceUnavailable(f"more than {MAX_FILES:,} names in the folder can't be read")


def _content(fd: int, name: str, stamp: Stamp) -> bytes | None:
    """Read the file that was stamped; None where it is another by now, or was written to."""
    try:
        file = os.open(name, _FILE, dir_fd=fd)
    except OSError as error:
        if error.errno in _GONE:
            return None
        raise
    try:
        if _stamp(os.fstat(file)) != stamp:
            return None
        with os.fdopen(file, "rb", buffering=0, closefd=False) as reader:
            content = reader.read(MAX_BYTES + 1)
        whole = len(content) == stamp.size and _stamp(os.fstat(file)) == stamp
        return content if whole else None
    finally:
        os.close(file)


def _fault_twins(found: Walk) -> None:
    """Fault all paths that are one on a file system that knows no case, as other people's may."""
    twins: dict[str, list[str]] = {}
    for path in sorted(found.present):
        folded = path.casefold()
        key = folded if folded.isascii() else unicodedata.normalize("NFC", folded)
        twins.setdefault(key, []).append(path)
    for paths in twins.values():
        if len(paths) > 1:
            for path in paths:
                found.files.pop(path, None)
                found.contents.pop(path, None)
                other = next(one for one in paths if one != path)
                found.faults[path] = f"is one name with {other} where case is not told: rename it"


def _bad_name(path: str) -> str:
    """Say why nobody can be told of that path, or ""."""
    if path.isascii() and path.isprintable() and len(path) <= MAX_PATH:
        return ""
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        return "has a name that is not UTF-8: rename it"
    if size > MAX_PATH:
        return f"has a path of {size:,} bytes, and at most {MAX_PATH:,} are read"
    found = control(path)
    return f"has a name that {found}: rename it" if found else ""


def _too_deep(depth: int) -> str:
    return f"is deeper than {MAX_DEPTH} folders: move it up" if depth >= MAX_DEPTH else ""


def _link(fd: int, name: str) -> str:
    if os.readlink(name, dir_fd=fd).startswith("..data/"):
        return "is a link into a mounted ConfigMap: end the source's path with `/..data`"
    return "is a symbolic link, and none is followed: put the file or folder itself here"


def _told(path: str) -> str:
    """Return the path as it can be stored and shown; one that is fine stays as it is."""
    text = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    if control(text):
        text = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)
    return text if len(text.encode()) <= MAX_PATH else text[: MAX_PATH // 4] + "…"


def _stamp(found: os.stat_result) -> Stamp:
    return Stamp(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _no_root(root: Path, error: OSError) -> str:
    match error.errno:
        case errno.ENOENT:
            return f"{root} is not there: create or mount it, or correct the source's path"
        case errno.ENOTDIR:
            return f"{root} is not a folder: name the folder that holds the spec files"
        case errno.EACCES | errno.EPERM:
            return f"{root} can't be read: let the user that the server runs as read it"
    return f"{root} can't be opened: {error.strerror}"
