"""One pass over a source of spec files, told as findings: `ai4papi reconcile -f DIR`."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from reconciler.errors import ClusterError
from reconciler.reasons import why_not_placed
from reconciler.runtime import Runtime
from specs.intake import joined
from specs.model import Deployment
from specs.report import Finding, Verdict, as_junit, as_lines, as_markdown
from specs.sync import Pass, Sync

SETTLE_S: Final = 30.0
"""How long to wait for files that are still being written."""

MANY: Final = 20
"""From so many specs on, a terminal gets a progress bar."""

TAKEN: Final = "people declared it so far; its file does from now on"
GONE: Final = "no file declares it any more"

SAID: Final = {"creates": "", "none": "changes nothing that runs"}
"""An effect that is said otherwise than by the plan's own word."""

TITLE: Final = "ai4papi reconcile"


def take_source_in(sync: Sync, *, dry_run: bool) -> Pass:
    """Bring the store up to one source, or find out what that would do.

    Waits for what is still being written. Raises: SourceUnavailable; StoreUnavailable.
    """
    if not dry_run:
        sync.begin()
    until = time.monotonic() + SETTLE_S
    passes = []
    while True:
        with _progress(sync.source.id) as progress:
            done = sync.run_once(dry_run=dry_run, progress=progress)
        passes.append(done)
        if done.again_s is None or time.monotonic() + done.again_s > until:
            break
        time.sleep(done.again_s)
    # What a dry run tells, the next one tells again; what was done is done once.
    whole = passes[-1:] if dry_run else passes
    return Pass(
        version=done.version,
        intake=joined([one.intake for one in whole]),
        wishes=done.wishes,
        same=passes[0].same,
        faults=done.faults,
        waits=done.waits,
        again_s=done.again_s,
    )


def findings_of(
    done: Pass, *, preview: Callable[[Deployment], tuple[str, str]] | None = None
) -> list[Finding]:
    """Return what a pass did, or would do, and all that is wrong.

    `preview` says what the cluster would do with a record: the effect, and why it would not fit.
    """
    intake = done.intake
    found = [_finding(record, "create", "", preview) for record in intake.created]
    found += [_finding(record, "change", "", preview) for record in intake.changed]
    found += [_finding(record, "change", TAKEN, None) for record in intake.taken]
    found += [_finding(record, "unchanged", "", None) for record in intake.unchanged]
    found += [
        Finding(p.name, p.vo, p.owner.sub, one.path, one.line, "unchanged")
        for one in done.same
        if (p := one.place)
    ]
    found += [_finding(record, "delete", GONE, None) for record in intake.deleted]
    found += [_finding(record, "held", record.deletion_held, None) for record in intake.held]
    found += [
        Finding("", "", "", fault.path, fault.line, "refused", fault.sentence.removeprefix(": "))
        for fault in done.faults
    ]
    if done.waits:
        found.append(Finding("", "", "", "", 0, "held", f"nothing is deleted now: {done.waits}"))
    return found


def previewed(runtime: Runtime) -> Callable[[Deployment], tuple[str, str]]:
    """Return how to ask the scheduler what writing a record would do."""

    def ask(record: Deployment) -> tuple[str, str]:
        try:
            verdict = runtime.preview(record)
        except ClusterError as error:
            return "unknown", str(error)
        if verdict.fits:
            return verdict.effect, ""
        hardware, model = record.target.hardware, runtime.settings.gpu.model
        return verdict.effect, why_not_placed(verdict.failures, hardware, gpu_model=model).message

    return ask


def unsettled_findings(records: Sequence[Deployment]) -> list[Finding]:
    """Return the findings of deployments that a pass could not settle."""
    return [_finding(record, "failed", record.status.message, None) for record in records]


def write_report(findings: Sequence[Finding], path: Path) -> None:
    """Write findings for CI: JUnit XML where the name ends in .xml, else Markdown."""
    write = as_junit if path.suffix == ".xml" else as_markdown
    path.write_text(write(findings, title=TITLE), encoding="utf-8")


def lines_of(findings: Sequence[Finding]) -> list[str]:
    """Return the lines for a terminal; what stays as it is, is only counted."""
    return as_lines([finding for finding in findings if finding.verdict != "unchanged"])


def _finding(
    record: Deployment,
    verdict: Verdict,
    message: str,
    preview: Callable[[Deployment], tuple[str, str]] | None,
) -> Finding:
    effect, why = preview(record) if preview else ("", "")
    return Finding(
        name=record.name,
        vo=record.vo,
        owner=record.owner.sub,
        path=record.source.get("path", ""),
        line=int(record.source.get("line", "0")),
        verdict=verdict,
        message="; ".join(
            filter(None, (message, SAID.get(effect, effect), why and f"does not fit now: {why}"))
        ),
        effect=effect,
    )


@contextmanager
def _progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on a terminal where there is much to look at."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.markup import escape  # noqa: PLC0415
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(escape(title), total=None, visible=False)
        yield lambda done, total: bar.update(
            task, completed=done, total=total, visible=total >= MANY
        )
