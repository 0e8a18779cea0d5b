"""The door for curl and Nomad's own CLI. Statuses and texts are those of a real Nomad 2.0."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from urllib.parse import quote, urlsplit

import pytest

from reconciler.cluster.simulator.filters import parse_filter
from reconciler.cluster.simulator.http import serve
from reconciler.cluster.simulator.refusal import Refusal
from reconciler.cluster.simulator.state import SimulatedNomad
from tests.real import find_nomad
from tests.simulated import a_job, a_node


class Door:
    """A served pretend Nomad and one connection to it."""

    def __init__(self, nomad, address):
        self.nomad = nomad
        self.address = address
        self.connection = HTTPConnection(urlsplit(address).netloc, timeout=5)

    def call(self, method, path, body=None):
        self.connection.request(method, path, None if body is None else json.dumps(body))
        response = self.connection.getresponse()
        text = response.read().decode()
        is_json = response.headers.get("Content-Type") == "application/json"
        return response, json.loads(text) if is_json and text else text

    def get(self, path):
        return self.call("GET", path)[1]


@contextmanager
def opened() -> Iterator[Door]:
    nomad = SimulatedNomad(nodes=[a_node(cores=64, memory_mb=64_000)])
    with closing(serve(nomad)) as served:
        door = Door(nomad, served.address)
        with closing(door.connection):
            yield door


@pytest.fixture
def door() -> Iterator[Door]:
    with opened() as door:
        yield door


@pytest.fixture(scope="module")
def untouched() -> Iterator[Door]:
    """A door that no test writes through."""
    with opened() as door:
        yield door


def test_it_says_that_it_is_simulated(untouched):
    response, about = untouched.call("GET", "/v1/agent/self")
    assert "simulated" in response.headers["Server"]
    assert about["config"]["Version"]["Version"].endswith("+simulated")


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/v1/job/nope", 404, "job not found"),
        ("GET", "/v1/job/nope/versions", 404, "job versions not found"),
        ("GET", "/v1/job/nope/submission?version=0", 404, "job source not found"),
        ("GET", "/v1/allocation/" + "0" * 36, 404, "alloc not found"),
        (
            *("GET", "/v1/allocation/xx", 500),
            "alloc lookup failed: index error: UUID must be 36 characters",
        ),
        ("GET", "/v1/evaluation/" + "0" * 36, 404, "eval not found"),
        ("GET", "/v1/deployment/" + "0" * 36, 404, "deployment not found"),
        ("GET", "/v1/node/" + "0" * 36, 404, "node not found"),
        ("GET", "/v1/var/nomad/jobs/x", 404, "variable not found"),
        ("GET", "/v1/namespace/nope", 404, "Namespace not found"),
        ("GET", "/v1/nope", 404, ""),
        ("PATCH", "/v1/jobs", 405, "Invalid method"),
        ("POST", "/v1/jobs", 400, "Request body is empty"),
        ("GET", "/v1/jobs?index=x", 400, "Invalid index"),
        ("GET", "/v1/jobs?index=1&wait=x", 400, "Invalid wait time"),
        (
            "GET",
            "/v1/jobs?per_page=x",
            400,
            "Expect a number for `per_page` query string parameter",
        ),
        ("POST", "/v1/job/nope/scale", 400, "Request body is empty"),
    ],
)
def test_what_is_not_there_is_refused_as_nomad_does(untouched, method, path, status, text):
    response, told = untouched.call(method, path)
    assert (response.status, told) == (status, text)


def test_a_job_goes_in_and_comes_out(door):
    response, written = door.call("PUT", "/v1/jobs", {"Job": a_job()})
    assert response.headers["X-Nomad-Index"] == str(written["JobModifyIndex"])
    response, job = door.call("GET", "/v1/job/job")
    assert (job["ID"], response.headers["X-Nomad-Index"]) == ("job", str(job["ModifyIndex"]))


def test_bad_json_and_a_missing_job_are_refused(door):
    door.connection.request("POST", "/v1/jobs", "{")
    response = door.connection.getresponse()
    assert (response.status, response.read()) == (400, b"unexpected EOF")
    assert door.call("POST", "/v1/jobs", {})[1] == "Job must be specified"
    assert door.call("POST", "/v1/jobs", {"Job": {}})[1] == "Job ID hasn't been provided"


def test_a_list_comes_in_pages(door):
    for name in ("c", "a", "b"):
        door.nomad.register(a_job(name))
    seen, token = [], ""
    while True:
        response, jobs = door.call("GET", f"/v1/jobs?per_page=1&next_token={token}")
        seen += [job["ID"] for job in jobs]
        token = response.headers.get("X-Nomad-Nexttoken")
        if token is None:
            break
    assert seen == ["a", "b", "c"]


def test_lists_by_age_come_in_pages_too(door):
    for name in ("c", "a", "b"):
        door.nomad.register(a_job(name))
    response, first = door.call("GET", "/v1/allocations?per_page=2")
    token = response.headers["X-Nomad-Nexttoken"]
    rest = door.get(f"/v1/allocations?per_page=2&next_token={token}")
    assert [item["JobID"] for item in first + rest] == ["c", "a", "b"]


def test_a_filter_and_meta_find_what_is_managed(door):
    door.nomad.register(a_job("ours", Meta={"managed_by": "ai4papi"}))
    door.nomad.register(a_job("theirs"))
    text = quote('Meta.managed_by == "ai4papi"')
    (stub,) = door.get(f"/v1/jobs?meta=true&filter={text}")
    assert (stub["ID"], stub["Meta"]) == ("ours", {"managed_by": "ai4papi"})


def test_namespaces_are_kept_apart_unless_all_are_asked_for(door):
    door.call("POST", "/v1/namespace/other", {"Name": "other"})
    door.nomad.register(a_job("here"))
    door.nomad.register(a_job("there", Namespace="other"))
    found = {
        namespace: [job["ID"] for job in door.get(f"/v1/jobs?namespace={namespace}")]
        for namespace in ("default", "other", "*")
    }
    assert found == {"default": ["here"], "other": ["there"], "*": ["here", "there"]}


@pytest.mark.parametrize("job_id", ["a/b", "a\nb", "é", "x" * 200])
def test_odd_ids_are_found_by_their_quoted_path(door, job_id):
    door.nomad.register(a_job(job_id))
    assert door.get(f"/v1/job/{quote(job_id, safe='')}")["ID"] == job_id
    assert len(door.get(f"/v1/job/{quote(job_id, safe='')}/allocations")) == 1


def test_a_blocking_query_answers_when_there_is_something_newer(door):
    door.nomad.register(a_job())
    index = door.get("/v1/job/job")["ModifyIndex"]
    door.connection.request("GET", f"/v1/job/job?index={index}&wait=5s")
    door.nomad.register(a_job(Priority=60))
    assert json.loads(door.connection.getresponse().read())["Priority"] == 60


def test_a_blocking_query_answers_the_same_when_its_time_is_up(door):
    door.nomad.register(a_job(count=0))
    index = door.get("/v1/job/job")["ModifyIndex"]
    assert door.get(f"/v1/job/job?index={index}&wait=10ms")["ModifyIndex"] == index


def test_the_stream_begins_with_a_heartbeat_and_tells_only_what_was_asked(door):
    door.nomad.register(a_job())
    index = door.nomad.register(a_job("wanted"))["Index"]
    path = f"/v1/event/stream?topic=Job:wanted&topic=Evaluation:wanted&index={index}"
    door.connection.request("GET", path)
    response = door.connection.getresponse()
    assert json.loads(response.readline()) == {}
    lines = [json.loads(response.readline()) for _ in range(2)]
    assert [line["Index"] for line in lines] == [index, index]
    assert [[event["Topic"] for event in line["Events"]] for line in lines] == [
        ["Job"],
        ["Evaluation"],
    ]


def test_a_variable_is_compared_and_set(door):
    path = "/v1/var/nomad/jobs/x"
    body = {"Path": "nomad/jobs/x", "Items": {"a": "1"}}
    assert door.call("PUT", f"{path}?cas=0", body)[0].status == 200
    response, _ = door.call("PUT", f"{path}?cas=0", body)
    assert response.status == 409
    assert door.call("PUT", f"{path}?cas=x", body)[0].status == 400
    assert door.call("DELETE", path)[0].status == 204
    assert door.call("DELETE", path)[0].status == 204


def test_a_closed_door_cuts_its_streams():
    nomad = SimulatedNomad(nodes=[])
    served = serve(nomad)
    connection = HTTPConnection(urlsplit(served.address).netloc, timeout=5)
    with closing(connection):
        connection.request("GET", "/v1/event/stream")
        response = connection.getresponse()
        assert response.readline() == b"{}\n"
        served.close()
        assert response.readline() == b""


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ('Meta.managed_by == "ai4papi"', True),
        ('Meta["managed_by"] == "ai4papi"', True),
        ('Status == "blocked" and Meta.managed_by != "x"', True),
        ('Status == "no" or Stop == false', True),
        ("FailedTGAllocs is not empty", False),
        ("FailedTGAllocs is empty", True),
        ('Nothing.at.all == "x"', False),
    ],
)
def test_the_filters_that_we_use_are_understood(text, passes):
    item = {"Meta": {"managed_by": "ai4papi"}, "Status": "blocked", "Stop": False}
    assert parse_filter(text)(item) is passes


@pytest.mark.parametrize(
    "text",
    ["", "nope", 'a == "b" c', 'not a == "b"', 'a == "b" and b == "c" or c == "d"', "a in b"],
)
def test_other_filters_are_refused_not_guessed(text):
    with pytest.raises(Refusal, match="this filter is not simulated"):
        parse_filter(text)


@pytest.mark.nomad
def test_nomads_own_cli_can_talk_to_it(door, tmp_path):
    program = find_nomad()
    if program is None:
        pytest.skip("no `nomad` program on PATH or in NOMAD_BIN")
    door.nomad.register(a_job("cli", Datacenters=["*"]))
    (tmp_path / "job.json").write_text(json.dumps({"Job": a_job("cli", count=2)}))

    def nomad(*arguments, ok=0):
        done = subprocess.run(
            [program, *arguments],
            env={"NOMAD_ADDR": door.address, "PATH": os.environ["PATH"], "HOME": str(tmp_path)},
            cwd=tmp_path,
            capture_output=True,
            check=False,
            text=True,
        )
        assert done.returncode == ok, done.stderr + done.stdout
        return done.stdout

    assert "cli" in nomad("status")
    assert "Latest Deployment" in nomad("job", "status", "cli")
    assert "simulated-1" in nomad("node", "status")
    assert "1 create, 1 in-place update" in nomad("job", "plan", "-json", "job.json", ok=1)
    nomad("job", "run", "-detach", "-json", "job.json")
    assert "Version     = 1" in nomad("job", "history", "cli")
    assert '"a": "b"' in nomad("var", "put", "nomad/jobs/cli", "a=b")
    alloc_id = door.get("/v1/allocations")[0]["ID"]
    assert "simulated-1" in nomad("alloc", "status", alloc_id)
    nomad("job", "revert", "-detach", "cli", "0")
    nomad("job", "stop", "-detach", "-purge", "cli")
    assert "No running jobs" in nomad("status")
