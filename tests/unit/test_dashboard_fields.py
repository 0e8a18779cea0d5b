"""From a form to fields and back to a manifest."""

import pytest
import yaml

from api.dashboard import fields
from reconciler.settings import packaged_etc
from specs.faults import Fault
from specs.userconf import read_userconf

VO = "vo.ai4eosc.eu"


@pytest.fixture(scope="module")
def form():
    conf = read_userconf(yaml.safe_load((packaged_etc() / "userconf.yaml").read_text()))
    return conf.form(vos=[VO], vo=VO, module="some-module")


def one(groups, name):
    return next(f for group in groups for f in group.fields if f.id == name)


def test_each_kind_of_field_is_what_its_values_ask_for(form):
    groups = fields.groups_of(form, {}, ())
    kinds = {f.id: f.kind for group in groups for f in group.fields}
    assert kinds["hardware.ram"] == "number"
    assert kinds["general.service"] == "choice"
    assert kinds["general.desc"] == "lines"
    assert kinds["general.jupyter_password"] == "secret"
    assert kinds["general.title"] == "text"
    assert "general.virtual_organization" not in kinds


def test_a_secret_is_never_put_back_into_a_page(form):
    groups = fields.groups_of(form, {"general.jupyter_password": "hunter2hunter2"}, ())
    assert one(groups, "general.jupyter_password").value == ""


def test_what_was_typed_stays_with_what_is_wrong_with_it(form):
    faults = [Fault("/spec/hardware/ram", "OutOfRange", "99 is too little")]
    field = one(fields.groups_of(form, {"hardware.ram": "99"}, faults), "hardware.ram")
    assert (field.value, field.faults, field.low) == ("99", ["99 is too little"], 256)


def test_a_choice_that_is_none_stays_chosen_and_is_not_turned_into_another(form):
    field = one(fields.groups_of(form, {"general.service": "evil"}, ()), "general.service")
    assert field.value == "evil"
    assert ("evil", "evil") in field.options


def test_models_say_how_many_are_free(form):
    form["hardware"]["gpu_type"] |= {"free": {"Tesla K80": 3}}
    options = dict(one(fields.groups_of(form, {}, ()), "hardware.gpu_type").options)
    assert options["Tesla K80"] == "Tesla K80 (3 free now)"
    assert options[""] == "any"


def test_only_what_was_changed_is_declared(form):
    sent = {f.id: f.value for group in fields.groups_of(form, {}, ()) for f in group.fields}
    sent |= {"name": " birds ", "hardware.ram": "9000", "ttl": "7d"}
    manifest = fields.manifest_from(sent, form, module="some-module", vo=VO)
    assert manifest["metadata"] == {"name": "birds", "vo": VO}
    assert manifest["spec"] == {"module": "some-module", "hardware": {"ram": 9000}, "ttl": "7d"}


@pytest.mark.parametrize("text", ["lots", "1.5", "", "1e3", "٣", "1" * 40])
def test_what_is_no_number_stays_a_text_to_be_refused(form, text):
    sent = {"name": "a", "hardware.ram": text}
    spec = fields.manifest_from(sent, form, module="some-module", vo=VO)["spec"]
    assert spec["hardware"]["ram"] == text


def test_a_fault_beside_no_field_is_told_apart(form):
    groups = fields.groups_of(form, {}, ())
    faults = [
        Fault("/spec/hardware/ram", "X", "a"),
        Fault("", "X", "b"),
        Fault("/spec/ttl", "X", "c"),
    ]
    assert fields.loose_faults(faults, groups) == ["b"]
