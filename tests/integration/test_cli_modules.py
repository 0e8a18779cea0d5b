"""Modules on the command line: found, shown, and made into spec files that apply as they are."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from reconciler.devices import GpuModel
from specs.catalog.reads import CatalogRead, ModuleRead

MODULES: dict[str, dict[str, Any]] = {
    "deep-oc-image-classification-tf": {
        "title": "Train an image classifier",
        "summary": "Sorts images into classes.",
        "description": "First line.\nSecond line.",
        "tags": ["TensorFlow", "vision"],
        "license": "MIT",
        "links": {"docker_image": "deephdc/image-classification", "source_code": "https://x.org/c"},
        "resources": {"inference": {"cpu": 4, "memory_MB": 16000}},
    },
    "Speech_To.Text": {"title": "Speech to text", "tags": ["audio", "TensorFlow"]},
    "hostile": {
        "title": "a: b # c\u2028d \ufffe \U0001f600",
        "summary": "'\"{[%@`!&*|>?-: no\u202e",
        "tags": ["${env}"],
    },
}
FAULT = "title: must be a text, not 3"


@pytest.fixture(autouse=True)
def _catalog(server):
    reads = [ModuleRead(name, "v2", "1", document) for name, document in MODULES.items()]
    reads.append(ModuleRead("broken", "v2", "1", fault=FAULT))
    server.store.forget_catalogs(but=())
    server.store.put_catalog("test", CatalogRead(reads), rank=0)
    server.app.state.catalog._good_until = 0.0
    yield
    server.store.forget_catalogs(but=())
    server.app.state.catalog._good_until = 0.0


@pytest.fixture
def no_token(cli):
    return lambda *arguments: cli(*arguments, env={"AI4PAPI_TOKEN": ""})


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ((), ["Speech_To.Text", "broken", "deep-oc-image-classification-tf", "hostile"]),
        (("find",), ["Speech_To.Text", "broken", "deep-oc-image-classification-tf", "hostile"]),
        (("IMAGES", "train"), ["deep-oc-image-classification-tf"]),
        (("--tag", "tensorflow"), ["Speech_To.Text", "deep-oc-image-classification-tf"]),
        (("--tag", "tensorflow", "--tag", "Audio"), ["Speech_To.Text"]),
        (("--tag", "tensorflow", "speech"), ["Speech_To.Text"]),
    ],
)
def test_modules_are_found_by_words_and_tags_without_a_token(no_token, arguments, names):
    result = no_token("modules", *arguments, "-o", "name")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == names


def test_the_table_has_tags_and_faults_and_nothing_that_drives_a_terminal(no_token):
    result = no_token("modules")
    assert result.stdout.splitlines()[0].split() == ["NAME", "TAGS", "TITLE"]
    assert f"fault: {FAULT}" in result.stdout
    assert "\u2028" not in result.stdout
    found = json.loads(no_token("modules", "-o", "json", "speech").stdout)
    assert [item["name"] for item in found["items"]] == ["Speech_To.Text"]


def test_where_nothing_is_found_that_is_said_aside(no_token):
    result = no_token("modules", "nothing-like-it")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "no such modules" in result.stderr


def test_a_module_is_shown_with_what_people_ask_first(no_token, server):
    name = "deep-oc-image-classification-tf"
    shown = no_token("modules", "show", name).stdout
    for line in (
        "tags         TensorFlow, vision",
        "image        deephdc/image-classification",
        "needs        cpu_num 4, ram 16000 MB",
        "source_code  https://x.org/c",
        "Second line.",
    ):
        assert line in shown.splitlines()
    whole = server.client.get(f"/v1/modules/metadata/{name}").json()
    assert json.loads(no_token("modules", "show", name, "-o", "json").stdout) == whole
    assert yaml.safe_load(no_token("modules", "show", name, "-o", "yaml").stdout) == whole
    assert FAULT in no_token("modules", "show", "broken").stdout


@pytest.mark.parametrize("command", [("modules", "show"), ("new",)])
def test_an_unknown_module_is_not_found(cli, command):
    result = cli(*command, "speech_to.text")
    assert (result.exit_code, result.stdout) == (4, "")
    assert "did you mean 'Speech_To.Text'?" in result.stderr
    assert result.stderr.endswith("next: ai4papi modules\n")


@pytest.mark.parametrize("module", [*MODULES, "broken"])
@pytest.mark.parametrize("known", [True, False])
def test_what_new_prints_applies_as_it_is(cli, no_token, me, module, known):
    made = (cli if known else no_token)("new", module)
    assert (made.exit_code, made.stderr) == (0, "")
    Path("spec.yaml").write_text(made.stdout)
    tried = cli("apply", "-f", "spec.yaml", "--dry-run")
    assert tried.exit_code == 0, tried.stderr
    assert "created (dry run)" in tried.stdout
    assert me.get("/v1/specs").json()["items"] == []
    assert cli("apply", "-f", "spec.yaml").exit_code == 0
    (made_of_it,) = me.get("/v1/specs").json()["items"]
    assert made_of_it["spec"]["module"] == module
    assert cli("apply", "-f", "spec.yaml").stdout.endswith("unchanged\n")


def test_what_new_prints_says_of_each_field_what_it_is_and_may_be(cli, server, told):
    told["gpus"] = [GpuModel("Tesla V100", 4, 3)]
    told["tags"] = {"deephdc/image-classification": [f"v{number}" for number in range(40)]}
    text = cli("new", "deep-oc-image-classification-tf").stdout
    lines = [line.strip() for line in text.splitlines()]
    assert lines[0] == f"# yaml-language-server: $schema={server.url}/v1/schema/deployment.json"
    assert lines[lines.index("cpu_num: 4") - 1] == "# Number of CPUs. 4 to 64."
    assert lines[lines.index("ram: 16000") - 1].endswith("16000 to 1000000 MB.")
    comments = " ".join(line.removeprefix("# ") for line in lines if line.startswith("#"))
    assert "Options: '', Tesla V100. Free when this was written: 3 of Tesla V100." in comments
    assert "v11 and 28 more" in comments
    assert "jupyter_password: ''" in lines
    tree = yaml.safe_load(text)
    assert tree["metadata"] == {
        "name": "deep-oc-image-classification-tf",
        "vo": "vo.ai4eosc.eu",
    }
    assert tree["spec"]["general"]["docker_image"] == "deephdc/image-classification"
    assert max(map(len, lines)) <= 100


def test_new_for_one_of_several_vos_names_it(server, cli):
    token = server.caller(several_vos=True).token
    made = cli("new", "broken", "--vo", "vo.imagine-ai.eu", env={"AI4PAPI_TOKEN": token})
    assert yaml.safe_load(made.stdout)["metadata"]["vo"] == "vo.imagine-ai.eu"
    assert cli("new", "broken", "--vo", "vo.imagine-ai.eu").exit_code == 5


def test_the_words_of_a_verb_can_be_looked_for(no_token):
    assert no_token("modules", "find", "show").exit_code == 0
    assert "find" in no_token("modules", "--help").stdout
    assert no_token("modules", "show").exit_code == 2


def test_a_field_is_explained_without_a_token_as_the_server_checks_it(no_token):
    told = no_token("explain", "hardware.gpu_num")
    assert (told.exit_code, told.stderr) == (0, "")
    assert "allowed  0 to 8" in told.stdout.splitlines()
    whole = json.loads(no_token("explain", "-o", "json").stdout)
    assert [field["name"] for field in whole["fields"]] == [
        "apiVersion",
        "kind",
        "metadata",
        "spec",
    ]
    assert yaml.safe_load(no_token("explain", "-o", "yaml").stdout) == whole


def test_a_field_is_explained_with_what_a_module_makes_of_it(no_token):
    name = "deep-oc-image-classification-tf"
    lines = no_token("explain", "hardware.cpu_num", "--module", name).stdout.splitlines()
    assert "default  4" in lines
    assert "allowed  4 to 64" in lines
    image = no_token("explain", "general.docker_image", "--module", name).stdout
    assert "default  deephdc/image-classification" in image.splitlines()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("hardware.gpu_nun",), "hint: Did you mean hardware.gpu_num?"),
        (("--module", "no-such-one"), "next: ai4papi modules"),
    ],
)
def test_what_there_is_not_can_not_be_explained(no_token, arguments, said):
    result = no_token("explain", *arguments)
    assert (result.exit_code, result.stdout) == (4, "")
    assert said in result.stderr
