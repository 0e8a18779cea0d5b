"""A module's metadata as a file: JSON or YAML, of the early format or today's (pure)."""

from collections.abc import Mapping
from typing import Any

from specs.catalog.reads import Format
from specs.faults import InvalidSpec
from specs.json_text import UnreadableJson, read_json
from specs.texts import shown
from specs.yaml_text import YamlFault, read_yaml


class BadDocument(ValueError):
    """The file holds no metadata. `str()` says why, for people."""


def read_document(content: bytes, file: str) -> Mapping[str, Any]:
    """Return the mapping in a file, which is JSON where its name ends so, else YAML.

    Raises: BadDocument.
    """
    tree = _json(content, file) if file.lower().endswith(".json") else _yaml(content, file)
    if not isinstance(tree, dict):
        raise BadDocument(f"{file} must hold a mapping, not {shown(tree)}")
    return tree


def format_of(document: Mapping[str, Any]) -> Format:
    """Return which format a document is in, by its own keys.

    Today's says its `metadata_version`, or has `tags`, `dates` or `links`, which the early one has
    under other names.
    """
    if "metadata_version" in document:
        return "v2"
    early = {"keywords", "date_creation", "sources"} & document.keys()
    today = {"tags", "dates", "links", "libraries", "resources"} & document.keys()
    return "v2" if len(today) > len(early) else "v1"


def module_of(path: str) -> str:
    """Return the module whose metadata a file of that name holds: `<name>.json|yaml|yml`."""
    return path.rpartition("/")[2].rpartition(".")[0]


def _json(content: bytes, file: str) -> object:
    try:
        tree: object = read_json(content, file)
    except UnreadableJson as error:
        raise BadDocument(str(error)) from error
    except InvalidSpec as error:
        first = error.faults[0]
        raise BadDocument(f"{file}: {first.pointer}: {first.message}") from error
    return tree


def _yaml(content: bytes, file: str) -> object:
    try:
        tree: object = read_yaml(content.decode("utf-8")).tree
    except UnicodeDecodeError as error:
        raise BadDocument(f"{file} is not UTF-8: byte {error.start} can't be read") from error
    except YamlFault as fault:
        raise BadDocument(f"{file}: {fault}") from fault
    return tree
