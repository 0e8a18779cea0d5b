"""The form of a module: what its metadata, the quota, the registry and the cluster say of it."""

from dataclasses import replace
from typing import Any

import httpx
import pytest

from api.app import create_app
from api.schemas import FormView
from reconciler.devices import GpuModel
from specs.catalog.reads import CatalogRead, ModuleRead
from specs.quota import Quotas

SOURCE = "https://catalog.example.org/.gitmodules"
IMAGE = "registry.example.org:5000/vision/trainer"
DEFAULTS = {"cpu_num": 1, "gpu_num": 0, "ram": 8000, "disk": 20000}


def module(name: str, **needs: int) -> ModuleRead:
    document = {
        "title": name,
        "links": {"docker_image": f"{IMAGE}:latest"},
        "resources": {"inference": needs},
    }
    return ModuleRead(name, "v2", "1", document)


@pytest.fixture(autouse=True)
def _catalog(server):
    reads = (
        module("trainer", cpu=4, gpu=1, memory_MB=16000, storage_MB=1000),
        module("giant", memory_MB=2_000_000),
        module("modest"),
        ModuleRead("broken", "v2", "1", fault="title: is missing"),
    )
    server.store.put_catalog(SOURCE, CatalogRead(reads), rank=0)
    server.app.state.catalog._good_until = 0.0
    yield
    server.store.forget_catalogs(but=())
    server.app.state.catalog._good_until = 0.0


def form_of(caller, name: str, **query: str) -> dict[str, Any]:
    answer = caller.get(f"/v1/info/conf/{name}", params=query)
    assert answer.status_code == 200, answer.text
    FormView.model_validate(answer.json())
    return answer.json()


def ranges(form) -> dict[str, list[int]]:
    return {key: form["hardware"][key]["range"] for key in DEFAULTS}


def values(form) -> dict[str, int]:
    return {key: form["hardware"][key]["value"] for key in DEFAULTS}


def test_the_module_says_its_image_and_what_it_needs_at_least(server, told):
    form = form_of(server.client, "trainer")
    assert form["general"]["docker_image"]["value"] == IMAGE
    assert ranges(form) == {
        "cpu_num": [4, 64],
        "gpu_num": [1, 8],
        "ram": [16000, 1000000],
        "disk": [1000, 2000000],
    }
    assert values(form) == {"cpu_num": 4, "gpu_num": 1, "ram": 16000, "disk": 20000}


def test_a_module_that_needs_more_than_anybody_may_have_gets_the_most(server):
    form = form_of(server.client, "giant")
    assert form["hardware"]["ram"]["range"] == [1000000, 1000000]
    assert form["hardware"]["ram"]["value"] == 1000000
    assert "the module needs 2000000" in form["hardware"]["ram"]["description"]


def test_what_the_form_holds_is_taken_and_less_is_not(server, me):
    form = form_of(me, "trainer")
    groups = {
        group: {key: field["value"] for key, field in fields.items()}
        for group, fields in form.items()
    }
    body = {"metadata": {"name": "from-form"}, "spec": {"module": "trainer", **groups}}
    made = me.post("/v1/specs", json=body)
    assert made.status_code == 201, made.text
    bare = {"metadata": {"name": "bare"}, "spec": {"module": "trainer"}}
    assert me.post("/v1/specs", json=bare).json()["spec"] == made.json()["spec"]
    for key, (low, _) in ranges(form).items():
        less = {**groups, "hardware": {**groups["hardware"], key: low - 1}}
        body = {"metadata": {"name": "less"}, "spec": {"module": "trainer", **less}}
        (cause,) = me.post("/v1/specs", json=body).json()["causes"]
        assert cause["pointer"] == f"/spec/hardware/{key}"


def test_a_module_that_says_nothing_leaves_the_operators_form(server):
    assert values(form_of(server.client, "modest")) == DEFAULTS


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("nobody-knows", "the catalogue has no module nobody-knows"),
        ("broken", "title: is missing"),
    ],
)
def test_a_name_that_nothing_is_known_of_has_the_form_of_its_image_and_says_so(
    server, told, name, note
):
    told["tags"] = {f"deephdc/{name}": ["cpu"]}
    form = form_of(server.client, name)
    assert form["general"]["docker_image"]["value"] == f"deephdc/{name}"
    assert note in form["general"]["docker_image"]["description"]
    assert "options" not in form["general"]["docker_tag"], "its registry was asked"
    assert values(form) == DEFAULTS


@pytest.mark.parametrize(
    ("tags", "value", "options"),
    [
        (["latest", "gpu", "cpu"], "latest", ["latest", "gpu", "cpu"]),
        (["gpu", "cpu"], "gpu", ["gpu", "cpu"]),
        ([], "latest", ["latest"]),
    ],
)
def test_the_tags_are_those_of_the_registry_or_latest_alone(server, told, tags, value, options):
    told["tags"] = {IMAGE: tags}
    tag = form_of(server.client, "trainer")["general"]["docker_tag"]
    assert (tag["value"], tag["options"]) == (value, options)


def test_the_gpu_models_are_those_of_the_cluster_that_the_operator_offers(server, told):
    told["gpus"] = [
        GpuModel("NVIDIA A100", 2, 0),
        GpuModel("Tesla V100", 4, 3),
        GpuModel("X", 1, 1),
    ]
    field = form_of(server.client, "trainer")["hardware"]["gpu_type"]
    assert field["options"] == ["", "NVIDIA A100", "Tesla V100"]
    assert field["free"] == {"NVIDIA A100": 0, "Tesla V100": 3}
    assert field["value"] == ""


def test_a_cluster_without_gpus_offers_no_model_and_one_out_of_sight_all(server, told):
    told["gpus"] = []
    field = form_of(server.client, "trainer")["hardware"]["gpu_type"]
    assert (field["options"], field["free"]) == ([""], {})
    told["gpus"] = None
    field = form_of(server.client, "trainer")["hardware"]["gpu_type"]
    assert field["options"] == ["", "Tesla K80", "Tesla V100", "NVIDIA A100"]
    assert "free" not in field


@pytest.fixture
def limited(server, serve):
    """The same server, with a quota on its store."""
    quotas = Quotas(
        user={"cpu_num": 16, "gpu_num": 2, "ram": 12000, "gpu_num:Tesla V100": 0},
        vo={"vo.imagine-ai.eu": {"gpu_num": 0, "cpu_num": 32}},
    )
    app = create_app(server.app.state.services)
    app.state.forms = replace(app.state.forms, quotas=quotas)
    with serve(app) as url, httpx.Client(base_url=url, trust_env=False) as client:
        yield replace(server, url=url, client=client, app=app)


def test_the_ranges_end_where_the_quota_of_the_user_and_of_the_vo_do(limited, told):
    told["gpus"] = [GpuModel("NVIDIA A100", 2, 1), GpuModel("Tesla V100", 4, 3)]
    me = limited.caller(several_vos=True)
    assert ranges(form_of(me, "modest")) == {
        "cpu_num": [1, 16],
        "gpu_num": [0, 2],
        "ram": [256, 12000],
        "disk": [256, 2000000],
    }
    there = form_of(me, "modest", vo="vo.imagine-ai.eu")
    assert ranges(there)["gpu_num"] == [0, 0]
    assert ranges(there)["cpu_num"] == [1, 16]
    assert there["hardware"]["gpu_type"]["options"] == ["", "NVIDIA A100"]
    assert form_of(me, "trainer")["hardware"]["ram"]["range"] == [12000, 12000]
    assert ranges(form_of(limited.client, "modest"))["gpu_num"] == [0, 2]
