"""Reads spec files from a git repository: whole commits, by way of a bare mirror.

There is never a work tree: contents are read as git's objects, so no link is followed, no filter
and no hook runs, and what is read is one commit or nothing. The pure parts: `specs.repository` (the
settings), `specs.git_output` (what git prints) and `specs.git_faults` (what its complaints mean).
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from specs.git_faults import DAMAGED, Blame
from specs.git_mirror import TIP, Mirror, TooBig
from specs.git_output import (
    Listing,
    OriginWalk,
    content_fault,
    read_blobs,
    read_listing,
    read_refs,
)
from specs.git_program import Git, GitFailed, GitTrouble, Login, TimeUp, environment
from specs.repository import Repository
from specs.texts import control, near, shown
from specs.trees import MAX_FILES, File, SourceUnavailable, Tree

MAX_MIRROR_BYTES: Final = 1_000_000_000
"""Room that a mirror may take. Spec files with years of history take a hundredth of it."""

MAX_TREE_BYTES: Final = 64 * 1024 * 1024
"""Bytes of all spec files of one commit."""

MAX_TOKEN: Final = 8192

ORIGIN_S: Final = 10.0
"""Time to find out who changed which file; what is not found by then has the tip's commit."""

MAX_COMMITS: Final = 50_000

_SUGGESTED: Final = 5

_LOG: Final = (
    "log",
    "--format=tformat:%H %an",
    "--encoding=UTF-8",
    "-z",
    "--raw",
    "--no-abbrev",
    "--no-renames",
    "-c",
    f"--max-count={MAX_COMMITS}",
    "--end-of-options",
)


class GitTree:
    """A `TreeReader` of one branch, tag or commit. One thread at a time.

    `mirror` is a folder of its own for each source; it is made, and made anew where it is damaged.
    A pass in which nothing was pushed costs one `ls-remote`; a pinned commit that is there costs
    nothing. Paths are below the repository's `root`.
    """

    def __init__(
        self,
        repository: Repository,
        mirror: Path,
        *,
        timeout_s: float = 120.0,
        max_mirror_bytes: int = MAX_MIRROR_BYTES,
        environ: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.monotonic,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """`timeout_s` bounds each call; `stopped` ends one early, as soon as it answers True."""
        self._repository = repository
        self._mirror = Mirror(mirror.absolute(), max_bytes=max_mirror_bytes)
        self._timeout_s = timeout_s
        self._environ = environ
        self._clock = clock
        self._stopped = stopped
        self._version_known = False
        self._refused: dict[str, str] = {}

    def newest(self) -> str:
        """Return the id of the commit that the remote has now, at the price of one look there.

        Raises: SourceUnavailable.
        """
        with self._telling():
            return self._look(self._git())[1]

    def read(self, known: Mapping[str, str]) -> Tree:
        """Read the newest commit; `known` maps the paths of the last read to their blobs.

        `version` is the commit. `known` is of this object's earlier reads: what they refused for
        its content is refused again unread.

        Raises: SourceUnavailable.
        """
        with self._telling():
            git = self._git()
            name, commit = self._look(git)
            with self._mirror.held():
                try:
                    return self._read(git, name, commit, known)
                except GitFailed as error:
                    if error.blame is not Blame.MIRROR:
                        raise
                    self._mirror.make_anew()
                    return self._read(git, name, commit, known)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except GitTrouble as error:
            raise SourceUnavailable(f"can't read {self._repository}: {error}") from error
        except OSError as error:
            raise SourceUnavailable(
                f"can't read {self._repository}: {error.strerror or error}"
                f" ({error.filename or self._mirror.path})"
            ) from error

    def _git(self) -> Git:
        repository = self._repository
        login = self._login()
        git = Git(
            environment(
                self._environ, protocol=repository.protocol, url=repository.url, login=login
            ),
            deadline=self._clock() + self._timeout_s,
            clock=self._clock,
            stopped=self._stopped,
            secrets=(login.token, login.basic) if login else (),
        )
        if not self._version_known:
            git.check_version()
            self._version_known = True
        return git

    def _login(self) -> Login | None:
        path = self._repository.token_file
        if path is None:
            return None
        try:
            with path.open(encoding="utf-8") as file:
                token = file.read(MAX_TOKEN).strip()
        except UnicodeDecodeError as error:
            raise GitTrouble(f"the token in {path} is not UTF-8: put it there anew") from error
        except OSError as error:
            raise GitTrouble(f"the token can't be read from {path}: {error.strerror}") from error
        if not token or control(token) or len(token) >= MAX_TOKEN:
            raise GitTrouble(f"{path} holds no token: put it there, alone in one line")
        return Login(self._repository.user, token)

    def _look(self, git: Git) -> tuple[str, str]:
        """Return the full name of what is to be read on the remote, and the commit it has now."""
        repository = self._repository
        if repository.commit:
            return repository.commit, repository.commit
        asked = [f"{name}{peeled}" for name in repository.names for peeled in ("", "^{}")]
        refs = read_refs(
            git.run("ls-remote", "--quiet", "--end-of-options", repository.url, *asked)
        )
        for name in repository.names:
            if name in refs:
                return name, refs[name]
        raise GitTrouble(self._absence(git))

    def _absence(self, git: Git) -> str:
        """Say what the remote has instead of the branch or tag that is not there."""
        repository = self._repository
        refs = read_refs(
            git.run("ls-remote", "--quiet", "--heads", "--tags", "--end-of-options", repository.url)
        )
        names = sorted({name.split("/", 2)[-1] for name in refs})
        if not names:
            return f"it holds no commit yet: push {shown(repository.ref)}"
        if guess := near(repository.ref, names):
            return f"it has no such branch or tag; {guess}"
        some = ", ".join(shown(name) for name in names[:_SUGGESTED])
        more = ", …" if len(names) > _SUGGESTED else ""
        return f"it has no such branch or tag; it has {some}{more}"

    def _read(self, git: Git, name: str, commit: str, known: Mapping[str, str]) -> Tree:
        tip = self._tip(git)
        if tip != commit:
            self._fetch(git, name)
            tip = self._tip(git)
        if not tip:
            raise GitTrouble("it is no commit: name a branch, or a tag that was made for a commit")
        files = self._with_contents(git, self._listed(git, tip), known)
        tree = Tree(tip, self._with_origins(git, tip, files))
        self._pack(git)
        return tree

    def _tip(self, git: Git) -> str:
        """Return the commit that the mirror has, or "" where it has none."""
        with suppress(GitFailed):
            printed = self._in_mirror(git, "rev-parse", "--verify", "--quiet", f"{TIP}^{{commit}}")
            return printed.decode("ascii").strip()
        return ""

    def _fetch(self, git: Git, name: str) -> None:
        try:
            git.run(
                f"--git-dir={self._mirror.path}",
                "fetch",
                "--quiet",
                "--no-tags",
                "--no-recurse-submodules",
                "--no-write-fetch-head",
                "--no-show-forced-updates",
                "--end-of-options",
                self._repository.url,
                f"+{name}:{TIP}",
                watch=self._mirror.check_size,
            )
            self._mirror.check_size()
        except TooBig:
            # What came so far is of no use, and would count the next time.
            self._mirror.remove()
            raise

    def _listed(self, git: Git, tip: str) -> Listing:
        listing = read_listing(
            self._in_mirror(git, "ls-tree", "-r", "-z", "-l", self._root(git, tip))
        )
        if len(listing.files) > MAX_FILES:
            raise GitTrouble(
                f"it holds {len(listing.files)} spec files, more than {MAX_FILES}:"
                " narrow it with `folder`, or make several sources of it"
            )
        return listing

    def _root(self, git: Git, tip: str) -> str:
        """Return what names the tree to read."""
        root = self._repository.root
        if not root:
            return tip
        found = self._in_mirror(git, "ls-tree", "-z", "--full-tree", tip, "--", root)
        head = found.partition(b"\t")[0].decode("ascii").split()
        if len(head) != 3 or head[1] != "tree":
            raise GitTrouble(f"commit {tip} has no folder {shown(root)}: check `folder`")
        return head[2]

    def _with_contents(
        self, git: Git, listing: Listing, known: Mapping[str, str]
    ) -> Sequence[File]:
        """Return the files with the contents of those that are new to the caller."""
        readable = {file.blob for file in listing.files if not file.fault}
        if sum(listing.sizes[blob] for blob in readable) > MAX_TREE_BYTES:
            raise GitTrouble(
                f"its spec files hold more than {MAX_TREE_BYTES} bytes together:"
                " narrow it with `folder`, or make several sources of it"
            )
        self._refused = {blob: why for blob, why in self._refused.items() if blob in readable}
        new = dict.fromkeys(
            file.blob
            for file in listing.files
            if not file.fault and known.get(file.path) != file.blob
        )
        blobs = self._blobs(git, [blob for blob in new if blob not in self._refused])
        self._refused |= {blob: why for blob in blobs if (why := content_fault(blobs[blob]))}
        return [self._filled(file, blobs, known) for file in listing.files]

    def _filled(self, file: File, blobs: Mapping[str, bytes], known: Mapping[str, str]) -> File:
        if file.fault:
            return file
        if file.blob in self._refused:
            return replace(file, fault=self._refused[file.blob])
        if known.get(file.path) == file.blob:
            return file
        return replace(file, content=blobs[file.blob])

    def _blobs(self, git: Git, wanted: Sequence[str]) -> dict[str, bytes]:
        if not wanted:
            return {}
        asked = "".join(f"{blob}\n" for blob in wanted).encode()
        blobs = read_blobs(self._in_mirror(git, "cat-file", "--batch", stdin=asked))
        if len(blobs) != len(wanted):
            raise GitFailed(DAMAGED, f"{len(wanted) - len(blobs)} objects are missing")
        return blobs

    def _with_origins(self, git: Git, tip: str, files: Sequence[File]) -> Sequence[File]:
        """Say of each file with content who made it what it is."""
        wanted = {file.path: file.blob for file in files if file.content is not None}
        found = self._origins(git, tip, wanted)
        return [
            replace(file, origin=found.get(file.path, {"commit": tip}))
            if file.content is not None
            else file
            for file in files
        ]

    def _origins(
        self, git: Git, tip: str, wanted: Mapping[str, str]
    ) -> Mapping[str, Mapping[str, str]]:
        """Walk back from the tip, over however much history it takes.

        Neither an older read nor a rewritten history matters to it. A large repository with an old
        file that was found nowhere costs `ORIGIN_S`.
        """
        root = self._repository.root
        walk = OriginWalk(wanted, root)
        with suppress(TimeUp):
            if wanted:
                self._in_mirror(
                    git,
                    *_LOG,
                    tip,
                    "--",
                    *([root] if root else []),
                    take=walk.take,
                    within_s=ORIGIN_S,
                )
        return {path: origin._asdict() for path, origin in walk.found.items()}

    def _pack(self, git: Git) -> None:
        """Bound the mirror: make one pack of many, without what no tip leads to any more."""
        if self._mirror.wants_packing():
            # The tree is read; what this leaves half done is swept away before the next read.
            with suppress(GitTrouble):
                self._in_mirror(git, "repack", "-a", "-d", "-q", watch=self._mirror.check_size)

    def _in_mirror(
        self,
        git: Git,
        *arguments: str,
        stdin: bytes = b"",
        take: Callable[[bytes], bool] | None = None,
        watch: Callable[[], None] = lambda: None,
        within_s: float | None = None,
    ) -> bytes:
        return git.run(
            f"--git-dir={self._mirror.path}",
            *arguments,
            local=True,
            stdin=stdin,
            take=take,
            watch=watch,
            within_s=within_s,
        )
