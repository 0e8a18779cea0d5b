"""The Exchange API from Python, as the seed's users import it."""

from types import SimpleNamespace

import pytest
from ai4papi.routers.v1 import deployments, modules

from api.auth import NotAuthenticated
from specs.catalog.reads import CatalogRead, ModuleRead
from specs.faults import InvalidSpec, NotFound


@pytest.fixture
def store(monkeypatch, tmp_path):
    monkeypatch.setenv("AI4PAPI_STORE_URL", f"sqlite:///{tmp_path / 'specs.db'}")
    monkeypatch.setenv("AI4PAPI_AUTH", "local")
    monkeypatch.setenv("AI4PAPI_LOCAL_TOKEN", "python-token")
    monkeypatch.delenv("NOMAD_ADDR", raising=False)
    deployments._open.cache_clear()
    modules._desk.cache_clear()
    store = deployments._open()[0].store
    reads = [
        ModuleRead("b", "v1", "1", {"title": "Bee", "keywords": ["insect"]}),
        ModuleRead("a", "v1", "1", {"title": "Ay"}),
        ModuleRead("c", "v1", "1", fault="not JSON"),
    ]
    store.put_catalog("test", CatalogRead(reads), rank=0)
    yield store
    store.close()
    deployments._open.cache_clear()
    modules._desk.cache_clear()


def test_modules_are_listed_and_read_without_a_token(store):
    assert modules.get_modules_list() == ["a", "b", "c"]
    assert modules.get_modules_list(tags=["Insect"]) == ["b"]
    assert modules.get_modules_summary(words=["bee"]) == [
        {"name": "b", "title": "Bee", "summary": "", "keywords": ["insect"]}
    ]
    assert modules.get_modules_summary()[2]["fault"] == "not JSON"
    assert modules.get_module_metadata("a")["title"] == "Ay"
    with pytest.raises(NotFound):
        modules.get_module_metadata("d")


def test_a_change_is_checked_as_over_http(store):
    with pytest.raises(NotAuthenticated):
        modules.update_module_metadata(
            "a", {"title": "Mine"}, authorization=SimpleNamespace(credentials="nobody")
        )
    me = SimpleNamespace(credentials="python-token")
    changed = modules.update_module_metadata("a", {"title": "Mine"}, authorization=me)
    assert changed["title"] == modules.get_module_metadata("a")["title"] == "Mine"
    with pytest.raises(InvalidSpec):
        modules.update_module_metadata("a", {"title": 3}, authorization=me)
