"""Back-pressure on a real Nomad: its schedulers stand still, and the line for them stays short."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.pressure import SHORTEST_LINE
from reconciler.runtime import Runtime, open_runtime
from reconciler.settings import load_settings
from specs.model import Owner
from specs.userconf import read_userconf
from specs.wish import wish_of_conf
from tests.real import DevAgent, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.nomad]

VO = "vo.ai4eosc.eu"
MANY = 400
ALICE, BOB = Owner("https://op", "alice"), Owner("https://op", "bob")


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[DevAgent]:
    with DevAgent(tmp_path / "agent") as agent:
        agent.refuse_work()
        yield agent


@pytest.fixture
def runtime(tmp_path: Path, agent: DevAgent) -> Iterator[Runtime]:
    environ = {"AI4PAPI_STORE_URL": f"sqlite:///{tmp_path}/s.db", "NOMAD_ADDR": agent.address}
    runtime = open_runtime(load_settings(environ))
    yield runtime
    runtime.stop()


def put(runtime: Runtime, name: str, owner: Owner) -> str:
    conf = read_userconf(runtime.settings.userconf)
    wish = wish_of_conf({}, conf, vos=[VO], name=name)
    return runtime.store.put(wish, owner=owner, owner_name="", source={})[0].uid


def pause(agent: DevAgent, paused: bool) -> None:
    config = agent.call("GET", "/v1/operator/scheduler/configuration")["SchedulerConfig"]
    body = {**config, "PauseEvalBroker": paused}
    agent.call("PUT", "/v1/operator/scheduler/configuration", body)


def registered(agent: DevAgent) -> int:
    return len(agent.call("GET", "/v1/jobs?namespace=*&per_page=1000"))


def applied(runtime: Runtime, uids: list[str]) -> int:
    return sum(head.applied_index > 0 for head in runtime.store.heads() if head.uid in set(uids))


def test_while_nomads_schedulers_stand_still_little_is_sent_and_then_flows_take_turns(
    runtime: Runtime, agent: DevAgent
) -> None:
    runtime.start()
    wait_until(runtime.ready, within_s=30)
    pause(agent, paused=True)
    many = [put(runtime, f"many-{number}", ALICE) for number in range(MANY)]
    wait_until(lambda: registered(agent) >= SHORTEST_LINE, within_s=60)
    time.sleep(10)  # longer than anybody's patience
    stood = registered(agent)
    # Those under way when the line grew full are in it, too.
    assert SHORTEST_LINE <= stood <= SHORTEST_LINE + 2 * runtime.settings.workers
    told = [runtime.store.get(uid) for uid in many]
    waiting = [one for one in told if one and not one.applied and one.status.condition("Synced")]
    assert waiting, "who got no turn says so"

    one = put(runtime, "one", BOB)
    pause(agent, paused=False)
    before = 0

    def bobs_is_there() -> bool:
        nonlocal before
        before = applied(runtime, many)
        return applied(runtime, [one]) == 1

    took_s = wait_until(bobs_is_there, within_s=60, every_s=0.02)
    rest_s = wait_until(lambda: applied(runtime, many) == MANY, within_s=120)
    print(
        f"{stood} of {MANY} were sent while nothing was scheduled; then another's one came after"
        f" {took_s:.2f} s, when {before} were there, and the rest {rest_s:.1f} s later"
    )
    assert before < MANY - 100
