"""Only the verb that is called is built, and nobody can tell."""

import subprocess
import sys

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from api.cli.app import COMPLETE_VARIABLE, app
from api.cli.narrow import group_of
from tests.terminal import ROOT

ALL = sorted(get_command(app).commands)


def told(group, arguments: list[str]) -> tuple[int, str]:
    with CliRunner().isolation() as (out, err, _):
        try:
            group(arguments, prog_name="ai4papi")
        except SystemExit as ended:
            return int(ended.code or 0), (out.getvalue() + err.getvalue()).decode()
    return 0, (out.getvalue() + err.getvalue()).decode()


@pytest.mark.parametrize("verb", ALL)
@pytest.mark.parametrize("rest", [["--help"], ["--no-such-option"]])
def test_a_verb_alone_says_what_it_says_among_the_others(verb, rest):
    group = group_of(app, [verb, *rest], {})
    assert list(group.commands) == [verb]
    assert told(group, [verb, *rest]) == told(get_command(app), [verb, *rest])


@pytest.mark.parametrize(
    ("arguments", "environ"),
    [([], {}), (["gte"], {}), (["--help"], {}), (["get"], {COMPLETE_VARIABLE: "complete_bash"})],
)
def test_all_are_there_where_one_may_be_looked_for(arguments, environ):
    assert sorted(group_of(app, arguments, environ).commands) == ALL


def test_a_verb_that_was_mistyped_is_said_with_the_one_that_may_be_meant():
    code, said = told(group_of(app, ["gte"], {}), ["gte"])
    assert code == 2
    assert "Did you mean 'get'?" in said


@pytest.mark.parametrize(
    "arguments",
    [
        ["logs", "x", "--tail", "5"],
        ["logs", "x"],
        ["get", "--token-file", "no-such-file"],
        ["apply", "-f", "no-such-file", "--timeout", "5s"],
    ],
)
def test_options_are_read_without_pydantic(arguments):
    script = (
        f"import sys\nfrom api.cli import main\nsys.argv = ['ai4papi', *{arguments}]\n"
        "try: main()\nfinally: print({'pydantic', 'rich'} & set(sys.modules))"
    )
    environ = {"AI4PAPI_SERVER": "http://127.0.0.1:1", "AI4PAPI_TOKEN": "t"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert done.stdout.splitlines()[-1] == "set()"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("z", "'z' is not a whole number"),
        ("1_0", "'1_0' is not a whole number"),
        ("1.0", "'1.0' is not a whole number"),
        ("10001", "10001 is more than 10000"),
        ("-1", "-1 is less than 0"),
    ],
)
def test_a_number_that_is_none_or_out_of_range_is_refused(text, said):
    code, shown = told(get_command(app), ["logs", "x", "--tail", text])
    assert code == 2
    assert said in shown
