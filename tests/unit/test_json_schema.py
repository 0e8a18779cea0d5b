"""The JSON Schema takes what the wish takes, and refuses what is simply wrong."""

import copy
import json
from datetime import UTC, datetime
from pathlib import Path

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.spec_schema import schema_document
from reconciler.settings import load_settings
from specs.faults import InvalidSpec
from specs.files import Rules, read_file
from specs.json_schema import spec_schema
from specs.model import SECRET_SET, Deployment, Owner
from specs.userconf import read_userconf
from specs.wish import manifest_of, wish_of_manifest
from specs.yaml_text import read_yaml

ROOT = Path(__file__).parents[2]
TREE = read_yaml((ROOT / "etc" / "userconf.yaml").read_text()).tree
CONF = read_userconf(TREE)
VOS = ("vo.ai4eosc.eu", "vo.imagine-ai.eu")
CLASSES = {"urgent": VOS, "batch": VOS}
HOW = "run `python -m api.spec_schema > docs/deployment.schema.json` and look at the difference"


def narrowed():
    """Return the form with rules that depend on the VO."""
    tree = copy.deepcopy(TREE)
    tree["hardware"]["gpu_num"]["vo"] = {VOS[1]: {"range": [0, 2]}}
    tree["hardware"]["cpu_num"]["vo"] = {VOS[0]: {"options": [1, 2]}, VOS[1]: {"options": [1, 4]}}
    tree["hardware"]["ram"]["vo"] = {VOS[1]: {"value": 4000, "range": [1000, 2000000]}}
    tree["general"]["docker_image"]["options"] = [TREE["general"]["docker_image"]["value"], "a.b/c"]
    tree["general"]["docker_tag"]["vo"] = {VOS[0]: {"options": ["latest", "cpu"]}}
    tree["general"]["jupyter_password"]["range"] = [0, 20]
    return read_userconf(tree)


NARROWED = narrowed()
FORMS = {"shipped": CONF, "by VO": NARROWED}
SCHEMAS = {name: spec_schema(conf, CLASSES, vos=VOS) for name, conf in FORMS.items()}
VALIDATORS = {
    name: jsonschema_rs.Draft7Validator(schema, validate_formats=True)
    for name, schema in SCHEMAS.items()
}


def taken(body, *, form="shipped"):
    try:
        return wish_of_manifest(body, FORMS[form], vos=VOS, classes=CLASSES)
    except InvalidSpec:
        return None


def manifest(spec=None, **metadata):
    return {"metadata": {"name": "a", "vo": VOS[0], **metadata}, "spec": spec or {}}


def test_the_schema_is_one():
    for schema in SCHEMAS.values():
        jsonschema_rs.meta.validate(schema)
    assert jsonschema_rs.Draft7Validator(spec_schema(CONF, [])).is_valid(manifest())


def test_the_committed_schema_is_that_of_the_packaged_form():
    site = load_settings({})
    conf = read_userconf(site.userconf)
    built = schema_document(spec_schema(conf, site.priorities, vos=site.auth.VO))
    assert (ROOT / "docs" / "deployment.schema.json").read_bytes() == built.body, HOW


DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    "body",
    [
        {"apiVersion": "ai4papi/v1", "kind": "Deployment", **manifest()},
        manifest({"hardware": {"gpu": 1}, "general": {"docker_image": "host:5000/a/b:1.2"}}),
        manifest({"general": {"docker_image": f"a@{DIGEST}"}}),
        manifest({"general": {"docker_image": f"a:{DIGEST}"}}),
        manifest({"general": {"docker_image": "a@tag", "docker_tag": "tag"}}),
        manifest({"general": {"docker_tag": DIGEST, "virtual_organization": ""}}),
        manifest({"general": {"service": "jupyterlab", "jupyter_password": "123456789"}}),
        manifest({"module": "DEEP-OC-x.y_z", "ttl": "7d", "expiresAt": None}),
        manifest({"module": None, "ttl": None, "priorityClass": None}),
        manifest({"expiresAt": "2027-01-31t18:00:00.5+01:00", "priorityClass": "batch"}),
        manifest({"update": {"policy": "queue", "rollbackOnFailure": True}, "restart": 3}),
        manifest(labels={"a": "", "example.org/b-c": "d"}, annotations={"x": "any\ntext"}),
        manifest({"general": {"virtual_organization": VOS[1]}}, vo=None),
    ],
)  # fmt: skip
def test_what_is_right_is_taken_by_both(body):
    assert taken(body)
    assert [str(error) for error in VALIDATORS["shipped"].iter_errors(body)] == []


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"metadata": {"name": "a"}},
        {"spec": {}},
        manifest() | {"status": {}},
        manifest() | {"kind": "Deploymnt"},
        manifest() | {"apiVersion": 1},
        manifest(name="A"),
        manifest(name="a" * 64),
        manifest(vo="elsewhere"),
        manifest(uid="1"),
        manifest(labels={"a b": "c"}),
        manifest(labels={"a": "b c"}),
        manifest(labels={"a": 1}),
        manifest(annotations={"a": "x" * 4097}),
        manifest(annotations={"/a": "x"}),
        manifest({"generall": {}}),
        manifest({"general": {"titel": "x"}}),
        manifest({"general": {"title": "x" * 46}}),
        manifest({"general": {"title": 7}}),
        manifest({"general": {"docker_image": "Upper/Case"}}),
        manifest({"general": {"docker_image": "a:b c"}}),
        manifest({"general": {"docker_tag": "a b"}}),
        manifest({"general": {"service": "jupyter"}}),
        manifest({"general": {"service": "jupyterlab"}}),
        manifest({"general": {"service": "jupyterlab", "jupyter_password": "short"}}),
        manifest({"hardware": {"cpu_num": 0}}),
        manifest({"hardware": {"cpu_num": 65}}),
        manifest({"hardware": {"cpu_num": "1"}}),
        manifest({"hardware": {"cpu_num": 1.5}}),
        manifest({"hardware": {"gpu": 1, "gpu_num": 1}}),
        manifest({"hardware": {"gpu_type": "Tesla"}}),
        manifest({"hardware": None}),
        manifest({"suspend": "no"}),
        manifest({"restart": -1}),
        manifest({"ttl": "1w"}),
        manifest({"ttl": "1d", "expiresAt": "2027-01-31T18:00:00Z"}),
        manifest({"expiresAt": "2027-01-31"}),
        manifest({"priorityClass": "mine"}),
        manifest({"module": "a/b"}),
        manifest({"update": {"policy": "now"}}),
        manifest({"update": {"rollback_on_failure": True}}),
    ],
)
def test_what_is_simply_wrong_is_refused_by_both(body):
    assert not taken(body)
    assert not VALIDATORS["shipped"].is_valid(body)


@pytest.mark.parametrize(
    ("owner", "right"),
    [
        ("alice@egi.eu", True),
        ({"iss": "https://aai.egi.eu/auth/realms/egi", "sub": "alice@egi.eu"}, True),
        ("", False),
        (123, False),
        ({"sub": "alice"}, False),
        ({"iss": "https://op", "sub": "alice", "name": "Alice"}, False),
    ],
)
def test_an_owner_may_be_named_as_a_spec_file_names_it(owner, right):
    assert VALIDATORS["shipped"].is_valid(manifest(owner=owner)) == right
    rules = Rules(
        vos=VOS, issuer="https://op", issuers=["https://aai.egi.eu/auth/realms/egi", "https://op"]
    )
    assert read_file("a.json", json.dumps(manifest(owner=owner)).encode(), rules).readable == right


@pytest.mark.parametrize("vo", VOS)
def test_what_a_vo_takes_otherwise_is_taken(vo):
    number = {VOS[0]: 2, VOS[1]: 4}[vo]
    assert VALIDATORS["by VO"].is_valid(manifest({"hardware": {"cpu_num": number}}, vo=vo))
    assert not VALIDATORS["by VO"].is_valid(manifest({"hardware": {"cpu_num": 3}}, vo=vo))
    fields = SCHEMAS["by VO"]["properties"]["spec"]["properties"]["hardware"]["properties"]
    assert (fields["ram"]["minimum"], fields["ram"]["maximum"]) == (256, 2000000)
    assert "default" not in fields["ram"]
    assert fields["gpu_num"]["maximum"] == 8


def test_a_kept_secret_is_taken_however_long_secrets_must_be():
    tree = copy.deepcopy(TREE)
    tree["storage"]["rclone_password"]["range"] = [0, 3]
    schema = spec_schema(read_userconf(tree), CLASSES, vos=VOS)
    body = manifest({"storage": {"rclone_password": SECRET_SET}})
    assert jsonschema_rs.Draft7Validator(schema).is_valid(body)


def test_a_vo_is_any_text_where_the_site_names_none():
    validator = jsonschema_rs.Draft7Validator(spec_schema(CONF, []))
    assert validator.is_valid(manifest(vo="anything"))
    assert not validator.is_valid(manifest(vo=1))


ODD = (None, True, 0, -1, 1.5, "", "x" * 600, "${x}", "é", [], {}, SECRET_SET)
NUMBERS = (0, 1, 2, 3, 4, 8, 9, 64, 65, 255, 256, 1000, 4000, 1000000, 1000001, 2000000, 2000001)
REFERENCES = (
    *("a", "a/b", "host:5000/a", "a:b", f"a@{DIGEST}", f"a:{DIGEST}", "a@b", "a:tag@b", "A", "a b"),
    *("a//b", "a__b", "a___b", "a-.b", "a--b", "a.b/c", "a.b/c:cpu", "a.b/c@cpu", "a:5000", ":a"),
    *("latest", "cpu", DIGEST, "a@", "a:", "-a", "a-", TREE["general"]["docker_image"]["value"]),
)
KEYS = (
    "a",
    "A_.z",
    "a/b",
    "a.b/c",
    "a-b.c/d_e",
    "a/b/c",
    "/a",
    "a/",
    "A/b",
    "-a",
    "x" * 63,
    "x" * 64,
)
LABELS = ("", "a", "A-b_c.9", "-", "a-", "é", "x" * 63, "x" * 64, 1)
INSTANTS = (
    *("2027-01-31T18:00:00Z", "2027-01-31t18:00:00z", "2027-02-30T00:00:00Z", "2027-01-31"),
    *("2027-01-31T18:00:00.123+23:59", "0001-01-01T00:00:00+01:00", "2027-01-31T18:00:00"),
)
FIELDS = {
    "/apiVersion": ("ai4papi/v1", "v1"),
    "/kind": ("Deployment", "Pod"),
    "/metadata/name": ("a-b", "0", "A", "a.b", "-a", "x" * 63, "x" * 64),
    "/metadata/vo": (*VOS, "other"),
    "/metadata/labels": [{key: "b"} for key in KEYS] + [{"a": value} for value in LABELS],
    "/metadata/annotations": [{key: "b c"} for key in KEYS] + [{"a": "\n"}, {"a": "x" * 4096}],
    "/spec/module": REFERENCES,
    "/spec/suspend": (True, False),
    "/spec/restart": NUMBERS,
    "/spec/ttl": ("90m", "7d", "0d", "1w", "999999d", "1000000d"),
    "/spec/expiresAt": INSTANTS,
    "/spec/priorityClass": ("urgent", "batch", "mine"),
    "/spec/update/policy": ("safe", "queue", "x"),
    "/spec/update/rollbackOnFailure": (True, False),
    "/spec/general/virtual_organization": (*VOS, "other"),
    "/spec/general/title": ("a", "x" * 45, "x" * 46),
    "/spec/general/desc": ("a\nb", "x" * 1000, "x" * 1001),
    "/spec/general/docker_image": REFERENCES,
    "/spec/general/docker_tag": REFERENCES,
    "/spec/general/service": ("deepaas", "jupyterlab", "lab"),
    "/spec/general/jupyter_password": ("short", "123456789", "x" * 21),
    "/spec/storage/rclone_user": ("a", "x" * 512, "x" * 513),
    "/spec/storage/rclone_vendor": ("nextcloud", "x"),
    "/spec/storage/rclone_password": ("a", "x" * 1024, "x" * 1025),
    "/spec/hardware/gpu_type": ("Tesla V100", "Tesla"),
} | {f"/spec/hardware/{key}": NUMBERS for key in ("cpu_num", "gpu", "gpu_num", "ram", "disk")}
ENTRIES = [(path, value) for path, values in FIELDS.items() for value in (*values, *ODD)]
LAB = {"service": "jupyterlab", "jupyter_password": "123456789"}


def with_entries(entries, *, vo=None, **spec):
    """Return a manifest that is right but, perhaps, for these fields."""
    body = manifest(copy.deepcopy(spec), vo=vo or VOS[0])
    for path, value in entries:
        *groups, key = path.split("/")[1:]
        into = body
        for name in groups:
            into = into.setdefault(name, {})
        into[key] = value
    return body


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("vo", VOS)
def test_whatever_the_wish_takes_of_one_field_the_schema_takes(form, vo):
    bodies = [
        with_entries([entry], vo=vo, **spec) for entry in ENTRIES for spec in ({}, {"general": LAB})
    ]
    assert sum(compared(body, form) for body in bodies) > 200


@settings(max_examples=300)
@given(st.lists(st.sampled_from(ENTRIES), min_size=2, max_size=4), st.sampled_from(sorted(FORMS)))
def test_whatever_the_wish_takes_of_several_fields_the_schema_takes(entries, form):
    compared(with_entries(entries), form)


def compared(body, form):
    """Return whether the wish takes it; then the schema must, and what the store gives back too."""
    wish = taken(body, form=form)
    if wish is None:
        return False
    record = Deployment(
        uid="u",
        owner=Owner("iss", "sub"),
        owner_name="Alice",
        vo=wish.vo,
        name=wish.name,
        spec=wish.spec,
        generation=1,
        secrets_generation=1,
        resource_version=1,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        labels=wish.labels,
        annotations=wish.annotations,
    )
    for accepted in (body, manifest_of(record)):
        assert [str(error) for error in VALIDATORS[form].iter_errors(accepted)] == []
    return True
