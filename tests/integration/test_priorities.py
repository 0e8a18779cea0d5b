"""Priority classes: who may ask for one, what it makes of the job, and that nothing restarts."""

from dataclasses import replace

import httpx
import pytest

from api.app import create_app
from specs.model import Phase
from specs.priorities import PriorityClass
from tests.builders import a_spec

CLASSES = {
    "low": PriorityClass(priority=30),
    "high": PriorityClass(priority=70, roles=("operator",)),
}


@pytest.fixture(scope="module")
def prioritised(server, serve):
    """A server of a site that has priority classes."""
    services = replace(server.app.state.services, priorities=CLASSES)
    with (
        serve(create_app(services)) as url,
        httpx.Client(base_url=url, trust_env=False) as client,
    ):
        yield replace(server, url=url, client=client)


def test_anybody_may_step_back_and_only_an_operator_go_ahead(prioritised, manifest):
    """C17: who goes first is the operator's to say."""
    user, operator = prioritised.caller(), prioritised.caller(operator=True)
    for caller, name, status in (
        (user, "low", 201),
        (user, "high", 422),
        (user, "urgent", 422),
        (operator, "high", 201),
    ):
        body = manifest(name, metadata={"vo": "vo.ai4eosc.eu"}, priorityClass=name)
        answer = caller.post("/v1/specs", json=body)
        assert answer.status_code == status, answer.text
        if status == 201:
            assert answer.json()["spec"]["priorityClass"] == name
        else:
            (cause,) = answer.json()["causes"]
            assert cause["pointer"] == "/spec/priorityClass"
            assert cause["allowed"] == "one of your priority classes: low"


def test_a_class_is_patched_in_and_taken_back_with_null(prioritised, manifest):
    me = prioritised.caller()
    me.post("/v1/specs", json=manifest("moved"))
    patched = me.patch("/v1/specs/moved", json={"spec": {"priorityClass": "low"}}).json()
    assert (patched["spec"]["priorityClass"], patched["metadata"]["generation"]) == ("low", 2)
    back = me.patch("/v1/specs/moved", json={"spec": {"priorityClass": None}}).json()
    assert "priorityClass" not in back["spec"]
    assert back["metadata"]["generation"] == 3


def test_without_classes_none_can_be_asked_for(me, manifest):
    answer = me.post("/v1/specs", json=manifest(priorityClass="low"))
    assert answer.status_code == 422
    assert "you have none" in answer.json()["causes"][0]["message"]


@pytest.fixture
def running(whole):
    uid = whole.put()
    whole.settle()
    whole.pass_time(20)
    assert whole.status(uid).phase is Phase.RUNNING
    return uid


def test_another_class_moves_the_priority_and_restarts_nothing(whole, running):
    (before,) = whole.allocations(running)
    for name, priority in (("low", 30), ("high", 70), (None, 50)):
        whole.put(spec=a_spec(priority_class=name))
        whole.settle()
        whole.pass_time(20)
        assert whole.job(running)["Priority"] == priority
        (allocation,) = whole.allocations(running)
        assert (allocation["ID"], allocation["ClientStatus"]) == (before["ID"], "running")
    assert whole.status(running).phase is Phase.RUNNING


def test_a_priority_changed_by_hand_is_drift_of_the_class(whole, running):
    whole.put(spec=a_spec(priority_class="low"))
    whole.settle()
    whole.edit(running, Priority=90)
    whole.pass_time(5)
    assert whole.job(running)["Priority"] == 30
    told = [e.event.message for e in whole.store.events(running)]
    assert any("Priority is 90, not 30" in message for message in told)


def test_a_rollback_leaves_the_class_to_the_wish(whole, running):
    whole.put(spec=a_spec(priority_class="low", title="newer"))
    whole.settle()
    whole.store.rollback(running, 1, actor="Alice", source={"type": "api"})
    whole.settle()
    whole.pass_time(5)
    job = whole.job(running)
    assert (job["Priority"], job["UI"]["Description"]) == (30, "My training")
