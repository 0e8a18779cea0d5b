"""`ai4papi reconcile -f`, `diff` and `export` on a real Nomad: for CI, and from clicks to git."""

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.e2e.deployments import put
from tests.e2e.repositories import (
    PASSWORD,
    REPOSITORY,
    SOURCE,
    GitSite,
    an_idle_agent,
    changed_jobs,
    environ_of,
    etc_with_sources,
    git_source,
    missing,
    snapshot,
    spec,
)
from tests.e2e.server import Server
from tests.git_server import GitServer, Origin
from tests.real import DevAgent, wait_until

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevAgent]:
    if missing():
        pytest.skip(missing())
    with an_idle_agent(tmp_path_factory.mktemp("agent")) as started:
        yield started


def test_one_pass_over_a_folder_says_what_it_does_and_ends_with_what_came_of_it(agent, tmp_path):
    etc = etc_with_sources(tmp_path / "etc", [])
    (tmp_path / "home").mkdir()
    machine = Server(tmp_path / "home", environ_of(agent, etc))
    folder = tmp_path / "specs"
    folder.mkdir()
    for name in ("one", "two", "three"):
        (folder / f"{name}.yaml").write_text(spec(name))
    report = tmp_path / "report.xml"

    def reconcile(*words: str) -> tuple[int, str]:
        ran = machine.cli("reconcile", "-f", str(folder), "--report", str(report), *words)
        return ran.returncode, ran.stdout + ran.stderr

    empty = snapshot(agent)
    code, said = reconcile("--dry-run")
    assert (code, "3 to create" in said) == (0, True), said
    assert snapshot(agent) == empty
    code, said = reconcile("--dry-run")
    assert "3 to create" in said, "the dry run wrote to the store"

    code, said = reconcile()
    assert (code, "3 to create" in said) == (0, True), said
    made = snapshot(agent)
    assert len(made.jobs) == len(empty.jobs) + 3
    assert ET.parse(report).getroot().attrib["failures"] == "0"
    code, said = reconcile()
    assert (code, "3 unchanged" in said) == (0, True), said
    assert snapshot(agent) == made

    (folder / "one.yaml").write_text(spec("one", general={"title": "another"}))
    (folder / "two.yaml").write_text(spec("two", hardware={"ram": 400}))
    (folder / "three.yaml").unlink()
    (folder / "four.yaml").write_text(spec("four"))
    code, said = reconcile("--dry-run")
    assert "1 to delete, 1 to create, 2 to change" in said
    assert "one.yaml:1  vo.ai4eosc.eu/local/one: in place" in said
    assert "two.yaml:1  vo.ai4eosc.eu/local/two: " in said
    assert "does not fit now" in said
    assert snapshot(agent) == made

    (folder / "four.yaml").write_text("spec: [")
    code, said = reconcile()
    assert code == 1
    assert "four.yaml:2" in said
    assert "not settled: " in said
    failures = ET.parse(report).getroot().iter("failure")
    assert {failure.get("type") for failure in failures} == {"refused", "held"}
    assert len(snapshot(agent).jobs) == len(made.jobs), "absence counted beside an unreadable file"
    assert machine.cli("reconcile", "-f", str(folder / "one.yaml")).returncode == 2

    (folder / "four.yaml").write_text("# Nothing yet.\n")
    code, said = reconcile()
    assert (code, "1 to delete" in said) == (0, True), said
    assert len(snapshot(agent).jobs) == len(made.jobs) - 1


@pytest.fixture
def site(agent: DevAgent, tmp_path: Path) -> Iterator[GitSite]:
    """A site with a repository in which there is nothing yet."""
    with GitServer(tmp_path / "git") as git:
        git.password = PASSWORD
        origin = Origin(tmp_path / "git" / REPOSITORY)
        etc = etc_with_sources(tmp_path / "etc", [git_source(git, tmp_path)])
        (tmp_path / "server").mkdir()
        with Server(tmp_path / "server", environ_of(agent, etc)) as server:
            yield GitSite(server, agent, origin, git)


def test_from_clicks_to_git_and_back_nothing_restarts(site, tmp_path):
    server, names = site.server, ("alpha", "beta", "gamma")
    secret = "the-password-of-the-lab"
    for name in names:
        lab = {"title": name, "service": "jupyterlab", "jupyter_password": secret}
        put(server, name, general=lab)
    wait_until(site.is_quiet, within_s=20)
    before = snapshot(site.agent)

    out = tmp_path / "out"
    assert server.cli("export", "--all", "-o", str(out)).returncode == 0
    files = {path.name: path.read_text() for path in out.iterdir()}
    assert set(files) == {f"{name}.yaml" for name in names}
    assert not any(secret in text for text in files.values())
    assert server.cli("diff", "-f", str(out)).returncode == 0
    site.push(files)
    assert {site.record(name)["metadata"]["source"].get("id") for name in names} == {SOURCE}
    assert site.source()["faults"] == []
    assert snapshot(site.agent) == before

    (out / "beta.yaml").write_text(files["beta.yaml"].replace("title: beta", "title: other"))
    (out / "gamma.yaml").unlink()
    differs = server.cli("diff", "-f", str(out), "--source", SOURCE)
    assert differs.returncode == 1
    assert "-    title: beta" in differs.stdout
    assert "1 to delete, 1 to change, 1 unchanged" in differs.stdout
    assert snapshot(site.agent) == before

    refused = server.cli("apply", "-f", str(out / "beta.yaml"))
    assert refused.returncode == 6
    assert "beta.yaml" in refused.stderr
    assert server.cli("apply", "-f", str(out / "beta.yaml"), "--take-over").returncode == 0
    wait_until(site.is_quiet, within_s=20)
    assert changed_jobs(before, snapshot(site.agent)) == {site.uids()["beta"]}
    site.push({"README.md": "Ours.\n"})
    assert "declared by people" in site.said()
    assert site.record("beta")["spec"]["general"]["title"] == "other"
    site.push({"beta.yaml": (out / "beta.yaml").read_text()})
    assert site.record("beta")["metadata"]["source"]["id"] == SOURCE
    assert site.source()["faults"] == []
    assert changed_jobs(before, snapshot(site.agent)) == {site.uids()["beta"]}
    log = (server.home / "server.log").read_text()
    assert secret not in log
    assert PASSWORD not in log
