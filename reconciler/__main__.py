"""`python -m reconciler`: the loop without the API; with `--once` or `-f` a single pass that
reports."""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from reconciler.errors import ClusterError
from reconciler.logs import start_logging
from reconciler.once import reconcile_once
from reconciler.runtime import Runtime, open_runtime
from reconciler.settings import SettingsFault, load_settings
from reconciler.spec_files import SpecFiles
from reconciler.spec_pass import (
    findings_of,
    lines_of,
    previewed,
    take_source_in,
    unsettled_findings,
    write_report,
)
from specs.faults import NewerStore, StoreUnavailable
from specs.report import BAD, Finding, as_summary
from specs.trees import SourceUnavailable

WARNING = 30


def main(arguments: list[str] | None = None) -> int:
    """Run the loop until it is told to stop, or one pass of it.

    Returns: 0 settled or stopped, 1 something is not settled or can't be read, 2 usage.
    """
    options = _parser().parse_args(arguments)
    try:
        runtime = open_runtime(load_settings(_environment(options)))
    except (SettingsFault, NewerStore) as fault:
        print(fault, file=sys.stderr)  # noqa: T201
        return 2
    except StoreUnavailable as error:
        print(f"no pass: {error}", file=sys.stderr)  # noqa: T201
        return 1
    if options.accept_store:
        return _accept_store(runtime)
    if options.once or options.files or options.dry_run:
        return _pass(runtime, options)
    return _run(runtime)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ai4papi reconcile", description=__doc__)
    parser.add_argument("--once", action="store_true", help="one pass: say it, do it, report")
    parser.add_argument(
        "-f",
        "--files",
        type=_folder,
        metavar="DIR",
        help="one pass over the spec files in DIR, then over every deployment",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what the pass would do, and do nothing"
    )
    parser.add_argument(
        "--report",
        type=_report,
        metavar="FILE",
        help="write what was found for CI: JUnit XML (.xml) or Markdown (.md)",
    )
    parser.add_argument(
        "--accept-store",
        action="store_true",
        help="take the spec store as it is for the right one, older or not; then end",
    )
    return parser


def _folder(text: str) -> Path:
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is no folder")
    return path.absolute()


def _report(text: str) -> Path:
    path = Path(text)
    if path.suffix not in {".xml", ".md"}:
        raise argparse.ArgumentTypeError(f"{text} must end in .xml (JUnit) or .md (Markdown)")
    return path


def _environment(options: argparse.Namespace) -> Mapping[str, str]:
    return (
        os.environ if options.files is None else os.environ | {"AI4PAPI_SPECS": str(options.files)}
    )


def _pass(runtime: Runtime, options: argparse.Namespace) -> int:
    start_logging(level=WARNING)
    sources: Sequence[SpecFiles] = runtime.spec_files
    if options.files is not None:
        sources = [one for one in sources if one.sync.source.url == str(options.files)]
    try:
        findings = _files(runtime, sources, dry_run=options.dry_run)
        if not options.dry_run:
            report = reconcile_once(runtime, tell=print)
            findings += unsettled_findings(report.unsettled)
    except (ClusterError, SourceUnavailable, StoreUnavailable) as error:
        print(f"no pass: {error}", file=sys.stderr)  # noqa: T201
        return 1
    finally:
        runtime.stop()
    if options.report:
        write_report(findings, options.report)
    if bad := [finding for finding in findings if finding.verdict in BAD]:
        named = ", ".join(
            dict.fromkeys(finding.name or finding.place or "a source" for finding in bad)
        )
        print(f"not settled: {named}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _files(runtime: Runtime, sources: Sequence[SpecFiles], *, dry_run: bool) -> list[Finding]:
    """Take every source in, and say what that means."""
    if not dry_run:
        runtime.read_local_catalogues()
    findings = []
    for source in sources:
        done = take_source_in(source.sync, dry_run=dry_run)
        found = findings_of(done, preview=previewed(runtime) if dry_run else None)
        print(f"{source.sync.source.id}: {as_summary(found)}")  # noqa: T201
        for line in lines_of(found):
            print(line)  # noqa: T201
        findings += found
    return findings


def _accept_store(runtime: Runtime) -> int:
    try:
        for target in runtime.targets:
            target.guard.accept()
    except ClusterError as error:
        print(f"not accepted: {error}", file=sys.stderr)  # noqa: T201
        return 1
    finally:
        runtime.stop()
    print("accepted: the running reconciler takes it up with its next pass")  # noqa: T201
    return 0


def _run(runtime: Runtime) -> int:
    start_logging()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    runtime.start()
    stop.wait()
    runtime.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
