"""Keeps the store up with the sources of spec files: each in a thread of its own.

A source is read when it is time, when something in its folder changes, when the store is asked for
it (a webhook reached any of the site's processes), and again after a failure, ever later. So one
that hangs or fails leaves the others alone.
"""

import logging
import os
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from reconciler.passes import Passes
from reconciler.sections import SourceSettings
from reconciler.settings import Settings
from specs.files import Rules
from specs.folder import FolderTree
from specs.git import GitTree
from specs.git_mirror import mirror_name
from specs.model import Owner
from specs.private import beside_store
from specs.pruning import DeletionBudget
from specs.source_reports import SourceReport
from specs.store import SpecStore, utc_now
from specs.sync import Pass, Site, SpecSource, Sync
from specs.trees import TreeReader
from specs.userconf import read_userconf

log = logging.getLogger(__name__)

TOLD_S: Final = 60.0
"""How long the command that is told of passes may take."""

LOCAL: Final = "local"
"""Issuer and subject of the one user of local mode."""


class SpecFiles:
    """One source: reads it until it is stopped, first at once, then whenever it is woken.

    `make_sync` gets a question to ask during a long read: whether to give up. `watched` is the
    folder that tells of changes, `tell` hears how the source stands after every pass.
    """

    def __init__(
        self,
        make_sync: Callable[[Callable[[], bool]], Sync],
        *,
        poll_s: float,
        random: Callable[[], float],
        watched: Path | None = None,
        tell: Callable[[SourceReport], None] = lambda _: None,
    ) -> None:
        self._passes = Passes("", self._pass, longest_s=poll_s, random=random, watched=watched)
        self.sync = make_sync(self._passes.stopped)
        self.poll_s = poll_s
        self.name = self._passes.name = f"specs {self.sync.source.id}"
        self._version = ""
        self._tell = tell

    def only_while(self, may: Callable[[], bool]) -> None:
        """Read only while `may` says yes."""
        self._passes.only_while(may)

    def wake(self) -> None:
        """Have the source read now, or once more after the read that is under way."""
        self._passes.wake()

    def run(self, stop: threading.Event) -> None:
        """Read whenever there is a reason to, until `stop` is set."""
        self._passes.run(stop)

    def _pass(self) -> float | None:
        """Read once; return when to look again if nothing happens, None: not before it is time."""
        try:
            done = self.sync.run_once()
        finally:
            if not self._passes.stopped():
                self._tell(self.sync.report)
        news = done.faults and done.version != self._version
        self._version = done.version
        if done.wishes or done.intake.deleted or done.intake.held or news:
            log.info("source read", extra={"source": self.name, **counts(done)})
        return done.again_s


@dataclass(slots=True)
class PassCommand:
    """The operator's own command, told how a source stands whenever that changes.

    It gets no text of anybody's on its command line and none of the server's secrets: what there is
    to know is in its environment, `AI4PAPI_SOURCE`, `_COMMIT`, `_STATE` (success, failure or error)
    and `_DESCRIPTION`.
    """

    command: Sequence[str]
    source: str
    _told: Mapping[str, str] | None = field(default=None, init=False)

    def __call__(self, report: SourceReport) -> None:
        """Run the command where there is something new to tell."""
        news = {
            "AI4PAPI_SOURCE": self.source,
            "AI4PAPI_COMMIT": report.wanted,
            "AI4PAPI_STATE": state_of(report),
            "AI4PAPI_DESCRIPTION": sentence_of(report),
        }
        if news == self._told:
            return
        self._told = news
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        try:
            subprocess.run(  # noqa: S603
                self.command,
                env={**kept, **news},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=TOLD_S,
                check=True,
            )
        except (OSError, subprocess.SubprocessError) as error:
            log.warning("specs.on_pass failed", extra={"error": str(error)})


def spec_files_of(
    settings: Settings, store: SpecStore, random: Callable[[], float]
) -> list[SpecFiles]:
    """Return what reads each source that the site has. Nothing is read yet."""
    return [_reading(source, settings, store, random) for source in settings.specs.sources]


def site_for_specs(settings: Settings) -> Site:
    """Return what wishes from spec files are judged by."""
    budget = DeletionBudget(settings.deletions.count, settings.deletions.percent)
    return Site(read_userconf(settings.userconf), settings.priorities, budget)


def source_of_settings(source: SourceSettings, settings: Settings) -> SpecSource:
    """Return a source as its passes need it."""
    return SpecSource(
        id=source.id,
        kind="git" if source.is_git else "folder",
        url=source.url if source.is_git else str(Path(source.url).absolute()),
        rules=rules_of(source, settings),
        ref=source.ref if source.is_git else "",
        root=source.folder.strip("/"),
    )


def rules_of(source: SourceSettings, settings: Settings) -> Rules:
    """Return whose the documents of a source are, and for which VOs they may be."""
    issuers = settings.auth.OP
    issuer = settings.specs.issuer or (issuers[0] if len(issuers) == 1 else None)
    local = settings.auth_mode == "local"
    return Rules(
        layout=source.layout or settings.specs.layout,
        vos=source.vos or settings.auth.VO[: 1 if local else None],
        issuer=LOCAL if local else issuer,
        issuers=issuers,
        default_owner=Owner(LOCAL, LOCAL) if local else None,
    )


def counts(done: Pass) -> dict[str, int | str]:
    """Return what a pass did, in numbers, for the log."""
    intake = done.intake
    found = {
        "created": len(intake.created),
        "changed": len(intake.changed),
        "taken": len(intake.taken),
        "deleted": len(intake.deleted),
        "held": len(intake.held),
        "faults": len(done.faults),
    }
    return {"version": done.version, **{word: count for word, count in found.items() if count}}


def state_of(report: SourceReport) -> str:
    """Return how a source stands, in the words of a commit status."""
    if report.error:
        return "error"
    return "failure" if report.faults or report.waits else "success"


def sentence_of(report: SourceReport) -> str:
    """Return how a source stands, in one line."""
    if report.error:
        return report.error
    if report.faults:
        first, more = report.faults[0], len(report.faults) + report.more_faults - 1
        rest = f" (and {more} more)" if more else ""
        return f"{first.file}:{first.line}: {first.message}{rest}"
    return report.waits or f"{report.files} files are as declared"


def _reading(
    source: SourceSettings, settings: Settings, store: SpecStore, random: Callable[[], float]
) -> SpecFiles:
    known = source_of_settings(source, settings)

    def make_sync(stopped: Callable[[], bool]) -> Sync:
        reader: TreeReader
        if source.is_git:
            mirror = beside_store(settings.store_url, "git") / mirror_name(known.id)
            reader = GitTree(source.repository(), mirror, stopped=stopped)
        else:
            reader = FolderTree(Path(known.url))
        return Sync(known, reader, store, site_for_specs(settings), now=utc_now)

    command = settings.specs.on_pass
    return SpecFiles(
        make_sync,
        poll_s=source.poll_s,
        random=random,
        watched=None if source.is_git else Path(known.url),
        tell=PassCommand(command, known.id) if command else lambda _: None,
    )
