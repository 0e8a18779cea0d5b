import copy
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specs.faults import InvalidSpec
from specs.model import SECRET_SET, Deployment, Owner
from specs.userconf import read_userconf
from specs.values import default_values
from specs.wish import (
    manifest_of,
    merge_patch,
    patched_manifest,
    wish_of_conf,
    wish_of_manifest,
)
from specs.yaml_text import read_yaml

TREE = read_yaml((Path(__file__).parents[2] / "etc" / "userconf.yaml").read_text()).tree
CONF = read_userconf(TREE)
VOS = ("vo.ai4eosc.eu",)
TWO_VOS = ("vo.ai4eosc.eu", "vo.imagine-ai.eu")
PASSWORD = "correct horse"
UPDATE_ROLLBACK = "/spec/update/rollbackOnFailure"
UPDATE_SNAKE = "/spec/update/rollback_on_failure"


def a_manifest(*, metadata=None, **spec):
    return {
        "apiVersion": "ai4papi/v1",
        "kind": "Deployment",
        "metadata": {"name": "train-a", **(metadata or {})},
        "spec": {key: value for key, value in spec.items() if value is not None},
    }


def wish(body, *, vos=VOS, kept=None):
    return wish_of_manifest(body, CONF, vos=vos, kept=kept)


def seed_wish(body, *, vos=VOS):
    return wish_of_conf(body, CONF, vos=vos, name="x")


def faults(call, *args, **kwargs):
    """Return {pointer: code} of what is wrong, {} where nothing is."""
    try:
        call(*args, **kwargs)
    except InvalidSpec as error:
        return {fault.pointer: fault.code for fault in error.faults}
    return {}


def stored(wished):
    return Deployment(
        uid="u",
        owner=Owner("iss", "sub"),
        owner_name="Alice",
        vo=wished.vo,
        name=wished.name,
        spec=wished.spec,
        generation=1,
        secrets_generation=1,
        resource_version=1,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        labels=wished.labels,
        annotations=wished.annotations,
        module_defaults=wished.module_defaults,
    )


def test_an_empty_spec_is_all_defaults():
    wished = wish(a_manifest())
    assert (wished.vo, wished.name) == ("vo.ai4eosc.eu", "train-a")
    assert wished.spec.general.docker_image == "deephdc/deep-oc-image-classification-tf"
    assert wished.spec.general.virtual_organization == "vo.ai4eosc.eu"
    assert (wished.spec.hardware.ram, wished.spec.hardware.disk) == (8000, 20000)
    assert (wished.spec.suspend, wished.spec.update.policy) == (False, "safe")
    assert wished.secrets == {}


def test_the_seeds_own_example_is_a_wish():
    wished = seed_wish(
        {
            "general": {
                "docker_image": "deephdc/deep-oc-image-classification-tf:cpu",
                "service": "deepaas",
            },
            "hardware": {"gpu": 1},
        }
    )
    assert wished.spec.general.docker_image == "deephdc/deep-oc-image-classification-tf"
    assert wished.spec.general.docker_tag == "cpu"
    assert wished.spec.hardware.gpu_num == 1
    assert wished.spec.hardware.cpu_num == 1


def test_a_group_is_laid_over_the_defaults_key_by_key():
    hardware = wish(a_manifest(hardware={"ram": 4000})).spec.hardware
    assert (hardware.ram, hardware.disk) == (4000, 20000)


def test_a_module_brings_its_image_and_the_user_has_the_last_word():
    assert wish(a_manifest(module="DEEP-OC-Yolo")).spec.general.docker_image == (
        "deephdc/deep-oc-yolo"
    )
    own = wish(a_manifest(module="DEEP-OC-Yolo", general={"docker_image": "me/mine"}))
    assert own.spec.general.docker_image == "me/mine"


def test_a_digest_takes_the_place_of_the_tag():
    digest = "sha256:" + "0" * 64
    general = wish(a_manifest(general={"docker_image": f"host:5000/a@{digest}"})).spec.general
    assert (general.docker_image, general.docker_tag) == ("host:5000/a", digest)


@pytest.mark.parametrize("tag", ["cpu", None])
def test_a_tag_may_be_given_in_either_place_or_in_both(tag):
    general = {"docker_image": "a/b:cpu"} | ({"docker_tag": tag} if tag else {})
    assert wish(a_manifest(general=general)).spec.general.docker_tag == "cpu"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"hardware": {"gpu_num": 9}}, {"/hardware/gpu_num": "OutOfRange"}),
        ({"hardware": {"gpu": 9}}, {"/hardware/gpu": "OutOfRange"}),
        ({"hardware": {"gpu": 1, "gpu_num": 1}}, {"/hardware/gpu": "GivenTwice"}),
        ({"hardware": {"gpus": 1}}, {"/hardware/gpus": "UnknownKey"}),
        ({"hardware": None}, {"/hardware": "WrongType"}),
        ({"hardware": [1]}, {"/hardware": "WrongType"}),
        ({"hardwear": {}}, {"/hardwear": "UnknownKey"}),
        ({"module": "x"}, {"/module": "UnknownKey"}),
        ({"general": {"docker_image": "A/b:c"}}, {"/general/docker_image": "BadImage"}),
        ({"general": {"docker_image": "a/b:-c"}}, {"/general/docker_image": "BadTag"}),
        ({"general": {"docker_image": "a/b:"}}, {"/general/docker_image": "BadImage"}),
        ({"general": {"docker_image": 3}}, {"/general/docker_image": "WrongType"}),
        (
            {"general": {"docker_image": "a:b", "docker_tag": "c"}},
            {"/general/docker_tag": "Contradiction"},
        ),
        ({"general": {"service": "jupyterlab"}}, {"/general/jupyter_password": "WrongLength"}),
        (
            {"general": {"service": "jupyterlab", "jupyter_password": "12345678"}},
            {"/general/jupyter_password": "WrongLength"},
        ),
        ({"general": {"service": "jupyterlab", "jupyter_password": "123456789"}}, {}),
        ({"general": {"jupyter_password": "short"}}, {}),
        (
            {"general": {"jupyter_password": SECRET_SET}},
            {"/general/jupyter_password": "NothingKept"},
        ),
        (
            {"general": {"virtual_organization": "vo.x"}},
            {"/general/virtual_organization": "NotAMember"},
        ),
        ({"general": {"virtual_organization": ""}}, {}),
        ({"general": {"a/b~c": 1}}, {"/general/a~1b~0c": "UnknownKey"}),
        ([], {"": "WrongType"}),
        (None, {"": "WrongType"}),
        ("x", {"": "WrongType"}),
        ({}, {}),
    ],
)
def test_a_seed_body_is_told_what_is_wrong_and_where(body, expected):
    assert faults(seed_wish, body) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"apiVersion": "v1"}, {"/apiVersion": "NotAnOption"}),
        ({"kind": "Pod"}, {"/kind": "NotAnOption"}),
        ({"status": {}}, {"/status": "ServerSet"}),
        ({"metadata": {}}, {"/metadata/name": "Required"}),
        ({"metadata": None}, {"/metadata": "WrongType"}),
        ({"spec": None}, {"/spec": "WrongType"}),
        ({"spec": {"hardware": {"gpu": True}}}, {"/spec/hardware/gpu": "WrongType"}),
        ({"spec": {"suspend": "yes"}}, {"/spec/suspend": "WrongType"}),
        ({"spec": {"suspend": 1}}, {"/spec/suspend": "WrongType"}),
        ({"spec": {"update": {"policy": "fast"}}}, {"/spec/update/policy": "NotAnOption"}),
        ({"spec": {"update": {"policy": []}}}, {"/spec/update/policy": "NotAnOption"}),
        ({"spec": {"update": {"when": 1}}}, {"/spec/update/when": "UnknownKey"}),
        ({"spec": {"update": None}}, {"/spec/update": "WrongType"}),
        ({"spec": {"module": "../x"}}, {"/spec/module": "BadModule"}),
        ({"spec": {"module": 3}}, {"/spec/module": "BadModule"}),
        ({"spec": {"module": None}}, {}),
        ({"spec": {"job": "raw_exec"}}, {"/spec/job": "UnknownKey"}),
        ({"spec": {"restart": -1}}, {"/spec/restart": "BadCounter"}),
        ({"spec": {"restart": 1_000_001}}, {"/spec/restart": "BadCounter"}),
        ({"spec": {"restart": True}}, {"/spec/restart": "BadCounter"}),
        ({"spec": {"restart": 1.0}}, {"/spec/restart": "BadCounter"}),
        ({"spec": {"restart": "now"}}, {"/spec/restart": "BadCounter"}),
        ({"spec": {"restart": 1_000_000}}, {}),
        ({"spec": {"update": {"rollbackOnFailure": 1}}}, {UPDATE_ROLLBACK: "WrongType"}),
        ({"spec": {"update": {"rollback_on_failure": True}}}, {UPDATE_SNAKE: "UnknownKey"}),
        ({"spec": {"expires_at": "2027-01-31T18:00:00Z"}}, {"/spec/expires_at": "UnknownKey"}),
        (
            {"spec": {"ttl": "7d", "expiresAt": "2027-01-31T18:00:00Z"}},
            {"/spec/expiresAt": "Contradiction"},
        ),
        ({"spec": {"ttl": None, "expiresAt": None}}, {}),
        ({"spec": {"ttl": None, "expiresAt": "2027-01-31T18:00:00Z"}}, {}),
    ],
)
def test_a_manifest_is_told_what_is_wrong_and_where(change, expected):
    assert faults(wish, a_manifest() | change) == expected


@pytest.mark.parametrize(
    "ttl", ["", "7", "d", "0d", "07d", "7w", "7 d", "7d\n", "1.5h", "\u0667d", 7, []]
)
def test_what_is_no_duration_is_no_ttl(ttl):
    assert faults(wish, a_manifest(ttl=ttl)) == {"/spec/ttl": "BadDuration"}


@pytest.mark.parametrize("ttl", ["90m", "12h", "7d", "999999d"])
def test_a_duration_is_a_ttl(ttl):
    wished = wish(a_manifest(ttl=ttl))
    assert wished.spec.ttl == ttl
    assert stored(wished).expires_at > datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2027-01-31T18:00:00Z", datetime(2027, 1, 31, 18, tzinfo=UTC)),
        ("2027-01-31t18:00:00z", datetime(2027, 1, 31, 18, tzinfo=UTC)),
        ("2027-01-31T18:00:00.25+02:00", datetime(2027, 1, 31, 16, 0, 0, 250_000, tzinfo=UTC)),
        ("2027-01-31T18:00:00.123456789Z", datetime(2027, 1, 31, 18, 0, 0, 123_456, tzinfo=UTC)),
    ],
)
def test_an_instant_is_kept_in_utc(text, instant):
    spec = wish(a_manifest(expiresAt=text)).spec
    assert (spec.expires_at, spec.expires_at.tzinfo) == (instant, UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2027-01-31T18:00:00",
        "2027-01-31",
        "2027-01-31 18:00:00Z",
        "20270131T180000Z",
        "2027-02-30T18:00:00Z",
        "2027-01-31T18:00:60Z",
        "2027-01-31T18:00:00+24:00",
        "0001-01-01T00:00:00+12:00",
        "9999-12-31T23:00:00-12:00",
        "2027-01-31T18:00:00Z\n",
        "tomorrow",
        "",
        1801418400,
        ["2027-01-31T18:00:00Z"],
    ],
)
def test_what_is_no_instant_with_a_zone_is_told(text):
    assert faults(wish, a_manifest(expiresAt=text)) == {"/spec/expiresAt": "BadInstant"}


@pytest.mark.parametrize("key", ["uid", "owner", "generation", "resourceVersion", "source"])
def test_what_the_server_sets_is_refused(key):
    body = a_manifest(metadata={key: "x"})
    assert faults(wish, body) == {f"/metadata/{key}": "ServerSet"}


@pytest.mark.parametrize(
    "name", ["", "A", "-a", "a-", "a.b", "a b", "a" * 64, "a\n", "ä", "${x}", 3, None, ["a"]]
)
def test_what_is_no_dns_label_is_no_name(name):
    assert faults(wish, a_manifest(metadata={"name": name})) == {"/metadata/name": "BadName"}


@pytest.mark.parametrize("name", ["a", "0", "a-b", "a" * 63])
def test_a_dns_label_is_a_name(name):
    assert wish(a_manifest(metadata={"name": name})).name == name


@pytest.mark.parametrize(
    ("key", "entries", "ok"),
    [
        ("labels", {"team": "vision", "example.org/x_y.z": ""}, True),
        ("labels", {"a" * 63: "b" * 63}, True),
        ("labels", {f"{'a' * 60}.org/x": "b"}, True),
        ("labels", {"a" * 64: "b"}, False),
        ("labels", {"a": "b" * 64}, False),
        ("labels", {"a": "b c"}, False),
        ("labels", {"a": 1}, False),
        ("labels", {"": "x"}, False),
        ("labels", {"/x": "x"}, False),
        ("labels", {"a/b/c": "x"}, False),
        ("labels", {f"{'a.' * 127}org/x": "b"}, False),
        ("labels", {str(i): "" for i in range(64)}, True),
        ("labels", {str(i): "" for i in range(65)}, False),
        ("labels", None, False),
        ("annotations", {"note": "two\nlines ${x}"}, True),
        ("annotations", {"note": "x" * 4096}, True),
        ("annotations", {"note": "x" * 4097}, False),
        ("annotations", {"note": "\ud800"}, False),
        ("annotations", {"note": "\x1b"}, False),
        ("annotations", {"note": None}, False),
        ("annotations", [], False),
    ],
)
def test_labels_and_annotations_keep_kubernetes_limits(key, entries, ok):
    found = faults(wish, a_manifest(metadata={key: entries}))
    assert (not found) == ok
    assert all(at.startswith(f"/metadata/{key}") for at in found)


def test_every_fault_is_told_at_once():
    body = a_manifest(
        metadata={"name": "A", "labels": {"a": 1}},
        suspend=3,
        general={"title": "x" * 46, "service": "jupyterlab", "titel": ""},
        hardware={"ram": -5, "gpu": 99},
        storage={"rclone_user": "${x}"},
    )
    assert set(faults(wish, body)) == {
        "/metadata/name",
        "/metadata/labels/a",
        "/spec/suspend",
        "/spec/general/title",
        "/spec/general/titel",
        "/spec/general/jupyter_password",
        "/spec/hardware/ram",
        "/spec/hardware/gpu",
        "/spec/storage/rclone_user",
    }


def test_an_unknown_key_is_told_the_near_one():
    with pytest.raises(InvalidSpec, match="did you mean 'cpu_num'"):
        seed_wish({"hardware": {"cpu_nun": 3}})


def test_faults_without_number_are_told_in_a_few():
    body = {"general": {f"key{i}": 1 for i in range(10_000)}}
    with pytest.raises(InvalidSpec) as caught:
        seed_wish(body)
    assert len(caught.value.faults) < 30


@pytest.mark.parametrize(
    ("vos", "named", "field", "vo"),
    [
        (VOS, None, None, "vo.ai4eosc.eu"),
        (TWO_VOS, "vo.imagine-ai.eu", None, "vo.imagine-ai.eu"),
        (TWO_VOS, None, "vo.imagine-ai.eu", "vo.imagine-ai.eu"),
        (TWO_VOS, "vo.imagine-ai.eu", "vo.imagine-ai.eu", "vo.imagine-ai.eu"),
        (TWO_VOS, "vo.imagine-ai.eu", "", "vo.imagine-ai.eu"),
    ],
)
def test_the_vo_is_the_one_named_or_the_only_one(vos, named, field, vo):
    body = a_manifest(
        metadata={} if named is None else {"vo": named},
        general={} if field is None else {"virtual_organization": field},
    )
    wished = wish(body, vos=vos)
    assert (wished.vo, wished.spec.general.virtual_organization) == (vo, vo)


@pytest.mark.parametrize(
    ("vos", "named", "field", "expected"),
    [
        (TWO_VOS, None, None, {"/metadata/vo": "Required"}),
        ((), None, None, {"/metadata/vo": "NotAMember"}),
        (VOS, "vo.imagine-ai.eu", None, {"/metadata/vo": "NotAMember"}),
        (VOS, 3, None, {"/metadata/vo": "WrongType"}),
        (VOS, {}, None, {"/metadata/vo": "WrongType"}),
        (VOS, None, "vo.x", {"/spec/general/virtual_organization": "NotAMember"}),
        (
            TWO_VOS,
            "vo.ai4eosc.eu",
            "vo.imagine-ai.eu",
            {"/spec/general/virtual_organization": "Contradiction"},
        ),
    ],
)
def test_a_vo_that_is_not_clear_or_not_the_callers_is_refused(vos, named, field, expected):
    body = a_manifest(
        metadata={} if named is None else {"vo": named},
        general={} if field is None else {"virtual_organization": field},
    )
    assert faults(wish, body, vos=vos) == expected


def test_the_seeds_body_takes_the_first_vo_as_its_form_offers_it():
    assert (
        seed_wish({}, vos=TWO_VOS).vo
        == CONF.form(vos=TWO_VOS)["general"]["virtual_organization"]["value"]
    )


def test_a_seed_body_without_any_vo_is_refused():
    assert faults(seed_wish, {}, vos=()) == {"/general/virtual_organization": "NotAMember"}


def test_a_replaced_record_keeps_its_vo_where_none_is_named():
    kept = stored(wish(a_manifest(metadata={"vo": "vo.imagine-ai.eu"}), vos=TWO_VOS))
    assert wish(a_manifest(), vos=TWO_VOS, kept=kept).vo == "vo.imagine-ai.eu"


def conf_with(*path, to):
    tree = copy.deepcopy(TREE)
    inner = tree
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = to
    return read_userconf(tree)


GPUS_BY_VO = conf_with("hardware", "gpu_num", "vo", to={"vo.imagine-ai.eu": {"range": [0, 2]}})


@pytest.mark.parametrize("gpus", ["gpu", "gpu_num"])
@pytest.mark.parametrize("where", ["metadata", "spec", "kept", "only"])
def test_a_number_keeps_to_the_range_of_the_vo_that_was_chosen(gpus, where):
    """C25: however the VO comes to be chosen."""

    def gpus_in(vo):
        metadata = {"vo": vo} if where == "metadata" else {}
        general = {"virtual_organization": vo} if where == "spec" else {}
        kept = replace(stored(wish(a_manifest())), vo=vo) if where == "kept" else None
        body = a_manifest(metadata=metadata, general=general, hardware={gpus: 3})
        vos = (vo,) if where == "only" else TWO_VOS
        return faults(wish_of_manifest, body, GPUS_BY_VO, vos=vos, kept=kept)

    assert gpus_in("vo.ai4eosc.eu") == {}
    assert gpus_in("vo.imagine-ai.eu") == {f"/spec/hardware/{gpus}": "OutOfRange"}


def test_a_seed_body_keeps_to_the_range_of_its_vo():
    def gpus_in(vos, **general):
        body = {"general": general, "hardware": {"gpu": 3}}
        return faults(wish_of_conf, body, GPUS_BY_VO, vos=vos, name="x")

    assert gpus_in(TWO_VOS) == {}
    assert gpus_in(TWO_VOS, virtual_organization="vo.imagine-ai.eu") == {
        "/hardware/gpu": "OutOfRange"
    }
    assert gpus_in(TWO_VOS[1:]) == {"/hardware/gpu": "OutOfRange"}


def test_a_narrower_range_leaves_alone_what_stands():
    kept = stored(
        wish(a_manifest(metadata={"vo": TWO_VOS[1]}, hardware={"gpu_num": 3}), vos=TWO_VOS)
    )

    def gpus(number):
        body = a_manifest(hardware={"gpu_num": number}, suspend=True)
        return faults(wish_of_manifest, body, GPUS_BY_VO, vos=TWO_VOS, kept=kept)

    assert gpus(3) == gpus(2) == {}
    assert gpus(4) == {"/spec/hardware/gpu_num": "OutOfRange"}
    assert gpus(3.0) == {"/spec/hardware/gpu_num": "WrongType"}


CLASSES = {"low": {*TWO_VOS}, "high": {"vo.imagine-ai.eu"}, "top": set()}


def with_class(name, *, vo=None, kept=None, classes=CLASSES):
    body = a_manifest(metadata={"vo": vo} if vo else {}) | {"spec": {"priorityClass": name}}
    return wish_of_manifest(body, CONF, vos=TWO_VOS, classes=classes, kept=kept)


def test_a_class_is_kept_in_the_spec_and_null_is_none():
    assert with_class("low", vo=VOS[0]).spec.priority_class == "low"
    assert with_class("high", vo="vo.imagine-ai.eu").spec.priority_class == "high"
    assert with_class(None, vo=VOS[0]).spec.priority_class is None


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("high", "RoleNeeded"),
        ("top", "RoleNeeded"),
        ("urgent", "NotAnOption"),
        ("", "NotAnOption"),
        ("LOW", "NotAnOption"),
        ("x" * 10_000, "NotAnOption"),
        ("${low}", "NotAnOption"),
        ("low\0", "NotAnOption"),
        (70, "NotAnOption"),
        (True, "NotAnOption"),
        (["low"], "NotAnOption"),
        ({"low": 1}, "NotAnOption"),
    ],
)
def test_a_class_that_is_not_the_callers_in_that_vo_is_refused(name, code):
    """C17: the number itself can't be said at all."""
    assert faults(with_class, name, vo=VOS[0]) == {"/spec/priorityClass": code}


def test_a_refused_class_is_told_with_those_that_there_are():
    with pytest.raises(InvalidSpec, match="'lov' is not one of your priority classes: low; did"):
        with_class("lov", vo=VOS[0])
    with pytest.raises(InvalidSpec, match="classes: low; another role may ask for it"):
        with_class("high", vo=VOS[0])
    with pytest.raises(InvalidSpec, match="your priority classes: you have none"):
        with_class("low", vo=VOS[0], classes={})


def test_where_the_vo_is_not_clear_the_class_is_told_only_if_there_is_none_such():
    assert faults(with_class, "high") == {"/metadata/vo": "Required"}
    assert set(faults(with_class, "urgent")) == {"/metadata/vo", "/spec/priorityClass"}


@pytest.mark.parametrize("classes", [CLASSES, {}])
def test_a_class_that_an_operator_gave_or_took_out_of_the_list_may_stay(classes):
    kept = stored(with_class("low", vo=VOS[0]))
    kept = replace(kept, spec=kept.spec.model_copy(update={"priority_class": "high"}))
    assert with_class("high", kept=kept, classes=classes).spec.priority_class == "high"
    assert faults(with_class, "top", kept=kept, classes=classes) != {}


def test_the_number_of_nomad_has_no_key():
    """C17"""
    assert faults(wish, a_manifest(priority=100)) == {"/spec/priority": "UnknownKey"}


def test_a_default_is_that_of_the_vo():
    conf = conf_with("hardware", "ram", "vo", to={"vo.imagine-ai.eu": {"value": 4000}})
    ram = {vo: wish_of_conf({}, conf, vos=(vo,), name="x").spec.hardware.ram for vo in TWO_VOS}
    assert ram == {"vo.ai4eosc.eu": 8000, "vo.imagine-ai.eu": 4000}


IMAGE, RAM = ("general", "docker_image"), ("hardware", "ram")
BIG = {IMAGE: "a/big", RAM: 16_000, ("hardware", "gpu_num"): 1, ("hardware", "cpu_num"): 0}


def in_catalog(body, *, kept=None, conf=CONF, **modules):
    return wish_of_manifest(body, conf, vos=VOS, kept=kept, modules=modules.__getitem__)


def test_a_module_sets_its_image_and_no_less_than_its_minimum():
    wished = in_catalog(a_manifest(module="big"), big=BIG)
    assert wished.spec.general.docker_image == "a/big"
    assert (wished.spec.hardware.ram, wished.spec.hardware.gpu_num) == (16_000, 1)
    assert wished.spec.hardware.cpu_num == 1
    assert wished.module_defaults == BIG
    assert in_catalog(a_manifest(module="small"), small={RAM: 300}).spec.hardware.ram == 8000
    assert wish(a_manifest()).module_defaults == {}


@pytest.mark.parametrize(
    ("hardware", "told"),
    [
        ({"ram": 16_000, "gpu": 2}, {}),
        ({"ram": 15_999}, {"/spec/hardware/ram": "BelowMinimum"}),
        ({"gpu": 0}, {"/spec/hardware/gpu": "BelowMinimum"}),
        ({"ram": -1}, {"/spec/hardware/ram": "OutOfRange"}),
        ({"ram": "x"}, {"/spec/hardware/ram": "WrongType"}),
    ],
)
def test_less_than_a_module_needs_is_refused_where_it_is_said(hardware, told):
    body = a_manifest(module="big", hardware=hardware)
    assert faults(in_catalog, body, big=BIG) == told
    assert set(faults(in_catalog, a_manifest(hardware=hardware))) <= {"/spec/hardware/ram"}


def test_a_module_that_needs_more_than_the_site_allows_is_told_as_that():
    body, huge = a_manifest(module="huge"), {("hardware", "gpu_num"): 9}
    with pytest.raises(InvalidSpec, match="the module needs 9, and 8 is the most"):
        in_catalog(body, huge=huge)
    assert faults(in_catalog, body, huge=huge) == {"/spec/hardware/gpu_num": "ModuleTooBig"}
    kept = replace(stored(wish(body)), module_defaults=huge)
    stands = kept.spec.model_copy(
        update={"hardware": kept.spec.hardware.model_copy(update={"gpu_num": 9})}
    )
    assert faults(in_catalog, body, kept=replace(kept, spec=stands)) == {}


def test_what_a_module_sets_is_checked_like_what_people_give():
    bad = {IMAGE: "a/${b}", ("hardware", "ram"): 4}
    told = faults(in_catalog, a_manifest(module="bad"), bad=bad)
    assert told["/spec/general/docker_image"] in {"Expansion", "BadImage"}


def test_news_of_the_catalogue_change_no_deployment_under_the_same_module():
    kept = stored(in_catalog(a_manifest(module="big"), big=BIG))
    news = {IMAGE: "a/newer", RAM: 64_000}
    again = in_catalog(a_manifest(module="big"), kept=kept, big=news)
    assert (again.spec, again.module_defaults) == (kept.spec, BIG)
    more = in_catalog(a_manifest(module="big", hardware={"cpu_num": 4}), kept=kept, big=news)
    assert (more.spec.general.docker_image, more.spec.hardware.ram) == ("a/big", 16_000)
    other = in_catalog(a_manifest(module="other"), kept=kept, other=news)
    assert (other.spec.general.docker_image, other.module_defaults) == ("a/newer", news)
    assert in_catalog(a_manifest(), kept=kept).module_defaults == {}


def test_a_record_of_before_the_catalogue_keeps_the_image_of_its_modules_name():
    kept = replace(stored(wish(a_manifest(module="big"))), module_defaults={})
    again = in_catalog(a_manifest(module="big"), kept=kept, big=BIG)
    assert again.spec == kept.spec
    assert again.spec.general.docker_image == "deephdc/big"


def test_a_patch_to_another_module_opens_what_nobody_chose():
    kept = stored(in_catalog(a_manifest(module="big", hardware={"cpu_num": 3}), big=BIG))
    defaults = default_values(CONF, BIG)
    patch = {"spec": {"module": "other", "general": {"title": "t"}, "hardware": {"disk": 300}}}
    body = patched_manifest(manifest_of(kept), patch, defaults=defaults)
    spec = in_catalog(body, kept=kept, other={IMAGE: "a/o", RAM: 32_000}).spec
    assert (spec.general.docker_image, spec.general.title) == ("a/o", "t")
    assert spec.hardware.model_dump() == {
        "cpu_num": 3, "gpu_num": 0, "gpu_type": "", "ram": 32_000, "disk": 300
    }  # fmt: skip
    for stays in ({"module": "big", "suspend": True}, {"module": None}, {"suspend": True}):
        body = patched_manifest(manifest_of(kept), {"spec": stays}, defaults=defaults)
        spec = in_catalog(body, kept=kept).spec
        assert (spec.general.docker_image, spec.hardware.ram) == ("a/big", 16_000)


def test_a_modules_own_image_is_checked_like_a_given_one():
    """C13: an operator's list of images holds for what nobody typed too."""
    image = "deephdc/deep-oc-image-classification-tf"
    conf = conf_with("general", "docker_image", "options", to=[image])
    known = a_manifest(module="DEEP-OC-image-classification-tf")
    assert faults(wish_of_manifest, known, conf, vos=VOS) == {}
    other = a_manifest(module="DEEP-OC-Yolo")
    assert faults(wish_of_manifest, other, conf, vos=VOS) == {
        "/spec/general/docker_image": "NotAnOption"
    }


def test_a_secret_leaves_the_spec_and_travels_beside_it():
    wished = wish(a_manifest(general={"jupyter_password": PASSWORD}))
    assert wished.spec.general.jupyter_password == SECRET_SET
    assert wished.secrets == {"general.jupyter_password": PASSWORD}
    assert PASSWORD not in repr(wished)


def test_a_secret_shown_as_set_is_kept():
    lab = {"service": "jupyterlab", "jupyter_password": PASSWORD}
    kept = stored(wish(a_manifest(general=lab)))
    again = wish(a_manifest(general=lab | {"jupyter_password": SECRET_SET}), kept=kept)
    assert again.spec == kept.spec
    assert again.secrets == {"general.jupyter_password": SECRET_SET}


def test_a_secret_that_was_never_set_cannot_be_kept():
    kept = stored(wish(a_manifest()))
    body = a_manifest(storage={"rclone_password": SECRET_SET})
    assert faults(wish, body, kept=kept) == {"/spec/storage/rclone_password": "NothingKept"}


def test_a_kept_password_of_unknown_length_does_not_open_the_lab():
    kept = stored(wish(a_manifest(general={"jupyter_password": "short"})))
    body = a_manifest(general={"service": "jupyterlab", "jupyter_password": SECRET_SET})
    assert faults(wish, body, kept=kept) == {"/spec/general/jupyter_password": "WrongLength"}


def test_a_secret_left_out_is_none():
    kept = stored(wish(a_manifest(general={"jupyter_password": PASSWORD})))
    again = wish(a_manifest(), kept=kept)
    assert (again.spec.general.jupyter_password, again.secrets) == ("", {})


def test_no_message_repeats_a_secret():
    body = a_manifest(general={"service": "jupyterlab", "jupyter_password": "s3cr\0t"})
    with pytest.raises(InvalidSpec) as caught:
        wish(body)
    assert "s3cr" not in repr(caught.value.faults)


@pytest.mark.parametrize(
    "end", [{}, {"ttl": "7d"}, {"expiresAt": "2027-01-31T18:00:00.5+02:00"}], ids=str
)
def test_a_shown_manifest_changes_nothing_when_applied(end):
    wished = wish(
        a_manifest(
            metadata={"labels": {"a": "b"}, "annotations": {"c": "d"}},
            module="DEEP-OC-x",
            suspend=True,
            restart=3,
            update={"policy": "queue", "rollbackOnFailure": True},
            **end,
            general={"docker_image": "a/b:c", "jupyter_password": PASSWORD, "desc": "two\nlines"},
            hardware={"gpu": 2},
        )
    )
    kept = stored(wished)
    shown = json.loads(json.dumps(manifest_of(kept)))
    again = wish(shown, kept=kept)
    assert replace(again, secrets={}) == replace(wished, secrets={})
    assert PASSWORD not in json.dumps(shown)
    assert again.spec.model_dump_json() == wished.spec.model_dump_json()


def test_a_patch_ends_a_lease_with_null():
    kept = stored(wish(a_manifest(ttl="7d")))
    instant = "2027-01-31T18:00:00Z"
    patch = {"spec": {"ttl": None, "expiresAt": instant, "update": {"rollbackOnFailure": True}}}
    spec = wish(patched_manifest(manifest_of(kept), patch), kept=kept).spec
    assert (spec.ttl, spec.expires_at) == (None, datetime.fromisoformat(instant))
    assert (spec.update.policy, spec.update.rollback_on_failure) == ("safe", True)


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [  # RFC 7396, appendix A
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_a_merge_patch_does_what_the_rfc_says(target, patch, result):
    before = copy.deepcopy((target, patch))
    assert merge_patch(target, patch) == result
    assert (target, patch) == before


def test_a_merge_patch_of_any_depth_is_applied():
    patch = {}
    for _ in range(100_000):
        patch = {"a": patch}
    deep = merge_patch({}, patch)
    assert faults(wish, deep) != {}


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=[]), max_size=20)
    | st.sampled_from(["${x}", "\ud800", "a\0", SECRET_SET, 2**63, 1e308, "jupyterlab"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=5)
            | st.sampled_from(
                ["metadata", "spec", "general", "hardware", "storage", "name", "gpu"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)
MANIFESTS = st.fixed_dictionaries(
    {},
    optional={
        "metadata": ANYTHING
        | st.fixed_dictionaries(
            {"name": ANYTHING | st.just("a")},
            optional={"vo": ANYTHING, "labels": ANYTHING, "annotations": ANYTHING, "uid": ANYTHING},
        ),
        "spec": ANYTHING
        | st.fixed_dictionaries(
            {},
            optional={
                group: ANYTHING
                | st.fixed_dictionaries(
                    {}, optional={key: ANYTHING for g, key in CONF.fields if g == group}
                )
                for group in ("general", "hardware", "storage")
            }
            | dict.fromkeys(
                ("module", "suspend", "restart", "ttl", "expiresAt", "priorityClass", "update"),
                ANYTHING,
            ),
        ),
        "apiVersion": ANYTHING,
        "status": ANYTHING,
    },
)
KEPT = stored(wish(a_manifest(general={"jupyter_password": PASSWORD})))


@given(ANYTHING | MANIFESTS, st.sampled_from([None, KEPT]))
def test_whatever_is_sent_becomes_a_wish_or_is_refused_by_name(body, kept):
    for call in (lambda: wish(body, kept=kept), lambda: seed_wish(body)):
        try:
            wished = call()
        except InvalidSpec as error:
            assert error.faults  # noqa: PT017  # both ends of the promise stand in one test
            said = json.dumps([[f.pointer, f.code, f.message, f.allowed] for f in error.faults])
            json.loads(said)
            for fault in error.faults:
                "".join((fault.pointer, fault.message, fault.allowed)).encode("utf-8")
        else:
            wished.spec.model_dump_json().encode("utf-8")


@pytest.mark.parametrize(
    ("spec", "patch", "result"),
    [
        (
            {"general": {"docker_image": "a/b", "docker_tag": "gpu"}},
            {"general": {"docker_image": "a/c:cpu"}},
            {"general": {"docker_image": "a/c:cpu"}},
        ),
        (
            {"general": {"docker_image": "a/b", "docker_tag": "gpu"}},
            {"general": {"docker_image": "a/c"}},
            {"general": {"docker_image": "a/c", "docker_tag": "gpu"}},
        ),
        (
            {"general": {"docker_image": "a/b", "docker_tag": "gpu"}},
            {"general": {"docker_image": "a/c:cpu", "docker_tag": "x"}},
            {"general": {"docker_image": "a/c:cpu", "docker_tag": "x"}},
        ),
        ({"hardware": {"gpu_num": 1}}, {"hardware": {"gpu": 2}}, {"hardware": {"gpu": 2}}),
        ({"hardware": {"gpu_num": 1}}, {"hardware": None}, {}),
        ({"hardware": {"gpu_num": 1}}, {"hardware": 7}, {"hardware": 7}),
    ],
)
def test_a_short_spelling_in_a_patch_replaces_what_the_full_one_said(spec, patch, result):
    assert patched_manifest({"spec": spec}, {"spec": patch}) == {"spec": result}
