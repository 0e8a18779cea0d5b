"""What is declared in a git repository: from the push to the jobs, beside git and Nomad alone.

A push is the move of the branch, right after it comes what a webhook does. `git fetch` alone is the
same repository over the same server into a bare clone.
"""

import subprocess
import time
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Final

import nomad
import requests

from reconciler.runtime import Runtime
from specs.model import Reach
from tests.bench.bare import prepared, python_nomad_rate
from tests.bench.figures import Figure, no_more_than
from tests.bench.place import Place
from tests.bench.site import OWNER, VO, open_site
from tests.e2e.repositories import (
    PASSWORD,
    REPOSITORY,
    SOURCE,
    etc_with_sources,
    git_source,
    spec,
)
from tests.git_server import NOBODYS, GitServer, Origin
from tests.real import DevAgent, find_nomad, wait_until

CHANGES: Final = 10
"""One-file commits."""


def measure(place: Place) -> list[Figure]:
    """Measure it on a real Nomad, where there is one: its indexes tell whether it was written to.

    Raises: RuntimeError where there is none.
    """
    if find_nomad() is None:
        raise RuntimeError("no `nomad` on PATH: what is declared in git is measured on a real one")
    with DevAgent(place.folder / "agent") as agent:
        agent.refuse_work()
        return _commits(place.sub("git"), agent, place.sized(200, 2000))


def _commits(folder: Path, agent: DevAgent, count: int) -> list[Figure]:
    """Measure a first read of `count` files, one-file commits, and one that changes nothing."""
    with GitServer(folder / "git") as git:
        git.password = PASSWORD
        origin = Origin(folder / "git" / REPOSITORY)
        first = origin.commit({"deploy/first.yaml": spec("first")})
        etc = etc_with_sources(folder / "etc", [git_source(git, folder)])
        with open_site(folder, agent.address, etc=etc) as runtime:
            runtime.start()
            wait_until(lambda: _applied(runtime) == 1, within_s=30)
            files = {f"deploy/{n % 50:02}/n{n}.yaml": spec(f"n{n}") for n in range(count)}
            tip = _committed(origin, files, first)
            site = _Site(runtime, agent, git, origin)
            took_s = site.pushed(tip, lambda: _applied(runtime) > count)
            clone_s = site.cloned(folder / "clone")
            wait_until(lambda: _quiet(runtime), within_s=300)
            heads = [head.uid for head in runtime.store.heads()][:count]
            rate = python_nomad_rate(agent.address, [prepared(runtime, uid) for uid in heads])
            changes = [site.changed(number, folder / "clone") for number in range(CHANGES)]
            moved = site.moves_of_no_change()
    return [
        Figure(
            f"first read of {count} files in git, push to jobs",
            "s",
            (took_s,),
            (clone_s + count / rate,),
        ),
        Figure(
            f"one-file commit among {count}, push to job",
            "s",
            tuple(took_s for took_s, _ in changes),
            tuple(floor_s for _, floor_s in changes),
        ),
        Figure(
            "commit that changes no spec: moves of Nomad's indexes",
            "moves",
            (moved,),
            goal=no_more_than(0),
        ),
    ]


class _Site:
    """A runtime, its repository, and what the same costs without it."""

    def __init__(self, runtime: Runtime, agent: DevAgent, git: GitServer, origin: Origin) -> None:
        self._runtime = runtime
        self._agent = agent
        self._git = git
        self._origin = origin

    def pushed(self, commit: str, done: Callable[[], bool], *, every_s: float = 0.1) -> float:
        """Push a commit; return the seconds until `done`."""
        began = time.monotonic()
        self._origin.point("main", commit)
        self._runtime.store.ask_source(SOURCE)
        wait_until(done, within_s=600, every_s=every_s)
        return time.monotonic() - began

    def cloned(self, clone: Path) -> float:
        """Return the seconds of a bare clone."""
        return self._git_alone("clone", "--bare", "--quiet", self._git.url(REPOSITORY), str(clone))

    def changed(self, number: int, clone: Path) -> tuple[float, float]:
        """Push a change of one file; return the seconds until its job, and of the bare things."""
        reach = Reach(OWNER, frozenset({VO}))
        uid = self._runtime.store.find(reach, vo=VO, name=f"n{number}").uid
        tip = self._origin.tip()
        text = spec(f"n{number}", hardware={"ram": 400})
        files = {f"deploy/{number % 50:02}/n{number}.yaml": text}
        commit = _committed(self._origin, files, tip)

        def written() -> bool:
            now = self._runtime.store.get(uid)
            return now is not None and now.applied is not None and now.applied.generation == 2

        took_s = self.pushed(commit, written, every_s=0.01)
        url = self._git.url(REPOSITORY)
        fetch_s = self._git_alone(f"--git-dir={clone}", "fetch", "--quiet", url, "+main:main")
        return took_s, fetch_s + self._registered(uid)

    def moves_of_no_change(self) -> int:
        """Push a commit that changes no spec; return by how much Nomad's indexes moved."""
        wait_until(lambda: _quiet(self._runtime), within_s=60)
        before = self._indexes()
        commit = _committed(self._origin, {"README.md": "Ours.\n"}, self._origin.tip())
        reports = self._runtime.store.source_reports
        self.pushed(commit, lambda: reports()[SOURCE].applied == commit)
        wait_until(lambda: _quiet(self._runtime), within_s=60)
        return sum(self._indexes()) - sum(before)

    def _registered(self, uid: str) -> float:
        """Return the seconds in which a bare client writes the job again as it is."""
        client = nomad.Nomad(address=self._agent.address, namespace="ai4eosc", timeout=60)
        job = client.job.get_job(uid)
        began = time.monotonic()
        client.jobs.register_job({"Job": job})
        return time.monotonic() - began

    def _indexes(self) -> tuple[int, int]:
        options = {"namespace": "*", "per_page": 1}
        return tuple(  # type: ignore[return-value]
            int(
                requests.get(
                    f"{self._agent.address}/v1/{kind}", params=options, timeout=60
                ).headers["X-Nomad-Index"]
            )
            for kind in ("jobs", "evaluations")
        )

    def _git_alone(self, *words: str) -> float:
        login = f"Authorization: Basic {_basic()}"
        began = time.monotonic()
        subprocess.run(
            ["git", "-c", f"http.extraHeader={login}", *words],
            env={"PATH": "/usr/bin:/bin", "HOME": "/"} | NOBODYS,
            check=True,
            capture_output=True,
        )
        return time.monotonic() - began


def _committed(origin: Origin, files: dict[str, str], parent: str) -> str:
    """Make a commit that no branch has yet."""
    return origin.commit(dict(files), branch="staging", parents=(parent,))


def _basic() -> str:
    return b64encode(f"x:{PASSWORD}".encode()).decode()


def _applied(runtime: Runtime) -> int:
    return sum(head.applied_index > 0 for head in runtime.store.heads())


def _quiet(runtime: Runtime) -> bool:
    state = runtime.targets[0].queue.state()
    return not (state.waiting or state.working or state.delayed)
