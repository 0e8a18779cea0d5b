"""Metadata as files: JSON or YAML, early or of today."""

import json

import pytest

from specs.catalog.documents import BadDocument, format_of, read_document
from tests.catalog_server import early, today


def test_both_formats_are_told_apart_by_their_content():
    assert format_of(read_document(json.dumps(early("a")).encode(), "a.json")) == "v1"
    assert format_of(read_document(today("a").encode(), "a.yml")) == "v2"
    assert format_of({"title": "A", "tags": [], "links": {}}) == "v2"
    assert format_of({"title": "A"}) == "v1"


@pytest.mark.parametrize(
    ("content", "file", "said"),
    [
        (b"{", "a.json", "a.json is not JSON"),
        (b"[]", "a.json", "must hold a mapping, not a list"),
        (b"\xff", "a.json", "not UTF-8"),
        (b"[" * 100_000, "a.json", "nested deeper"),
        (b'{"a": NaN}', "a.json", "not a finite number"),
        (b'{"a": 1, "a": 2}', "a.json", "stands twice"),
        (b'{"a": "\\ud800"}', "a.json", "surrogate"),
        (b"a: [", "a.yml", "a.yml: line"),
        (b"a: &x 1", "a.yaml", "anchors"),
        (b"\xff", "a.yml", "not UTF-8"),
        (b"just a text", "a.yml", "must hold a mapping"),
        (b"", "a.yml", "must hold a mapping, not nothing"),
        (b"a: !!python/object/apply:os.system [id]", "a.yml", "are not read: drop it"),
        (b"a: " + b"x" * 70_000, "a.yml", "longer than"),
    ],
)
def test_what_holds_no_metadata_is_told(content, file, said):
    with pytest.raises(BadDocument, match=said):
        read_document(content, file)
