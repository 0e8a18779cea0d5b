"""`python -m reconciler.cluster.simulator`: serve a pretend Nomad until Ctrl-C."""

import argparse
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress

from reconciler.cluster.simulator.http import serve
from reconciler.cluster.simulator.state import SimulatedNomad


def main(argv: Sequence[str] | None = None) -> int:
    """Serve, say where, and wait. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m reconciler.cluster.simulator")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=4646, help="port; 0 takes a free one")
    chosen = parser.parse_args(argv)
    try:
        served = serve(SimulatedNomad(), chosen.host, chosen.port)
    except OSError as error:
        print(f"can't listen on {chosen.host}:{chosen.port}: {error.strerror}", file=sys.stderr)  # noqa: T201
        return 1
    print(f"simulated Nomad (nothing really runs): NOMAD_ADDR={served.address}", flush=True)  # noqa: T201
    with suppress(KeyboardInterrupt):
        threading.Event().wait()
    served.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
