"""Several Nomad clusters: every VO in its own, and one that is down leaves the others alone."""

import shutil
import threading

import pytest

from reconciler.errors import ClusterUnavailable
from reconciler.jobs import JobRef
from reconciler.once import reconcile_once
from reconciler.runtime import open_runtime
from reconciler.settings import load_settings, packaged_etc
from specs.model import Owner, Phase
from specs.userconf import read_userconf
from specs.wish import wish_of_conf
from tests.real import wait_until

CONF = """
auth: {VO: [vo.here, vo.there]}
nomad:
  namespaces: {vo.here: default}
  clusters: {far: {region: far, namespaces: {vo.there: default}}}
"""


class Down:
    """A cluster that does not answer."""

    def __getattr__(self, name):
        raise ClusterUnavailable("no answer")


@pytest.fixture
def runtime(tmp_path):
    etc = tmp_path / "etc"
    shutil.copytree(packaged_etc(), etc)
    (etc / "main_conf.yaml").write_text(CONF)
    environ = {"AI4PAPI_CLUSTER": "simulated", "AI4PAPI_STORE_URL": f"sqlite:///{tmp_path}/s.db"}
    runtime = open_runtime(load_settings(environ, etc))
    yield runtime
    runtime.stop()


def put(runtime, name, vo):
    conf = read_userconf(runtime.settings.userconf)
    wish = wish_of_conf({}, conf, vos=[vo], name=name)
    return runtime.store.put(wish, owner=Owner("i", "s"), owner_name="", source={})[0].uid


def here(runtime, index, uid):
    return runtime.targets[index].cluster.read_job(JobRef("default", uid))


def phase(runtime, uid):
    return runtime.store.get(uid).status.phase


def test_every_vo_goes_to_its_own_cluster_though_the_namespaces_are_called_the_same(runtime):
    first, second = put(runtime, "a", "vo.here"), put(runtime, "b", "vo.there")
    told = []
    assert reconcile_once(runtime, tell=told.append).failed == ()
    assert [line for line in told if "need a look" in line] == [
        "simulated: 1 deployments need a look"
    ] * 2
    assert here(runtime, 0, first)
    assert here(runtime, 1, second)
    assert here(runtime, 0, second) is None
    assert here(runtime, 1, first) is None
    assert runtime.orphans() == []
    assert runtime.title == "simulated (default), simulated (far)"


def test_what_is_asked_of_the_scheduler_is_asked_of_the_right_one(runtime):
    uid = put(runtime, "b", "vo.there")
    reconcile_once(runtime, tell=lambda _: None)
    record = runtime.store.get(uid)
    assert runtime.compare(record)[0].effect == "none"
    assert runtime.preview(record).effect == "none"


def test_one_cluster_that_hangs_leaves_the_other_alone(runtime):
    held = threading.Event()
    # Whoever looks at it hangs there, so all its workers do.
    runtime.targets[0].mirror.look = lambda _: held.wait(30)
    runtime.start()
    try:
        uids = [put(runtime, f"a{number}", "vo.here") for number in range(40)]
        uid = put(runtime, "b", "vo.there")
        wait_until(lambda: phase(runtime, uid) is Phase.RUNNING, within_s=20)
        assert not any(runtime.store.get(one).applied for one in uids)
        assert not runtime.faults()
    finally:
        held.set()


def test_a_process_is_ready_while_one_of_its_clusters_answers(runtime):
    runtime.targets[0].changes.cluster = Down()
    runtime.start()
    wait_until(runtime.ready, within_s=20)
    assert not runtime.targets[0].mirror.connected


def test_a_pass_goes_over_the_clusters_that_answer_and_says_which_did_not(runtime):
    first, second = put(runtime, "a", "vo.here"), put(runtime, "b", "vo.there")
    runtime.targets[0].cluster = Down()
    with pytest.raises(ClusterUnavailable):
        reconcile_once(runtime, tell=lambda _: None)
    assert runtime.store.get(second).applied is not None
    assert runtime.store.get(first).applied is None


def test_a_vo_that_the_settings_no_longer_name_belongs_to_the_first_cluster(runtime):
    assert runtime.target_of("vo.gone").name == "default"
    assert runtime.target_of("vo.there").name == "far"
