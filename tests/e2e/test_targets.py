"""Two real Nomads behind one platform: each VO in its own, and one that hangs delays no other."""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from reconciler.runtime import Runtime, open_runtime
from reconciler.settings import load_settings, packaged_etc
from specs.model import Owner
from specs.userconf import read_userconf
from specs.wish import wish_of_conf
from tests.real import DevAgent, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.nomad]

CONF = """
auth: {{VO: [vo.here, vo.there]}}
nomad:
  namespaces: {{vo.here: same}}
  clusters: {{far: {{address: "{address}", namespaces: {{vo.there: same}}}}}}
"""


@pytest.fixture
def agents(tmp_path: Path) -> Iterator[list[DevAgent]]:
    with ExitStack() as stack:
        agents = [stack.enter_context(DevAgent(tmp_path / f"agent-{n}")) for n in range(2)]
        for agent in agents:
            agent.refuse_work()
        yield agents


@pytest.fixture
def runtime(tmp_path: Path, agents: list[DevAgent]) -> Iterator[Runtime]:
    etc = tmp_path / "etc"
    shutil.copytree(packaged_etc(), etc)
    (etc / "main_conf.yaml").write_text(CONF.format(address=agents[1].address))
    environ = {"AI4PAPI_STORE_URL": f"sqlite:///{tmp_path}/s.db", "NOMAD_ADDR": agents[0].address}
    runtime = open_runtime(load_settings(environ, etc))
    yield runtime
    runtime.stop()


def put(runtime: Runtime, name: str, vo: str) -> str:
    conf = read_userconf(runtime.settings.userconf)
    wish = wish_of_conf({}, conf, vos=[vo], name=name)
    return runtime.store.put(wish, owner=Owner("i", "s"), owner_name="", source={})[0].uid


def registered_s(runtime: Runtime, uid: str) -> float:
    """Return how long it took until a job was on record."""
    return wait_until(lambda: _is_applied(runtime, uid), within_s=60, every_s=0.01)


def _is_applied(runtime: Runtime, uid: str) -> bool:
    record = runtime.store.get(uid)
    return record is not None and record.applied is not None


def ids(agent: DevAgent) -> set[str]:
    return {job["ID"] for job in agent.call("GET", "/v1/jobs?namespace=same")}


def test_a_cluster_that_hangs_and_comes_back_delays_no_other(
    runtime: Runtime, agents: list[DevAgent]
) -> None:
    runtime.start()
    here, there = put(runtime, "a", "vo.here"), put(runtime, "b", "vo.there")
    for uid in (here, there):
        registered_s(runtime, uid)
    assert [ids(agent) for agent in agents] == [{here}, {there}]

    (process,) = agents[1]._processes
    os.kill(process.pid, signal.SIGSTOP)
    try:
        hanging = [put(runtime, f"h{number}", "vo.there") for number in range(40)]
        took_s = [registered_s(runtime, put(runtime, f"n{n}", "vo.here")) for n in range(20)]
        assert not any(_is_applied(runtime, uid) for uid in hanging)
    finally:
        os.kill(process.pid, signal.SIGCONT)
    began = time.monotonic()
    for uid in hanging:
        registered_s(runtime, uid)
    print(
        f"beside a hanging cluster: registered in {sorted(took_s)[10]:.3f} s (median of 20, at most"
        f" {max(took_s):.3f} s); the 40 of the other {time.monotonic() - began:.1f} s after it"
    )
    assert max(took_s) < 5
    assert ids(agents[1]) == {there, *hanging}
    assert len(ids(agents[0])) == 21
