"""Bodies from outside: what is read, and what is refused where."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specs.faults import InvalidSpec
from specs.json_text import MAX_DEPTH, UnreadableJson, read_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(JSON)
def test_what_is_json_is_read_as_it_is(tree):
    assert read_json(json.dumps(tree).encode()) == tree


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(raw):
    with contextlib.suppress(UnreadableJson, InvalidSpec):
        read_json(raw)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "not JSON"),
        (b"{", "line 1, column 2"),
        (b"{'a': 1}", "not JSON"),
        (b'{"a": 1} x', "not JSON"),
        (b'{"a": "\x00"}', "not JSON"),
        (b'"\xff"', "not UTF-8"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
        (b'{"a": 1, "a": 2}', "'a' stands twice"),
        (b'{"x": {"\\ud800": 1, "\\ud800": 2}}', "stands twice"),
        (b"[" * (MAX_DEPTH + 2) + b"]" * (MAX_DEPTH + 2), "deeper than 32"),
        (b"[" * 100_000, "deeper than 32"),
        (b'{"a":' * 50_000, "deeper than 32"),
    ],
)
def test_what_is_no_json_is_refused_with_the_place(raw, said):
    with pytest.raises(UnreadableJson, match=said):
        read_json(raw)


@pytest.mark.parametrize(
    ("raw", "pointer", "code"),
    [
        (b'{"a": {"b": NaN}}', "/a/b", "NotFinite"),
        (b'{"a": [1, Infinity]}', "/a/1", "NotFinite"),
        (b'{"a": -Infinity}', "/a", "NotFinite"),
        (b'{"a": 1e999}', "/a", "NotFinite"),
        (b'{"a": ' + b"9" * 5000 + b"}", "/a", "NotFinite"),
        (b'{"a": -' + b"9" * 5000 + b"}", "/a", "NotFinite"),
        (b'{"a/b": {"c~d": "\\ud800"}}', "/a~1b/c~0d", "NoText"),
        (b'{"a": {"\\udfff": 1}}', "/a", "NoText"),
        (b"NaN", "", "NotFinite"),
    ],
)
def test_what_no_store_can_hold_is_refused_with_a_pointer(raw, pointer, code):
    with pytest.raises(InvalidSpec) as refused:
        read_json(raw)
    assert [(f.pointer, f.code) for f in refused.value.faults] == [(pointer, code)]


def test_every_fault_is_told_at_once():
    with pytest.raises(InvalidSpec) as refused:
        read_json(b'{"a": NaN, "b": [Infinity], "c": "\\udc00"}')
    assert {f.pointer for f in refused.value.faults} == {"/a", "/b/0", "/c"}


def test_a_surrogate_pair_is_text():
    assert read_json(b'"\\ud83d\\ude00"') == "😀"


def test_the_deepest_allowed_body_is_read():
    assert read_json(b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1))


def test_a_number_beyond_64_bits_is_no_whole_number():
    assert isinstance(read_json(b"1" + b"0" * 40), float)
    assert read_json(b"9223372036854775808") == 2**63
