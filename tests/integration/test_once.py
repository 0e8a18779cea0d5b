"""One pass over everything: `make reconcile`, `python -m reconciler --once`."""

import pytest

from reconciler import once
from reconciler.jobs import JobRef
from reconciler.once import reconcile_once
from reconciler.runtime import open_runtime
from reconciler.settings import load_settings
from specs.model import Owner
from specs.userconf import read_userconf
from specs.wish import wish_of_conf

VO = "vo.ai4eosc.eu"


@pytest.fixture
def runtime(tmp_path):
    environ = {"AI4PAPI_CLUSTER": "simulated", "AI4PAPI_STORE_URL": f"sqlite:///{tmp_path}/s.db"}
    runtime = open_runtime(load_settings(environ))
    yield runtime
    runtime.stop()


def put(runtime, name, **hardware):
    conf = read_userconf(runtime.settings.userconf)
    wish = wish_of_conf({"hardware": hardware}, conf, vos=[VO], name=name)
    record, _ = runtime.store.put(wish, owner=Owner("i", "s"), owner_name="", source={})
    return record.uid


def test_a_pass_registers_what_is_wished_says_so_and_is_settled(runtime):
    uid = put(runtime, "train-a")
    told = []
    report = reconcile_once(runtime, tell=told.append)
    assert report.failed == ()
    assert told[0] == "simulated: 1 deployments need a look"
    assert "deployment train-a (vo.ai4eosc.eu)" in told[1]
    assert runtime.store.get(uid).applied is not None


def test_a_second_pass_has_nothing_to_do(runtime):
    ref = JobRef("ai4eosc", put(runtime, "train-a"))
    reconcile_once(runtime, tell=lambda _: None)
    index = runtime.targets[0].cluster.read_job(ref)["JobModifyIndex"]
    report = reconcile_once(runtime, tell=lambda _: None)
    assert report.failed == ()
    assert runtime.targets[0].cluster.read_job(ref)["JobModifyIndex"] == index


def test_a_pass_takes_a_deletion_to_its_end(runtime):
    uid = put(runtime, "train-a")
    reconcile_once(runtime, tell=lambda _: None)
    runtime.store.request_deletion(uid, actor="Alice", source={"type": "http"})
    report = reconcile_once(runtime, tell=lambda _: None)
    assert report.failed == ()
    assert report.lines[-1] == "deployment train-a: gone"
    assert runtime.store.get(uid) is None


def test_a_pass_names_what_it_could_not_settle(runtime, monkeypatch):
    monkeypatch.setattr(once, "PASS_S", 0.2)
    runtime.targets[0].template.hcl = 'job "x" {}'
    put(runtime, "train-a")
    report = reconcile_once(runtime, tell=lambda _: None)
    assert report.failed == ("train-a",)
