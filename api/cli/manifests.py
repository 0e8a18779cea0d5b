"""Reads the manifests that a command is given: a file or standard input, YAML or JSON."""

import json
import sys
from pathlib import Path

from api.cli.failures import Code, CommandFailed
from specs.faults import InvalidSpec
from specs.json_text import UnreadableJson, read_json
from specs.yaml_text import Document, YamlFault, read_documents

STDIN = "-"


def read_manifests(file: str) -> list[Document]:
    """Return the documents in `file`, `-` for standard input; empty ones are left out.

    Raises: CommandFailed where the file can't be read, is not YAML or JSON, or holds nothing.
    """
    name = shown_name(file)
    documents = [d for d in _documents(_text(file), name) if d.tree is not None]
    if not documents:
        raise CommandFailed(Code.FAILED, f"{name} holds no manifest")
    for document in documents:
        _refuse_infinite(document, name)
    return documents


def shown_name(file: str) -> str:
    """Return what messages call `file`."""
    return "standard input" if file == STDIN else file


def _text(file: str) -> str:
    try:
        raw = sys.stdin.buffer.read() if file == STDIN else Path(file).read_bytes()
        return raw.decode("utf-8-sig")
    except OSError as error:
        raise CommandFailed(Code.USAGE, f"{file} can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        message = f"{shown_name(file)} is not UTF-8: byte {error.start} can't be read"
        raise CommandFailed(Code.FAILED, message) from error


def _documents(text: str, name: str) -> list[Document]:
    try:
        return read_documents(text)
    except YamlFault as fault:
        # JSON is YAML, but for its escapes beyond 16 bits.
        if (tree := _json(text)) is not None:
            return [Document(tree, {})]
        place = f"{name}:{fault.place.line}:{fault.place.column}"
        raise CommandFailed(Code.FAILED, f"{place}: {fault.message}") from fault


def _json(text: str) -> object:
    try:
        return read_json(text.encode()) if text.lstrip().startswith("{") else None
    except (UnreadableJson, InvalidSpec):
        return None


def _refuse_infinite(document: Document, name: str) -> None:
    try:
        json.dumps(document.tree, allow_nan=False)
    except ValueError as error:
        place = f"{name}:{document.place('').line}"
        message = f"{place}: a number in this document is too large for any field"
        raise CommandFailed(Code.FAILED, message) from error
