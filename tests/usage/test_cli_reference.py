"""docs/cli.md, run as written: each of its commands, on a server and a simulated cluster."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.real import a_free_port, wait_until
from tests.usage.test_readme import ROOT, environment, ready

PAGE = (ROOT / "docs/cli.md").read_text()
BLOCKS = re.findall(r"^```bash\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
SPEC = """\
apiVersion: ai4papi/v1
kind: Deployment
metadata: {name: train-a}
spec: {general: {docker_image: deephdc/deep-oc-image-classification-tf, docker_tag: cpu}}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder, port = tmp_path_factory.mktemp("cli"), a_free_port()
    (folder / "train.yaml").write_text(SPEC)
    command = [sys.executable, "-m", "api.serve", "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            command,
            cwd=folder,
            env=environment() | {"AI4PAPI_AUTH": "local"},
            stdout=log,
            stderr=log,
        )
    try:
        wait_until(lambda: (folder / "var/token").exists() and ready(port), within_s=30)
        yield folder, port
    finally:
        server.terminate()
        server.wait(timeout=30)


@pytest.mark.parametrize("script", BLOCKS)
def test_what_the_reference_shows_runs(home: tuple[Path, int], script: str) -> None:
    folder, port = home
    shell = f'ai4papi() {{ "{sys.executable}" -c "from api.cli import main; main()" "$@"; }}\n'
    config = {"XDG_CONFIG_HOME": str(folder / "config"), "AI4PAPI_SERVER": address(port)}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", shell + script],
        cwd=folder,
        env=environment() | config,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def address(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def test_the_exit_codes_are_those_of_the_program() -> None:
    from api.cli.failures import Code  # noqa: PLC0415

    told = [int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)]
    assert told == sorted(Code)
