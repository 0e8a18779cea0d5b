"""The stream that keeps pages up to date: whom it tells what, and how it ends."""

import json
import threading

import httpx
import pytest

from specs.model import Phase
from tests.integration.conftest import VOS, WAIT_S
from tests.real import wait_until


class Stream:
    """An open stream, read line by line."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.iter_lines()
        self.close = response.close

    def next(self) -> tuple[str, list[dict[str, str]]]:
        """Return the next event and what it carries."""
        event = ""
        for line in self._lines:
            if line.startswith("event: "):
                event = line.removeprefix("event: ")
            if line.startswith("data: "):
                return event, json.loads(line.removeprefix("data: "))
        return "", []


@pytest.fixture
def listen(server):
    """Open the stream of a caller that is logged in."""
    open_ones = []

    def opened(caller):
        client = httpx.Client(base_url=server.url, trust_env=False, timeout=WAIT_S)
        form = {"token": caller.token}
        client.post("/login", data=form, headers={"Sec-Fetch-Site": "same-origin"})
        context = client.stream("GET", "/ui/stream")
        response = context.__enter__()
        open_ones.append((context, client))
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["x-accel-buffering"] == "no"
        stream = Stream(response)
        assert stream.next() == ("open", [])
        return stream

    yield opened
    for context, client in open_ones:
        context.__exit__(None, None, None)
        client.close()


def created(caller, manifest, name="train-a"):
    return caller.post("/v1/specs", json=manifest(name)).json()["metadata"]["uid"]


def test_a_page_is_told_what_moved_of_its_visitors(server, listen, me, someone_else, manifest):
    mine = listen(me)
    others = created(someone_else, manifest, "theirs")
    uid = created(me, manifest)
    assert mine.next() == ("changed", [{"uid": uid, "name": "train-a", "phase": "Accepted"}])
    server.tell(others, Phase.RUNNING)
    server.tell(uid, Phase.RUNNING)
    assert mine.next() == ("changed", [{"uid": uid, "name": "train-a", "phase": "Running"}])


def test_what_is_gone_is_told_without_a_phase(server, listen, me, manifest):
    mine = listen(me)
    uid = created(me, manifest)
    assert mine.next()[0] == "changed"
    me.delete("/v1/specs/train-a")
    assert mine.next()[0] == "changed"
    server.finish_deletion(uid)
    assert mine.next() == ("changed", [{"uid": uid, "name": "train-a", "phase": ""}])


def test_operators_are_told_of_everybodys(server, listen, me, manifest):
    all_of_them = listen(server.caller(operator=True))
    uid = created(me, manifest)
    event, told = all_of_them.next()
    assert (event, told[0]["uid"]) == ("changed", uid)


def test_an_operator_of_one_vo_is_told_of_no_other(server, listen, manifest):
    both = server.caller(several_vos=True)
    one = listen(server.caller(operator_of_one=True))
    both.post("/v1/specs", json=manifest("elsewhere", metadata={"vo": VOS[1]}))
    uid = both.post("/v1/specs", json=manifest("here", metadata={"vo": VOS[0]})).json()
    told = one.next()[1]
    assert [move["uid"] for move in told] == [uid["metadata"]["uid"]]


def test_who_is_not_logged_in_gets_no_stream(server):
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        assert client.get("/ui/stream").status_code == 303


def test_streams_end_when_the_server_is_about_to_stop(server, listen, me):
    mine = listen(me)
    app = server.app.state
    ended = threading.Event()
    app.changes._loop.call_soon_threadsafe(lambda: (app.streams.end(), ended.set()))
    assert ended.wait(WAIT_S)
    assert mine.next() == ("", [])


def test_who_closes_the_page_is_forgotten(server, listen, me):
    mine = listen(me)
    watches = server.app.state.changes._watches
    assert me.owner in watches
    mine.close()
    wait_until(lambda: me.owner not in watches, within_s=WAIT_S)
