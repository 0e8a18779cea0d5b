"""The chapters of the README and of the users' page, run as written: every block of them.

Only the port differs, so that a server of somebody else's is never talked to.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real import a_free_port, wait_until

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = {"README": README} | {path.stem: path.read_text() for path in (ROOT / "docs").glob("*.md")}


def blocks(chapter: str, language: str) -> list[str]:
    """Return the code blocks of that language in a chapter of the README or of a page."""
    begins = rf"^## {re.escape(chapter)}\n(.*?)(?=^## |\Z)"
    (text,) = [
        found
        for page in PAGES.values()
        for found in re.findall(begins, page, re.MULTILINE | re.DOTALL)
    ]
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    """An empty folder in which `make run`'s server was started, and its port."""
    folder, port = tmp_path_factory.mktemp("home"), a_free_port()
    (folder / ".venv").symlink_to(sys.prefix)
    environ = environment() | {"AI4PAPI_AUTH": "local"}
    command = [sys.executable, "-m", "api.serve", "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, cwd=folder, env=environ, stdout=log, stderr=log)
    try:
        wait_until(lambda: (folder / "var/token").exists() and ready(port), within_s=30)
        yield folder, port
    finally:
        server.terminate()
        server.wait(timeout=30)


def environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {**kept, "PYTHONPATH": f"{ROOT}:{ROOT / 'api/compat'}"}


def ready(port: int) -> bool:
    done = subprocess.run(
        ["curl", "-sf", f"http://127.0.0.1:{port}/readyz"], capture_output=True, check=False
    )
    return done.returncode == 0


def run(script: str, home: tuple[Path, int], *command: str) -> str:
    folder, port = home
    environ = environment() | {"AI4PAPI_SERVER": f"http://127.0.0.1:{port}"}
    done = subprocess.run(
        [*command, script.replace(":8080", f":{port}")],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def shell(script: str, home: tuple[Path, int]) -> str:
    (token,) = [b for b in blocks("The first five minutes", "bash") if b.startswith("token=")]
    return run(token + script, home, "bash", "-euo", "pipefail", "-c")


def test_the_classic_call_runs_the_seeds_example(home):
    (script,) = [b for b in blocks("The first five minutes", "bash") if "curl" in b]
    assert '"status":"success"' in shell(script, home)
    listing = script[script.index("curl -s", 10) :]

    def running() -> bool:
        return all(d["status"] == "running" for d in json.loads(shell(listing, home)))

    wait_until(running, within_s=20)
    (deployment,) = json.loads(shell(listing, home))
    assert deployment["resources"]["gpu_num"] == 1
    assert set(deployment["endpoints"]) == {"deepaas", "monitor", "lab"}


def test_a_file_is_applied_shown_and_deleted(home):
    (script,) = [b for b in blocks("The first five minutes", "bash") if "apply" in b]
    told = shell(script, home)
    assert "deployment train-a created" in told
    assert "Running" in told


def test_what_happened_is_told_and_taken_back(home):
    (tour,) = [b for b in blocks("The first five minutes", "bash") if "apply" in b]
    shell(tour, home)
    (script,) = blocks("When something happened", "bash")
    told = shell(script, home)
    assert "deployment train-a undeleted" in told
    assert "hardware.gpu_num: 1 -> 0" in told
    assert "deployment train-a rolled back to generation" in told
    assert "deployment train-a is Suspended" in told
    assert "deployment train-a: unchanged; fits now" in told


def test_a_module_is_found_and_run(home):
    (script,) = blocks("From a module", "bash")
    told = shell(script, home)
    assert "deep-oc-image-classification-tf" in told
    assert "created" in told
    assert "Running" in told


def test_a_log_is_read_by_the_deployments_name(home):
    (tour,) = [b for b in blocks("The first five minutes", "bash") if "apply" in b]
    shell(tour, home)
    (script,) = blocks("Watching, logs and notifications", "bash")
    assert "simulated" in shell(script, home)


def test_what_was_clicked_becomes_files(home):
    (tour,) = [b for b in blocks("The first five minutes", "bash") if "apply" in b]
    shell(tour.replace(".venv/bin/ai4papi delete train-a --wait -y\n", ""), home)
    (script,) = blocks("In files and git", "bash")
    told = shell(script, home)
    assert "1 to change" in told
    assert "As a file" in told
    assert "deployment train-a configured" in told
    assert json.loads((home[0] / "schema.json").read_text())["type"] == "object"


def test_the_python_face_creates_lists_and_deletes(home):
    (script,) = blocks("The first five minutes", "python")
    (home[0] / "example.py").write_text(script)
    assert "'job_ID'" in shell(f"{sys.executable} example.py", home)


def test_the_two_commands_on_top_are_targets_of_the_makefile():
    top = README[: README.index("## ")]
    assert re.findall(r"^make (\w+)", top, re.MULTILINE) == ["run", "test"]
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`make ([\w-]+)", "".join(PAGES.values())):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_link_leads_somewhere():
    for name, text in PAGES.items():
        folder = ROOT if name == "README" else ROOT / "docs"
        for target in re.findall(r"\]\((?!https?://)([^)#]+)", text):
            assert (folder / target).exists(), f"{name}: {target}"


def test_every_variable_that_a_page_names_is_read():
    named = set(re.findall(r"`(AI4PAPI_\w+)`", "".join(PAGES.values())))
    readers = [ROOT / "reconciler/settings.py", *(ROOT / "api/cli").glob("*.py")]
    read = "".join(path.read_text() for path in readers)
    assert named
    assert {name for name in named if name not in read} == set()


def test_every_reason_of_the_table_is_one_that_the_code_gives():
    (table,) = re.findall(r"^## Why is it queued\?\n(.*?)^## ", README, re.MULTILINE | re.DOTALL)
    sources = "".join(path.read_text() for path in (ROOT / "reconciler").glob("*.py"))
    reasons = re.findall(r"^\| (.*?) \|", table, re.MULTILINE)[2:]
    for reason in re.findall(r"`(\w+)`", " ".join(reasons)):
        assert f'"{reason}"' in sources, reason
