"""Deployments declared in a git repository, on a real Nomad: what is merged runs, and nothing that
happens to the repository ends what nobody wished to end."""

import json
import statistics
import urllib.error
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.e2e.deployments import jobs_of
from tests.e2e.repositories import (
    PASSWORD,
    REPOSITORY,
    SOURCE,
    Files,
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
from tests.git_server import GitServer, Origin
from tests.real import wait_until

pytestmark = pytest.mark.e2e

HOME: Files = {f"deploy/n{n:02}.yaml": spec(f"n{n:02}") for n in range(50)}
NAMES = {f"n{n:02}" for n in range(50)}

EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
"""The id that git gives to a tree without files."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitSite]:
    """Fifty deployments declared in one commit, registered and waiting."""
    if missing():
        pytest.skip(missing())
    home = tmp_path_factory.mktemp("site")
    with an_idle_agent(home / "agent") as agent, GitServer(home / "git") as git:
        git.password = PASSWORD
        origin = Origin(home / "git" / REPOSITORY)
        etc = etc_with_sources(home / "etc", [git_source(git, home, poll_s=5)])
        (home / "server").mkdir()
        with Server(home / "server", environ_of(agent, etc)) as server:
            site = GitSite(server, agent, origin, git)
            site.push(HOME)
            site.wait_for_jobs(NAMES)
            yield site


@pytest.fixture
def untouched(site: GitSite) -> Iterator[GitSite]:
    """A site of which Nomad hears nothing meanwhile, whatever happens to its repository."""
    before = snapshot(site.agent)
    commit = site.origin.tip()
    yield site
    site.origin.point("main", commit)
    site.hook()
    site.wait_for_commit(commit)
    site.wait_for_jobs(NAMES)
    assert site.said().splitlines()[1].split()[-4:] == ["50", "0", "0", "read"]
    assert snapshot(site.agent) == before


def test_what_is_merged_is_registered_under_its_uid_and_says_where_it_comes_from(site):
    jobs, uids = jobs_of(site.agent), site.uids()
    assert set(uids) == NAMES
    assert set(jobs) == set(uids.values())
    source = site.record("n07")["metadata"]["source"]
    assert (source["id"], source["path"], source["line"]) == (SOURCE, "deploy/n07.yaml", "1")
    assert (source["commit"], source["author"]) == (site.origin.tip(), "Ada")
    assert site.server.cli("sources").returncode == 0


def test_a_webhook_that_is_not_signed_with_the_sites_secret_is_refused(site):
    with pytest.raises(urllib.error.HTTPError, match="401"):
        send_hook(site.server, site.git.url(REPOSITORY), secret="another-secret-of-somebody")


def test_a_one_file_commit_writes_that_job_and_no_other(site):
    before, uid = snapshot(site.agent), site.uids()["n07"]
    site.push({"deploy/n07.yaml": spec("n07", hardware={"ram": 400})})
    wait_until(lambda: snapshot(site.agent).jobs[uid] != before.jobs[uid], within_s=20)
    wait_until(site.is_quiet, within_s=20)
    assert changed_jobs(before, snapshot(site.agent)) == {uid}
    site.push({"deploy/n07.yaml": HOME["deploy/n07.yaml"]})
    wait_until(site.is_quiet, within_s=20)


def test_a_commit_that_changes_no_spec_and_a_poll_write_nothing_to_nomad(site):
    before = snapshot(site.agent)
    site.push({"README.md": "Ours.\n"})
    site.push({"deploy/n07.yaml": "# A remark.\n" + HOME["deploy/n07.yaml"]})
    read_at = site.source()["readAt"]
    wait_until(lambda: site.source()["readAt"] != read_at, within_s=20, what="a poll")
    assert snapshot(site.agent) == before
    site.push({"README.md": None, "deploy/n07.yaml": HOME["deploy/n07.yaml"]})


@dataclass(frozen=True)
class Trouble:
    """Something that keeps the repository from being read, its end, and the words for it."""

    name: str
    begin: Callable[[GitSite], object]
    end: Callable[[GitSite], object]
    said: str


def take_away(site: GitSite) -> None:
    site.origin.path.rename(site.origin.path.with_name("elsewhere.git"))


def bring_back(site: GitSite) -> None:
    site.origin.path.with_name("elsewhere.git").rename(site.origin.path)


def delete_branch(site: GitSite) -> None:
    site.origin.point("mian", site.origin.tip())
    site.origin.git("update-ref", "-d", "refs/heads/main")


def restore_branch(site: GitSite) -> None:
    site.origin.point("main", site.origin.tip("mian"))
    site.origin.git("update-ref", "-d", "refs/heads/mian")


def lock_out(site: GitSite) -> None:
    site.git.password = "another"


def let_in(site: GitSite) -> None:
    site.git.password = PASSWORD


def fail(site: GitSite) -> None:
    site.git.status = 500


def recover(site: GitSite) -> None:
    site.git.status = 0


TROUBLES = (
    Trouble("the repository is gone", take_away, bring_back, "there is no such repository"),
    Trouble("the branch is gone", delete_branch, restore_branch, "did you mean 'mian'"),
    Trouble("the password is another", lock_out, let_in, "the server refused the credentials"),
    Trouble("the server fails", fail, recover, "500"),
)


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.name)
def test_a_repository_that_can_not_be_read_ends_nothing_and_says_why(untouched, trouble):
    trouble.begin(untouched)
    try:
        error = untouched.wait_for_error()
        said = untouched.said()
    finally:
        trouble.end(untouched)
    assert trouble.said in error
    assert error in said
    assert "can't be read" in said.splitlines()[1]
    assert PASSWORD not in said + json.dumps(untouched.source())
    assert untouched.uids().keys() == NAMES


def test_a_server_that_hangs_ends_nothing_and_is_asked_again(untouched):
    untouched.git.arrived.clear()
    untouched.git.hangs = True
    try:
        untouched.hook()
        assert untouched.git.arrived.wait(10)
        assert untouched.uids().keys() == NAMES
    finally:
        untouched.git.hangs = False


def test_a_broken_file_keeps_its_last_good_spec_and_says_so_everywhere(untouched):
    """R15: and while it can't be read, what is missing beside it stays too."""
    site = untouched
    site.push({"deploy/n03.yaml": "spec: [", "deploy/n04.yaml": None})
    fault = "deploy/n03.yaml:2:1: "
    assert f"team: {fault}" in site.said()
    assert "nothing is deleted now: deploy/n03.yaml can't be read" in site.said()
    assert site.source()["faults"][0]["file"] == "deploy/n03.yaml"
    wait_until(lambda: fault in site.server.cli("get", "n03").stdout, within_s=10)
    assert f"The last good spec stays: {fault}" in site.server.cli("events", "n03").stdout


def test_an_emptied_repository_waits_for_a_yes(untouched):
    """R14."""
    commit = untouched.origin.commit_tree(EMPTY_TREE, (untouched.origin.tip(),))
    untouched.origin.point("main", commit)
    untouched.hook()
    untouched.wait_for_commit(commit)
    assert {held["name"] for held in untouched.source()["held"]} == NAMES
    assert "lists nothing, and 50 deployments are its own" in untouched.said()


def test_a_third_of_the_files_gone_waits_for_a_yes_and_put_back_they_stay(untouched):
    """R14: more than 5 and more than 20 %."""
    site = untouched
    site.push({f"deploy/n{n:02}.yaml": None for n in range(15)})
    assert {held["name"] for held in site.source()["held"]} == {f"n{n:02}" for n in range(15)}
    why = "15 of 50 deployments of team would be deleted within an hour"
    assert why in site.said()
    wait_until(lambda: why in site.server.cli("get", "n03").stdout, within_s=10)
    assert why in site.server.cli("events", "n03").stdout
    assert "held" not in site.server.cli("get", "n20").stdout


def test_a_renamed_folder_restarts_nothing_and_is_told_by_its_new_path(untouched):
    moved = {f"team/{path}": text for path, text in HOME.items()}
    untouched.push(moved | dict.fromkeys(HOME))
    assert untouched.record("n03")["metadata"]["source"]["path"] == "team/deploy/n03.yaml"


def test_a_history_without_a_common_root_that_says_the_same_restarts_nothing(untouched):
    untouched.push(HOME, parents=())
    assert untouched.source()["applied"] == untouched.origin.tip()


def test_a_submodule_a_link_a_pointer_and_twins_are_told_and_end_nothing(untouched):
    """C34, C36, C38: what is missing may stand in what can't be read."""
    origin = untouched.origin
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    raw = {
        b"vendor": ("160000", origin.tip()),
        b"deploy/link.yaml": ("120000", origin.blob("/etc/passwd")),
        b"deploy/large.yaml": ("100644", origin.blob(pointer)),
        b"deploy/N05.yaml": ("100644", origin.blob(spec("n05", hardware={"ram": 999}))),
    }
    untouched.push({"deploy/n04.yaml": None}, raw=raw)
    said = untouched.said()
    assert "deploy/link.yaml:1:1: " in said
    assert "deploy/large.yaml:1:1: " in said
    assert "vendor:1:1: is a submodule" in said
    assert "deploy/n05.yaml:1:1: " in said
    assert "root:" not in said
    wait_until(lambda: "rename one" in untouched.server.cli("get", "n05").stdout, within_s=10)


def test_an_older_commit_pushed_by_force_is_what_runs(site):
    before, uid, old = snapshot(site.agent), site.uids()["n08"], site.origin.tip()
    site.push(
        {"deploy/n08.yaml": spec("n08", hardware={"ram": 400}), "deploy/more.yaml": spec("more")}
    )
    site.wait_for_jobs(NAMES | {"more"})
    site.origin.point("main", old)
    site.hook()
    site.wait_for_commit(old)
    site.wait_for_jobs(NAMES)
    assert changed_jobs(before, snapshot(site.agent)) == {uid}
    assert site.record("n08")["spec"]["hardware"]["ram"] == 300


def test_a_yes_lets_just_the_held_deletions_go(site):
    before, uids = snapshot(site.agent), site.uids()
    gone = {f"n{n:02}" for n in range(15)}
    site.push({f"deploy/{name}.yaml": None for name in gone})
    asked = site.server.cli("sources", "confirm", SOURCE, text="")
    assert asked.returncode == 2
    assert "n14" not in jobs_of(site.agent)
    told = site.server.cli("sources", "confirm", SOURCE, "-y")
    assert told.stdout == "15 deployments are being deleted\n"
    site.wait_for_jobs(NAMES - gone)
    assert changed_jobs(before, snapshot(site.agent)) == {uids[name] for name in gone}


def test_a_pushed_change_is_registered_within_seconds(site):
    """How long, from the push and its webhook to the job at Nomad."""
    uid, took_s = site.uids()["n20"], []
    for number in range(5):
        before = snapshot(site.agent).jobs[uid]
        commit = site.origin.commit(
            {"deploy/n20.yaml": spec("n20", hardware={"ram": 500 + number})}
        )
        site.hook()
        took_s.append(
            wait_until(
                lambda before=before: snapshot(site.agent).jobs[uid] != before,
                within_s=10,
                every_s=0.02,
            )
        )
        site.wait_for_commit(commit)
    print(f"registered {statistics.median(took_s):.2f} s after the push (median of 5)")
