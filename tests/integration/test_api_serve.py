"""Starting the server: what it refuses, what it says, and one whole run of it."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from ai4papi.routers.v1 import deployments

from api import serve
from api.auth import LOCAL_OWNER, NotAuthenticated, second_opinion
from api.problems import ClusterSilent
from api.schemas import ComparisonView, PlanView
from reconciler.diff import FieldChange
from reconciler.drift import NO_JOB, STOPPED
from reconciler.errors import ClusterForbidden, ClusterUnavailable, JobRejected
from reconciler.jobs import JobRef, PlacementFailure, Verdict
from reconciler.render import render
from reconciler.runtime import open_runtime
from reconciler.settings import load_settings
from specs.faults import NewerStore
from specs.model import SECRET_SET
from specs.wish import Wish
from tests.builders import ALICE, VO, a_spec
from tests.terminal import interruptible

ROOT = Path(__file__).parents[2]


@pytest.fixture
def environ(tmp_path):
    return {
        "AI4PAPI_AUTH": "local",
        "AI4PAPI_STORE_URL": f"sqlite:///{tmp_path / 'specs.db'}",
        "AI4PAPI_CLUSTER": "simulated",
        "PORT": "0",
    }


@pytest.fixture
def set_environ(environ, monkeypatch):
    for name in [n for n in os.environ if n.startswith(("AI4PAPI_", "NOMAD_"))]:
        monkeypatch.delenv(name)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(serve, "start_logging", lambda: None)
    return monkeypatch


@pytest.fixture
def refused_early(set_environ):
    """Give the environment of a server that must not get as far as its store."""
    set_environ.setattr(serve, "open_runtime", lambda _: pytest.fail("the server was started"))
    return set_environ


def an_etc(folder: Path, auth: str) -> Path:
    """Return a copy of the shipped `etc/` with another list of issuers."""
    shutil.copytree(ROOT / "etc", folder)
    conf = folder / "main_conf.yaml"
    text, found = re.subn(r"  OP:\n(    - .*\n)+", auth[2:], conf.read_text())
    assert found == 1
    conf.write_text(text)
    return folder


def seed_face() -> None:
    deployments._open.cache_clear()
    deployments.get_deployments(SimpleNamespace(credentials="x"))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])
def test_local_mode_does_not_open_its_door_to_others(refused_early, tmp_path, host):
    with pytest.raises(SystemExit, match="loopback"):
        serve.run(host=host)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_local_mode_serves_its_own_machine(environ, host):
    serve.refuse_open_door(load_settings(environ), host)


def test_oidc_without_an_issuer_is_refused_with_a_sentence(refused_early, tmp_path):
    refused_early.setenv("AI4PAPI_AUTH", "oidc")
    refused_early.setenv("AI4PAPI_ETC", str(an_etc(tmp_path / "etc", "    OP: []\n")))
    for start in (serve.run, serve.open_app):
        with pytest.raises(SystemExit, match=r"auth\.OP in main_conf\.yaml names no issuer"):
            start()


def test_oidc_with_certificates_that_are_not_there_is_refused_with_a_sentence(refused_early):
    refused_early.setenv("AI4PAPI_AUTH", "oidc")
    refused_early.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    for start in (serve.run, serve.open_app):
        with pytest.raises(SystemExit, match=r"REQUESTS_CA_BUNDLE names /nowhere/ca\.pem"):
            start()


def test_oidc_with_a_flaat_that_believes_forged_tokens_is_refused(refused_early):
    refused_early.setenv("AI4PAPI_AUTH", "oidc")
    refused_early.setattr(second_opinion, "version", lambda _: "1.3.1")
    for start in (serve.run, serve.open_app):
        with pytest.raises(SystemExit, match=r"flaat 1\.3\.1 takes a forged token"):
            start()


@pytest.mark.parametrize("value", ["YES", "no", ""])
@pytest.mark.parametrize(
    "name",
    [
        "DISABLE_AUTHENTICATION_AND_ASSUME_AUTHENTICATED_USER",
        "DISABLE_AUTHORIZATION_AND_ASSUME_AUTHORIZED_USER",
    ],
)
def test_a_switch_that_lets_everybody_in_is_refused_t33(refused_early, name, value):
    refused_early.setenv(name, value)
    for start in (serve.run, serve.open_app, seed_face):
        with pytest.raises((SystemExit, serve.StartRefused), match="let everybody in"):
            start()


def test_a_bad_setting_is_refused_with_a_sentence(refused_early):
    refused_early.setenv("AI4PAPI_WORKERS", "many")
    with pytest.raises(SystemExit, match="AI4PAPI_WORKERS"):
        serve.run()


def test_the_local_user_is_a_member_of_the_first_vo(environ, tmp_path):
    settings = load_settings(environ)
    authenticate = serve.authenticator(settings)
    user = authenticate((tmp_path / "token").read_text())
    assert (user.owner, user.vos, user.operator) == (LOCAL_OWNER, settings.auth.VO[:1], True)
    with pytest.raises(NotAuthenticated):
        authenticate("another")


def test_a_token_of_the_environment_is_not_written_down(environ, tmp_path):
    settings = load_settings(environ | {"AI4PAPI_LOCAL_TOKEN": "known-to-a-script"})
    assert serve.authenticator(settings)("known-to-a-script").name == "local"
    assert list(tmp_path.iterdir()) == []


def test_the_greeting_says_where_and_simulated_but_no_token(environ, tmp_path):
    settings = load_settings(environ)
    serve.authenticator(settings)
    text = serve.greet(settings, "simulated", "http://127.0.0.1:8080")
    assert "http://127.0.0.1:8080/docs" in text
    assert "simulated (nothing really runs" in text
    assert str(tmp_path / "token") in text
    assert (tmp_path / "token").read_text() not in text
    given = load_settings(environ | {"AI4PAPI_LOCAL_TOKEN": "known-to-a-script"})
    assert "known-to-a-script" not in serve.greet(given, "simulated", "http://x")


def test_the_application_of_uvicorns_way_in_is_local_too(set_environ):
    app = serve.open_app()
    try:
        assert app.state.services.local_only
        assert app.state.services.cluster_title == "simulated"
    finally:
        app.state.services.store.close()


FAILURE = PlacementFailure("usergroup", 3, 0, 3, dimension_exhausted={"memory": 3})


@pytest.mark.parametrize(
    ("told", "plan"),
    [
        (Verdict("creates", 0), PlanView(effect="creates", fits=True)),
        (Verdict("in place", 7), PlanView(effect="in place", fits=True)),
        (Verdict("none", 7), PlanView(effect="unchanged", fits=True)),
        (
            Verdict("restarts", 7, (FAILURE,)),
            PlanView(
                effect="restarts",
                fits=False,
                message="needs 8000 MB of memory; none of 3 nodes has that free",
            ),
        ),
        (
            JobRejected("group usergroup: bad"),
            PlanView(effect="refused", fits=False, message="group usergroup: bad"),
        ),
        (
            ClusterUnavailable("http://10.0.0.1 timed out"),
            PlanView(effect="unknown", message="the cluster does not answer now"),
        ),
        (
            ClusterForbidden("token 123"),
            PlanView(effect="unknown", message="the cluster does not answer now"),
        ),
    ],
)
def test_a_verdict_is_told_in_words(told, plan):
    def preview(_):
        if isinstance(told, Exception):
            raise told
        return told

    hardware = SimpleNamespace(ram=8000, cpu_num=1, disk=1, gpu_num=0, gpu_type="")
    deployment = SimpleNamespace(target=SimpleNamespace(hardware=hardware))
    assert serve.previewer(preview, gpu_model="affinity")(deployment) == plan
    compared = serve.comparer(lambda d: (preview(d), ()), gpu_model="affinity")(deployment)
    assert compared == ComparisonView(**dict(plan))


def test_a_comparison_shows_fields_but_nothing_confidential():
    changes = (
        FieldChange("TaskGroups[usergroup].Count", 1, 0),
        FieldChange("TaskGroups[usergroup].Tasks[main].Config.auth.password", "s3cret", None),
        FieldChange("Tasks", ["main"], ["main", {"Env": {"API_TOKEN": "s3cret", "A": "b"}}]),
    )
    compared = serve.comparer(lambda _: (Verdict("in place", 7), changes), gpu_model="affinity")
    shown = [(c.wanted, c.actual) for c in compared(SimpleNamespace()).changes]
    assert shown == [
        (1, 0),
        (SECRET_SET, None),
        (["main"], ["main", {"Env": {"API_TOKEN": SECRET_SET, "A": "b"}}]),
    ]


def test_a_comparison_finds_what_is_missing_edited_or_stopped(environ):
    runtime = open_runtime(load_settings(environ))
    try:
        wish = Wish(vo=VO, name="train-a", spec=a_spec())
        record, _ = runtime.store.create(wish, owner=ALICE, owner_name="Alice", source={})
        verdict, changes = runtime.compare(record)
        assert (verdict.effect, changes) == ("creates", (NO_JOB,))
        job = render(record, runtime.targets[0].template(), runtime.targets[0].reconciler.site).job
        runtime.targets[0].cluster.register_job({**job, "Datacenters": ["x"]}, if_index=0)
        _, changes = runtime.compare(record)
        assert changes == (FieldChange("Datacenters[0]", "*", "x"),)
        runtime.targets[0].cluster.stop_job(JobRef(job["Namespace"], job["ID"]))
        _, changes = runtime.compare(record)
        assert STOPPED in changes
    finally:
        runtime.stop()


def test_a_store_of_a_newer_program_is_refused_with_a_sentence(set_environ):
    def newer(_):
        raise NewerStore("the tables are of version 9")

    set_environ.setattr(serve, "open_runtime", newer)
    for start in (serve.run, serve.open_app):
        with pytest.raises(SystemExit, match="version 9"):
            start()


def test_orphans_that_can_not_be_found_now_are_said_to_be_so():
    def down():
        raise ClusterUnavailable("http://10.0.0.1 timed out")

    with pytest.raises(ClusterSilent) as silent:
        serve.orphans_of(down)()
    assert "10.0.0.1" not in str(silent.value)
    (orphan,) = serve.orphans_of(lambda: [JobRef("ai4eosc", "u-1")])()
    assert (orphan.namespace, orphan.job_id) == ("ai4eosc", "u-1")


def test_the_server_starts_serves_and_stops(environ, tmp_path):
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("AI4PAPI_", "NOMAD_"))}
    with subprocess.Popen(
        [sys.executable, "-m", "api.serve"],
        cwd=ROOT,
        env=keep | environ | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=interruptible,  # noqa: PLW1509
    ) as process:
        try:
            greeting = dict(process.stdout.readline().split(None, 1) for _ in range(4))
            assert "simulated" in greeting["cluster"]
            token = (tmp_path / "token").read_text()
            headers = {"Authorization": f"Bearer {token}"}
            url = greeting["API"].strip()
            with httpx.Client(base_url=url, headers=headers, trust_env=False) as me:
                body = {"metadata": {"name": "train-a"}, "spec": {"hardware": {"gpu_num": 1}}}
                assert me.put("/v1/specs/train-a", json=body).status_code == 201
                status = "/v1/specs/train-a/status?wait=30s&for="
                ready = me.get(f"{status}Ready", timeout=40).json()
                assert ready["phase"] == "Running"
                assert set(ready["endpoints"]) >= {"deepaas"}
                plan = me.get("/v1/specs/train-a/plan").json()
                assert plan == {"effect": "unchanged", "fits": True, "message": "", "changes": []}
                looked = me.post("/v1/specs/train-a/reconcile?wait=30s", timeout=40)
                assert looked.json()["observedAt"] >= ready["observedAt"]
                assert me.get("/v1/orphans").json() == {"items": []}
                assert me.delete("/v1/specs/train-a").status_code == 202
                assert me.get(f"{status}Deleted", timeout=40).status_code == 404
                back = me.post("/v1/specs/train-a/undelete")
                assert back.json()["spec"]["hardware"]["gpu_num"] == 1
                assert me.get(f"{status}Ready", timeout=40).json()["phase"] == "Running"
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(30) == 128 + signal.SIGINT
