"""`ai4papi sources`, and what the verbs say of what a spec file declares."""

import pytest

from api.cli.sources import troubles_of
from specs.intake import DeletionBudget, SourcedWish, SourceRead, take_in
from specs.source_reports import FaultReport, SourceReport
from specs.wish import wish_of_manifest

REPORT = SourceReport(
    kind="git", url="https://git.example.org/cli.git", ref="main", wanted="c" * 40, applied="c" * 40
)
FROM = {"type": "git", "path": "deploy/train-a.yaml", "line": "3"}


@pytest.fixture
def operator(server):
    return server.caller(operator=True)


@pytest.fixture
def source(server):
    """A source of its own for each test; gone afterwards."""
    server.store.put_source_report("cli", REPORT)
    yield "cli"
    server.store.forget_sources(but=[])


@pytest.fixture
def declared(server, me, manifest, etc_conf, source):
    wish = wish_of_manifest(manifest(), etc_conf, vos=("vo.ai4eosc.eu",))
    read = SourceRead(source, True, [SourcedWish(me.owner, me.token, wish, FROM)])
    take_in(server.store, read, DeletionBudget())


def lines_of(result, source):
    return [line for line in result.stdout.splitlines() if line.startswith(source)]


@pytest.fixture
def as_operator(cli, operator):
    return lambda *words: cli(*words, env={"AI4PAPI_TOKEN": operator.token})


def test_sources_are_listed_with_their_short_commits(as_operator, source):
    result = as_operator("sources")
    (line,) = lines_of(result, source)
    assert line.split() == ["cli", "c" * 12, "c" * 12, "0s", "0", "0", "0", "read"]


def test_what_is_wrong_is_told_and_ends_with_1(server, as_operator, source):
    fault = FaultReport(file="a.yaml", line=3, column=5, pointer="/spec", message="bad")
    whole = FaultReport(file="b.yaml", line=1, column=1, message="empty")
    told = REPORT.model_copy(update={"faults": (fault, whole), "waits": "a.yaml can't be read"})
    server.store.put_source_report(source, told)
    result = as_operator("sources")
    assert result.exit_code == 1
    assert "cli: a.yaml:3:5 /spec: bad" in result.stderr
    assert "cli: b.yaml:1:1: empty" in result.stderr
    assert "cli: nothing is deleted now: a.yaml can't be read" in result.stderr
    assert "waits" in lines_of(result, source)[0]


def test_a_source_is_read_when_asked(server, as_operator, source):
    assert as_operator("sources", "sync", source).exit_code == 0
    assert server.store.source_asks()[source] == 1
    assert as_operator("sources", "sync", "none").exit_code == 4


def test_held_deletions_are_confirmed_by_a_yes(server, as_operator, declared, source, me):
    take_in(server.store, SourceRead(source, True, []), DeletionBudget())
    asked = as_operator("sources", "confirm", source)
    assert asked.exit_code == 2
    assert "ai4papi sources confirm cli -y" in asked.stderr
    result = as_operator("sources", "confirm", source, "-y")
    assert result.stdout == "1 deployments are being deleted\n"
    assert "deletionTimestamp" in me.get("/v1/specs/train-a").json()["metadata"]


def test_many_held_deletions_are_counted_rather_than_listed() -> None:
    held = [{"name": f"n{n}", "owner": "Ada", "message": "OverBudget"} for n in range(2000)]
    item = {"id": "cli", "faults": [], "held": held, "moreFaults": 0, "waits": "", "error": ""}
    lines = troubles_of(item)
    assert len(lines) == 21
    assert lines[-1] == "cli: held: 2000 in all"


def test_sources_are_for_operators(cli, source):
    assert cli("sources").exit_code == 5


@pytest.mark.parametrize("verb", [("delete", "-y"), ("suspend", "-y"), ("resume",)])
def test_a_verb_says_which_file_to_edit_and_ends_with_6(cli, declared, verb):
    name, *rest = verb
    result = cli(name, "train-a", *rest)
    assert result.exit_code == 6 if name != "resume" else result.exit_code == 0
    if name != "resume":
        assert "edit deploy/train-a.yaml" in result.stderr


@pytest.mark.parametrize("verb", ["delete", "suspend"])
def test_taking_over_is_said_aloud(cli, declared, verb, me):
    assert cli(verb, "train-a", "-y", "--take-over").exit_code == 0
    assert me.get("/v1/specs/train-a").json()["metadata"]["source"]["takenFrom"] == "cli"
