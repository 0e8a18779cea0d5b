import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specs.yaml_text import (
    MAX_BYTES,
    MAX_DEPTH,
    Place,
    YamlFault,
    read_documents,
    read_yaml,
)

MANIFEST = """\
metadata:
  name: train-a   # the name
  labels: {team: vision}
spec:
  hardware:
    ram: 8000
  args:
    - one
    - two
"""


def test_a_manifest_is_read():
    assert read_yaml(MANIFEST).tree == {
        "metadata": {"name": "train-a", "labels": {"team": "vision"}},
        "spec": {"hardware": {"ram": 8000}, "args": ["one", "two"]},
    }


@pytest.mark.parametrize(
    ("at", "place"),
    [
        ("", (1, 1)),
        ("/metadata/name", (2, 3)),
        ("/metadata/labels/team", (3, 12)),
        ("/spec/hardware/ram", (6, 5)),
        ("/spec/args/1", (9, 7)),
        ("/spec/hardware/gpu_num", (5, 3)),
        ("/nowhere/at/all", (1, 1)),
    ],
)
def test_a_pointer_leads_to_its_place_or_the_nearest_around_it(at, place):
    assert read_yaml(MANIFEST).place(at) == Place(*place)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("12:30", "12:30"),
        ("017", "017"),
        ("0x1f", "0x1f"),
        ("1_000", "1_000"),
        ("2024-01-01", "2024-01-01"),
        (".nan", ".nan"),
        (".inf", ".inf"),
        ("sha256:00", "sha256:00"),
        ("'8000'", "8000"),
        ('"true"', "true"),
        ("''", ""),
        ("8000", 8000),
        ("-5", -5),
        ("1.0", 1.0),
        ("1e3", 1000.0),
        ("1e999", float("inf")),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
    ],
)
def test_scalars_are_what_yaml_1_2_says(text, value):
    found = read_yaml(f"x: {text}").tree["x"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("a: 1\nb: 2\na: 3", 3, "stands in line 1 already"),
        ("a: {b: 1, b: 2}", 1, "already"),
        ("a: &x 1\nb: 2", 1, "anchors"),
        ("a: 1\nb: *x", 2, "aliases"),
        ("a: 1\nb: !!python/object/apply:os.system ['x']", 2, "tags"),
        ("a: !!str 1", 1, "tags"),
        ("a: ! 1", 1, "tags"),
        ("!x a: 1", 1, "tags"),
        ("a: 1\n<<: {b: 1}", 2, "merge keys"),
        ("? [a]\n: 1", 1, "key must be a text"),
        ("? {a: 1}\n: 1", 1, "key must be a text"),
        ("a: 1\n---\nb: 2", 2, "second document"),
        ("a: 1\n b: 2", 2, ""),
        ("a: [1", 1, ""),
        ("a: 'x", 1, ""),
        ("\ta: 1", 1, ""),
        ("a: " + "9" * 21, 1, "digits"),
        ("a: \0", 1, "NUL"),
        ("a: \ud800", 1, "surrogate"),
        ("a: \x07", 1, ""),
        ("x" * (MAX_BYTES + 1), 1, "longer than"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), 1, "deeper"),
        ("[" * 30000, 1, "deeper"),
        ("{a: " * 15000, 1, "deeper"),
    ],
)
def test_what_a_reader_would_not_expect_is_refused_with_its_line(text, line, word):
    with pytest.raises(YamlFault) as caught:
        read_yaml(text)
    assert word in caught.value.message
    assert abs(caught.value.place.line - line) <= 1


def test_a_character_that_yaml_does_not_know_is_named_with_its_place():
    with pytest.raises(YamlFault) as caught:
        read_yaml("é: ü\nb: ü\x1b[2J")
    assert str(caught.value) == r"line 2, column 5: the character '\x1b' is not allowed in YAML"


def test_the_deepest_allowed_nesting_is_read():
    assert read_yaml("[" * MAX_DEPTH + "]" * MAX_DEPTH).tree is not None


def test_a_quoted_merge_sign_is_a_key_like_others():
    assert read_yaml('"<<": 1').tree == {"<<": 1}


def test_keys_are_texts_whatever_they_look_like():
    assert read_yaml("1: a\ntrue: b\non: c").tree == {"1": "a", "true": "b", "on": "c"}


def test_documents_are_read_in_order():
    documents = read_documents("a: 1\n---\nb: 2\n...\n")
    assert [document.tree for document in documents] == [{"a": 1}, {"b": 2}]
    assert documents[1].place("/b") == Place(3, 1)


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n"])
def test_an_empty_text_is_nothing(text):
    assert read_yaml(text).tree is None


@given(st.text(alphabet=st.sampled_from("ab:-?[]{}&*!|>'\"%@`,# \n\t~<\\\0\ud8001.e\u2028")))
def test_any_text_is_read_or_refused_by_name(text):
    with contextlib.suppress(YamlFault):
        read_documents(text)


# YAML breaks lines at U+2028 and U+2029, and refuses what it calls unprintable.
TEXTS = st.text(
    st.characters(
        codec="utf-8",
        exclude_categories=["Cc", "Cn", "Co", "Zl", "Zp"],
        exclude_characters="\ufeff",
    ),
    max_size=8,
)
TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(TREES)
def test_json_is_read_as_itself(tree):
    assert read_yaml(json.dumps(tree, ensure_ascii=False)).tree == tree


def test_a_password_that_is_taken_for_a_tag_is_not_repeated() -> None:
    """A text that begins with `!` and stands in no quotes; faults are shown to many."""
    with pytest.raises(YamlFault) as caught:
        read_yaml("general: {jupyter_password: !correct-horse }\n")
    assert "correct-horse" not in str(caught.value.message)
    assert "in quotes" in caught.value.message
