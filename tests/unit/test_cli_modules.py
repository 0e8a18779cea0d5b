"""Spec files made of a module and its form."""

import pytest
import yaml

from api.cli.module_texts import label_of, spec_file
from api.cli.texts import is_name
from specs.yaml_text import read_documents

FORM = {
    "general": {
        "virtual_organization": {"name": "VO", "value": "", "options": []},
        "title": {"name": "Title", "value": "no"},
        "service": {"name": "Service", "value": "jupyterlab", "options": ["deepaas", "jupyterlab"]},
        "jupyter_password": {"name": "Password", "value": ""},
    },
    "hardware": {"ram": {"name": "RAM", "value": 256, "range": [256, 512]}},
    "storage": {},
}


def made(**values: str) -> tuple[dict, str]:
    general = FORM["general"] | {
        key: {"name": key, "value": value} for key, value in values.items()
    }
    text = spec_file({"name": "m"}, {**FORM, "general": general}, server="https://papi.example.org")
    (document,) = read_documents(text)
    assert document.tree == yaml.safe_load(text), "not read alike by every reader"
    return document.tree, text


def test_a_lab_has_a_password_that_is_made_anew():
    (first, text), (second, _) = made(), made()
    words = [tree["spec"]["general"]["jupyter_password"] for tree in (first, second)]
    assert all(len(word) >= 9 for word in words)
    assert words[0] != words[1]
    assert "choose your own" in text


@pytest.mark.parametrize(
    "value", ["no", "12:30", "017", "2024-01-01", "a: b", "# c", "- d", "a\nb\n", "\u2028", "'", ""]
)
def test_a_value_is_read_back_as_it_was(value):
    tree, text = made(title=value)
    assert tree["spec"]["general"]["title"] == value
    assert text.count("\n") == made()[1].count("\n"), "it goes on where no reader need look"


@pytest.mark.parametrize(
    ("module", "label"),
    [
        ("DEEP-OC_Image.Classifier", "deep-oc-image-classifier"),
        ("a" * 80, "a" * 63),
        (f"{'a' * 62}.b", "a" * 62),
        ("", "my-deployment"),
    ],
)
def test_a_deployment_is_named_after_its_module(module, label):
    assert label_of(module) == label
    assert is_name(label)
