"""Logs of real containers by the deployment's name, while they run, after a crash, after a GC."""

import io
import shutil
import sqlite3
import subprocess
import tarfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path

import pytest

from tests.e2e.conftest import _add, etc_with
from tests.e2e.deployments import allocations_of, put
from tests.e2e.server import TOKEN, Server
from tests.real import DevAgent, wait_until

pytestmark = pytest.mark.e2e

WAIT_S = 90

TALKING = """#!/bin/sh
echo hello
echo trouble >&2
i=0
while true; do i=$((i+1)); echo tick $i; sleep 0.2; done
"""
CRASHING = """#!/bin/sh
echo about to crash
exit 3
"""


@pytest.fixture(scope="module")
def etc(tmp_path_factory: pytest.TempPathFactory, device_plugin: Path | None) -> Path:
    """The shipped `etc/`, but a container that ends is replaced at once."""
    soon = {"attempts = 2": "attempts = 0", 'delay          = "30s"': 'delay          = "5s"'}
    return etc_with(tmp_path_factory.mktemp("etc"), device_plugin, template=soon)


@pytest.fixture(scope="module")
def images(docker: None) -> None:
    busybox = Path(shutil.which("busybox") or pytest.skip("no `busybox` program"))
    for name, script in (("talking", TALKING), ("crashing", CRASHING)):
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tree:
            _add(tree, "bin/busybox", busybox.read_bytes(), mode=0o755)
            _add(tree, "bin/deep-start", script.encode(), mode=0o755)
            for program in ("sh", "sleep"):
                link = tarfile.TarInfo(f"bin/{program}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                tree.addfile(link)
        command = ["docker", "import", "--change", "ENV PATH=/bin", "-", f"test/{name}:cpu"]
        subprocess.run(command, input=archive.getvalue(), check=True, capture_output=True)


def declare(server: Server, name: str, **spec) -> str:
    general = {"docker_image": f"test/{name}", "docker_tag": "cpu"}
    return put(server, name, general=general, **spec)


def log(server: Server, name: str, query: str = "") -> HTTPResponse:
    request = urllib.request.Request(f"{server.url}/v1/specs/{name}/logs?{query}")
    request.add_header("Authorization", f"Bearer {TOKEN}")
    return urllib.request.urlopen(request, timeout=WAIT_S)


def written(server: Server, name: str, query: str = "") -> str:
    try:
        with log(server, name, query) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.read().decode()}"


def kept(server: Server, uid: str) -> set[str]:
    """Return the allocations of which the store keeps the end."""
    with sqlite3.connect(f"file:{server.home}/ai4papi.db?mode=ro", uri=True) as store:
        return {
            row[0]
            for row in store.execute("SELECT allocation_id FROM log_tails WHERE uid = ?", (uid,))
        }


@pytest.fixture
def talking(server: Server, images: None) -> Iterator[str]:
    declare(server, "talking")
    server.wait_for("talking", "Running", within_s=WAIT_S)
    yield "talking"
    server.call("DELETE", "/v1/specs/talking")
    wait_until(lambda: server.gone("talking"), within_s=WAIT_S)


def test_what_a_container_writes_is_read_and_followed_by_two_to_its_end(server, talking):
    wait_until(lambda: "tick 3\n" in written(server, talking), within_s=WAIT_S)
    assert written(server, talking).startswith("hello\ntick 1\n")
    assert written(server, talking, "stream=stderr") == "trouble\n"
    assert len(written(server, talking, "tail=2").splitlines()) == 2
    assert "no task of it" in written(server, talking, "task=nope")
    with (
        log(server, talking, "follow=true&tail=1") as first,
        log(server, talking, "follow=1") as two,
    ):
        numbers = [int(first.readline().split()[1]) for _ in range(5)]
        assert numbers == list(range(numbers[0], numbers[0] + 5))
        assert two.readline() == b"hello\n"
        two.close()
        server.call("PATCH", f"/v1/specs/{talking}", {"spec": {"suspend": True}})
        last = first.read().splitlines()
        assert last[0].startswith(b"tick ")
    followed = server.cli("logs", talking, "-f", "--tail", "1")
    assert (followed.returncode, followed.stdout.startswith("tick ")) == (0, True)


def test_the_end_of_what_crashed_is_there_when_nomad_has_forgotten_it(
    server: Server, agent: DevAgent, images: None
):
    uid = declare(server, "crashing")
    failed = lambda: [a for a in allocations_of(agent, uid) if a["ClientStatus"] == "failed"]  # noqa: E731
    wait_until(lambda: len(failed()) >= 2, within_s=WAIT_S, what="a second crash")
    assert written(server, "crashing", "previous=true") == "about to crash\n"
    server.call("PATCH", "/v1/specs/crashing", {"spec": {"suspend": True}})
    server.wait_for("crashing", "Suspended", within_s=WAIT_S)
    # The one that the suspension found may have been made after the second crash.
    newest = allocations_of(agent, uid)[-1]["ID"]
    wait_until(lambda: newest in kept(server, uid), within_s=WAIT_S, what="the kept end")
    for allocation in allocations_of(agent, uid):
        agent.call("PUT", f"/v1/client/allocation/{allocation['ID']}/gc")
    agent.call("PUT", "/v1/system/gc")
    assert written(server, "crashing") == "about to crash\n"
    server.call("DELETE", "/v1/specs/crashing")
    wait_until(lambda: server.gone("crashing"), within_s=WAIT_S)
