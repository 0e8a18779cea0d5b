"""`python -m reconciler`: the loop without the API; with `--once` a single pass that reports."""

import argparse
import os
import signal
import sys
import threading

from reconciler.errors import ClusterError
from reconciler.logs import start_logging
from reconciler.once import reconcile_once
from reconciler.runtime import Runtime, open_runtime
from reconciler.settings import SettingsFault, load_settings


def main(arguments: list[str] | None = None) -> int:
    """Run the loop until it is told to stop, or one pass of it.

    Returns: 0 settled or stopped, 1 something is not settled or Nomad can't be read, 2 usage.
    """
    parser = argparse.ArgumentParser(prog="python -m reconciler", description=__doc__)
    parser.add_argument("--once", action="store_true", help="one pass: say it, do it, report")
    parser.add_argument(
        "--accept-store",
        action="store_true",
        help="take the spec store as it is for the right one, older or not; then end",
    )
    options = parser.parse_args(arguments)
    try:
        runtime = open_runtime(load_settings(os.environ))
    except SettingsFault as fault:
        print(fault, file=sys.stderr)  # noqa: T201
        return 2
    if options.accept_store:
        return _accept_store(runtime)
    return _pass(runtime) if options.once else _run(runtime)


def _pass(runtime: Runtime) -> int:
    start_logging(level=30)
    try:
        report = reconcile_once(runtime, tell=print)
    except ClusterError as error:
        print(f"no pass: {error}", file=sys.stderr)  # noqa: T201
        return 1
    finally:
        runtime.stop()
    if report.failed:
        print(f"not settled: {', '.join(report.failed)}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _accept_store(runtime: Runtime) -> int:
    try:
        runtime.guard.accept()
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
