"""What a shell is told when somebody presses TAB."""

import os
import subprocess

import pytest

from api.cli.completing import KEPT_S, fresh
from tests.terminal import COMMAND, ROOT

pytestmark = pytest.mark.usefixtures("elsewhere")


@pytest.fixture
def complete(environ, tmp_path):
    def run(line: str, **env: str) -> list[str]:
        words = line.split(" ")
        asked = {
            "_AI4PAPI_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words) - 1),
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
        }
        done = subprocess.run(
            COMMAND,
            cwd=ROOT,
            env={**os.environ, **environ, **asked, **env},
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert done.stderr == ""
        return done.stdout.split()

    return run


def test_verbs_choices_and_names_are_completed(complete, me, manifest):
    for name in ("train-a", "train-b", "serve"):
        me.post("/v1/specs", json=manifest(name))
    assert complete("ai4papi his") == ["history"]
    assert complete("ai4papi get -o js") == ["json"]
    assert sorted(complete("ai4papi get tr")) == ["train-a", "train-b"]
    assert complete("ai4papi delete s") == ["serve"]


def test_a_server_that_is_not_there_completes_nothing_and_says_nothing(complete):
    assert complete("ai4papi get tr", AI4PAPI_SERVER="http://127.0.0.1:1") == []


def test_names_are_kept_for_some_seconds_and_for_whom_they_are():
    kept = {"of": "s t", "at": 100.0, "names": ["a", "not a name\x1b", 7]}
    assert fresh(kept, "s t", 100.0 + KEPT_S / 2) == ["a"]
    assert fresh(kept, "s t", 100.0 + KEPT_S) is None
    assert fresh(kept, "s t", 99.0) is None
    assert fresh(kept, "other t", 101.0) is None
    assert fresh({}, "s t", 101.0) is None


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(cli, shell):
    script = cli("completion", shell).stdout
    assert f"_AI4PAPI_COMPLETE=complete_{shell}" in script


def test_bash_takes_the_script(cli):
    script = cli("completion", "bash").stdout + "\ncomplete -p ai4papi"
    done = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=True)
    assert "ai4papi" in done.stdout
