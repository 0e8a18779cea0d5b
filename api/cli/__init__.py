"""The command line `ai4papi`: a face that speaks HTTP, and the doors to the server's own programs.

`app` declares the verbs and imports the rest when a verb needs it, so that `--help` and completion
stay quick. The client's modules import nothing of the server.
"""

import io
import sys


def main() -> None:
    """Run one command line and exit with one of the codes in `api.cli.failures`."""
    from api.cli.app import app  # noqa: PLC0415

    for stream in (sys.stdout, sys.stderr):
        # A terminal that can't show a letter must not end the command.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    app()
