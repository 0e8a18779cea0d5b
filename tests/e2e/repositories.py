"""A site whose deployments are declared in git: a repository, its server, ours and a real Nomad."""

import hashlib
import hmac
import json
import os
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.e2e.conftest import etc_with
from tests.e2e.deployments import NS, Json, jobs_of, manifest
from tests.e2e.server import Server
from tests.git_server import GitServer, Origin
from tests.real import DevAgent, find_nomad, wait_until

PASSWORD: Final = "the-password-of-the-git-server"
HOOK_SECRET: Final = "the-secret-of-the-webhooks"
SOURCE: Final = "team"
REPOSITORY: Final = "team.git"

Files = dict[str, str]


def spec(name: str, **groups: Any) -> str:
    """Return a spec file of a small deployment: JSON, which is YAML too."""
    return json.dumps(manifest(name, **groups), indent=1) + "\n"


@dataclass
class GitSite:
    """Pushes to the repository and tells what became of it, here and at Nomad."""

    server: Server
    agent: DevAgent
    origin: Origin
    git: GitServer

    def push(self, files: Mapping[str, str | bytes | None], **how: Any) -> str:
        """Commit, have the host call the webhook, and wait until that commit is taken in."""
        commit = self.origin.commit(files, **how)
        self.hook()
        self.wait_for_commit(commit)
        return commit

    def hook(self) -> None:
        assert send_hook(self.server, self.git.url(REPOSITORY)) == 202

    def source(self, name: str = SOURCE) -> Json:
        """Return the source as operators see it."""
        code, answer = self.server.call("GET", "/v1/sources")
        assert code == 200, answer
        return next(item for item in answer["items"] if item["id"] == name)

    def wait_for_commit(self, commit: str, *, within_s: float = 30) -> None:
        def taken() -> bool:
            source = self.source()
            return source["applied"] == commit and not source["error"]

        try:
            wait_until(taken, within_s=within_s, every_s=0.05, what="the commit in the store")
        except TimeoutError as error:
            raise TimeoutError(f"{error}: {json.dumps(self.source(), indent=1)}") from error

    def wait_for_error(self) -> str:
        """Have the source read, and wait until it is told why it can't be."""
        self.hook()
        wait_until(lambda: bool(self.source()["error"]), within_s=30, what="the source's error")
        return str(self.source()["error"])

    def said(self) -> str:
        """Return what `ai4papi sources` says, table and troubles."""
        told = self.server.cli("sources")
        assert told.returncode == (1 if told.stderr else 0)
        return told.stdout + told.stderr

    def uids(self) -> dict[str, str]:
        """Return the uid of every deployment that is not being deleted, by name."""
        code, page = self.server.call("GET", "/v1/specs?limit=500")
        assert code == 200, page
        items = [item["metadata"] for item in page["items"]]
        return {m["name"]: m["uid"] for m in items if not m.get("deletionTimestamp")}

    def record(self, name: str) -> Json:
        code, answer = self.server.call("GET", f"/v1/specs/{name}")
        assert code == 200, answer
        return dict(answer)

    def wait_for_jobs(self, names: set[str], *, within_s: float = 60) -> None:
        """Wait until Nomad has just these jobs, and each is as its deployment wants it."""

        def there() -> bool:
            uids = self.uids()
            return set(uids) == names and set(jobs_of(self.agent)) == set(uids.values())

        wait_until(there, within_s=within_s, every_s=0.05, what="just these jobs at Nomad")
        wait_until(self.is_quiet, within_s=within_s, every_s=0.05, what="every wish settled")

    def is_quiet(self) -> bool:
        code, page = self.server.call("GET", "/v1/specs?limit=500")
        assert code == 200, page
        return all(is_settled(item) for item in page["items"])


def is_settled(item: Json) -> bool:
    """Whether the latest wish is registered and waits for a node."""
    status = item["status"]
    settled = status["observedGeneration"] == item["metadata"]["generation"]
    return bool(settled and status["phase"] == "Queued")


def send_hook(server: Server, url: str, *, secret: str = HOOK_SECRET) -> int:
    """Send the webhook of a push, as GitHub does; return the status."""
    body = json.dumps({"ref": "refs/heads/main", "repository": {"clone_url": url}}).encode()
    request = urllib.request.Request(f"{server.url}/v1/hooks/git", data=body, method="POST")
    request.add_header("Content-Type", "application/json")
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    request.add_header("X-Hub-Signature-256", f"sha256={signature}")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return int(answer.status)


def etc_with_sources(folder: Path, sources: Sequence[Mapping[str, Any]]) -> Path:
    """Return an `etc/` that has these sources of spec files."""
    return etc_with(folder, None, main_conf={"  sources: []": f"  sources: {json.dumps(sources)}"})


def git_source(git: GitServer, home: Path, **more: Any) -> dict[str, Any]:
    """Return the source of the repository, whose password is in a file of the operator's."""
    token_file = home / "git-token"
    token_file.write_text(PASSWORD + "\n")
    return {
        "name": SOURCE,
        "url": git.url(REPOSITORY),
        "token_file": str(token_file),
        "poll_s": 86_400,
        **more,
    }


def environ_of(agent: DevAgent, etc: Path) -> dict[str, str]:
    return {
        **os.environ,
        "NOMAD_ADDR": agent.address,
        "AI4PAPI_ETC": str(etc),
        "AI4PAPI_HOOK_SECRET": HOOK_SECRET,
    }


@contextmanager
def an_idle_agent(home: Path) -> Iterator[DevAgent]:
    """Run a Nomad whose node takes no work: jobs are registered and wait, and none runs."""
    with DevAgent(home) as started:
        started.refuse_work()
        yield started


def missing() -> str:
    """Say what is missing for these tests here, or ""."""
    return "" if find_nomad() else "no `nomad` program on PATH or in NOMAD_BIN"


@dataclass(frozen=True)
class Snapshot:
    """What Nomad has: its jobs with what each write moves, and when it wrote any evaluation.

    Nothing is written and nothing restarted between two that are equal.
    """

    jobs: Mapping[str, tuple[int, int, bool]]
    evaluations: int


def snapshot(agent: DevAgent) -> Snapshot:
    jobs = {
        uid: (job["JobModifyIndex"], job["Version"], job["Stop"])
        for uid, job in ((job["ID"], job) for job in all_jobs(agent))
    }
    return Snapshot(jobs, index_of(agent, "/v1/evaluations?namespace=*&per_page=1"))


def all_jobs(agent: DevAgent) -> list[Json]:
    return [
        agent.call("GET", f"/v1/job/{uid}?{NS}") | {"ID": uid} for uid in sorted(jobs_of(agent))
    ]


def index_of(agent: DevAgent, path: str) -> int:
    """Return the index at which Nomad last wrote what is listed at `path`."""
    with urllib.request.urlopen(agent.address + path, timeout=30) as answer:
        return int(answer.headers["X-Nomad-Index"])


def changed_jobs(before: Snapshot, after: Snapshot) -> set[str]:
    """Return the ids of the jobs that were written, added or removed between the two."""
    ids = before.jobs.keys() | after.jobs.keys()
    return {uid for uid in ids if before.jobs.get(uid) != after.jobs.get(uid)}
