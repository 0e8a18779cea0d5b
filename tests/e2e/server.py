"""Our server as a process of its own, and its callers: HTTP, command line, Python face."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.real import a_free_port, wait_until

ROOT = Path(__file__).parents[2]
TOKEN = "e2e-local-token-0123456789"


class Server:
    """`ai4papi-run` on a free loopback port with a store of its own."""

    def __init__(self, home: Path, environ: dict[str, str]) -> None:
        self.home = home
        self.port = a_free_port()
        self.environ = {
            **environ,
            "AI4PAPI_AUTH": "local",
            "AI4PAPI_LOCAL_TOKEN": TOKEN,
            "AI4PAPI_STORE_URL": f"sqlite:///{home}/ai4papi.db",
            "PYTHONPATH": f"{ROOT}:{ROOT / 'api/compat'}",
        }
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "api.serve", "--host", "127.0.0.1"]
        with (self.home / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--port", str(self.port)],
                env=self.environ,
                cwd=self.home,
                stdout=log,
                stderr=log,
            )
        wait_until(self.answers, within_s=60, what="the server")

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=40)
            self.process = None

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None

    def answers(self) -> bool:
        try:
            return bool(self.call("GET", "/livez")[0] == 200)
        except OSError:
            return False

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Call the API; return status and decoded answer."""
        text = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=text, method=method)
        request.add_header("Authorization", f"Bearer {TOKEN}")
        if text is not None:
            request.add_header("Content-Type", headers.pop("content_type", "application/json"))
        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"null")

    def cli(self, *words: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run `ai4papi` against this server."""
        environ = {**self.environ, "AI4PAPI_SERVER": self.url, "AI4PAPI_TOKEN": TOKEN}
        return subprocess.run(
            [sys.executable, "-c", "from api.cli import main; main()", *words],
            env=environ,
            input=text,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.home,
        )

    def python(self, script: str) -> str:
        """Run a script of the seed's Python face in a process of its own."""
        run = subprocess.run(
            [sys.executable, "-c", script],
            env=self.environ,
            capture_output=True,
            text=True,
            check=True,
            cwd=self.home,
        )
        return run.stdout

    def status(self, name: str) -> Any:
        code, status = self.call("GET", f"/v1/specs/{name}/status")
        assert code == 200, status
        return status

    def wait_for(self, name: str, phase: str, *, within_s: float = 60) -> Any:
        """Wait until the deployment is in `phase`; return its status."""
        what = f"{name} in phase {phase}"
        try:
            wait_until(lambda: self.status(name)["phase"] == phase, within_s=within_s, what=what)
        except TimeoutError as error:
            raise TimeoutError(f"{error}: {json.dumps(self.status(name), indent=1)}") from error
        return self.status(name)

    def gone(self, name: str) -> bool:
        return self.call("GET", f"/v1/specs/{name}")[0] == 404

    def __enter__(self) -> "Server":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
