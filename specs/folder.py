"""A folder with spec files, read while people work in it.

Nothing tells when a writer is done, so time does. New content counts once its file was left alone
for `SETTLE_S`. What is gone counts for nothing until nothing went for `GRACE_S`: editors, `mv`,
rsync and git take a file away and put it back. Content that got shorter, or followed other content
within `GRACE_S`, may be the beginning of a slow write and rests for `GRACE_S` too. Nobody waits
for long, and no deployment stops for a moment in which its file was not there.

The root may be a link, which is followed anew by every read, so that releases are swapped at once:
a ConfigMap is read at `<mount>/..data`. Below it no link is followed and no mount entered. A hard
link is a file like any other. On a remote file system whose clock is behind ours by more than
`SETTLE_S` only writers that rename are safe.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from specs.trees import MAX_FILES, File, SourceUnavailable, Tree
from specs.walk import Stamp, Walk, opened, walk

SETTLE_S: Final = 0.5
"""Longer than an editor or `git checkout` pauses within a file, shorter than a person notices."""

GRACE_S: Final = 2.0
"""Longer than a file that is swapped, or a folder that is checked out, is away."""

RETRY_S: Final = 30.0
"""When to look again at folders that can't be read."""

SOONEST_S: Final = 0.05

RACY_NS: Final = 2_000_000_000
"""The coarsest time stamp of a file system, FAT's. A file read sooner after its last change than
that may change again and look the same, so it is read again, as in git's index."""


@dataclass(slots=True)
class _Seen:
    """What is remembered of one path.

    `blob` is of the content at `stamp`, "" where that must be read again. `since` is when the stamp
    was first seen, on the monotonic clock, `before_at` when the one before it was.
    """

    stamp: Stamp
    since: float
    blob: str = ""
    before_at: float | None = None
    taken_size: int = 0

    def now_is(self, stamp: Stamp, now: float) -> None:
        """Note what the file is like now."""
        if stamp != self.stamp:
            self.before_at = self.since
            self.stamp, self.since, self.blob = stamp, now, ""

    def rest_s(self) -> float:
        """Return for how long the content must be left alone before it counts."""
        shorter = self.stamp.size < self.taken_size
        again = self.before_at is not None and self.since - self.before_at < GRACE_S
        return GRACE_S if shorter or again else SETTLE_S


@dataclass(slots=True)
class _Read:
    """One read on its way: what is told, and what it waits for."""

    known: Mapping[str, str]
    now: float
    now_ns: int
    files: list[File] = field(default_factory=list)
    waits_s: dict[str, float] = field(default_factory=dict)

    def wait(self, path: str, for_s: float) -> None:
        """Leave the path as it is known, and new ones for a later read."""
        self.waits_s[path] = for_s
        if blob := self.known.get(path):
            self.files.append(File(path, blob))


class FolderTree:
    """The `TreeReader` of a folder. One thread at a time.

    It remembers of the reads before what it needs to tell what rests, and what is unchanged: that
    is not opened again. `clock` is monotonic, in seconds; `now_ns` is the file system's.
    """

    def __init__(
        self,
        root: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._root = root
        self._clock = clock
        self._now_ns = now_ns
        self._seen: dict[str, _Seen] = {}
        self._present: set[str] = set()
        self._quiet_since: float | None = None

    def read(self, known: Mapping[str, str]) -> Tree:
        """Read the folder as it is now; `known` maps the paths of the last read to their blobs.

        Files that can't be read have a fault and the blob "". The first read is never settled, nor
        is the first after the folder was away or could not be seen in full.

        Raises: SourceUnavailable.
        """
        read = _Read(known, self._clock(), self._now_ns())
        try:
            with opened(self._root) as fd:
                found = walk(fd, lambda path, stamp: self._wanted(path, stamp, known))
                # The same twice: what was read between was there together at one moment.
                after = walk(fd)
        except SourceUnavailable:
            self._quiet_since = None
            raise
        for path, fault in found.faults.items():
            read.files.append(File(path, "", fault=fault))
        for path, stamp in found.files.items():
            self._judge(read, path, stamp, found.contents.get(path), after.files.get(path))
        for path in after.present - found.present:
            read.wait(path, SETTLE_S)
        return self._tree(read, found, after)

    def _wanted(self, path: str, stamp: Stamp, known: Mapping[str, str]) -> bool:
        seen = self._seen.get(path)
        return seen is None or seen.stamp != stamp or not _is_known(path, seen.blob, known)

    def _judge(
        self, read: _Read, path: str, stamp: Stamp, content: bytes | None, after: Stamp | None
    ) -> None:
        seen = self._seen.setdefault(path, _Seen(stamp, read.now))
        seen.now_is(stamp, read.now)
        if after != stamp or (content is None and not _is_known(path, seen.blob, read.known)):
            read.wait(path, SETTLE_S)
        elif content is None:
            read.files.append(File(path, seen.blob))
        else:
            _take(read, path, seen, content)

    def _tree(self, read: _Read, found: Walk, after: Walk) -> Tree:
        unknown = sorted({*found.unknown, *after.unknown})
        present = found.present | after.present
        if self._quiet_since is None or self._present - present:
            self._quiet_since = read.now
        quiet_s = read.now - self._quiet_since
        self._present = present
        if unknown:
            self._quiet_since = None
        settled = not read.waits_s and not unknown and quiet_s >= GRACE_S
        if settled or len(self._seen) > len(present) + MAX_FILES:
            self._seen = {path: seen for path, seen in self._seen.items() if path in present}
        files = sorted(read.files, key=lambda file: file.path)
        if settled:
            return Tree(version_of(files), files)
        grace_s = RETRY_S if unknown else GRACE_S - quiet_s
        waits_s = [*read.waits_s.values(), *([grace_s] if grace_s > 0 else [])]
        return Tree(
            version_of(files),
            files,
            settled=False,
            again_s=max(SOONEST_S, min(waits_s)),
            doubt=_doubt(unknown, sorted(read.waits_s)),
        )


def _take(read: _Read, path: str, seen: _Seen, content: bytes) -> None:
    """Tell what was read, where it is at rest."""
    blob = hashlib.sha256(content).hexdigest()
    if read.now_ns - max(seen.stamp.mtime_ns, seen.stamp.ctime_ns) >= RACY_NS:
        seen.blob = blob
    if blob == read.known.get(path):
        seen.taken_size = seen.stamp.size
        read.files.append(File(path, blob))
        return
    # A file that comes from the future has an age too: how long it was seen unchanged.
    age_s = max((read.now_ns - seen.stamp.mtime_ns) / 1e9, read.now - seen.since)
    if age_s < seen.rest_s():
        read.wait(path, seen.rest_s() - age_s)
        return
    seen.taken_size = seen.stamp.size
    read.files.append(File(path, blob, content))


def version_of(files: Sequence[File]) -> str:
    """Return a short digest of all paths with what is in them, or why that is not known."""
    lines = sorted(f"{file.path}\0{file.blob}\0{file.fault}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]


def _is_known(path: str, blob: str, known: Mapping[str, str]) -> bool:
    return blob != "" and known.get(path) == blob


def _doubt(unknown: Sequence[str], waiting: Sequence[str]) -> str:
    """Say what the read waits for, the longest wait first."""
    if unknown:
        return f"what is below {_few(unknown)} can't be seen, so nothing counts as removed"
    if waiting:
        return f"{_few(waiting)} changed just now"
    return f"nothing counts as removed until nothing went away for {GRACE_S:g} s"


def _few(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return f"{paths[0]}{more}"
