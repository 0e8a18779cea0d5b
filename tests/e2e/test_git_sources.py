"""Several sources at once on a real Nomad: one that hangs, a stop meanwhile, a folder, SSH."""

import os
import signal
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.deployments import jobs_of
from tests.e2e.repositories import (
    PASSWORD,
    REPOSITORY,
    GitSite,
    an_idle_agent,
    changed_jobs,
    environ_of,
    etc_with_sources,
    git_source,
    missing,
    send_hook,
    snapshot,
    spec,
)
from tests.e2e.server import Server
from tests.git_server import GitServer, Origin, SshServer
from tests.real import DevAgent, wait_until

pytestmark = pytest.mark.e2e

ROUNDS = 4
SECOND = "second.git"


@dataclass
class ManySite(GitSite):
    """A site with a second repository, on a server of its own, and a folder."""

    second: Origin
    other: GitServer
    folder: Path


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevAgent]:
    if missing():
        pytest.skip(missing())
    with an_idle_agent(tmp_path_factory.mktemp("agent")) as started:
        yield started


@pytest.fixture
def site(agent: DevAgent, tmp_path: Path) -> Iterator["ManySite"]:
    """A repository that may hang, one of another server beside it, and a folder."""
    folder = tmp_path / "specs"
    folder.mkdir()
    with GitServer(tmp_path / "git") as git, GitServer(tmp_path / "other") as other:
        git.password = PASSWORD
        origin = Origin(tmp_path / "git" / REPOSITORY)
        second = Origin(tmp_path / "other" / SECOND)
        origin.commit({"a.yaml": spec("a")})
        second.commit({"b.yaml": spec("b")})
        sources = [
            git_source(git, tmp_path),
            {"name": "second", "url": other.url(SECOND), "poll_s": 86_400},
            {"name": "folder", "url": str(folder), "poll_s": 86_400},
        ]
        etc = etc_with_sources(tmp_path / "etc", sources)
        (tmp_path / "server").mkdir()
        with Server(tmp_path / "server", environ_of(agent, etc)) as server:
            site = ManySite(server, agent, origin, git, second, other, folder)
            wait_until(lambda: {"a", "b"} <= site.uids().keys(), within_s=20)
            yield site
            end_all(site)


def end_all(site: ManySite) -> None:
    for name in site.uids():
        code, _ = site.server.call("DELETE", f"/v1/specs/{name}?takeOver=true")
        assert code in (202, 404)
    wait_until(lambda: not jobs_of(site.agent), within_s=30, what="no job left")


def changed_after_s(site: ManySite, ram: int) -> float:
    """Change the second source; return the seconds until its job is written."""
    uid = site.uids()["b"]
    before = snapshot(site.agent).jobs[uid]
    began = time.monotonic()
    site.second.commit({"b.yaml": spec("b", hardware={"ram": ram})})
    send_hook(site.server, site.other.url(SECOND))
    wait_until(
        lambda: snapshot(site.agent).jobs[uid] != before, within_s=20, every_s=0.02, what="a change"
    )
    return time.monotonic() - began


def hang(site: ManySite) -> None:
    site.git.arrived.clear()
    site.git.hangs = True
    site.hook()
    assert site.git.arrived.wait(10)


def git_processes(site: ManySite) -> list[int]:
    """Return the ids of git's processes that talk to the site's git server."""
    address = site.git.url("").encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except OSError:
            continue
        if address in words and b"git" in words.split(b"\0")[0]:
            found.append(int(path.parent.name))
    return found


def test_a_source_that_hangs_delays_no_other(site):
    site.wait_for_jobs({"a", "b"})
    quiet_s = [changed_after_s(site, 400 + number) for number in range(ROUNDS)]
    hang(site)
    hanging_s = [changed_after_s(site, 500 + number) for number in range(ROUNDS)]
    (site.folder / "c.yaml").write_text(spec("c"))
    folder_s = wait_until(lambda: "c" in site.uids(), within_s=20, every_s=0.05)
    assert site.git.hangs
    assert git_processes(site), "nothing hung"
    site.git.hangs = False
    quiet, hanging = map(statistics.median, (quiet_s, hanging_s))
    print(
        f"registered {quiet:.2f} s after the push, {hanging:.2f} s while another source hangs"
        f" (medians of {ROUNDS}); a file in a folder {folder_s:.2f} s"
    )
    assert hanging < quiet + 2


@pytest.mark.parametrize("signals", [1, 2])
def test_r26_a_stop_while_git_hangs_ends_soon_and_leaves_no_git(site, signals):
    """R26."""
    hang(site)
    wait_until(lambda: bool(git_processes(site)), within_s=10, what="a git that hangs")
    process = site.server.process
    began = time.monotonic()
    for _ in range(signals):
        process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 0
    print(f"stopped after {time.monotonic() - began:.2f} s")
    assert time.monotonic() - began < 8
    assert git_processes(site) == []
    site.git.hangs = False
    site.server.start()
    wait_until(lambda: site.source()["error"] == "", within_s=20, what="a read after the start")


def test_a_folder_is_followed_as_editors_and_people_work_in_it(site):
    folder = site.folder
    names = {f"f{n}" for n in range(8)}
    for name in names:
        (folder / f"{name}.yaml").write_text(spec(name))
    site.wait_for_jobs(names | {"a", "b"})
    before, uids = snapshot(site.agent), site.uids()

    save_like_vim(folder / "f1.yaml", spec("f1", hardware={"ram": 400}))
    wait_until(lambda: uids["f1"] in changed_jobs(before, snapshot(site.agent)), within_s=20)
    folder.rename(folder.with_name("away"))
    time.sleep(1)
    folder.with_name("away").rename(folder)
    folder.rename(folder.with_name("away"))
    site.server.call("POST", "/v1/sources/folder/sync")
    wait_until(lambda: bool(site.source("folder")["error"]), within_s=20, what="the folder's error")
    assert site.source("folder")["error"] in site.said()
    time.sleep(3)
    folder.with_name("away").rename(folder)
    wait_until(lambda: not site.source("folder")["error"], within_s=20, what="the folder again")
    site.wait_for_jobs(names | {"a", "b"})
    assert changed_jobs(before, snapshot(site.agent)) == {uids["f1"]}

    (folder / "f2.yaml").unlink()
    took_s = wait_until(lambda: "f2" not in site.uids(), within_s=20, every_s=0.05)
    print(f"a removed file ended its deployment after {took_s:.1f} s")
    site.wait_for_jobs((names | {"a", "b"}) - {"f2"})
    assert changed_jobs(before, snapshot(site.agent)) == {uids["f1"], uids["f2"]}


def save_like_vim(path: Path, text: str) -> None:
    """Write a swap file, move the old text aside, write the new one, and clean up."""
    swap, backup = path.with_name(f".{path.name}.swp"), path.with_name(f"{path.name}~")
    swap.write_bytes(b"b0VIM 9.0")
    path.rename(backup)
    path.write_text(text[: len(text) // 2])
    path.write_text(text)
    backup.unlink()
    swap.unlink()


def test_a_repository_is_read_over_ssh(agent, tmp_path):
    if SshServer.missing():
        pytest.skip(SshServer.missing())
    origin = Origin(tmp_path / "specs.git")
    origin.commit({"deploy/s.yaml": spec("s")})
    with SshServer(tmp_path / "ssh") as ssh:
        url = ssh.url(origin.path)
        etc = etc_with_sources(tmp_path / "etc", [{"name": "ssh", "url": url, "poll_s": 86_400}])
        (tmp_path / "server").mkdir()
        environ = {**environ_of(agent, etc), **ssh.client("known")}
        environ["PATH"] += os.pathsep + os.environ["PATH"]
        with Server(tmp_path / "server", environ) as server:
            wait_until(lambda: server.call("GET", "/v1/specs/s")[0] == 200, within_s=20)
            server.wait_for("s", "Queued")
            origin.commit({"deploy/s.yaml": None, "deploy/t.yaml": spec("t")})
            assert send_hook(server, url) == 202
            wait_until(lambda: server.call("GET", "/v1/specs/t")[0] == 200, within_s=20)
            server.wait_for("t", "Queued")
            wait_until(lambda: server.gone("s"), within_s=20)
            server.call("DELETE", "/v1/specs/t?takeOver=true")
            wait_until(lambda: server.gone("t"), within_s=20)
