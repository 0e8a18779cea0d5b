"""One model of a module's metadata, from either format, whatever a source says."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specs.catalog.fields import FIELDS
from specs.catalog.metadata import (
    BadMetadata,
    Metadata,
    Minimum,
    defaults_of,
    metadata_of,
    nothing_known,
    readable,
    shown,
)
from specs.catalog.overlay import overlaid, overlay_of
from specs.catalog.reads import ModuleRead
from specs.faults import Fault, InvalidSpec
from specs.records import json_text
from specs.userconf import is_module, read_userconf
from specs.values import default_values
from specs.yaml_text import read_yaml

ETC = Path(__file__).parents[2] / "etc"
FORM = read_userconf(read_yaml((ETC / "userconf.yaml").read_text()).tree)
SHIPPED = sorted((ETC / "modules").iterdir())

V1 = {
    "title": "Sea grass",
    "summary": "Counts sea grass",
    "description": ["Counts it.", "", "Well."],
    "keywords": ["sea", "grass"],
    "license": "MIT",
    "date_creation": "2019-01-01",
    "sources": {
        "dockerfile_repo": "https://git.example/d",
        "docker_registry_repo": "deephdc/deep-oc-sea-grass:cpu",
        "code": "https://git.example/c",
        "pre_trained_weights": "https://data.example/w",
    },
    "continuous_integration": {"build_status_url": "https://ci.example/1"},
    "dataset_url": "https://data.example/d",
    "training_files_url": "https://data.example/t",
    "cite_url": "https://doi.org/10.1/x",
    "tosca": [{"title": "Mesos", "inputs": ["a"]}],
}
V2 = {
    "metadata_version": "2.3.0",
    "title": "Sea grass",
    "summary": "Counts sea grass",
    "description": "Counts it.\n\nWell.",
    "dates": {"created": "2019-01-01", "updated": "2024-01-01"},
    "links": {
        "source_code": "https://git.example/c",
        "docker_image": "registry.example:5000/sea/grass:cpu",
        "ai4_template": "ai4-template/1.9.9",
        "citation": None,
    },
    "doi": "10.1/x",
    "license": "MIT",
    "tags": ["sea", "grass"],
    "tasks": ["Classification"],
    "data-type": ["Image"],
    "resources": {
        "inference": {"cpu": 2, "gpu": 1, "memory_MB": 16000, "storage_MB": 9, "gpu_memory_MB": 8},
        "training": {"gpu": 4},
    },
}


def understood(document: Any, name: str = "sea-grass") -> Metadata:
    return metadata_of(ModuleRead(name, "v1", document=document))


def fault(document: Any) -> str:
    with pytest.raises(BadMetadata) as refusal:
        understood(document)
    return str(refusal.value)


def test_the_early_format_is_understood():
    assert understood(V1) == Metadata(
        name="sea-grass",
        title="Sea grass",
        summary="Counts sea grass",
        description="Counts it.\n\nWell.",
        keywords=("sea", "grass"),
        license="MIT",
        dates={"created": "2019-01-01"},
        links={
            "source_code": "https://git.example/c",
            "dockerfile": "https://git.example/d",
            "weights": "https://data.example/w",
            "dataset": "https://data.example/d",
            "citation": "https://doi.org/10.1/x",
            "training_files": "https://data.example/t",
            "build": "https://ci.example/1",
        },
        docker_image="deephdc/deep-oc-sea-grass",
        extra={key: value for key, value in V1.items() if key not in FIELDS},
    )


def test_the_format_of_today_is_understood():
    metadata = understood(V2)
    assert metadata.keywords == ("sea", "grass")
    assert metadata.dates == V2["dates"]
    assert metadata.links == {
        "source_code": "https://git.example/c",
        "ai4_template": "ai4-template/1.9.9",
    }
    assert metadata.docker_image == "registry.example:5000/sea/grass"
    assert metadata.resources == Minimum(cpu_num=2, gpu_num=1, ram=16000, disk=9)
    assert set(metadata.extra) == {"metadata_version", "doi", "tasks", "data-type", "resources"}


def test_what_is_shown_has_the_early_clients_keys_and_all_that_was_said():
    early, today = shown(understood(V1)), shown(understood(V2))
    assert early["sources"] == V1["sources"]
    assert (early["description"], early["keywords"]) == ("Counts it.\n\nWell.", ["sea", "grass"])
    assert today["tasks"] == ["Classification"]
    assert today["resources"] == {
        **V2["resources"], "cpu_num": 2, "gpu_num": 1, "ram": 16000, "disk": 9
    }  # fmt: skip


def test_keywords_may_be_one_text_and_texts_are_tidied():
    metadata = understood(
        {
            "title": " Sea\n grass\x1b[31m ",
            "description": "a\r\n\tb\x00\u202e",
            "keywords": "a, b,,c ",
        }
    )
    assert metadata.title == "Sea grass[31m"
    assert metadata.description == "a\n\tb"
    assert metadata.keywords == ("a", "b", "c")


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, "title: is missing"),
        ({"title": ""}, "title: is missing"),
        ({"title": 3}, "title: must be a text, not 3"),
        ({"title": "x" * 201}, "title: has 201 characters, not at most 200"),
        ({"title": "x", "description": ["a", 3]}, "description: must be a text, not a list"),
        ({"title": "x", "tags": ["a", None]}, "tags.1: must be a text, not nothing (null)"),
        ({"title": "x", "keywords": {"a": 1}}, "keywords: must be a list of texts, not a mapping"),
        ({"title": "x", "sources": "y"}, "sources: must be a mapping"),
        ({"title": "x", "sources": {"code": 1}}, "sources.code: must be a text, not 1"),
        (
            {"title": "x", "sources": {"docker_registry_repo": "https://hub.example/r/a"}},
            "sources.docker_registry_repo: 'https://hub.example/r/a' is not a lower-case",
        ),
        ({"title": "x", "links": {"docker_image": "a/${b}"}}, "links.docker_image: 'a/${b}' is"),
        ({"title": "x", "links": []}, "links: must be a mapping, not a list"),
        ({"title": "x", "links": {"a": "JavaScript:x"}}, "links.a: 'JavaScript:x' is not"),
        ({"title": "x", "resources": 4}, "resources: must be a mapping, not 4"),
        ({"title": "x", "resources": {"inference": []}}, "resources.inference: must be a mapping"),
        (
            {"title": "x", "resources": {"inference": {"cpu": True}}},
            "resources.inference.cpu: must be a whole number from 0 to 2147483647, not true",
        ),
        (
            {"title": "x", "resources": {"inference": {"memory_MB": -1}}},
            "resources.inference.memory_MB: must be a whole number from 0 to 2147483647, not -1",
        ),
        ({"title": "x", "a": {"b": [float("inf")]}}, "a.b: must be a finite number"),
        ({"title": "x", "a": 2**70}, "a: must be a number of at most 64 bits"),
        ({"title": "x", "a": {3: 4}}, "a: the key 3 is no text"),
        ({"title": "x", "a": object()}, "a: must be a value that JSON has, not something else"),
        ({"title": "x", "a": "y" * 200_001}, "the document is bigger than 200000 characters"),
        ({"title": "x", "links": {str(i): "https://x" for i in range(65)}}, "links: has 65 entr"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_words_and_where(document, words):
    assert fault(document).startswith(words)


def test_what_is_too_deep_is_refused_without_falling_over():
    tree: Any = "x"
    for _ in range(100_000):
        tree = [tree]
    assert fault({"title": "x", "a": tree}) == "the document is nested deeper than 16 levels"


def test_a_module_that_was_not_read_has_the_readers_fault():
    with pytest.raises(BadMetadata, match="404"):
        metadata_of(ModuleRead("a", "v1", fault="the server answered 404"))


def test_a_module_sets_its_image_and_its_minimum():
    assert defaults_of(understood(V2)) == {
        ("general", "docker_image"): "registry.example:5000/sea/grass",
        ("hardware", "cpu_num"): 2,
        ("hardware", "gpu_num"): 1,
        ("hardware", "ram"): 16000,
        ("hardware", "disk"): 9,
    }
    assert defaults_of(understood({"title": "x"}, "DEEP-OC-x")) == {
        ("general", "docker_image"): "deephdc/deep-oc-x"
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
WORDS = st.sampled_from(sorted({*V1, *V2, *V1["sources"], *V2["links"], "inference", "cpu"}))
DOCUMENTS = st.dictionaries(WORDS, JSON | st.dictionaries(WORDS, JSON, max_size=5), max_size=12)


LINE = st.text(st.characters(categories=["L", "N", "Zs"]), max_size=20)
NUMBER = st.none() | st.integers(0, 2**31 - 1)
SOUND = st.fixed_dictionaries(
    {},
    optional={
        "title": LINE.map("t{}".format),
        "summary": LINE,
        "description": LINE | st.lists(LINE, max_size=4),
        "keywords": st.lists(LINE, max_size=4) | LINE,
        "license": LINE | st.none(),
        "dates": st.dictionaries(LINE, LINE, max_size=2),
        "links": st.dictionaries(LINE, LINE.map("https://{}".format), max_size=3),
        "docker_image": st.sampled_from(["", "a/b", "a/b:cpu", "r.example:5000/a"]),
        "resources": st.fixed_dictionaries(
            {}, optional=dict.fromkeys(["cpu_num", "gpu_num", "ram", "disk"], NUMBER)
        ),
        "name": st.just("sea-grass"),
        "doi": st.just(V2["doi"]),
    },
)


def well_titled(documents: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(lambda document: {**V2, **document, "title": "x"}, documents)


def understood_or_words(document: Any) -> Metadata | str:
    try:
        return understood(document)
    except BadMetadata as bad:
        return str(bad)


def overlay_or_faults(body: Any, source: Metadata) -> tuple[dict[str, Any], tuple[Fault, ...]]:
    try:
        return overlay_of(body, source), ()
    except InvalidSpec as refusal:
        return {}, refusal.faults


@given(DOCUMENTS | well_titled(DOCUMENTS | SOUND))
def test_any_document_is_understood_or_refused_in_words(document):
    metadata = understood_or_words(document)
    if isinstance(metadata, str):
        assert metadata.isprintable()
        return
    kept = json.loads(json_text(readable(document)))
    assert understood(kept) == metadata
    told = json.loads(json_text(shown(metadata)))
    assert set(told) >= {"name", *FIELDS}
    assert {*document} - {"tags"} <= set(told)


BODIES = SOUND | well_titled(DOCUMENTS) | DOCUMENTS


@given(well_titled(SOUND | DOCUMENTS), BODIES)
def test_an_overlay_comes_back_as_it_was_set_and_is_refused_with_pointers(document, body):
    source = understood_or_words(document)
    if isinstance(source, str):
        source = nothing_known("sea-grass")
    fields, faults = overlay_or_faults(body, source)
    assert all(told.pointer or told.code == "TooMany" for told in faults)
    if faults:
        return
    over = overlaid(source, fields)
    assert overlay_of(shown(over), source) == fields
    assert overlay_of(json.loads(json_text(shown(over))), source) == fields
    assert overlaid(source, {}) == source


def test_what_is_shown_may_be_sent_back_with_one_change():
    source = understood(V2)
    body = {**shown(source), "title": "Seagrass", "license": None}
    assert overlay_of(body, source) == {"title": "Seagrass"}
    assert overlaid(source, {"title": "Seagrass"}).summary == source.summary


def test_resources_of_an_overlay_replace_the_sources_whole():
    source = understood(V2)
    fields = overlay_of({**shown(source), "resources": {"ram": 4000}}, source)
    assert fields == {"resources": {"ram": 4000}}
    assert shown(overlaid(source, fields))["resources"] == {"ram": 4000}


@pytest.mark.parametrize(
    ("body", "at", "code"),
    [
        ([], "", "WrongType"),
        ({"titel": "x"}, "/titel", "UnknownKey"),
        ({"name": "other"}, "/name", "UnknownKey"),
        ({"tasks": []}, "/tasks", "UnknownKey"),
        ({"title": ""}, "/title", "WrongLength"),
        ({"summary": "a\x07"}, "/summary", "ControlCharacter"),
        ({"keywords": ["a", 1]}, "/keywords/1", "WrongType"),
        ({"docker_image": "A/b"}, "/docker_image", "BadImage"),
        ({"docker_image": "a/b${c}"}, "/docker_image", "BadImage"),
        ({"links": {"x": "data:text/html,x"}}, "/links/x", "BadLink"),
        ({"resources": {"ram": 1.5}}, "/resources/ram", "WrongType"),
        ({"resources": {"cpu": 1}}, "/resources/cpu", "UnknownKey"),
    ],
)
def test_what_an_editor_may_not_set_is_told_with_a_pointer(body, at, code):
    with pytest.raises(InvalidSpec) as refusal:
        overlay_of(body, understood(V2))
    assert [(told.pointer, told.code) for told in refusal.value.faults] == [(at, code)]


def test_a_typing_error_gets_a_hint():
    with pytest.raises(InvalidSpec, match="did you mean 'title'"):
        overlay_of({"titel": "x"}, understood(V2))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_shipped_module_is_sound_and_fits_the_shipped_form(path):
    text = path.read_text()
    tree = json.loads(text) if path.suffix == ".json" else read_yaml(text).tree
    metadata = understood(tree, path.stem)
    assert is_module(path.stem)
    assert all((metadata.summary, metadata.description, metadata.keywords, metadata.links))
    for key, value in default_values(FORM, defaults_of(metadata)).items():
        assert list(FORM.fields[key].faults(value, "")) == []


def test_modules_are_shipped_in_both_formats():
    assert {path.suffix for path in SHIPPED} == {".json", ".yaml"}
