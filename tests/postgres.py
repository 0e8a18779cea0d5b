"""A private PostgreSQL for tests: a cluster in a temporary folder, on a Unix socket only."""

import getpass
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

SERVICE_USER = "postgres"
"""Who runs it when we are root: PostgreSQL refuses to run as root. Debian's package makes it."""


def find_postgres() -> Path | None:
    """Return the folder of `initdb` and `pg_ctl`, or None where PostgreSQL is not installed."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


@contextmanager
def private_postgres(programs: Path) -> Iterator[str]:
    """Start a cluster of its own; yield the URL of an empty database."""
    with tempfile.TemporaryDirectory(prefix="pg-", dir="/tmp") as folder:  # socket paths are short
        home = Path(folder)
        home.chmod(0o755)
        files, sockets = home / "data", home / "s"
        for part in (files, sockets):
            part.mkdir()
            if os.geteuid() == 0:
                shutil.chown(part, SERVICE_USER)
        _run(programs / "initdb", "-D", files, "-A", "trust", "-U", "tests", "--no-sync")
        options = f"-k {sockets} -c listen_addresses='' -c fsync=off"
        log = files / "log"
        _run(programs / "pg_ctl", "-D", files, "-o", options, "-l", log, "-w", "start")
        try:
            yield f"postgresql://tests@/postgres?host={sockets}"
        finally:
            _run(programs / "pg_ctl", "-D", files, "-m", "immediate", "-w", "stop")


def restart_postgres(programs: Path, url: str) -> None:
    """Cut every connection off and start the cluster of `url` anew, as after a crash."""
    files = Path(parse_qs(urlsplit(url).query)["host"][0]).parent / "data"
    _run(programs / "pg_ctl", "-D", files, "-m", "immediate", "-w", "-l", files / "log", "restart")


def _run(*command: object) -> None:
    words = [str(word) for word in command]
    if os.geteuid() == 0 and getpass.getuser() == "root":
        words = ["runuser", "-u", SERVICE_USER, "--", *words]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, cwd="/tmp")
