"""The command line `ai4papi`: a face that speaks HTTP, and the doors to the server's own programs.

`app` declares the verbs and imports the rest when a verb needs it, so that completion stays quick;
`--help` needs none of it. The client's modules import nothing of the server.
"""

import sys


def main() -> None:
    """Run one command line and exit with one of the codes in `api.cli.failures`."""
    if sys.argv[1:] in (["-h"], ["--help"]):
        from api.cli.overview import PAGE  # noqa: PLC0415

        sys.stdout.write(PAGE)
        return
    import io  # noqa: PLC0415
    import os  # noqa: PLC0415

    from api.cli.app import app  # noqa: PLC0415
    from api.cli.narrow import group_of  # noqa: PLC0415

    for stream in (sys.stdout, sys.stderr):
        # A terminal that can't show a letter must not end the command.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    group_of(app, sys.argv[1:], os.environ)(prog_name="ai4papi")
