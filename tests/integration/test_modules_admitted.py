"""A module's defaults come into a spec when it is let in, and stay as they were then."""

import pytest

from specs.catalog.reads import CatalogRead, ModuleRead
from tests.builders import ALICE, VO
from tests.integration.test_sync import Repository, a_sync, named, store, told

__all__ = ["store"]

MODULE = "deep-oc-grass"
OTHER = "deep-oc-kelp"


def shelve(store, *, image, ram, module=MODULE):
    document = {"title": "x", "docker_image": image, "resources": {"inference": {"memory_MB": ram}}}
    read = ModuleRead(module, "v2", document=document)
    store.put_catalog(module, CatalogRead([read]), rank=0)


@pytest.fixture
def modules(server):
    shelve(server.store, image="a/one", ram=9000)
    shelve(server.store, image="a/kelp", ram=7000, module=OTHER)
    yield server.store
    server.store.delete_overlay(MODULE, author="A")
    server.store.forget_catalogs([])


def spec_of(answer):
    assert answer.status_code in {200, 201}, answer.text
    spec = answer.json()["spec"]
    return spec["general"]["docker_image"], spec["hardware"]["ram"]


def test_a_spec_takes_the_modules_defaults_and_keeps_them(me, manifest, modules):
    body = manifest(module=MODULE)
    created = me.post("/v1/specs", json=body)
    assert spec_of(created) == ("a/one", 9000)
    shelve(modules, image="a/two", ram=10_000)
    again = me.post("/v1/specs", json=body)
    assert (again.status_code, again.json()) == (200, created.json())
    assert spec_of(me.put("/v1/specs/train-a", json=body)) == ("a/one", 9000)
    longer = manifest(module=MODULE, general={"title": "t"})
    assert spec_of(me.put("/v1/specs/train-a", json=longer)) == ("a/one", 9000)
    fresh = me.post("/v1/specs", json=manifest("train-b", module=MODULE))
    assert spec_of(fresh) == ("a/two", 10_000)
    modules.put_overlay(MODULE, {"docker_image": "a/mine"}, author="A", vo="v")
    assert spec_of(me.post("/v1/specs", json=manifest("train-c", module=MODULE)))[0] == "a/mine"


def test_another_module_is_another_wish_by_any_way_in(me, manifest, modules):
    me.post("/v1/specs", json=manifest(module=MODULE))
    patched = me.patch("/v1/specs/train-a", json={"spec": {"module": OTHER}})
    assert spec_of(patched) == ("a/kelp", 8000)
    put = me.put("/v1/specs/train-a", json=manifest(module=MODULE, general={"docker_image": "b/c"}))
    assert spec_of(put) == ("b/c", 9000)


def test_less_than_the_module_needs_is_refused_with_a_pointer(me, manifest, modules):
    answer = me.post("/v1/specs", json=manifest(module=MODULE, hardware={"ram": 500}))
    assert answer.status_code == 422
    (cause,) = answer.json()["causes"]
    assert (cause["pointer"], cause["code"]) == ("/spec/hardware/ram", "BelowMinimum")
    assert cause["message"] == "500 is less than the module needs, 9000"


def test_a_module_that_nobody_lists_has_the_image_of_its_name(me, manifest, modules):
    answer = me.post("/v1/specs", json=manifest(module="DEEP-OC-nowhere"))
    assert spec_of(answer) == ("deephdc/deep-oc-nowhere", 8000)


@pytest.mark.usefixtures("told")
def test_a_spec_file_takes_them_too_and_a_dry_run_shows_them(me, manifest, modules, store):
    tried = me.post("/v1/specs?dryRun=true", json=manifest(module=MODULE))
    assert spec_of(tried) == ("a/one", 9000)
    metadata = f"{{name: n, owner: {ALICE.sub}, vo: {VO}}}"
    file = f"metadata: {metadata}\nspec: {{module: {MODULE}}}\n"
    repository = Repository({"deploy/n.yaml": file})
    shelve(store, image="a/one", ram=9000)
    sync = a_sync(store, repository)
    assert told(sync.run_once()) == {"created": ["n"]}
    assert named(store, "n").spec.general.docker_image == "a/one"
    shelve(store, image="a/two", ram=10_000)
    repository.files["deploy/n.yaml"] = file + "# a remark\n"
    assert told(sync.run_once()) == {}
    repository.files["deploy/n.yaml"] = file.replace(
        f"module: {MODULE}", f"module: {MODULE}, hardware: {{cpu_num: 2}}"
    )
    assert told(sync.run_once()) == {"changed": ["n"]}
    record = named(store, "n")
    assert (record.spec.general.docker_image, record.spec.hardware.ram) == ("a/one", 9000)
