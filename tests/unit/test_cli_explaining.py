"""What a field of a spec file is, in words, from the schema that the server gives."""

import json
from pathlib import Path

import pytest

from api.cli.choices import ViewFormat
from api.cli.explaining import explained, find_field
from api.cli.failures import Code, CommandFailed

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/deployment.schema.json").read_text())
FORM = {
    "general": {
        "docker_image": {"name": "Image", "value": "deephdc/x"},
        "docker_tag": {"name": "Tag", "value": "cpu", "options": ["cpu", "gpu"]},
        "desc": {"name": "Text", "value": "", "range": [0, 10]},
    },
    "hardware": {"cpu_num": {"name": "CPUs", "value": 4, "range": [4, 64]}},
    "unknown": {"more": {"name": "More", "value": 1}},
}


def lines(path: str, form: dict | None = None) -> list[str]:
    return explained(SCHEMA, form, path, ViewFormat.TABLE).splitlines()


@pytest.mark.parametrize(
    "path", ["hardware.gpu_num", "spec.hardware.gpu_num", ".spec.hardware.gpu_num"]
)
def test_a_number_has_type_default_and_limits_under_its_short_path_too(path):
    assert lines(path) == [
        "field    spec.hardware.gpu_num",
        "type     integer",
        "default  0",
        "allowed  0 to 8",
        "title    Number of GPUs",
    ]


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("general.service", "allowed  deepaas, jupyterlab"),
        ("general.service", "type     string"),
        ("general.title", "allowed  up to 45 characters"),
        ("general.title", "default  ''"),
        ("hardware.gpu_type", "allowed  '', Tesla K80, Tesla V100, NVIDIA A100"),
        ("suspend", "default  false"),
        ("metadata.owner", "type     string or object"),
        ("metadata.labels", "type     map of string"),
        ("metadata.vo", "allowed  vo.ai4eosc.eu, vo.imagine-ai.eu"),
        ("ttl", "How long it lives from its creation on: 90m, 12h, 7d"),
    ],
)
def test_each_kind_of_field_says_what_it_may_be(path, line):
    assert line in lines(path)


def test_a_group_lists_its_fields_and_the_file_what_it_needs():
    assert [line.split()[0] for line in lines("hardware") if line][-7:] == [
        "FIELD",
        "cpu_num",
        "gpu_num",
        "gpu_type",
        "ram",
        "disk",
        "gpu",
    ]
    assert any(line.startswith("metadata (needed)") for line in lines(""))


def test_a_modules_defaults_and_options_come_first():
    assert "default  4" in lines("hardware.cpu_num", FORM)
    assert "allowed  4 to 64" in lines("hardware.cpu_num", FORM)
    assert "allowed  cpu, gpu" in lines("general.docker_tag", FORM)
    assert "allowed  up to 10 characters" in lines("general.desc", FORM)
    assert "default  1" in lines("hardware.cpu_num")


def test_json_is_the_same_as_values():
    told = json.loads(explained(SCHEMA, None, "hardware", ViewFormat.JSON))
    assert told["path"] == "spec.hardware"
    assert told["fields"][0] == {
        "name": "cpu_num",
        "required": False,
        "type": "integer",
        "title": "Number of CPUs",
        "default": 1,
        "range": [1, 64],
    }


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("hardware.gpu_nun", "hardware.gpu_num"),
        ("spec.hardwear", "spec.hardware"),
        ("sepc", "spec"),
        ("hardware.gpu_num.more", "hardware.gpu_num"),
    ],
)
def test_an_unknown_field_is_not_found_and_the_closest_is_named(path, near):
    with pytest.raises(CommandFailed) as failed:
        find_field(SCHEMA, path)
    assert failed.value.code is Code.NOT_FOUND
    assert failed.value.hint == f"Did you mean {near}?"
    assert failed.value.next_command == f"ai4papi explain {near}"


def test_what_is_like_nothing_leads_to_the_whole():
    with pytest.raises(CommandFailed) as failed:
        find_field(SCHEMA, "qqqq")
    assert (failed.value.hint, failed.value.next_command) == ("", "ai4papi explain")


def test_a_hostile_schema_drives_no_terminal():
    schema = {"properties": {"spec": {"properties": {"a": {"description": "x\x1b[2J"}}}}}
    assert "\x1b" not in explained(schema, None, "a", ViewFormat.TABLE)
