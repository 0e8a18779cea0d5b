"""The command line on a terminal: questions, colour; and what is left of both when piped."""

from pathlib import Path

import pytest
import yaml

from api.schemas import ComparisonView, PlanView
from specs.model import Phase
from tests.terminal import on_a_terminal

pytestmark = pytest.mark.usefixtures("elsewhere")


@pytest.fixture
def file(manifest, tmp_path) -> str:
    path = tmp_path / "two.yaml"
    path.write_text(yaml.safe_dump_all([manifest("a"), manifest("b")]))
    return str(path)


def names(me) -> set[str]:
    return {each["metadata"]["name"] for each in me.get("/v1/specs").json()["items"]}


def lines(seen: str) -> list[str]:
    return seen.replace("\r", "").splitlines()


def test_apply_shows_the_plan_and_changes_nothing_without_a_yes(me, environ, file, told):
    told["plan"] = PlanView(effect="creates", fits=False, message="no node has 2 GPUs free")
    code, seen = on_a_terminal({**environ, "NO_COLOR": "1"}, "apply", "-f", file, typed="n\n")
    assert code == 1
    said = "creates; does not fit now: no node has 2 GPUs free"
    for name in ("a", "b"):
        assert f"deployment {name} would be created: {said}" in lines(seen)
    assert "Create 2 (2 without room now)? [y/N]" in seen
    assert "error: nothing was changed" in seen
    assert names(me) == set()


def test_apply_asks_once_and_goes_on_after_a_yes(me, environ, file):
    code, seen = on_a_terminal(environ, "apply", "-f", file, typed="y\n")
    assert code == 0
    assert seen.count("[y/N]") == 1
    assert seen.index("[y/N]") < seen.index("deployment a created\r\ndeployment b created")
    assert names(me) == {"a", "b"}


def test_apply_of_what_is_there_already_asks_nothing(cli, environ, file):
    cli("apply", "-f", file)
    code, seen = on_a_terminal(environ, "apply", "-f", file)
    assert (code, lines(seen)) == (0, ["deployment a unchanged", "deployment b unchanged"])


@pytest.mark.parametrize("more", [("-y",), ("--dry-run",)])
def test_apply_asks_nothing_where_it_is_told_so(environ, file, more):
    code, seen = on_a_terminal(environ, "apply", "-f", file, *more)
    assert code == 0
    assert "[y/N]" not in seen


def test_apply_goes_on_with_the_others_where_one_is_wrong(me, environ, manifest, tmp_path):
    path = Path(tmp_path, "mixed.yaml")
    path.write_text(yaml.safe_dump_all([manifest("bad", hardware={"ram": -5}), manifest("good")]))
    code, seen = on_a_terminal(environ, "apply", "-f", str(path), typed="y\n")
    assert code == 1
    assert seen.count("error: ") == 1
    assert "Create 1?" in seen
    assert names(me) == {"good"}


@pytest.mark.parametrize(
    ("more", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_a_plan_is_in_colour_on_a_terminal_unless_told_not_to(environ, file, more, coloured):
    code, seen = on_a_terminal({**environ, **more}, "apply", "-f", file, "--dry-run")
    assert code == 0
    assert ("\x1b[32mdeployment a created (dry run): creates" in seen) is coloured


def test_a_plan_is_plain_when_piped_unless_colour_is_forced(cli, me, manifest, told):
    me.post("/v1/specs", json=manifest())
    told["comparison"] = ComparisonView(effect="restarts", fits=True)
    assert cli("plan", "train-a").stdout == "deployment train-a: restarts; fits now\n"
    forced = cli("plan", "train-a", env={"FORCE_COLOR": "1"})
    assert forced.stdout == "\x1b[33mdeployment train-a: restarts; fits now\x1b[0m\n"
    assert "\x1b" not in cli("plan", "train-a", "-o", "json", env={"FORCE_COLOR": "1"}).stdout


ENDPOINTS = {"deepaas": "http://192.0.2.1:5000", "lab": "javascript:alert(1)"}


@pytest.fixture
def running(me, server, manifest):
    uid = me.post("/v1/specs", json=manifest()).json()["metadata"]["uid"]
    server.tell(uid, Phase.RUNNING, ready=True, message="on n1", endpoints=ENDPOINTS)


def test_open_prints_the_address_of_the_service_when_piped(cli, running):
    assert cli("open", "train-a").stdout == "http://192.0.2.1:5000\n"


def test_open_opens_a_browser_on_a_terminal(environ, running):
    code, seen = on_a_terminal({**environ, "BROWSER": "echo opened %s"}, "open", "train-a")
    assert code == 0
    assert "opened http://192.0.2.1:5000" in seen


@pytest.mark.parametrize(
    ("endpoint", "code", "said"), [("ide", 4, "it has: deepaas, lab"), ("lab", 1, "no web address")]
)
def test_open_opens_nothing_else(cli, running, endpoint, code, said):
    result = cli("open", "train-a", "--endpoint", endpoint)
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr
