import copy
from pathlib import Path

import pytest

from specs.userconf import (
    VO_FIELD,
    is_module,
    module_defaults,
    read_userconf,
)
from specs.yaml_text import read_yaml

ETC = Path(__file__).parents[2] / "etc"
TREE = read_yaml((ETC / "userconf.yaml").read_text()).tree
CONF = read_userconf(TREE)


def codes(key, value):
    field = CONF.fields[key]
    return [fault.code for fault in field.faults(value, "/x")]


def changed(*path, to):
    tree = copy.deepcopy(TREE)
    inner = tree
    for key in path[:-1]:
        inner = inner[key]
    if to is None:
        del inner[path[-1]]
    else:
        inner[path[-1]] = to
    return tree


def test_the_form_shows_what_the_file_says():
    form = CONF.form()
    assert list(form) == ["general", "hardware", "storage"]
    assert form["hardware"]["ram"] == {
        "name": "RAM memory (in MB)",
        "value": 8000,
        "range": [256, 1000000],
    }
    assert form["general"]["service"]["options"] == ["deepaas", "jupyterlab"]


def test_the_form_offers_the_callers_vos_and_the_modules_image():
    form = CONF.form(vos=["vo.b", "vo.a"], module="DEEP-OC-Yolo")["general"]
    assert form["virtual_organization"]["options"] == ["vo.b", "vo.a"]
    assert form["virtual_organization"]["value"] == "vo.b"
    assert form["docker_image"]["value"] == "deephdc/deep-oc-yolo"


def test_a_form_is_the_callers_to_change():
    CONF.form()["general"]["service"]["options"].clear()
    assert CONF.form()["general"]["service"]["options"] == ["deepaas", "jupyterlab"]


@pytest.mark.parametrize(
    ("path", "to", "word"),
    [
        (("hardware", "ram", "value"), "8000", "/hardware/ram/value: must be a whole number"),
        (("hardware", "ram", "value"), True, "/hardware/ram/value: must be a whole number"),
        (("hardware", "ram", "value"), 1, "/hardware/ram/value: 1 is not"),
        (("hardware", "ram", "range"), [5, 1], "/hardware/ram/range: must be"),
        (("hardware", "ram", "range"), [1, 2, 3], "/hardware/ram/range: must be"),
        (("hardware", "ram", "range"), [True, 2], "/hardware/ram/range: must be"),
        (("hardware", "ram", "range"), "1-2", "/hardware/ram/range: must be"),
        (("hardware", "ram", "options"), ["1"], "/hardware/ram/options: must be"),
        (("hardware", "ram", "option"), [1], "did you mean 'options'?"),
        (("hardware", "ram", "name"), 3, "/hardware/ram/name: must be a text"),
        (("hardware", "ram", "name"), None, "/hardware/ram/name: name is missing"),
        (("hardware", "ram"), None, "/hardware/ram: ram is missing"),
        (("hardware", "ram"), 8000, "/hardware/ram: must be a mapping"),
        (("hardware",), None, "/hardware: hardware is missing"),
        (("hardware",), [], "/hardware: must be a mapping"),
        (("hardware", "tpu_num"), {}, "/hardware/tpu_num: unknown key"),
        (("general", "service", "value"), "vscode", "/general/service/value: 'vscode' is not one"),
        (("general", "docker_image", "value"), "A b", "/general/docker_image/value"),
        (("general", "jupyter_password", "value"), "shared-by-all", "a secret that everybody"),
    ],
)
def test_a_wrong_form_is_refused_with_its_place(path, to, word):
    with pytest.raises(ValueError, match=r"^/") as caught:
        read_userconf(changed(*path, to=to))
    assert word in str(caught.value)


@pytest.mark.parametrize("tree", [None, [], "x", 3])
def test_what_is_no_form_at_all_is_refused(tree):
    with pytest.raises(ValueError, match="must be a mapping"):
        read_userconf(tree)


def test_all_faults_of_a_form_are_told_at_once():
    tree = changed("hardware", "ram", "value", to="x")
    del tree["storage"]
    with pytest.raises(ValueError, match=r"/hardware/ram/value.*/storage|/storage.*/hardware"):
        read_userconf(tree)


@pytest.mark.parametrize("value", [1, 64])
def test_both_ends_of_a_range_are_taken(value):
    assert codes(("hardware", "cpu_num"), value) == []


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (0, "OutOfRange"),
        (65, "OutOfRange"),
        (-1, "OutOfRange"),
        (2**63, "OutOfRange"),
        pytest.param(10**5000, "OutOfRange", id="5000-digits"),
        (1.0, "WrongType"),
        (1e308, "WrongType"),
        (float("nan"), "WrongType"),
        (float("inf"), "WrongType"),
        (True, "WrongType"),
        ("1", "WrongType"),
        (None, "WrongType"),
        ([], "WrongType"),
        ({}, "WrongType"),
    ],
)
def test_what_is_no_number_of_cpus_is_refused(value, code):
    assert codes(("hardware", "cpu_num"), value) == [code]


def test_a_number_out_of_range_is_told_with_the_range():
    (fault,) = CONF.fields["hardware", "ram"].faults(5, "/hardware/ram")
    assert fault.message == "5 is not a whole number from 256 to 1000000"


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("title", "x" * 45, None),
        ("title", "x" * 46, "WrongLength"),
        ("title", 'it\'s "fine" } {{ ü 😀', None),
        ("title", "two\nlines", "ControlCharacter"),
        ("title", "\x1b[31m", "ControlCharacter"),
        ("title", "a\u202eb", "ControlCharacter"),
        ("title", "\x85", "ControlCharacter"),
        ("title", "x${attr.unique.hostname}", "Expansion"),
        ("title", "$${x}", "Expansion"),
        ("title", "%{if true}", "Expansion"),
        ("desc", "%{", "Expansion"),
        ("desc", "two\nlines\tand a tab", None),
        ("desc", "carriage\rreturn", "ControlCharacter"),
        ("desc", "x" * 1001, "WrongLength"),
        ("docker_image", "Deephdc/x", "BadImage"),
        ("docker_image", "", "BadImage"),
        ("docker_tag", "a" * 129, "BadTag"),
        ("docker_tag", "", "BadTag"),
        ("docker_tag", "latest\n", "ControlCharacter"),
        ("service", "vscode", "NotAnOption"),
        ("service", 3, "WrongType"),
    ],
)
def test_a_text_is_taken_only_as_its_field_allows(key, value, code):
    found = codes(("general", key), value)
    assert found[:1] == ([code] if code else [])


@pytest.mark.parametrize("key", [k for k, f in CONF.fields.items() if isinstance(f.value, str)])
@pytest.mark.parametrize("value", ["\ud800", "nul\0", "x" * 5000])
def test_no_text_takes_what_is_no_text_or_has_no_end(key, value):
    assert codes(key, value) != []


@pytest.mark.parametrize(
    "key",
    [k for k, f in CONF.fields.items() if isinstance(f.value, str) and not f.secret],
)
@pytest.mark.parametrize("value", ["a${b}", "a%{b}", "a\x07"])
def test_every_text_that_reaches_the_job_refuses_what_nomad_expands(key, value):
    assert codes(key, value) != []


def test_a_secret_takes_everything_that_an_environment_can_carry():
    password = '"q" ${attr.unique.hostname} %{x} {{ x }} $HOME \\ \n}\x01\x7f'
    assert codes(("general", "jupyter_password"), password) == []


@pytest.mark.parametrize("value", ["s3cret-value\0", "s3cret-value" * 100, ["s3cret-value"]])
def test_a_refused_secret_is_not_repeated(value):
    faults = list(CONF.fields["general", "jupyter_password"].faults(value, "/x"))
    assert faults
    assert "s3cret" not in repr(faults)


def test_a_secret_of_the_wrong_type_is_not_repeated():
    (fault,) = CONF.fields["general", "jupyter_password"].faults(123456789, "/x")
    assert "123456789" not in repr(fault)


def test_the_options_of_the_vo_are_not_the_files():
    assert codes(VO_FIELD, "vo.somebody") == []


@pytest.mark.parametrize(
    ("module", "image"),
    [
        ("DEEP-OC-image-classification-tf", "deephdc/deep-oc-image-classification-tf"),
        ("a.b_c", "deephdc/a.b_c"),
        (None, None),
        ("../etc", None),
        ("a/b", None),
        ("a:b", None),
        ("-a", None),
        ("a" * 300, None),
        ("", None),
        (3, None),
    ],
)
def test_a_module_brings_its_image_where_its_name_can_be_one(module, image):
    expected = {("general", "docker_image"): image} if image else {}
    assert module_defaults(module) == expected
    assert is_module(module) == bool(image)


def in_vos(key, **rules):
    """Return the shipped form with `rules` for a field of `hardware`, by VO."""
    return changed("hardware", key, "vo", to=rules)


def test_a_vo_replaces_a_range_a_default_and_options_and_nothing_else():
    own = {"range": [2, 4], "value": 2}
    conf = read_userconf(in_vos("cpu_num", **{"vo.b": own}))
    field = conf.in_vo("vo.b").fields["hardware", "cpu_num"]
    assert (field.range, field.value, field.name) == ((2, 4), 2, "Number of CPUs")
    assert conf.in_vo("vo.a").fields["hardware", "cpu_num"].range == (1, 64)
    assert conf.in_vo("vo.b").fields["hardware", "ram"] == conf.fields["hardware", "ram"]
    assert list(conf.in_vo("vo.b").fields) == list(conf.fields)


def test_the_form_shows_the_rules_of_the_vo_that_is_asked_for():
    conf = read_userconf(in_vos("gpu_num", **{"vo.b": {"range": [0, 2]}}))
    ranges = {
        vo: conf.form(vos=["vo.a", "vo.b"], vo=vo)["hardware"]["gpu_num"]["range"]
        for vo in (None, "vo.a", "vo.b")
    }
    assert ranges == {None: [0, 8], "vo.a": [0, 8], "vo.b": [0, 2]}
    assert conf.form(vos=["vo.b", "vo.a"])["hardware"]["gpu_num"]["range"] == [0, 2]
    vo = conf.form(vos=["vo.a", "vo.b"], vo="vo.b")["general"]["virtual_organization"]
    assert (vo["value"], vo["options"]) == ("vo.b", ["vo.a", "vo.b"])


@pytest.mark.parametrize(
    ("own", "word"),
    [
        ({"range": [4, 2]}, "/hardware/cpu_num/vo/vo.b/range: must be [lowest, highest]"),
        ({"range": [2, 4]}, "/hardware/cpu_num/vo/vo.b/value: 1 is not a whole number from 2 to 4"),
        ({"options": [2, 4]}, "/hardware/cpu_num/vo/vo.b/value: 1 is not one of 2, 4"),
        ({"value": 65}, "/hardware/cpu_num/vo/vo.b/value: 65 is not a whole number from 1 to 64"),
        ({"value": "2"}, "/hardware/cpu_num/vo/vo.b/value: must be a whole number"),
        ({"value": True}, "/hardware/cpu_num/vo/vo.b/value: must be a whole number"),
        ({"name": "CPUs"}, "/hardware/cpu_num/vo/vo.b/name: unknown key"),
        ({"vo": {}}, "/hardware/cpu_num/vo/vo.b/vo: unknown key"),
        ([0, 2], "/hardware/cpu_num/vo/vo.b: must be a mapping"),
        (None, "/hardware/cpu_num/vo/vo.b: must be a mapping"),
    ],
)
def test_a_wrong_rule_of_a_vo_is_refused_with_its_place(own, word):
    with pytest.raises(ValueError, match=r"^/") as caught:
        read_userconf(in_vos("cpu_num", **{"vo.b": own}))
    assert word in str(caught.value)


def test_a_secret_has_no_default_in_any_vo():
    with pytest.raises(ValueError, match="a secret that everybody"):
        read_userconf(
            changed("general", "jupyter_password", "vo", to={"vo.b": {"value": "shared"}})
        )


def test_the_choice_of_the_vo_has_no_rules_by_vo():
    with pytest.raises(ValueError, match="/general/virtual_organization/vo: which VO"):
        read_userconf(changed("general", "virtual_organization", "vo", to={"vo.b": {"value": ""}}))
