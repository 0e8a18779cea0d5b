"""What `-f` reads."""

import io
import sys
from pathlib import Path

import pytest

from api.cli.failures import Code, CommandFailed
from api.cli.manifests import read_manifests


def trees(path: Path, text: str) -> list[object]:
    path.write_text(text, encoding="utf-8")
    return [document.tree for document in read_manifests(str(path))]


def test_several_documents_are_read_and_empty_ones_left_out(tmp_path: Path) -> None:
    assert trees(tmp_path / "f", "---\na: 1\n---\n# nothing\n---\nb: 2\n") == [{"a": 1}, {"b": 2}]


@pytest.mark.parametrize(
    "text", ['{"a": "\\ud83d\\ude00"}', '\n\t{"a":"😀"}', "a: 😀", '\ufeff{"a": "😀"}']
)
def test_json_is_read_too_however_it_writes_its_letters(tmp_path: Path, text: str) -> None:
    assert trees(tmp_path / "f", text) == [{"a": "😀"}]


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a: 1")))
    assert [document.tree for document in read_manifests("-")] == [{"a": 1}]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\na: 2\n", ":2:1: the key 'a' stands in line 1 already"),
        ('{"a": 1, "a": 2}', "stands in line 1 already"),
        ("a: &x 1\nb: *x\n", "anchors"),
        ("a: [", ":"),
        ("a: 1\n---\nb: 1e999\n", ":3: a number in this document is too large"),
        ("", "holds no manifest"),
        ("# only a comment\n", "holds no manifest"),
    ],
)
def test_what_can_not_be_read_is_told_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "f.yaml"
    with pytest.raises(CommandFailed) as caught:
        trees(path, text)
    assert caught.value.code is Code.FAILED
    assert caught.value.message.startswith(str(path))
    assert said in caught.value.message


def test_a_file_of_other_bytes_is_told(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"a: \xff")
    with pytest.raises(CommandFailed, match="not UTF-8"):
        read_manifests(str(path))


@pytest.mark.parametrize("name", ["none", "."])
def test_a_file_that_is_none_is_a_usage_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(CommandFailed) as caught:
        read_manifests(str(tmp_path / name))
    assert caught.value.code is Code.USAGE
