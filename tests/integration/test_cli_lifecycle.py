"""The verbs about a deployment's past, and those that stop, start and go back."""

import json

import pytest
import yaml

from api.schemas import ComparisonView, FieldView
from specs.model import Phase

READY = {"phase": Phase.RUNNING, "ready": True}
ASKS = [["rollback", "train-a", "--to", "1"], ["suspend", "train-a"], ["restart", "train-a"]]
ABOUT_ONE = [
    ["history", "train-a"],
    ["events", "train-a"],
    ["plan", "train-a"],
    ["rollback", "train-a", "--to", "1", "-y"],
    ["rollback", "train-a", "-y"],
    ["suspend", "train-a", "-y"],
    ["resume", "train-a"],
    ["restart", "train-a", "-y"],
    ["undelete", "train-a"],
]


@pytest.fixture
def uid(me, manifest):
    """A deployment with a second generation that asks for more memory; its uid."""
    me.post("/v1/specs", json=manifest())
    changed = me.put("/v1/specs/train-a", json=manifest(hardware={"ram": 16000}))
    return changed.json()["metadata"]["uid"]


def shown(me):
    return me.get("/v1/specs/train-a").json()


def test_history_shows_who_changed_what(cli, me, uid):
    lines = cli("history", "train-a").stdout.splitlines()
    assert lines[0].split() == ["GENERATION", "AGE", "BY", "CHANGES"]
    assert lines[1].startswith("2 ")
    assert lines[1].endswith(f"{me.token} (http)  hardware.ram: 8000 -> 16000")
    assert lines[2].startswith("1 ")
    assert cli("history", "train-a", "-o", "name").stdout == "2\n1\n"
    told = me.get("/v1/specs/train-a/history").json()
    assert json.loads(cli("history", "train-a", "-o", "json").stdout) == told
    assert yaml.safe_load(cli("history", "train-a", "-o", "yaml").stdout) == told


def test_events_of_one_and_of_all_are_shown(cli, me, uid):
    me.delete("/v1/specs/train-a")
    for arguments in ([], ["train-a"]):
        lines = cli("events", *arguments).stdout.splitlines()
        assert lines[0].split() == ["AGE", "TYPE", "REASON", "DEPLOYMENT", "BY", "MESSAGE"]
        assert all(" train-a " in line for line in lines[1:])
        assert any(f"{me.token} (http)" in line for line in lines[1:])


def test_nothing_to_show_is_said_aside(cli):
    for verb, words in (("events", "Nothing has happened"), ("trash", "The trash is empty")):
        result = cli(verb)
        assert (result.exit_code, result.stdout) == (0, "")
        assert words in result.stderr
        assert json.loads(cli(verb, "-o", "json").stdout) == {"items": []}


def test_rollback_goes_to_the_generation_before_and_back_again(cli, me, uid):
    first = cli("rollback", "train-a", "-y")
    assert first.stdout == "deployment train-a rolled back to generation 1\n"
    assert shown(me)["metadata"]["pinnedGeneration"] == 1
    second = cli("rollback", "train-a", "-y")
    assert second.stdout == "deployment train-a rolled back to generation 2\n"
    assert "pinnedGeneration" not in shown(me)["metadata"]


def test_rollback_passes_over_what_changed_nothing_that_runs(cli, me, uid):
    cli("restart", "train-a", "-y")
    assert "generation 1" in cli("rollback", "train-a", "-y").stdout


def test_rollback_where_there_is_nothing_before_ends_with_4(cli, me, manifest):
    me.post("/v1/specs", json=manifest())
    result = cli("rollback", "train-a", "-y")
    assert (result.exit_code, result.stdout) == (4, "")
    assert "next: ai4papi history train-a" in result.stderr


def test_rollback_to_a_generation_that_never_was_ends_with_4(cli, uid):
    assert cli("rollback", "train-a", "--to", "9", "-y").exit_code == 4


def test_suspend_and_resume_change_the_wish_and_wait_for_it(cli, me, server, uid):
    with server.meanwhile(lambda: server.tell(uid, Phase.SUSPENDED)):
        stopped = cli("suspend", "train-a", "-y", "--wait")
    assert stopped.stdout.splitlines()[0] == "deployment train-a suspended"
    assert stopped.stdout.splitlines()[-1] == "deployment train-a is Suspended"
    assert shown(me)["spec"]["suspend"] is True
    with server.meanwhile(lambda: server.tell(uid, **READY)):
        started = cli("resume", "train-a", "--wait")
    assert started.stdout.splitlines()[-1] == "deployment train-a is Running"
    assert shown(me)["spec"]["suspend"] is False


def test_restart_counts_up(cli, me, server, uid):
    for counter in (1, 2):
        with server.meanwhile(lambda: server.tell(uid, **READY)):
            result = cli("restart", "train-a", "-y", "--wait")
        assert result.exit_code == 0
        assert shown(me)["spec"]["restart"] == counter


def test_what_was_deleted_is_in_the_trash_and_can_be_had_back(cli, me, server, uid):
    cli("delete", "train-a", "-y")
    server.finish_deletion(uid)
    head, row = cli("trash").stdout.splitlines()
    assert head.split() == ["NAME", "VO", "AGE", "EXPIRES", "IN"]
    assert row.startswith("train-a ")
    assert cli("trash", "-o", "name").stdout == "train-a\n"
    with server.meanwhile(lambda: server.tell(uid, **READY)):
        back = cli("undelete", "train-a", "--wait")
    assert back.stdout.splitlines()[0] == "deployment train-a undeleted"
    assert back.exit_code == 0
    assert shown(me)["spec"]["hardware"]["ram"] == 16000


def test_a_name_that_is_taken_again_ends_undelete_with_6(cli, me, server, uid, manifest):
    cli("delete", "train-a", "-y")
    server.finish_deletion(uid)
    me.post("/v1/specs", json=manifest())
    assert cli("undelete", "train-a").exit_code == 6


def test_plan_says_what_would_be_done_and_where_the_two_differ(cli, me, uid, told):
    told["comparison"] = ComparisonView(
        effect="restarts",
        fits=False,
        message="none has 2 free",
        changes=[FieldView(path="TaskGroups[usergroup].Count", wanted=1, actual=0)],
    )
    assert cli("plan", "train-a").stdout == (
        "deployment train-a: restarts; does not fit now: none has 2 free\n"
        "  TaskGroups[usergroup].Count: 0 -> 1\n"
    )
    told_json = json.loads(cli("plan", "train-a", "-o", "json").stdout)
    assert told_json == me.get("/v1/specs/train-a/plan").json()


def test_a_change_that_is_held_ends_a_wait_with_7_and_what_to_do(cli, server, uid):
    held = {"message": "none has 2 GPUs free", "hint": "wait, or set update.policy: queue"}
    server.tell(uid, Phase.HELD, **held)
    result = cli("wait", "train-a", "--for", "Ready")
    assert result.exit_code == 7
    assert result.stderr.endswith(
        "error: deployment train-a is held: none has 2 GPUs free\n"
        "hint: wait, or set update.policy: queue\n"
        "next: ai4papi get train-a -o yaml\n"
    )


def test_get_says_under_the_message_what_to_do_next(cli, server, uid):
    server.tell(uid, Phase.QUEUED, message="no room", hint="ask for less")
    lines = cli("get", "train-a").stdout.splitlines()
    assert lines[1].endswith("no room")
    assert lines[2] == "hint: ask for less"


@pytest.mark.parametrize("arguments", ASKS)
def test_what_ends_running_work_asks_nobody_where_nobody_is(cli, me, uid, arguments):
    before = shown(me)
    result = cli(*arguments, stdin="y\n")
    assert result.exit_code == 2
    assert f"next: ai4papi {' '.join(arguments)} -y" in result.stderr
    assert shown(me) == before


@pytest.mark.parametrize("verb", ["suspend", "restart"])
def test_a_wait_that_takes_too_long_ends_with_124(cli, uid, verb):
    assert cli(verb, "train-a", "-y", "--wait", "--timeout", "0").exit_code == 124


@pytest.mark.parametrize("arguments", ABOUT_ONE)
def test_what_is_not_there_or_somebody_elses_ends_with_4(cli, someone_else, manifest, arguments):
    someone_else.post("/v1/specs", json=manifest())
    result = cli(*arguments)
    assert (result.exit_code, result.stdout) == (4, "")
    assert "next: ai4papi get" in result.stderr


@pytest.mark.parametrize("arguments", [*ABOUT_ONE, ["events"], ["trash"]])
def test_a_token_that_is_nobodys_ends_with_5(cli, arguments):
    result = cli(*arguments, env={"AI4PAPI_TOKEN": "nobody-s3cret"})
    assert (result.exit_code, result.stdout) == (5, "")
    assert "s3cret" not in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["rollback", "train-a", "--to", "0", "-y"],
        ["rollback", "train-a", "--to", "last", "-y"],
        ["history"],
        ["history", "train-a", "-o", "wide"],
        ["events", "Not A Name"],
        ["events", "--vo", "vo.ai4eosc.eu"],
        ["suspend", ".."],
    ],
)
def test_a_wrong_command_line_ends_with_2_and_says_so(cli, arguments):
    result = cli(*arguments)
    assert result.exit_code == 2
    assert result.stderr
