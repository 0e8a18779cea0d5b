import pytest

from specs.model import DeploymentSpec, Pin
from specs.priorities import PriorityClass, priority_of, usable_classes
from specs.revisions import runs_the_same
from tests.builders import a_deployment, a_spec

CLASSES = {
    "low": PriorityClass(priority=30),
    "high": PriorityClass(priority=70, roles=("operator",)),
}


@pytest.mark.parametrize(
    ("name", "priority"), [(None, 50), ("low", 30), ("high", 70), ("gone", 50), ("", 50)]
)
def test_a_class_stands_for_a_place_in_line(name, priority):
    assert priority_of(a_spec(priority_class=name), CLASSES) == priority


def test_a_class_is_usable_in_the_vos_where_the_role_is_held():
    roles = {"vo.a": {"user"}, "vo.b": {"user", "operator"}, "vo.c": {"auditor"}, "vo.d": set()}
    assert usable_classes(CLASSES, roles) == {"low": {"vo.a", "vo.b"}, "high": {"vo.b"}}
    assert usable_classes(CLASSES, {}) == {"low": set(), "high": set()}


def test_a_spec_that_was_stored_before_there_were_classes_is_read():
    old = a_spec().model_dump(mode="json")
    del old["priorityClass"]
    assert DeploymentSpec.model_validate(old).priority_class is None


def test_a_pin_leaves_the_class_to_the_wish():
    before, wished = a_spec(priority_class="high", ram=999), a_spec(priority_class="low")
    pinned = a_deployment(wished, pin=Pin(1, before, by="Alice"))
    assert (pinned.target.priority_class, pinned.target.hardware.ram) == ("low", 999)
    assert runs_the_same(a_spec(priority_class="low"), a_spec())
