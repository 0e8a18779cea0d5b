"""`ai4papi doctor` finds what is wrong before somebody has to."""

import json
from email.utils import formatdate

import pytest
from typer.testing import CliRunner

from api.cli.app import app
from api.cli.doctor import version_check
from reconciler.checkup import check_site, skew_check
from tests.pretender import Answer, pretending


def verdicts(**environ):
    return {check.name: check for check in check_site(environ)}


@pytest.fixture
def site(tmp_path):
    return {
        "AI4PAPI_AUTH": "local",
        "AI4PAPI_CLUSTER": "simulated",
        "AI4PAPI_STORE_URL": f"sqlite:///{tmp_path / 'specs.db'}",
    }


def test_a_new_site_is_told_what_comes_next(site):
    found = verdicts(**site)
    assert found["settings"].verdict == "ok"
    assert found["store"].hint == "the first start makes it"
    assert found["nomad"].message == "simulated: nothing really runs"


def test_checking_writes_nothing(site, tmp_path):
    verdicts(**site)
    assert list(tmp_path.iterdir()) == []


def test_bad_settings_are_the_only_finding(site):
    found = verdicts(**site | {"AI4PAPI_WORKERS": "many"})
    assert list(found) == ["settings"]
    assert "AI4PAPI_WORKERS" in found["settings"].message


def test_a_nomad_that_does_not_answer_is_a_failure(site):
    found = verdicts(**site | {"AI4PAPI_CLUSTER": "nomad", "NOMAD_ADDR": "http://127.0.0.1:1"})
    assert found["nomad"].verdict == "failed"
    assert "http://127.0.0.1:1" in found["nomad"].message


def test_a_token_that_may_not_list_is_named_with_the_policy(site):
    with pretending() as nomad:
        nomad.answer = lambda asked: (
            Answer("127.0.0.1:4647") if "status" in asked.path else Answer("Permission denied", 403)
        )
        environ = {"NOMAD_ADDR": nomad.address, "NOMAD_TOKEN": "s3cret-token-of-nomad"}
        found = verdicts(**site | {"AI4PAPI_CLUSTER": "nomad"} | environ)
    check = found["nomad: namespaces and jobs"]
    assert (check.verdict, check.hint) == (
        "failed",
        "see etc/nomad-policy.hcl for what it needs",
    )
    assert not any("s3cret" in one.message for one in found.values())


@pytest.mark.parametrize(("ahead_s", "verdict"), [(0, "ok"), (29, "ok"), (-600, "warning")])
def test_clocks_are_compared(ahead_s, verdict):
    now_s = 1_800_000_000
    check = skew_check("clock", formatdate(now_s, usegmt=True), now=lambda: now_s + ahead_s)
    assert check.verdict == verdict


@pytest.mark.parametrize("date", [None, "", "yesterday"])
def test_no_date_is_no_finding(date):
    assert skew_check("clock", date).verdict == "skipped"


def test_the_clients_half_is_well_where_all_is(cli):
    done = cli("doctor", "-o", "json")
    found = {check["name"]: check["verdict"] for check in json.loads(done.stdout)}
    assert done.exit_code == 0, done.stdout
    assert found == {
        "server": "ok",
        "version": "ok",
        "livez": "ok",
        "readyz": "ok",
        "token": "ok",
    }


def test_what_is_wrong_with_the_server_is_told(cli, told):
    told["ready"] = False
    done = cli("doctor")
    assert done.exit_code == 0
    assert "the cluster is not in sight" in done.stdout


def test_a_bad_token_fails(cli):
    done = cli("doctor", env={"AI4PAPI_TOKEN": "nobodys"})
    assert done.exit_code == 1
    assert "not well: token" in done.stderr


def test_no_server_fails(elsewhere):
    environ = {"AI4PAPI_SERVER": "http://127.0.0.1:1", "AI4PAPI_TOKEN": "user-one"}
    done = CliRunner().invoke(app, ["doctor"], env=environ)
    assert done.exit_code == 1
    assert "not well: server" in done.stderr


def test_bad_settings_give_the_exit_code(elsewhere):
    done = CliRunner().invoke(app, ["doctor", "--site"], env={"AI4PAPI_WORKERS": "many"})
    assert (done.exit_code, "failed   settings" in done.stdout) == (1, True)


def test_another_version_is_a_warning():
    assert version_check("0.1.4", "0.1.0").verdict == "ok"
    assert version_check("0.2.0", "0.1.0").verdict == "warning"
