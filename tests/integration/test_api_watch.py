"""Watching lists and objects by server-sent events, over a real socket."""

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from api.routers import watches
from specs.model import Phase
from tests.real import wait_until

FAR = timedelta(days=400)


class Events:
    """The events of one open stream."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.iter_lines()

    def __iter__(self) -> Iterator[tuple[str, str | None, dict[str, Any]]]:
        fields: dict[str, str] = {}
        for line in self._lines:
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif fields:
                data = json.loads(fields["data"])
                assert data["type"] == fields["event"]
                yield fields["event"], fields.get("id"), data["object"]
                fields = {}

    def take(self, count: int) -> list[tuple[str, str | None, str]]:
        """Return type, id and name of the next events that move something."""
        moving = (event for event in self if event[0] != "BOOKMARK")
        return [
            (kind, event_id, it["metadata"]["name"])
            for kind, event_id, it in itertools.islice(moving, count)
        ]

    def begun(self) -> tuple[list[str], str]:
        """Return the names of what is there at first, and the version of that list."""
        names = []
        for kind, event_id, it in self:
            if kind == "BOOKMARK":
                assert it["metadata"]["annotations"] == {"ai4papi/initial-events-end": "true"}
                assert it["metadata"]["resourceVersion"] == event_id
                return names, event_id or ""
            assert (kind, event_id) == ("ADDED", None)
            names.append(it["metadata"]["name"])
        raise AssertionError("the stream ended")


@pytest.fixture
def watching(me):
    @contextmanager
    def open_(path: str, *, as_=None, **options: Any) -> Iterator[Events]:
        caller = as_ or me
        headers = {"Authorization": f"Bearer {caller.token}"} | options.pop("headers", {})
        with caller.client.stream("GET", path, headers=headers, **options) as response:
            if response.status_code != 200:
                response.read()
            yield Events(response)

    return open_


def deleted(server, me, name: str) -> None:
    uid = me.delete(f"/v1/specs/{name}").json()["metadata"]["uid"]
    server.finish_deletion(uid)


def test_a_list_is_told_as_it_changes(server, me, manifest, watching):
    me.put("/v1/specs/train-a", json=manifest())
    with watching("/v1/specs?watch=1") as events:
        kind = events.response.headers["content-type"]
        assert kind.startswith("text/event-stream")
        assert events.response.headers["cache-control"] == "no-store"
        assert events.response.headers["x-accel-buffering"] == "no"
        assert events.begun()[0] == ["train-a"]
        created = me.put("/v1/specs/train-b", json=manifest("train-b")).json()["metadata"]
        assert events.take(1) == [("ADDED", created["resourceVersion"], "train-b")]
        server.tell(created["uid"], Phase.RUNNING, ready=True)
        [(kind, version, name)] = events.take(1)
        assert (kind, name) == ("MODIFIED", "train-b")
        shown = me.get("/v1/specs/train-b").json()
        assert shown["metadata"]["resourceVersion"] == version
        deleted(server, me, "train-a")
        told = events.take(1)
        if told[0][0] == "MODIFIED":  # the request was read before the end
            told = events.take(1)
        assert [(kind, name) for kind, _, name in told] == [("DELETED", "train-a")]


def test_the_object_of_an_event_is_what_get_answers(me, manifest, watching):
    me.put("/v1/specs/train-a", json=manifest())
    with watching("/v1/specs/train-a?watch=1") as events:
        [(_, _, first)] = itertools.islice(iter(events), 1)
        assert first == me.get("/v1/specs/train-a").json()


def test_one_object_is_told_without_the_others_of_its_owner(server, me, manifest, watching):
    me.put("/v1/specs/train-a", json=manifest())
    with watching("/v1/specs/train-a?watch=1") as events:
        assert events.begun()[0] == ["train-a"]
        me.put("/v1/specs/train-b", json=manifest("train-b"))
        me.patch("/v1/specs/train-a", json={"metadata": {"labels": {"a": "b"}}})
        assert [name for _, _, name in events.take(1)] == ["train-a"]


def test_a_watch_of_nothing_is_not_found(watching):
    with watching("/v1/specs/none?watch=1") as events:
        assert events.response.status_code == 404


def test_other_peoples_are_never_told(me, someone_else, manifest, watching):
    with watching("/v1/specs?watch=1") as events:
        events.begun()
        someone_else.put("/v1/specs/theirs", json=manifest("theirs"))
        me.put("/v1/specs/mine", json=manifest("mine"))
        assert [name for _, _, name in events.take(1)] == ["mine"]


def test_an_operator_is_told_of_everybodys(server, me, manifest, watching):
    operator = server.caller(operator=True)
    version = server.store.newest_version()
    with watching(f"/v1/specs?watch=1&owner=*&resourceVersion={version}", as_=operator) as events:
        events.begun()
        me.put("/v1/specs/train-a", json=manifest())
        assert [name for _, _, name in events.take(1)] == ["train-a"]


@pytest.mark.parametrize("by", ["parameter", "header"])
def test_a_watch_goes_on_without_gap_or_repetition(server, me, manifest, watching, by):
    me.put("/v1/specs/train-a", json=manifest())
    me.put("/v1/specs/train-b", json=manifest("train-b"))
    with watching("/v1/specs?watch=1") as events:
        _, version = events.begun()
    me.put("/v1/specs/train-c", json=manifest("train-c"))
    deleted(server, me, "train-a")
    how = {"headers": {"Last-Event-ID": version}}
    path = "/v1/specs?watch=1&resourceVersion=0"
    if by == "parameter":
        how, path = {}, f"/v1/specs?watch=1&resourceVersion={version}"
    with watching(path, **how) as events:
        told = events.take(2)
        assert [(kind, name) for kind, _, name in told] == [
            ("ADDED", "train-c"),
            ("DELETED", "train-a"),
        ]
    with watching(f"/v1/specs?watch=1&resourceVersion={told[0][1]}") as events:
        assert events.take(1) == [told[1]]


def test_the_version_of_a_list_is_one_to_go_on_from(me, manifest, watching):
    me.put("/v1/specs/train-a", json=manifest())
    version = me.get("/v1/specs").json()["metadata"]["resourceVersion"]
    me.put("/v1/specs/train-b", json=manifest("train-b"))
    with watching(f"/v1/specs?watch=1&resourceVersion={version}") as events:
        assert [name for _, _, name in events.take(1)] == ["train-b"]


def test_a_forgotten_version_is_gone_and_an_event_stream_begins_anew(
    server, me, manifest, watching
):
    me.put("/v1/specs/train-a", json=manifest())
    me.put("/v1/specs/train-b", json=manifest("train-b"))
    version = me.get("/v1/specs").json()["metadata"]["resourceVersion"]
    deleted(server, me, "train-a")
    later = datetime.now(UTC) + FAR
    server.store.clean_up(trash_before=later, events_before=later)
    with watching(f"/v1/specs?watch=1&resourceVersion={version}") as events:
        assert events.response.status_code == 410
        assert events.response.json()["reason"] == "Expired"
    with watching("/v1/specs?watch=1", headers={"Last-Event-ID": version}) as events:
        [(kind, event_id, problem)] = itertools.islice(iter(events), 1)
        assert (kind, event_id, problem["reason"]) == ("ERROR", None, "Expired")
        names, version = events.begun()
        assert names == ["train-b"]
    with watching(f"/v1/specs?watch=1&resourceVersion={version}") as events:
        assert events.begun() == ([], version)


def test_a_version_of_another_store_is_gone(watching):
    with watching("/v1/specs?watch=1&resourceVersion=99999999") as events:
        assert events.response.status_code == 410


@pytest.mark.parametrize("given", ["-1", "x", "9" * 19])
def test_what_is_no_version_is_refused(watching, given):
    with watching(f"/v1/specs?watch=1&resourceVersion={given}") as events:
        assert events.response.status_code == 422
    with watching("/v1/specs?watch=1", headers={"Last-Event-ID": given}) as events:
        assert events.response.status_code == 422


def test_a_quiet_stream_says_so_and_how_far_it_is(server, me, manifest, watching, monkeypatch):
    monkeypatch.setattr(watches, "BOOKMARK_S", 0.01)
    with watching("/v1/specs?watch=1") as events:
        events.begun()
        server.caller().put("/v1/specs/train-a", json=manifest())
        newest = server.store.newest_version()
        for kind, event_id, _ in events:
            assert kind == "BOOKMARK"
            if int(event_id) >= newest:
                break


def test_a_stream_ends_with_the_rights_of_who_watches(server, manifest, watching, monkeypatch):
    monkeypatch.setattr(watches, "BOOKMARK_S", 0.01)
    leaving = server.caller()
    with watching("/v1/specs?watch=1", as_=leaving) as events:
        events.begun()
        server.auth.leave(leaving.token, "vo.ai4eosc.eu")
        assert all(kind == "BOOKMARK" for kind, _, _ in events)


def test_nothing_more_is_told_once_the_token_has_ended(server, me, manifest, watching, monkeypatch):
    known, operator = type(server.auth).known, server.caller(operator=True)
    me.put("/v1/specs/train-a", json=manifest())
    with watching("/v1/specs?watch=1") as events:
        events.begun()
        monkeypatch.setattr(
            server.auth,
            "known",
            lambda token: None if token == me.token else known(server.auth, token),
        )
        labels = {"metadata": {"labels": {"late": "yes"}}}
        path = f"/v1/specs/train-a?owner=https://op%23{me.token}"
        assert operator.patch(path, json=labels).status_code == 200
        assert list(events) == []


def test_filters_of_the_list_hold_for_its_watch(server, me, manifest, watching):
    with watching("/v1/specs?watch=1&labelSelector=team=a&phase=Running") as events:
        assert events.begun()[0] == []
        me.put("/v1/specs/other", json=manifest("other"))
        labelled = manifest("train-a", metadata={"labels": {"team": "a"}})
        uid = me.put("/v1/specs/train-a", json=labelled).json()["metadata"]["uid"]
        # What moves twice before it is read is told once, as it is then: so one by one.
        server.tell(uid, Phase.RUNNING, ready=True)
        assert [(kind, name) for kind, _, name in events.take(1)] == [("ADDED", "train-a")]
        server.tell(uid, Phase.FAILED)
        assert [(kind, name) for kind, _, name in events.take(1)] == [("DELETED", "train-a")]


def test_a_vo_of_others_is_forbidden(watching):
    with watching("/v1/specs?watch=1&vo=vo.none.eu") as events:
        assert events.response.status_code == 403


def test_who_asks_for_the_head_alone_is_not_kept(me):
    answer = me.request("HEAD", "/v1/specs?watch=1")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert me.request("HEAD", "/v1/specs").status_code == 200


def test_a_client_that_leaves_is_let_go(server, watching):
    changes = server.app.state.changes
    with watching("/v1/specs?watch=1") as events:
        events.begun()
        assert changes._watches
    wait_until(lambda: not changes._watches, within_s=5, every_s=0.001)


def test_open_streams_end_when_the_server_stops(server, watching):
    with watching("/v1/specs?watch=1") as events:
        events.begun()
        loop = server.app.state.changes._loop
        loop.call_soon_threadsafe(server.app.state.streams.end)
        assert list(events) == []
