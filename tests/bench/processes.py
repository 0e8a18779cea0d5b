"""Processes of a run's own: servers beside each other, and what they take of the machine."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import requests

from tests.real import a_free_port, wait_until

ROOT: Final = Path(__file__).parents[2]
TOKEN: Final = "bench-token-bench"
AUTHORIZATION: Final = {"Authorization": f"Bearer {TOKEN}"}
MANIFEST: Final = {"apiVersion": "ai4papi/v1", "kind": "Deployment", "spec": {}}


class OwnProcess:
    """A process of this run's own, ended with it; its standard output can be read line by line."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str] | None = None) -> None:
        self._command = command
        self._environ = of_this_checkout({**os.environ, **(environ or {})})
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed in __exit__

    def __enter__(self) -> "OwnProcess":
        self._process = subprocess.Popen(
            self._command,
            env=self._environ,
            cwd=ROOT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        self._errors.close()

    def line(self) -> str:
        """Return the next line that it prints. Raises: RuntimeError where it ended instead."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            said = self._errors.read()[-2000:]
            raise RuntimeError(f"{' '.join(self._command)} ended without a word: {said}")
        return line

    def say(self, line: str) -> None:
        """Give it a line to read."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    @property
    def resident_bytes(self) -> int:
        """The memory that it holds now."""
        pages = Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")


def of_this_checkout(environ: Mapping[str, str]) -> dict[str, str]:
    """Return `environ` so that Python's programs are those of this checkout."""
    paths = [str(ROOT), str(ROOT / "api" / "compat")]
    return {**environ, "PYTHONPATH": os.pathsep.join(paths)}


def await_answer(url: str) -> None:
    """Wait until a server answers 200 there."""
    wait_until(lambda: _answers(url), within_s=120, what=url)


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False


@contextmanager
def empty_server() -> Iterator[int]:
    """Run an empty FastAPI route on the same kind of server; give its port."""
    port = a_free_port()
    with OwnProcess([sys.executable, "-m", "tests.bench.empty", str(port)]):
        await_answer(f"http://127.0.0.1:{port}/")
        yield port


class OurServer(OwnProcess):
    """`ai4papi-run` at a free port, on the Nomad at `address`, its store in `home`."""

    def __init__(self, home: Path, address: str, *, etc: Path | None = None) -> None:
        self.port = a_free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        environ = {
            "AI4PAPI_AUTH": "local",
            "AI4PAPI_LOCAL_TOKEN": TOKEN,
            "AI4PAPI_RESYNC_S": "86400",
            "AI4PAPI_STORE_URL": f"sqlite:///{home}/ai4papi.db",
            "NOMAD_ADDR": address,
        }
        if etc is not None:
            environ["AI4PAPI_ETC"] = str(etc)
        command = [sys.executable, "-m", "api.serve", "--host", "127.0.0.1"]
        super().__init__([*command, "--port", str(self.port)], environ)

    def __enter__(self) -> "OurServer":
        super().__enter__()
        await_answer(f"{self.url}/readyz")
        return self

    def put(self, name: str) -> None:
        """Declare a plain deployment."""
        manifest = {**MANIFEST, "metadata": {"name": name}}
        url = f"{self.url}/v1/specs/{name}"
        requests.put(url, json=manifest, headers=AUTHORIZATION, timeout=30).raise_for_status()
