"""Manifests as files: what is written means to every reader what was wished."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from api.views import deployment_view
from specs.faults import InvalidSpec
from specs.userconf import read_userconf
from specs.wish import wish_of_manifest
from specs.writing import editor_line, manifest_of_view, manifest_text, stream_text
from specs.yaml_text import read_documents, read_yaml
from tests.builders import a_deployment, a_spec

CONF = read_userconf(yaml.safe_load((Path(__file__).parents[2] / "etc/userconf.yaml").read_text()))
VO = "vo.ai4eosc.eu"

WORDS = (
    "no yes on off y n Y N true True null Null ~ 1e3 1E3 0x1 0X1F 017 0o17 0b1 1_000 12:30 1:30:00"
    " 2024-01-01 2024-01-01T00:00:00Z .nan .inf -.inf .5 1. +1 -0 = << ? - : | > & * ! % @ ` {} []"
    " 1.2.3 -- --- ... 1e +e5 99999999999999999999999 NaN Infinity"
)
ODD = [
    *WORDS.split(),
    "",
    " ",
    " x",
    "x ",
    "a: b",
    "a #b",
    "# a",
    "- a",
    "'",
    '"',
    "a\tb",
    "\ta",
    "é",
    "🎉",
    "(set)",
    "x" * 300,
    "word " * 60,
    "%TAG ! x",
    "key: [a, {b: c}]",
]
LINES = [
    "a\nb",
    "a\n",
    "\na",
    "\n",
    "\n\n",
    "a\n\n\n",
    "  a\nb",
    "a\n  b\n",
    "a \nb",
    "---\na",
    "a\n---\n",
    "# a\n b: c\n",
    "\n  a",
    "a\n\tb",
    "🎉\n: x",
    "...\n",
]
TEXT = st.sampled_from(ODD) | st.text(st.characters(codec="utf-8"), max_size=40)
MANY_LINES = TEXT | st.sampled_from(LINES) | st.lists(TEXT, max_size=4).map("\n".join)


def readers(text: str) -> list[Any]:
    return [read_yaml(text).tree, yaml.safe_load(text)]


@given(st.dictionaries(TEXT, MANY_LINES | st.integers() | st.booleans(), max_size=5))
@settings(max_examples=400)
def test_c35_every_reader_reads_what_was_written(tree: dict[str, Any]) -> None:
    tree = json.loads(json.dumps(tree).replace("\\u0000", ""))
    if any(type(v) is int and abs(v) >= 10**19 for v in tree.values()):
        return  # no field takes it
    whole = {"spec": tree, "list": [tree]}
    for read in readers(manifest_text(whole)):
        assert read == whole
        assert [type(v) for v in read["spec"].values()] == [type(v) for v in tree.values()]


@pytest.mark.parametrize("text", [*ODD, *LINES])
def test_c35_an_odd_text_stays_that_text(text: str) -> None:
    assert readers(manifest_text({"a": text})) == [{"a": text}] * 2


def test_nothing_written_turns_the_writing_direction() -> None:
    written = manifest_text({"a": "x\u202ey\u2028z", "b": "é"})
    assert written.isascii()
    assert readers(written) == [{"a": "x\u202ey\u2028z", "b": "é"}] * 2


def optional(**values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=values)


LABELS = st.dictionaries(
    st.sampled_from(["a", "1", "true", "null", "no", "1e3", "x.y/z", "2024-01-01", "0x1"]),
    st.sampled_from(["", "no", "1e3", "007", "y", "null", "1.0", "2024-01-01", "a.b"]),
    max_size=3,
)
NOTES = st.dictionaries(st.sampled_from(["note", "off", "1", "a/b"]), MANY_LINES, max_size=3)
SPECS = optional(
    module=st.sampled_from([None, "deep-oc-x", "1e3", "007", "no"]),
    general=optional(
        title=TEXT,
        desc=MANY_LINES,
        docker_image=st.sampled_from(["a/b", "no", "1e3", "registry:5000/x", "0x1", "a:5000/b"]),
        docker_tag=st.sampled_from(["latest", "1.0", "1e3", "007", "no", "sha256:" + "0" * 64]),
        service=st.sampled_from(["deepaas", "jupyterlab"]),
        jupyter_password=st.just("") | st.text(min_size=9, max_size=12),
    ),
    hardware=optional(
        cpu_num=st.integers(1, 64),
        gpu_type=st.sampled_from(["", "Tesla V100"]),
        ram=st.integers(256, 10**6),
    ),
    storage=optional(rclone_user=TEXT, rclone_url=TEXT, rclone_password=TEXT),
    suspend=st.booleans(),
    restart=st.integers(0, 3),
    update=optional(
        policy=st.sampled_from(["safe", "queue"]), rollbackOnFailure=st.sampled_from([True, False])
    ),
    expiresAt=st.sampled_from([None, "2027-01-31T18:00:00Z", "2027-01-31T18:00:00.5+01:00"]),
)


@given(SPECS, LABELS, NOTES)
@settings(max_examples=400)
def test_what_is_exported_and_applied_is_unchanged(
    spec: dict[str, Any], labels: dict[str, str], notes: dict[str, str]
) -> None:
    metadata = {"name": "train-a", "vo": VO, "labels": labels, "annotations": notes}
    try:
        wish = wish_of_manifest({"metadata": metadata, "spec": spec}, CONF, vos=[VO])
    except InvalidSpec:
        return
    record = a_deployment(wish.spec, labels=wish.labels, annotations=wish.annotations)
    text = manifest_text(manifest_of_view(shown(record)))
    for read in readers(text):
        again = wish_of_manifest(read, CONF, vos=[VO], kept=record)
        assert again.spec == wish.spec
        assert (again.labels, again.annotations) == (wish.labels, wish.annotations)
        assert again.secrets == dict.fromkeys(wish.secrets, "(set)")


def shown(record: Any) -> Mapping[str, Any]:
    view: Mapping[str, Any] = json.loads(deployment_view(record).model_dump_json(by_alias=True))
    return view


def test_a_file_is_clean_and_in_order() -> None:
    spec = a_spec(title="no", desc="one\ntwo\n", jupyter_password="(set)")
    record = a_deployment(spec, labels={"b": "1", "a": "x"})
    assert manifest_text(manifest_of_view(shown(record))) == (
        "apiVersion: ai4papi/v1\n"
        "kind: Deployment\n"
        "metadata:\n"
        "  name: train-a\n"
        "  vo: vo.ai4eosc.eu\n"
        "  labels:\n"
        "    a: x\n"
        "    b: '1'\n"
        "spec:\n"
        "  general:\n"
        "    title: 'no'\n"
        "    desc: |\n"
        "      one\n"
        "      two\n"
        "    docker_image: deephdc/image\n"
        "    docker_tag: cpu\n"
        "    service: deepaas\n"
        "    jupyter_password: (set)\n"
        "  hardware:\n"
        "    cpu_num: 2\n"
        "    gpu_num: 0\n"
        "    gpu_type: ''\n"
        "    ram: 8000\n"
        "    disk: 20000\n"
        "  storage:\n"
        "    rclone_conf: /srv/.rclone/rclone.conf\n"
        "    rclone_url: https://store.example/webdav\n"
        "    rclone_vendor: nextcloud\n"
        "    rclone_user: ''\n"
        "    rclone_password: ''\n"
    )


def test_what_differs_from_the_usual_is_written() -> None:
    spec = a_spec(suspend=True, restart=2, expires_at=datetime(2027, 1, 31, tzinfo=UTC))
    spec = spec.model_copy(update={"update": spec.update.model_copy(update={"policy": "queue"})})
    tree = manifest_of_view(shown(a_deployment(spec)))["spec"]
    assert {key: tree[key] for key in ("suspend", "restart", "expiresAt", "update")} == {
        "suspend": True,
        "restart": 2,
        "expiresAt": "2027-01-31T00:00:00Z",
        "update": {"policy": "queue"},
    }


def test_a_stream_has_one_editor_line_and_a_document_for_each() -> None:
    one = manifest_of_view(shown(a_deployment()), owner=True)
    text = stream_text([one, one], server="https://papi.example")
    line = "# yaml-language-server: $schema=https://papi.example/v1/schema/deployment.json\n"
    assert text.startswith(line)
    assert text.count(line) == 1
    assert editor_line("https://papi.example") == line
    assert [document.tree for document in read_documents(text)] == [one, one]
    assert one["metadata"]["owner"] == {
        "iss": "https://aai.egi.eu/auth/realms/egi",
        "sub": "alice@egi.eu",
    }
