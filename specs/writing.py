"""Manifests as files that people keep: clean, in block YAML, the same to every reader (pure)."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import yaml

from specs.texts import control

SCHEMA_PATH: Final = "/v1/schema/deployment.json"

USUAL: Final[Mapping[str, object]] = {"suspend": False, "restart": 0}
USUAL_UPDATE: Final[Mapping[str, object]] = {"policy": "safe", "rollbackOnFailure": False}
"""What stands in every spec that says nothing of it, and never changes."""

_METADATA: Final = ("labels", "annotations")
_OTHERS_MISREAD: Final = re.compile(r"[yYnN]|[-+]?0o[0-7_]+|[-+]?0b[01_]+|[-+.0-9][-+.0-9_:eE]*")
"""Texts that some reader of YAML takes for a number or a boolean, beyond what PyYAML knows."""


def manifest_of_view(view: Mapping[str, Any], *, owner: bool = False) -> dict[str, Any]:
    """Return the manifest that, applied to the deployment that the API shows, changes nothing.

    What a spec says by saying nothing is left out; defaults of the form stay, so that other ones
    of tomorrow change nothing. `owner`: say whose it is.
    """
    shown = view["metadata"]
    metadata: dict[str, Any] = {"name": shown["name"], "vo": shown["vo"]}
    if owner:
        metadata["owner"] = {key: shown["owner"][key] for key in ("iss", "sub")}
    metadata |= {key: dict(sorted(shown[key].items())) for key in _METADATA if shown.get(key)}
    return {
        "apiVersion": "ai4papi/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": _clean_spec(view["spec"], vo=shown["vo"]),
    }


def manifest_text(manifest: Mapping[str, Any]) -> str:
    """Return YAML that our own reader and YAML 1.1 readers read alike."""
    text = _dumped(manifest, allow_unicode=True)
    if control(text, lines=True):
        # YAML takes a turned writing direction for a letter like any other.
        text = _dumped(manifest, allow_unicode=False)
    return text


def editor_line(server: str) -> str:
    """Return the line by which editors complete and check a spec file."""
    return f"# yaml-language-server: $schema={server}{SCHEMA_PATH}\n"


def stream_text(manifests: Iterable[Mapping[str, Any]], *, server: str) -> str:
    """Return one text of several documents."""
    return editor_line(server) + "---\n".join(map(manifest_text, manifests))


def _clean_spec(spec: Mapping[str, Any], *, vo: str) -> dict[str, Any]:
    clean = {
        key: value
        for key, value in spec.items()
        if value is not None and not _same(USUAL.get(key), value)
    }
    if "general" in clean and clean["general"].get("virtual_organization") == vo:
        general = clean["general"]
        clean["general"] = {k: v for k, v in general.items() if k != "virtual_organization"}
    update = {k: v for k, v in clean.pop("update", {}).items() if not _same(USUAL_UPDATE.get(k), v)}
    return clean | ({"update": update} if update else {})


def _same(usual: object, value: object) -> bool:
    return type(usual) is type(value) and usual == value  # 0 equals False in Python


class _Writer(yaml.SafeDumper):
    """Writes block YAML with lists indented and no alias."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def _text_node(writer: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "'" if _misread(text) else "|" if "\n" in text else None
    return writer.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Writer.add_representer(str, _text_node)


def _misread(text: str) -> bool:
    """Whether the text, unquoted, is no text to us or to some other reader."""
    if _OTHERS_MISREAD.fullmatch(text):
        return True
    return len(text) <= 5 and text.lower() in {"", "~", "null", "true", "false"}


def _dumped(manifest: Mapping[str, Any], *, allow_unicode: bool) -> str:
    return yaml.dump(
        dict(manifest),
        Dumper=_Writer,
        allow_unicode=allow_unicode,
        default_flow_style=False,
        sort_keys=False,
        width=1_000_000,
    )
