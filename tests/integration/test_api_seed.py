"""The seed's routes on top of the same specs, and the same from Python."""

from dataclasses import replace
from types import SimpleNamespace

import httpx
import pytest
import yaml
from ai4papi.routers.v1 import deployments

from api.app import create_app
from api.auth import NotAuthenticated
from api.schemas import FormView
from specs.faults import InvalidSpec, NotFound
from specs.model import AllocationStatus, JobStatus, Phase
from specs.store import SpecStore
from specs.userconf import read_userconf
from tests.integration.conftest import ETC, VOS

SEEDS_EXAMPLE = {
    "general": {
        "docker_image": "deephdc/deep-oc-image-classification-tf:cpu",
        "service": "deepaas",
    },
    "hardware": {"gpu": 1},
}


def create(me, conf=None):
    answer = me.post("/v1/deployments", json=SEEDS_EXAMPLE if conf is None else conf)
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) == {"status", "job_ID"}
    assert answer.json()["status"] == "success"
    return answer.json()["job_ID"]


def test_the_seeds_example_becomes_a_deployment(me, server):
    uid = create(me)
    shown = me.get(f"/v1/deployments/{uid}").json()
    submitted = shown.pop("submit_time")
    title = shown.pop("title")
    assert shown == {
        "job_ID": uid,
        "status": "queued",
        "owner": me.token,
        "description": "",
        "docker_image": "deephdc/deep-oc-image-classification-tf:cpu",
        "resources": {"cpu_num": 1, "gpu_num": 1, "memoryMB": 8000, "diskMB": 20000},
        "endpoints": {},
        "alloc_ID": None,
    }
    assert title == server.store.get(uid).name
    assert len(submitted) == len("2023-01-13 11:36:16")


def test_what_runs_is_shown_as_the_seed_shows_it(me, server):
    uid = create(me)
    endpoints = {"deepaas": "http://a:1", "monitor": "http://a:2", "lab": "http://a:3"}
    allocations = (AllocationStatus(id="e6b24722", client_status="running"),)
    server.tell(
        uid,
        Phase.RUNNING,
        ready=True,
        message="running on node a",
        endpoints=endpoints,
        nomad=JobStatus(allocations=allocations),
    )
    shown = me.get(f"/v1/deployments/{uid}").json()
    assert (shown["status"], shown["alloc_ID"]) == ("running", "e6b24722")
    assert shown["endpoints"] == endpoints
    assert "error_msg" not in shown


def test_what_waits_says_why(me, server):
    uid = create(me)
    server.tell(uid, Phase.QUEUED, message="needs 1 GPU; none has it free")
    assert me.get("/v1/deployments").json()[0]["error_msg"] == "needs 1 GPU; none has it free"


def test_the_list_is_yours_and_newest_first(me, someone_else):
    create(someone_else)
    uids = [create(me) for _ in range(3)]
    assert [d["job_ID"] for d in me.get("/v1/deployments").json()] == uids[::-1]
    assert me.get("/v1/deployments/").json() == me.get("/v1/deployments").json()


def test_a_list_longer_than_a_page_is_complete(me, monkeypatch):
    page = SpecStore.page
    two = {"limit": 2}
    monkeypatch.setattr(SpecStore, "page", lambda self, reach, **o: page(self, reach, **(o | two)))
    uids = [create(me) for _ in range(5)]
    assert [d["job_ID"] for d in me.get("/v1/deployments").json()] == uids[::-1]


@pytest.mark.parametrize("conf", [{}, {"general": {}}, {"hardware": {"gpu_num": 0}}])
def test_what_is_missing_takes_its_default(me, conf):
    shown = me.get(f"/v1/deployments/{create(me, conf)}").json()
    assert shown["resources"]["memoryMB"] == 8000


def test_a_body_may_be_missing(me):
    assert me.post("/v1/deployments").json()["status"] == "success"


def test_every_post_makes_another_one_but_a_key_makes_one(me):
    assert create(me) != create(me)
    key = {"Idempotency-Key": "once"}
    first = me.post("/v1/deployments", json=SEEDS_EXAMPLE, headers=key).json()
    assert me.post("/v1/deployments", json=SEEDS_EXAMPLE, headers=key).json() == first


def test_both_faces_show_one_deployment(me):
    uid = create(me)
    name = me.get("/v1/specs").json()["items"][0]["metadata"]["name"]
    assert me.get(f"/v1/specs/{name}").json()["metadata"]["uid"] == uid


def test_a_deletion_is_a_success(me, server):
    uid = create(me)
    assert me.delete(f"/v1/deployments/{uid}").json() == {"status": "success"}
    assert me.delete(f"/v1/deployments/{uid}").json() == {"status": "success"}
    server.finish_deletion(uid)
    assert me.delete(f"/v1/deployments/{uid}").status_code == 404
    assert me.get("/v1/deployments").json() == []


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_somebody_elses_is_not_there(me, someone_else, server, method):
    theirs = create(someone_else)
    there = me.request(method, f"/v1/deployments/{theirs}").json()
    missing = me.request(method, "/v1/deployments/00000000-0000-4000-8000-000000000000").json()
    for body in (there, missing):
        assert body.pop("requestId")
        assert body.pop("instance")
    assert repr(there).replace(theirs, "00000000-0000-4000-8000-000000000000") == repr(missing)
    assert there["status"] == 404
    assert not server.store.get(theirs).being_deleted


@pytest.mark.parametrize(
    "change", [str.upper, lambda u: u.replace("-", ""), lambda u: f"urn:uuid:{u}"]
)
def test_an_id_is_what_it_is(me, change):
    uid = create(me)
    other = change(uid)
    assert other != uid
    assert me.delete(f"/v1/deployments/{other}").status_code == 404


@pytest.mark.parametrize(
    ("conf", "pointers"),
    [
        ({"hardware": {"ram": -5}}, {"/hardware/ram"}),
        (
            {"hardware": {"cpu_num": "many", "gpu_num": 99}},
            {"/hardware/cpu_num", "/hardware/gpu_num"},
        ),
        ({"hardwear": {}}, {"/hardwear"}),
        ({"general": {"titel": "x"}}, {"/general/titel"}),
        ({"general": {"title": "x" * 46}}, {"/general/title"}),
        ({"general": {"service": "sshd"}}, {"/general/service"}),
        (
            {"general": {"service": "jupyterlab", "jupyter_password": "short"}},
            {"/general/jupyter_password"},
        ),
        ([], {""}),
        (None, {""}),
        ("x", {""}),
    ],
)
def test_a_bad_conf_is_refused_with_a_pointer_to_each_fault(me, conf, pointers):
    answer = me.post(
        "/v1/deployments", content=_json(conf), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 422, answer.text
    assert pointers <= {cause["pointer"] for cause in answer.json()["causes"]}
    assert me.get("/v1/deployments").json() == []


def _json(tree):
    import json  # noqa: PLC0415

    return json.dumps(tree).encode()


def test_the_form_has_the_module_and_your_vos(server):
    me = server.caller(several_vos=True)
    shown = me.get("/v1/info/conf/DEEP-OC-Image-Classification-TF").json()
    FormView.model_validate(shown)
    assert set(shown) == {"general", "hardware", "storage"}
    assert shown["general"]["docker_image"]["value"] == "deephdc/deep-oc-image-classification-tf"
    vo = shown["general"]["virtual_organization"]
    assert (vo["value"], vo["options"]) == (
        "vo.ai4eosc.eu",
        ["vo.ai4eosc.eu", "vo.imagine-ai.eu"],
    )
    assert shown["hardware"]["gpu_num"]["range"] == [0, 8]
    for group in shown.values():
        for field in group.values():
            assert (
                {"name", "value"}
                <= set(field)
                <= {"name", "value", "options", "range", "description"}
            )


def test_the_form_is_open_but_tells_no_vos(server):
    shown = server.client.get("/v1/info/conf/some-module")
    assert shown.status_code == 200
    assert "vo." not in shown.json()["general"]["virtual_organization"].get("value")
    assert shown.json()["general"]["virtual_organization"]["options"] == []


def test_a_wrong_token_is_told_even_where_none_is_needed(server):
    headers = {"Authorization": "Bearer nobody"}
    assert server.client.get("/v1/info/conf/some-module", headers=headers).status_code == 401


@pytest.mark.parametrize("module", ["..%2fetc", "%2e%2e", "a:b", "a%20b", "x" * 300, "${attr.x}"])
def test_what_can_be_no_module_has_no_form(server, module):
    assert server.client.get(f"/v1/info/conf/{module}").status_code == 404


@pytest.fixture(scope="module")
def by_vo(server, serve):
    """A server whose second VO has fewer GPUs to give."""
    tree = yaml.safe_load((ETC / "userconf.yaml").read_text())
    tree["hardware"]["gpu_num"]["vo"] = {VOS[1]: {"range": [0, 2]}}
    services = replace(server.app.state.services, conf=read_userconf(tree))
    with (
        serve(create_app(services)) as url,
        httpx.Client(base_url=url, trust_env=False) as client,
    ):
        yield replace(server, url=url, client=client)


def test_the_form_and_the_check_are_those_of_the_vo(by_vo):
    """C25"""
    me, form = by_vo.caller(several_vos=True), "/v1/info/conf/some-module"
    for vo, highest in ((None, 8), (VOS[0], 8), (VOS[1], 2)):
        shown = me.get(form, params={"vo": vo} if vo else {}).json()
        assert shown["hardware"]["gpu_num"]["range"] == [0, highest]
        assert shown["general"]["virtual_organization"]["value"] == (vo or VOS[0])
        general = {"virtual_organization": vo or ""}
        body = {"general": general, "hardware": {"gpu_num": highest}}
        assert me.post("/v1/deployments", json=body).status_code == 200
        refusal = me.post("/v1/deployments", json=body | {"hardware": {"gpu_num": highest + 1}})
        assert refusal.status_code == 422
        (cause,) = refusal.json()["causes"]
        assert cause["pointer"] == "/hardware/gpu_num"
        assert cause["allowed"] == f"a whole number from 0 to {highest}"


def test_the_form_of_a_vo_is_for_its_members(by_vo):
    """T19: whether there is such a VO is not told."""
    form, me = "/v1/info/conf/some-module", by_vo.caller()
    foreign, unknown = (me.get(form, params={"vo": vo}) for vo in (VOS[1], "vo.of-nobody.eu"))
    assert (foreign.status_code, unknown.status_code) == (403, 403)
    assert foreign.json()["detail"].replace(VOS[1], "X") == (
        unknown.json()["detail"].replace("vo.of-nobody.eu", "X")
    )
    assert by_vo.client.get(form, params={"vo": VOS[0]}).status_code == 401


@pytest.fixture
def from_python(monkeypatch, tmp_path):
    monkeypatch.setenv("AI4PAPI_STORE_URL", f"sqlite:///{tmp_path / 'specs.db'}")
    monkeypatch.setenv("AI4PAPI_AUTH", "local")
    monkeypatch.setenv("AI4PAPI_LOCAL_TOKEN", "python-token")
    monkeypatch.delenv("NOMAD_ADDR", raising=False)
    deployments._open.cache_clear()
    yield SimpleNamespace(credentials="python-token")
    deployments._open()[0].store.close()
    deployments._open.cache_clear()


def test_the_seeds_python_example_works_as_written(from_python):
    made = deployments.create_deployment(conf=SEEDS_EXAMPLE, authorization=from_python)
    assert made["status"] == "success"
    listed = deployments.get_deployments(authorization=from_python)
    assert [d["job_ID"] for d in listed] == [made["job_ID"]]
    one = deployments.get_deployment(made["job_ID"], authorization=from_python)
    assert one == listed[0]
    assert one["resources"] == {"cpu_num": 1, "gpu_num": 1, "memoryMB": 8000, "diskMB": 20000}
    gone = deployments.delete_deployment(made["job_ID"], authorization=from_python)
    assert gone == {"status": "success"}


def test_python_checks_what_http_checks(from_python):
    stranger = SimpleNamespace(credentials="nobody")
    with pytest.raises(NotAuthenticated):
        deployments.get_deployments(authorization=stranger)
    with pytest.raises(NotAuthenticated):
        deployments.create_deployment(conf={}, authorization=stranger)
    with pytest.raises(InvalidSpec):
        deployments.create_deployment(
            conf={"hardware": {"ram": float("nan")}}, authorization=from_python
        )
    with pytest.raises(NotFound):
        deployments.delete_deployment("missing", authorization=from_python)
    assert deployments.get_deployments(authorization=from_python) == []
