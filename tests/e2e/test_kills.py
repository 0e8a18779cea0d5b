"""R1: the server killed at any moment, again and again, while people create, change and delete."""

import os
import random
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from http.client import HTTPException

import pytest

from tests.e2e.deployments import jobs_of, manifest
from tests.e2e.histories import (
    Step,
    a_history,
    assert_written_as_wished,
    listed,
    settled,
    versions_of,
    wishes_by_name,
)
from tests.e2e.server import Server
from tests.e2e.warm import WarmServer
from tests.real import DevAgent, find_nomad, wait_until

pytestmark = pytest.mark.e2e

KILLS = int(os.environ.get("AI4PAPI_KILLS", "40"))
"""How often the server is killed; 200 is the full proof, of some five minutes."""

KINDS = ("create",) * 110 + ("update",) * 110 + ("delete",) * 80
PEOPLE = 4

LIVES_S = (0.02, 0.6)
"""How long a server lives after its first answer: from before it listed to long after its work."""


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevAgent]:
    """A Nomad whose node takes no work: what counts here is what is registered, not what runs."""
    if find_nomad() is None:
        pytest.skip("no `nomad` program on PATH or in NOMAD_BIN")
    with DevAgent(tmp_path_factory.mktemp("agent")) as started:
        started.refuse_work()
        yield started


@pytest.fixture(scope="module")
def server(agent: DevAgent, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that starts quickly, because it is started so often."""
    environ = {**os.environ, "NOMAD_ADDR": agent.address}
    with WarmServer(tmp_path_factory.mktemp("server"), environ) as started:
        yield started


def test_killed_at_any_moment_it_loses_no_answered_wish_and_writes_none_twice(server, agent):
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    steps = a_history(KINDS, chance)
    starts_s = killed_during(server, steps, chance)

    told = wishes_by_name(steps)
    uids = {item["metadata"]["name"]: item["metadata"]["uid"] for item in listed(server)}
    alive = {name for name, wishes in told.items() if wishes[-1] is not None}
    took_s = wait_until(lambda: settled(server, alive), within_s=60, what="every wish settled")
    jobs = jobs_of(agent)
    assert set(uids) >= alive, "an answered wish is lost"
    assert set(jobs) == {uids[name] for name in alive}, "a job is missing, or a deleted one is left"
    for name in alive:
        assert_written_as_wished(versions_of(agent, uids[name]), told[name])
    counts = [sum(1 for s in steps if s.wish is None), len(told)]
    print(
        f"{len(steps)} steps ({counts[1]} deployments, {counts[0]} deletions), {KILLS} kills:"
        f" settled {took_s:.1f} s after the last start; a start took"
        f" {statistics.median(starts_s):.2f} s (median), {max(starts_s):.2f} s (longest)"
    )


def killed_during(server: Server, steps: Sequence[Step], chance: random.Random) -> list[float]:
    """Kill the server `KILLS` times while people take the steps; return how long starts took."""
    turns = threading.Semaphore(0)
    faults: list[BaseException] = []
    taken = [0]

    def take(mine: Sequence[Step]) -> None:
        try:
            for step in mine:
                turns.acquire()
                submit(server, step)
                taken[0] += 1
        except BaseException as fault:
            faults.append(fault)

    # One deployment's steps are one person's, in order; the steps are spread over the kills.
    owners = {name: number % PEOPLE for number, name in enumerate({s.name: None for s in steps})}
    shares = [[s for s in steps if owners[s.name] == person] for person in range(PEOPLE)]
    people = [threading.Thread(target=take, args=(share,)) for share in shares]
    for person in people:
        person.start()
    starts_s, released = [], 0
    for kill in range(1, KILLS + 1):
        while released < len(steps) * kill // KILLS:
            turns.release()
            released += 1
        time.sleep(chance.uniform(*LIVES_S))
        server.kill()
        began = time.monotonic()
        server.start()
        starts_s.append(time.monotonic() - began)
    for person in people:
        person.join(timeout=60)
    assert not faults, faults
    assert taken[0] == len(steps), "a step was never answered"
    return starts_s


def submit(server: Server, step: Step) -> None:
    """Ask until there is an answer: people do not know whether an unanswered write counted."""
    while True:
        try:
            if step.wish is None:
                code, answer = server.call("DELETE", f"/v1/specs/{step.name}")
                assert code in (202, 404), answer
            else:
                general, hardware = {"title": step.wish.title}, {"ram": step.wish.ram}
                body = manifest(step.name, general=general, hardware=hardware)
                code, answer = server.call("PUT", f"/v1/specs/{step.name}", body)
                assert code in (200, 201), answer
        except (OSError, HTTPException):
            time.sleep(0.02)
        else:
            return
