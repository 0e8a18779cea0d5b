"""The Exchange API: modules in lists, in full, and as their editors want them."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.catalog import Catalog
from api.catalog_views import CatalogSourceList, ModuleMetadata, ModuleSummary, VersionList
from specs.catalog.reads import CatalogRead, ModuleRead
from specs.catalog.states import CatalogState
from specs.store import SpecStore
from tests.builders import SEAL

SOURCE = "https://catalog.example.org/MODULES.yml"
CLASSIFIER: dict[str, Any] = {
    "title": "Train an image classifier",
    "summary": "Sorts images into the classes that you name.",
    "description": ["First line.", "Second line."],
    "keywords": ["TensorFlow", "image classification"],
    "license": "MIT",
    "date_creation": "2019-07-31",
    "sources": {"docker_registry_repo": "deephdc/deep-oc-image-classification-tf"},
    "something_else": {"kept": [1, 2]},
}
DETECTOR: dict[str, Any] = {
    "title": "Objekterkennung für Straßen",
    "summary": "Finds objects in images.",
    "keywords": ["PyTorch"],
}
READS = (
    ModuleRead("detector", "v1", "1", DETECTOR),
    ModuleRead("classifier", "v1", "1", CLASSIFIER),
    ModuleRead("broken", "v1", "1", fault="metadata.json: not JSON at line 3"),
)
NAMES = ["broken", "classifier", "detector"]
STATE = CatalogState(
    source=SOURCE,
    kind="modules_yml",
    url=SOURCE,
    read_at=datetime(2026, 11, 24, 12, tzinfo=UTC),
    expires_at=datetime(2100, 1, 1, tzinfo=UTC),
    modules=3,
    faults=1,
)


def shelve(server, *reads: ModuleRead, state: CatalogState = STATE) -> None:
    """Write a catalogue as the process that reads the sources does."""
    server.store.put_catalog(SOURCE, CatalogRead(reads), rank=0)
    server.store.put_catalog_state(SOURCE, state)
    server.app.state.catalog._good_until = 0.0  # as after the second that a look is good for


@pytest.fixture(autouse=True)
def _catalog(server):
    shelve(server, *READS)
    yield
    server.store.forget_catalogs(but=())
    server.app.state.catalog._good_until = 0.0


@pytest.fixture
def editor(server):
    return server.caller(editor=True)


@pytest.mark.parametrize("slash", ["", "/"])
def test_the_names_are_listed_for_everybody(server, slash):
    answer = server.client.get(f"/v1/modules{slash}")
    assert (answer.status_code, answer.json()) == (200, NAMES)
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("slash", ["", "/"])
def test_the_summary_has_what_the_seed_says_and_the_fault_of_one_that_has_one(server, slash):
    shown = server.client.get(f"/v1/modules/summary{slash}").json()
    assert [ModuleSummary.model_validate(item).name for item in shown] == NAMES
    assert shown[0] == {
        "name": "broken",
        "title": "broken",
        "summary": "",
        "keywords": [],
        "fault": "metadata.json: not JSON at line 3",
    }
    assert shown[1] == {
        "name": "classifier",
        "title": CLASSIFIER["title"],
        "summary": CLASSIFIER["summary"],
        "keywords": CLASSIFIER["keywords"],
    }


def test_the_metadata_are_whole_and_unknown_fields_are_kept(server):
    shown = server.client.get("/v1/modules/metadata/classifier").json()
    ModuleMetadata.model_validate(shown)
    assert shown["description"] == "First line.\nSecond line."
    assert shown["docker_image"] == "deephdc/deep-oc-image-classification-tf"
    assert shown["something_else"] == {"kept": [1, 2]}
    assert "fault" not in shown


def test_a_module_that_can_not_be_used_says_why(server):
    answer = server.client.get("/v1/modules/metadata/broken")
    assert answer.status_code == 200
    assert answer.json() == {"name": "broken", "fault": "metadata.json: not JSON at line 3"}


def test_a_module_whose_latest_document_is_bad_is_served_as_it_was_with_the_fault(server):
    shelve(server, ModuleRead("classifier", "v1", "2", {"title": 3}))
    shown = server.client.get("/v1/modules/metadata/classifier").json()
    assert shown["title"] == CLASSIFIER["title"]
    assert "title" in shown["fault"]
    assert server.client.get("/v1/modules/summary").json()[0]["fault"] == shown["fault"]


def test_a_field_named_fault_of_a_document_is_no_fault(server):
    shelve(server, ModuleRead("detector", "v1", "2", {**DETECTOR, "fault": 3}))
    assert "fault" not in server.client.get("/v1/modules/metadata/detector").json()


def test_an_unknown_module_is_told_with_the_likely_one(server):
    answer = server.client.get("/v1/modules/metadata/clasifier")
    assert answer.status_code == 404
    assert "did you mean 'classifier'?" in answer.json()["detail"]
    assert "/v1/modules" in answer.json()["hint"]


@pytest.mark.parametrize("name", ["..%2fetc", "%00", "x" * 3000, "%ff", "a%20b", "${x}"])
def test_what_is_no_name_is_an_unknown_module(server, name):
    assert server.client.get(f"/v1/modules/metadata/{name}").status_code == 404


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("q=IMAGE", ["classifier", "detector"]),
        ("q=images+classes", ["classifier"]),
        ("q=images+tensor", ["classifier"]),
        ("q=broken", ["broken"]),
        ("q=straSSen", ["detector"]),
        ("q=nothing", []),
        ("q=namepytorch", []),
        ("q=++", NAMES),
        ("tags=tensorflow", ["classifier"]),
        ("tags=tensor", []),
        ("tags=TENSORFLOW,Image%20Classification", ["classifier"]),
        ("tags=tensorflow&tags=pytorch", []),
        ("tags=,", NAMES),
        ("tags=tensorflow&q=finds", []),
    ],
)
def test_all_words_and_all_tags_must_be_there_in_any_case(server, query, names):
    assert server.client.get(f"/v1/modules?{query}").json() == names
    shown = server.client.get(f"/v1/modules/summary?{query}").json()
    assert [item["name"] for item in shown] == names


@pytest.mark.parametrize(
    ("query", "at"),
    [("tag=x", "/query/tag"), ("q=a&q=b", "/query/q"), (f"tags={'x' * 1001}", "/query/tags")],
)
def test_a_search_that_is_none_is_refused(server, query, at):
    answer = server.client.get(f"/v1/modules?{query}")
    assert answer.status_code == 422
    assert [cause["pointer"] for cause in answer.json()["causes"]] == [at]


@pytest.mark.parametrize(
    "path", ["/v1/modules", "/v1/modules/summary", "/v1/modules?q=image", "/v1/modules/metadata/x"]
)
def test_what_did_not_change_is_not_sent_again(server, path):
    path = path.replace("/x", "/detector")
    first = server.client.get(path)
    again = server.client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    shelve(server, *READS[1:], replace(READS[0], document={**DETECTOR, "title": "New images"}))
    newer = server.client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert newer.status_code == (200 if path != "/v1/modules" and "q=" not in path else 304)


def test_the_age_is_told_and_that_it_is_over_only_where_the_source_fails(server):
    now = datetime.now(UTC)
    hour = timedelta(hours=1)
    for expires_at, error, stale in (
        (now + hour, "", None),
        (now + hour, "it does not answer", None),
        (now - hour, "", None),
        (now - hour, "it does not answer", "true"),
    ):
        known = {"read_at": now - 7 * hour, "expires_at": expires_at, "error": error}
        shelve(server, *READS, state=STATE.model_copy(update=known))
        for path in ("/v1/modules", "/v1/modules/summary", "/v1/modules/metadata/detector"):
            answer = server.client.get(path)
            assert answer.headers.get("X-Catalog-Stale") == stale
            age_s = int(answer.headers["Age"])
            assert 25_200 <= age_s <= 25_260
            assert answer.headers["Cache-Control"] == f"public, max-age={age_s + 60}"
            assert answer.json()


def test_an_editor_changes_a_module_and_takes_it_back(server, editor):
    path = "/v1/modules/metadata/classifier"
    source = server.client.get(path)
    changed = editor.put(path, json={"title": "Ours"}, headers={"If-Match": source.headers["ETag"]})
    assert (changed.status_code, changed.json()["title"]) == (200, "Ours")
    assert changed.json()["summary"] == CLASSIFIER["summary"]
    shown = server.client.get(path)
    assert shown.json() == changed.json()
    assert shown.headers["ETag"] == changed.headers["ETag"] != source.headers["ETag"]
    assert server.client.get("/v1/modules?q=ours").json() == ["classifier"]
    restored = editor.delete(path, headers={"If-Match": shown.headers["ETag"]})
    assert (restored.status_code, restored.json()) == (200, source.json())
    assert server.client.get(path).json() == source.json()
    assert editor.delete(path).status_code == 200


def test_who_read_an_older_version_is_refused(server, editor):
    path = "/v1/modules/metadata/detector"
    etag = server.client.get(path).headers["ETag"]
    assert editor.put(path, json={"title": "A"}, headers={"If-Match": etag}).status_code == 200
    for method in ("PUT", "DELETE"):
        body = {"json": {"title": "B"}} if method == "PUT" else {}
        late = editor.request(method, path, headers={"If-Match": etag}, **body)
        assert late.status_code == 412
    assert server.client.get(path).json()["title"] == "A"
    assert editor.put(path, json={"title": "B"}, headers={"If-Match": "*"}).status_code == 200
    assert editor.put(path, json={"title": "C"}, headers={"If-Match": 'W/"x"'}).status_code == 412
    assert editor.delete(path).status_code == 200


@pytest.mark.parametrize(
    ("body", "at"),
    [
        ({"title": 3}, "/title"),
        ({"keywords": [1]}, "/keywords"),
        ({"docker_image": "${attr.unique.hostname}"}, "/docker_image"),
        ([], ""),
    ],
)
def test_bad_fields_are_refused_with_a_pointer_to_each(server, editor, body, at):
    answer = editor.put("/v1/modules/metadata/detector", json=body)
    assert answer.status_code == 422, answer.text
    assert any(cause["pointer"].startswith(at) for cause in answer.json()["causes"])


def test_only_editors_change_modules_and_read_who_did(server, me):
    path = "/v1/modules/metadata/detector"
    for caller, status in ((server.client, 401), (me, 403), (server.caller(operator=True), 403)):
        assert caller.put(path, json={"title": "Mine"}).status_code == status
        assert caller.delete(path).status_code == status
        assert caller.get(f"{path}/versions").status_code == status
    assert server.client.get(path).json()["title"] == DETECTOR["title"]


def test_the_versions_say_who_set_what(server, editor):
    path = "/v1/modules/metadata/detector"
    editor.put(path, json={"title": "First"})
    editor.put(path, json={"title": "Second"})
    editor.delete(path)
    shown = VersionList.model_validate(editor.get(f"{path}/versions").json())
    assert [item.fields and item.fields["title"] for item in shown.items[:3]] == [
        None,
        "Second",
        "First",
    ]
    assert {item.author for item in shown.items[:3]} == {editor.token}
    assert editor.get("/v1/modules/metadata/nobody/versions").status_code == 404
    assert editor.put("/v1/modules/metadata/nobody", json={}).status_code == 404
    assert editor.delete("/v1/modules/metadata/nobody").status_code == 404


def test_operators_see_what_is_wrong_where(server, me):
    answer = server.caller(operator=True).get("/v1/modules/sources")
    (source,) = CatalogSourceList.model_validate(answer.json()).items
    assert (source.source, source.kind, source.modules) == (SOURCE, "modules_yml", 3)
    assert [(fault.name, fault.fault) for fault in source.faults] == [
        ("broken", "metadata.json: not JSON at line 3")
    ]
    assert me.get("/v1/modules/sources").status_code == 403
    assert server.client.get("/v1/modules/sources").status_code == 401


def test_a_look_at_the_store_is_good_for_a_second_and_lists_are_made_once(tmp_path):
    clock = [0.0]
    store = SpecStore(f"sqlite:///{tmp_path / 'specs.db'}", seal=SEAL)
    store.migrate()
    desk = Catalog(store, clock=lambda: clock[0])
    store.put_catalog(SOURCE, CatalogRead(READS), rank=0)
    assert desk.known() is None
    first = desk.look()
    assert json.loads(first.names.body) == NAMES
    clock[0] = 0.9
    assert desk.known() is first
    clock[0] = 1.1
    assert desk.known() is None
    assert desk.look() is first
    assert desk.look().names is first.names
    store.put_catalog(SOURCE, CatalogRead(READS[:1]), rank=0)
    clock[0] = 2.2
    assert json.loads(desk.look().names.body) == ["detector"]
    store.close()
