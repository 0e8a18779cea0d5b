"""R1 with git: the server killed at any moment while commits are pushed."""

import os
import random
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from http.client import HTTPException

import pytest

from tests.e2e.deployments import jobs_of
from tests.e2e.histories import (
    Step,
    a_history,
    assert_written_as_wished,
    listed,
    settled,
    versions_of,
    wishes_by_name,
)
from tests.e2e.repositories import (
    PASSWORD,
    REPOSITORY,
    GitSite,
    an_idle_agent,
    environ_of,
    etc_with_sources,
    git_source,
    missing,
    spec,
)
from tests.e2e.warm import WarmServer
from tests.git_server import GitServer, Origin
from tests.real import wait_until

pytestmark = pytest.mark.e2e

KILLS = int(os.environ.get("AI4PAPI_KILLS", "15"))
"""How often the server is killed; 100 is the full proof."""

KINDS = ("create",) * 60 + ("update",) * 60 + ("delete",) * 20
MOST = 4
"""Steps of one commit."""

LIVES_S = (0.02, 1.5)
"""How long a server lives after its first answer: from before it asked git to after its work."""


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitSite]:
    """A repository with one deployment, and a budget that all the deletions fit."""
    if missing():
        pytest.skip(missing())
    home = tmp_path_factory.mktemp("kills")
    with an_idle_agent(home / "agent") as agent, GitServer(home / "git") as git:
        git.password = PASSWORD
        origin = Origin(home / "git" / REPOSITORY)
        origin.commit({"one/stays.yaml": spec("stays")})
        etc = etc_with_sources(home / "etc", [git_source(git, home)])
        conf = etc / "main_conf.yaml"
        text = conf.read_text()
        assert "\n  count: 5\n" in text
        conf.write_text(text.replace("\n  count: 5\n", "\n  count: 500\n"))
        (home / "server").mkdir()
        with WarmServer(home / "server", environ_of(agent, etc)) as server:
            yield GitSite(server, agent, origin, git)


def test_killed_at_any_moment_it_ends_with_what_head_says_and_writes_nothing_twice(site):
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    steps = a_history(KINDS, chance)
    starts_s = killed_during(site, list(in_commits(steps, chance)))

    told = wishes_by_name(steps)
    alive = {name for name, wishes in told.items() if wishes[-1] is not None}
    took_s = wait_until(
        lambda: settled(site.server, alive | {"stays"}), within_s=60, what="what HEAD says"
    )
    uids = {item["metadata"]["name"]: item["metadata"]["uid"] for item in listed(site.server)}
    wait_until(lambda: set(jobs_of(site.agent)) == set(uids.values()), within_s=30)
    for name in alive:
        assert_written_as_wished(versions_of(site.agent, uids[name]), told[name])
    assert len(versions_of(site.agent, uids["stays"])) == 1
    source = site.source()
    assert (source["applied"], source["faults"], source["held"]) == (site.origin.tip(), [], [])
    print(
        f"{len(steps)} steps, {len(alive)} deployments left, {KILLS} kills: settled {took_s:.1f} s"
        f" after the last start; a start took {statistics.median(starts_s):.2f} s (median)"
    )


def in_commits(steps: Sequence[Step], chance: random.Random) -> Iterator[dict[str, str | None]]:
    """Yield the steps as commits of a few files each; what is changed often moves as well."""
    places: dict[str, str] = {}
    left = list(steps)
    while left:
        files: dict[str, str | None] = {}
        for step in [left.pop(0) for _ in range(min(len(left), chance.randint(1, MOST)))]:
            if step.name in places:
                files[places.pop(step.name)] = None
            if step.wish is not None:
                path = f"{chance.choice(('one', 'two'))}/{step.name}.yaml"
                general, hardware = {"title": step.wish.title}, {"ram": step.wish.ram}
                files[path] = spec(step.name, general=general, hardware=hardware)
                places[step.name] = path
        yield files


def killed_during(site: GitSite, commits: Sequence[dict[str, str | None]]) -> list[float]:
    """Kill the server `KILLS` times while commits are pushed; return how long starts took."""
    chance = random.Random(len(commits))
    turns = threading.Semaphore(0)
    faults: list[BaseException] = []

    def push_all() -> None:
        try:
            for files in commits:
                turns.acquire()
                site.origin.commit(files)
                call_hook(site)
        except BaseException as fault:
            faults.append(fault)

    person = threading.Thread(target=push_all)
    person.start()
    starts_s, released = [], 0
    for kill in range(1, KILLS + 1):
        while released < len(commits) * kill // KILLS:
            turns.release()
            released += 1
        time.sleep(chance.uniform(*LIVES_S))
        site.server.kill()
        began = time.monotonic()
        site.server.start()
        starts_s.append(time.monotonic() - began)
    person.join(timeout=60)
    assert not faults, faults
    assert not person.is_alive(), "a commit was never pushed"
    return starts_s


def call_hook(site: GitSite) -> None:
    """Call the webhook once, as git hosts do: a server that is just dead misses it."""
    try:
        site.hook()
    except (OSError, HTTPException):
        return
