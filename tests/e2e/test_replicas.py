"""R11, R12, R19: replicas that are killed, paused and cut off while people go on working."""

import os
import random
import secrets
import signal
import statistics
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.error import URLError

import pytest

from specs.leases import LEASE_S
from tests.e2e.deployments import jobs_of
from tests.e2e.histories import assert_written_as_wished, versions_of, wishes_by_name
from tests.e2e.replicas import PROBES, People, Site, delete_probes, put_probe
from tests.postgres import find_postgres, private_postgres, restart_postgres
from tests.real import DevAgent, KeptAgent, find_nomad, wait_until

pytestmark = pytest.mark.e2e

PAUSE_S = float(os.environ.get("AI4PAPI_PAUSE_S", "60"))
"""How long a reconciler is stopped before it is continued."""

WITHIN_S = 2 * LEASE_S
"""How long a replica that is gone may be missed: two lease periods. The looks come on top."""

SLOW_S = 12.0
"""What a busy test machine takes for the looks themselves."""


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    programs = find_postgres()
    if programs is None:
        pytest.skip("no PostgreSQL programs: install Debian's postgresql")
    with private_postgres(programs) as url:
        yield url


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevAgent]:
    """A Nomad with its state on disk, whose node takes no work: what counts is what is written."""
    if find_nomad() is None:
        pytest.skip("no `nomad` program on PATH or in NOMAD_BIN")
    with KeptAgent(tmp_path_factory.mktemp("agent")) as started:
        started.refuse_work()
        yield started


@pytest.fixture(scope="module")
def site(
    postgres: str, agent: DevAgent, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    environ = {
        "AI4PAPI_STORE_URL": postgres,
        "AI4PAPI_SECRET_KEY": b64encode(secrets.token_bytes(32)).decode(),
        "NOMAD_ADDR": agent.address,
    }
    with Site(tmp_path_factory.mktemp("site"), environ) as started:
        yield started


def test_nothing_is_lost_or_written_twice_whatever_fails_meanwhile(site, agent, postgres):
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    _, killed, paused = site.reconcilers
    times: dict[str, list[float]] = {}

    def recovery(what: str, fault: Callable[[], object]) -> None:
        label = what.replace(" ", "-").lower()
        began = time.monotonic()
        fault()
        done = time.monotonic()
        times[what] = registered_after(site, agent, label, began)
        delete_probes(site, label)
        took = sorted(times[what])
        print(
            f"{what}: the fault took {done - began:.1f} s; fresh specs were registered after"
            f" {took[0]:.1f} s (first), {statistics.median(took):.1f} s (median),"
            f" {took[-1]:.1f} s (last)"
        )

    with People(site, seed) as people:
        recovery("no fault", lambda: None)
        recovery("kill -9", killed.kill)
        killed.start()
        wait_until(lambda: site.shares() == [5, 5, 6], within_s=60, what="three replicas")
        stopped_at = time.monotonic()
        recovery("SIGSTOP", lambda: paused.send(signal.SIGSTOP))
        recovery("PostgreSQL restarted", lambda: restart_postgres(find_postgres(), postgres))
        time.sleep(max(0.0, stopped_at + PAUSE_S - time.monotonic()))
        recovery("SIGCONT", lambda: paused.send(signal.SIGCONT))
        recovery("tables of a newer version", site.upgrade_tables)
        recovery("Nomad restarted", lambda: (agent.stop(), agent.start()))
        wait_until(lambda: site.shares() == [5, 5, 6], within_s=60, what="three replicas")
    assert not people.faults, people.faults

    told = wishes_by_name(people.steps)
    alive = {name for name, wishes in told.items() if wishes[-1] is not None}
    took_s = wait_until(lambda: settled(site, alive), within_s=90, what="every wish settled")
    uids = {item["metadata"]["name"]: item["metadata"]["uid"] for item in site.listed()}
    jobs = jobs_of(agent)
    assert set(uids) == alive, "an answered wish is lost, or an answered deletion"
    assert set(jobs) == {uids[name] for name in alive}, "a job is missing, or a deleted one is left"
    written = {name: versions_of(agent, uids[name]) for name in alive}
    for name in alive:
        assert_written_as_wished(written[name], told[name])
    deletions = sum(step.wish is None for step in people.steps)
    print(
        f"{len(people.steps)} writes answered ({len(told)} deployments, {deletions} deletions);"
        f" {len(alive)} jobs with {sum(map(len, written.values()))} versions, each wished, none"
        f" twice; settled {took_s:.1f} s after the last write"
    )
    left = {r.home.name: r.said("left to another replica") for r in site.reconcilers}
    print(f"looks that ended at the fence: {left}")
    assert max(times["kill -9"]) < WITHIN_S + SLOW_S
    assert max(times["SIGSTOP"]) < WITHIN_S + SLOW_S


def test_a_reconciler_that_is_told_to_stop_hands_its_work_over_at_once(site, agent):
    """R26: nobody waits for a lease to run out."""
    leaving = site.reconcilers[0]
    began = time.monotonic()
    assert leaving.stop() == 0
    stopped_s = time.monotonic() - began
    assert len(set(site.holders())) == 2, "it still holds a lease"
    took = registered_after(site, agent, "stopped", began)
    delete_probes(site, "stopped")
    print(f"told to stop: ended after {stopped_s:.1f} s; fresh specs after {max(took):.1f} s")
    leaving.start()
    wait_until(lambda: site.shares() == [5, 5, 6], within_s=60, what="three replicas again")


def registered_after(site: Site, agent: DevAgent, label: str, began: float) -> list[float]:
    """Declare fresh deployments; return when each had its job, in seconds since `began`."""
    times: dict[str, float] = {}
    with ThreadPoolExecutor(PROBES) as pool:
        puts = [pool.submit(put_probe, site, label, number) for number in range(PROBES)]

        def all_registered() -> bool:
            answered = {done.result() for done in puts if done.done()}
            try:
                found = answered & set(jobs_of(agent))
            except (URLError, OSError):
                return False
            for uid in found:
                times.setdefault(uid, time.monotonic() - began)
            return len(times) == PROBES

        wait_until(all_registered, within_s=90, every_s=0.2, what=f"all probes after {label}")
    return list(times.values())


def settled(site: Site, alive: set[str]) -> bool:
    """Whether exactly these are left, and the latest wish of each is registered and waits."""
    items = site.listed()
    return {item["metadata"]["name"] for item in items} == alive and all(
        item["status"]["phase"] == "Queued"
        and item["status"]["observedGeneration"] == item["metadata"]["generation"]
        for item in items
    )
