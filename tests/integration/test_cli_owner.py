"""What operators and auditors do with other people's deployments on the command line."""

import json

import pytest

from specs.model import Phase

ABOUT_ONE = [
    ["get", "train-a"],
    ["history", "train-a"],
    ["events", "train-a"],
    ["plan", "train-a"],
    ["rollback", "train-a", "--to", "1", "-y"],
    ["suspend", "train-a", "-y"],
    ["resume", "train-a"],
    ["restart", "train-a", "-y"],
    ["delete", "train-a", "-y"],
    ["undelete", "train-a"],
    ["wait", "train-a", "--for", "Ready", "--timeout", "0s"],
]


@pytest.fixture
def theirs(server, manifest):
    """Somebody with a deployment of two generations."""
    other = server.caller()
    other.post("/v1/specs", json=manifest())
    other.put("/v1/specs/train-a", json=manifest(hardware={"ram": 16000}))
    return other


@pytest.fixture
def as_operator(cli, server):
    operator = server.caller(operator=True)

    def run(*arguments: str, **options):
        return cli(*arguments, env={"AI4PAPI_TOKEN": operator.token}, **options)

    return run


@pytest.fixture
def as_auditor(cli, server):
    auditor = server.caller(auditor=True)

    def run(*arguments: str, **options):
        return cli(*arguments, env={"AI4PAPI_TOKEN": auditor.token}, **options)

    return run


def test_a_table_of_everybodys_says_whose_each_is(as_auditor, cli, me, theirs, manifest):
    me.post("/v1/specs", json=manifest("mine"))
    lines = as_auditor("get", "--all-owners").stdout.splitlines()
    assert lines[0].split()[:2] == ["OWNER", "NAME"]
    rows = {tuple(line.split()[:2]) for line in lines[1:]}
    assert {(me.token, "mine"), (theirs.token, "train-a")} <= rows
    assert as_auditor("get", "--all-owners", "-o", "wide").stdout.startswith("OWNER")
    told = json.loads(as_auditor("get", "--all-owners", "-o", "json").stdout)
    assert {me.token, theirs.token} <= {d["metadata"]["owner"]["sub"] for d in told["items"]}
    assert "OWNER" not in cli("get").stdout


@pytest.mark.parametrize("arguments", ABOUT_ONE, ids=lambda a: a[0])
@pytest.mark.parametrize("with_issuer", [False, True])
def test_every_verb_reaches_another_s_for_an_operator(as_operator, theirs, arguments, with_issuer):
    if arguments[0] == "undelete":
        theirs.delete("/v1/specs/train-a")
    owner = f"https://op#{theirs.token}" if with_issuer else theirs.token
    result = as_operator(*arguments, "--owner", owner)
    assert result.exit_code == (124 if arguments[0] == "wait" else 0), result.stderr
    assert "train-a" in result.stdout or arguments[0] in ("history", "plan")
    assert as_operator(*arguments).exit_code == 4


@pytest.mark.parametrize("arguments", ABOUT_ONE, ids=lambda a: a[0])
def test_c10_a_user_reaches_nobody_elses(cli, theirs, arguments):
    assert cli(*arguments, "--owner", theirs.token).exit_code == 5
    assert cli("get", "--all-owners").exit_code == 5


def test_an_auditor_looks_and_changes_nothing(as_auditor, theirs):
    assert as_auditor("get", "--owner", theirs.token).exit_code == 0
    assert as_auditor("suspend", "train-a", "-y", "--owner", theirs.token).exit_code == 5
    assert theirs.get("/v1/specs/train-a").json()["spec"]["suspend"] is False


def test_an_operator_applies_and_empties_nobodys_trash(as_operator, theirs, manifest):
    wish = json.dumps(manifest(hardware={"ram": 4000}))
    applied = as_operator("apply", "-f", "-", "--owner", theirs.token, stdin=wish)
    assert applied.stdout == "deployment train-a configured\n"
    record = theirs.get("/v1/specs/train-a").json()
    assert record["spec"]["hardware"]["ram"] == 4000
    assert record["metadata"]["owner"]["sub"] == theirs.token
    theirs.delete("/v1/specs/train-a")
    assert as_operator("trash", "--owner", theirs.token).exit_code == 0


def test_what_to_type_next_names_the_owner(as_operator, theirs):
    refused = as_operator("delete", "train-a", "--owner", theirs.token)
    assert refused.exit_code == 2
    assert f"next: ai4papi delete train-a -y --owner {theirs.token}" in refused.stderr


@pytest.mark.parametrize(
    "arguments",
    [["get", "train-a", "--all-owners"], ["get", "--all-owners", "--owner", "bob"],
     ["get", "--owner", "*"], ["get", "--owner", ""]],
)  # fmt: skip
def test_a_contradiction_ends_with_2(cli, arguments):
    assert cli(*arguments).exit_code == 2


QUEUED = {
    "phase": Phase.QUEUED,
    "reason": "QuotaExceeded",
    "message": "over quota: you use 4 of 4 CPUs, and this asks for 2 more; position 1 in line",
}


def test_who_is_queued_for_a_quota_is_waited_for(cli, me, server, manifest):
    uid = me.post("/v1/specs", json=manifest()).json()["metadata"]["uid"]
    server.tell(uid, **QUEUED)
    assert QUEUED["message"] in cli("get").stdout
    with server.meanwhile(lambda: server.tell(uid, Phase.RUNNING, ready=True)):
        result = cli("wait", "train-a", "--for", "Ready", "--timeout", "30s")
    assert result.exit_code == 0
    assert f"Queued  {QUEUED['message']}" in result.stdout


def test_a_change_that_is_held_for_a_quota_ends_with_7(cli, me, server, manifest):
    uid = me.post("/v1/specs", json=manifest()).json()["metadata"]["uid"]
    server.tell(uid, **{**QUEUED, "phase": Phase.HELD})
    result = cli("wait", "train-a", "--for", "Ready", "--timeout", "30s")
    assert result.exit_code == 7
    assert QUEUED["message"] in result.stderr


def test_a_file_that_says_its_owner_is_applied_for_them(cli, as_operator, theirs, tmp_path):
    iss, sub = theirs.owner
    for number, owner in enumerate((sub, f"{{iss: {iss}, sub: {sub}}}")):
        file = tmp_path / f"{number}.yaml"
        spec = f"{{hardware: {{ram: {9000 + number}}}}}"
        file.write_text(f"metadata: {{name: train-a, owner: {owner}}}\nspec: {spec}\n")
        result = as_operator("apply", "-f", str(file))
        assert result.stdout == "deployment train-a configured\n", result.stderr
        assert theirs.get("/v1/specs/train-a").json()["spec"]["hardware"]["ram"] == 9000 + number
        assert cli("apply", "-f", str(file)).exit_code == 5
    refused = as_operator("apply", "-f", str(file), "--owner", "somebody-else")
    assert refused.exit_code == 2
