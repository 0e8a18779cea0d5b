"""Reading logs by a deployment's name, over a real socket; the cluster is played by the test."""

from collections.abc import Iterator

import pytest

from api.logs import Logs, NoLog, last_lines
from api.problems import ClusterSilent
from specs.log_tails import LogTail
from specs.model import AllocationStatus, JobStatus, Phase
from tests.real import wait_until

WAIT_S = 5


class Playing:
    """What allocations have written; who follows is told what is added."""

    def __init__(self) -> None:
        self.text: dict[tuple[str, str, str], bytes] = {}
        self.asked: list[tuple[str, str, str]] = []
        self.open = 0
        self.silent = False

    def __call__(
        self, _deployment, allocation_id, *, task, kind, tail_bytes, follow, stop
    ) -> Iterator[bytes]:
        key = (allocation_id, task, kind)
        self.asked.append(key)
        if self.silent:
            raise ClusterSilent("the cluster does not answer now")
        if key not in self.text:
            raise NoLog("the cluster has no such log")
        self.open += 1
        try:
            told = 0
            while not stop.is_set():
                text = self.text[key]
                yield text[told:][-tail_bytes:]
                told = len(text)
                if not follow:
                    return
                stop.wait(0.01)
        finally:
            self.open -= 1


@pytest.fixture
def playing(server):
    playing, before = Playing(), server.app.state.logs
    logs = Logs(server.store, playing, lambda _: ("usertask", "storage"), readers=2)
    server.app.state.logs = logs
    yield playing
    server.app.state.logs = before
    logs.close()


@pytest.fixture
def running(server, me, manifest):
    """A deployment whose allocation `new` runs and whose allocation `old` has failed."""
    uid = me.put("/v1/specs/train-a", json=manifest()).json()["metadata"]["uid"]

    def in_places(**places: str) -> str:
        allocations = tuple(
            AllocationStatus(id=place, client_status=status) for place, status in places.items()
        )
        nomad = JobStatus(job_id=uid, namespace="ai4eosc", allocations=allocations)
        server.tell(uid, Phase.RUNNING, nomad=nomad)
        return uid

    in_places(new="running", old="failed")
    return in_places


@pytest.fixture
def following(me):
    def open_(query: str = "", **headers: str):
        headers = {"Authorization": f"Bearer {me.token}", **headers}
        path = f"/v1/specs/train-a/logs?follow=true{query}"
        return me.client.stream("GET", path, headers=headers)

    return open_


def test_the_log_of_what_runs_is_read(me, playing, running):
    playing.text["new", "usertask", "stdout"] = b"one\ntwo\x1b[2J\xff\n"
    answer = me.get("/v1/specs/train-a/logs")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.content == b"one\ntwo\x1b[2J\xff\n"
    assert me.get("/v1/specs/train-a/logs?tail=1").content == b"two\x1b[2J\xff\n"
    assert me.get("/v1/specs/train-a/logs?tail=0").content == b""


def test_which_log_can_be_said(me, playing, running):
    playing.text["old", "storage", "stderr"] = b"it broke\n"
    answer = me.get("/v1/specs/train-a/logs?task=storage&stream=stderr&previous=true")
    assert answer.text == "it broke\n"


def test_the_last_one_is_read_where_nothing_runs(me, playing, running):
    running(newest="failed", oldest="complete")
    playing.text["newest", "usertask", "stdout"] = b"the last\n"
    playing.text["oldest", "usertask", "stdout"] = b"the first\n"
    assert me.get("/v1/specs/train-a/logs").text == "the last\n"
    assert me.get("/v1/specs/train-a/logs?previous=true").text == "the first\n"
    assert me.get("/v1/specs/train-a/logs?follow=true").text == "the last\n"


def test_what_was_kept_is_read_where_the_cluster_has_forgotten(server, me, playing, running):
    uid = running(new="failed")
    server.store.keep_log_tails(uid, [LogTail("new", "usertask", "stdout", "kept\nof it\n")])
    assert me.get("/v1/specs/train-a/logs").text == "kept\nof it\n"
    running()
    assert me.get("/v1/specs/train-a/logs?tail=1").text == "of it\n"


@pytest.mark.parametrize("query", ["", "?follow=true", "?previous=true"])
def test_what_has_no_log_is_said_in_words(me, manifest, playing, query):
    me.put("/v1/specs/fresh", json=manifest("fresh"))
    answer = me.get(f"/v1/specs/fresh/logs{query}")
    assert answer.status_code == 404
    assert answer.json()["reason"] == "NoLog"


@pytest.mark.parametrize("query", ["", "?follow=true"])
def test_a_cluster_that_does_not_answer_is_said_so(me, playing, running, query):
    playing.silent = True
    answer = me.get(f"/v1/specs/train-a/logs{query}")
    assert answer.status_code == 503
    assert answer.json()["reason"] == "ClusterUnavailable"


@pytest.mark.parametrize(
    "query", ["task=nope", "tail=-1", "tail=10001", "stream=stdin", "follow=maybe", "lines=5"]
)
def test_a_strange_question_is_refused(me, playing, running, query):
    answer = me.get(f"/v1/specs/train-a/logs?{query}")
    assert answer.status_code == 422
    assert answer.json()["causes"]


def test_other_peoples_logs_are_not_found(someone_else, playing, running):
    assert someone_else.get("/v1/specs/train-a/logs").status_code == 404
    assert playing.asked == []


def test_a_log_is_followed_to_its_end(playing, running, following):
    key = ("new", "usertask", "stdout")
    playing.text[key] = b"one\ntwo\n"
    with following("&tail=1") as response:
        lines = response.iter_lines()
        assert next(lines) == "two"
        playing.text[key] += b"three\n"
        assert next(lines) == "three"
        playing.text[key] += b"last words\n"
        running(new="complete")
        assert list(lines) == ["last words"]
    wait_until(lambda: playing.open == 0, within_s=WAIT_S)


def test_lines_come_as_events_for_who_asks_for_them(me, playing, running, following):
    playing.text["new", "usertask", "stdout"] = b"one\r\ntwo\xff\nrest"
    events = "event: log\ndata: one\n\nevent: log\ndata: two\ufffd\n\nevent: log\ndata: rest\n\n"
    accept = {"accept": "text/event-stream"}
    assert me.get("/v1/specs/train-a/logs", headers=accept).text == events
    with following(**accept) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = response.iter_lines()
        assert next(lines) == "event: log"
        running(new="complete")
        assert [line for line in lines if line][-1] == "data: rest"


def test_two_follow_the_same_log_and_a_third_is_told_to_wait(me, playing, running, following):
    playing.text["new", "usertask", "stdout"] = b"one\n"
    with following() as first, following() as second:
        # A generator that is let go closes the stream that it reads.
        lines = [response.iter_lines() for response in (first, second)]
        assert [next(one) for one in lines] == ["one", "one"]
        refused = me.get("/v1/specs/train-a/logs?follow=true")
        assert refused.status_code == 503
        assert refused.json()["reason"] == "TooManyFollowers"
        assert int(refused.headers["retry-after"]) > 0
    wait_until(lambda: playing.open == 0, within_s=WAIT_S)
    with following() as again:
        assert next(again.iter_lines()) == "one"


def test_a_client_that_leaves_ends_the_reading(server, playing, running, following):
    playing.text["new", "usertask", "stdout"] = b"one\n" * 100_000
    with following("&tail=10000") as response:
        raw = response.iter_raw()
        next(raw)
        assert playing.open == 1
    wait_until(lambda: playing.open == 0, within_s=WAIT_S)


def test_a_log_is_cut_at_its_lines():
    assert last_lines(b"a\nb\nc", 2) == b"b\nc"
    assert last_lines(b"a\n", 5) == b"a\n"
    assert last_lines(b"", 5) == b""


def test_the_tails_that_are_kept_are_few(server, me, manifest):
    uid = me.put("/v1/specs/train-a", json=manifest()).json()["metadata"]["uid"]
    for allocation in "abc":
        server.store.keep_log_tails(
            uid, [LogTail(allocation, "t", kind, "x\0") for kind in ("stdout", "stderr")]
        )
    kept = server.store.log_tails(uid)
    assert {tail.allocation_id for tail in kept} == {"b", "c"}
    assert kept[0].text == "x\ufffd"
