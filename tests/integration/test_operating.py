"""What an operator is handed: the guide, the alerts and the unit files agree with the program."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from reconciler.settings import SECRET_VARIABLES, Environment

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/operators.md").read_text()
RULES = ROOT / "etc/prometheus/ai4papi.rules.yaml"
UNIT = ROOT / "etc/systemd/ai4papi.service"
JOB = ROOT / "etc/nomad/ai4papi.nomad.hcl"


def anchors(text):
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_each_alert_leads_to_a_heading_of_the_guide():
    rules = [
        rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
    ]
    assert len(rules) >= 6
    for rule in rules:
        file, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert (file, anchor in anchors(GUIDE)) == ("docs/operators.md", True), rule["alert"]


def test_each_file_that_the_guide_names_is_there():
    named = re.findall(r"`((?:etc|docker|docs)/[\w./-]+)`", GUIDE)
    assert named
    missing = [path for path in named if not (ROOT / path).exists()]
    assert missing == []


@pytest.mark.parametrize("file", ["docs/operators.md", "docker/Dockerfile", "docker/compose.yaml"])
def test_each_variable_that_is_named_is_read(file):
    known = {*Environment.model_fields, *(f"{name}_FILE" for name in SECRET_VARIABLES)}
    known |= {"AI4PAPI_IMAGE", "AI4PAPI_SERVER"}  # the compose file's own, and the client's
    text = (ROOT / file).read_text()
    assert set(re.findall(r"\bAI4PAPI_[A-Z_]+\b", text)) - known == set()


def test_systemd_takes_the_unit(tmp_path):
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no `systemd-analyze` program")
    unit = tmp_path / "ai4papi.service"
    unit.write_text(UNIT.read_text().replace("/opt/ai4papi/bin/ai4papi-run", "/bin/true"))
    run = subprocess.run([analyze, "verify", unit], capture_output=True, text=True, check=False)
    assert "ai4papi.service" not in run.stderr, run.stderr
    command = [analyze, "security", "--offline=true", "--threshold=20", unit]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-600:] + run.stderr


def test_nomad_takes_the_job_file():
    nomad = shutil.which("nomad")
    if nomad is None:
        pytest.skip("no `nomad` program")
    for words in (["fmt", "-check", JOB], ["job", "run", "-output", JOB]):
        run = subprocess.run([nomad, *words], capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stdout + run.stderr


def test_the_image_has_what_the_lock_of_the_project_has():
    def pins(file):
        return set(re.findall(r"^([\w.-]+==\S+)", (ROOT / file).read_text(), re.MULTILINE))

    extra = pins("docker/requirements.lock") - pins("requirements.lock")
    assert pins("requirements.lock") <= pins("docker/requirements.lock")
    assert {name.partition("==")[0] for name in extra} == {
        "psycopg",
        "psycopg-binary",
        "psycopg-pool",
    }
