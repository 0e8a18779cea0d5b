"""`ai4papi adopt`: what it shows, when it asks, and how it ends."""

import json

import pytest
from typer.testing import CliRunner

from api.cli import adopt as verb
from api.cli.app import app
from reconciler.runtime import open_runtime
from reconciler.settings import load_settings
from tests.papi import MAIL, PASSWORD, RCLONE, a_new_job, an_old_job

OLD, NEW = an_old_job(1)["ID"], a_new_job(2)["ID"]
ISSUER = "https://aai.egi.eu/auth/realms/egi"


@pytest.fixture
def runtime(tmp_path, monkeypatch):
    """A site with two jobs of theirs, one that can't be taken over, and one of nobody's."""
    environ = {"AI4PAPI_CLUSTER": "simulated", "AI4PAPI_STORE_URL": f"sqlite:///{tmp_path}/s.db"}
    environ["AI4PAPI_SECRET_KEY"] = "c" * 43 + "="
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    runtime = open_runtime(load_settings(environ))
    odd = a_new_job(3, ID="a/b")
    for job in (an_old_job(1), a_new_job(2, owner="bob"), odd, a_new_job(4, Name="tool-cvat-4")):
        runtime.targets[0].cluster._nomad.register(job)  # type: ignore[attr-defined]
    monkeypatch.setattr(verb, "open_runtime", lambda _: runtime)
    yield runtime
    runtime.store.close()


@pytest.fixture
def run(runtime):
    def run(*words: str, answer: str | None = None):
        return CliRunner().invoke(app, ["adopt", *words, "--issuer", ISSUER], input=answer)

    return run


def adopted(runtime) -> set[str]:
    return {head.uid for head in runtime.store.heads() if head.adopted}


def test_a_dry_run_tells_of_each_job_and_writes_nothing(run, runtime):
    said = run("--dry-run")
    assert said.exit_code == 7
    (old,) = [line for line in said.stdout.splitlines() if line.startswith(OLD)]
    for word in ("ai4eosc", "alice", "word-1", "deep-oc-image", "100 MHz", "300 MB", "no restart"):
        assert word in old
    assert "left alone: its id" in said.stdout
    assert "tool-cvat" not in said.stdout
    assert "email-notification" in said.stdout
    assert [word for word in (PASSWORD, RCLONE, MAIL) if word in said.output] == []
    assert adopted(runtime) == set()


def test_nobody_to_ask_is_usage(run, runtime):
    assert run(answer="").exit_code == 2
    assert run("-o", "json").exit_code == 2
    assert adopted(runtime) == set()


def test_one_job_is_taken_over_by_its_id(run, runtime):
    said = run(NEW, "-y", "-o", "json")
    assert said.exit_code == 0, said.output
    (one,) = json.loads(said.stdout)["items"]
    assert (one["id"], one["adopted"], one["restarts"], one["whyNot"]) == (NEW, True, False, "")
    assert adopted(runtime) == {NEW}


@pytest.mark.parametrize(
    ("words", "ids"),
    [(("--owner", "bob"), {NEW}), (("--namespace", "imagine"), set()), ((OLD,), {OLD})],
)
def test_it_can_be_limited(run, runtime, words, ids):
    assert run(*words, "-y").exit_code == 0
    assert adopted(runtime) == ids


def test_an_id_that_is_not_there_is_not_found(run):
    said = run("nowhere", "-y")
    assert (said.exit_code, "nowhere" in said.stderr) == (4, True)


def test_a_provider_that_is_not_trusted_is_usage(runtime):
    said = CliRunner().invoke(app, ["adopt", "--issuer", "https://evil.example", "--dry-run"])
    assert said.exit_code == 2


def test_without_a_provider_it_is_asked_which(runtime):
    said = CliRunner().invoke(app, ["adopt", "--dry-run"])
    assert said.exit_code == 7
    assert "say which" in said.stdout
