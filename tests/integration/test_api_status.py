"""The small status: read cheaply, told apart by its ETag, awaited without a thread."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from api.schemas import StatusView
from api.waiting import Changes, look_until
from specs.faults import NotFound
from specs.model import Owner, Phase, Reach

READY = {"phase": Phase.RUNNING, "ready": True}


@pytest.fixture
def deployed(me, manifest):
    return me.post("/v1/specs", json=manifest()).json()["metadata"]["uid"]


@pytest.fixture
def pool():
    with ThreadPoolExecutor(8) as threads:
        yield threads


def awaited(server):
    """Return once somebody waits for a change."""
    assert server.app.state.changes._wanted.wait(10)


def test_the_status_is_small_and_says_of_which_generation(me, server, deployed):
    server.tell(deployed, **READY, endpoints={"deepaas": "http://192.0.2.1:5000"})
    answer = me.get("/v1/specs/train-a/status")
    shown = StatusView.model_validate_json(answer.content)
    assert (shown.name, shown.uid, shown.generation) == ("train-a", deployed, 1)
    assert (shown.phase, shown.observed_generation) == (Phase.RUNNING, 1)
    assert answer.json()["endpoints"] == {"deepaas": "http://192.0.2.1:5000"}
    assert answer.headers["cache-control"] == "no-cache"
    assert "spec" not in answer.json()


def test_an_unchanged_status_is_not_sent_again(me, server, deployed):
    first = me.get("/v1/specs/train-a/status")
    etag = first.headers["etag"]
    again = me.get("/v1/specs/train-a/status", headers={"If-None-Match": etag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    server.tell(deployed, Phase.STARTING)
    moved = me.get("/v1/specs/train-a/status", headers={"If-None-Match": etag})
    assert (moved.status_code, moved.json()["phase"]) == (200, "Starting")
    assert moved.headers["etag"] == me.get("/v1/specs/train-a").headers["etag"] != etag


@pytest.mark.parametrize(
    ("told", "later"),
    [
        ({"phase": Phase.STARTING}, True),
        ({"phase": Phase.QUEUED}, True),
        (READY, False),
        ({"phase": Phase.FAILED}, False),
    ],
)
def test_a_moving_status_says_when_to_look_again(me, server, deployed, told, later):
    server.tell(deployed, **told)
    assert ("retry-after" in me.get("/v1/specs/train-a/status").headers) == later


def test_a_missing_status_is_a_404(me, someone_else, deployed):
    assert me.get("/v1/specs/train-b/status").status_code == 404
    assert someone_else.get("/v1/specs/train-a/status").status_code == 404
    assert someone_else.get("/v1/specs/train-a/status?wait=5s&for=Deleted").status_code == 404


def test_what_is_ready_is_not_waited_for(me, server, deployed):
    server.tell(deployed, **READY)
    answer = me.get("/v1/specs/train-a/status?wait=60s&for=Ready")
    assert answer.json()["phase"] == "Running"


@pytest.mark.parametrize("phase", [Phase.FAILED, Phase.SUSPENDED])
def test_what_will_not_get_ready_is_not_waited_for(me, server, deployed, phase):
    server.tell(deployed, phase)
    answer = me.get("/v1/specs/train-a/status?wait=60s&for=Ready")
    assert answer.json()["phase"] == phase


def test_waiting_ends_when_it_is_ready(me, server, deployed, pool):
    waiting = pool.submit(me.get, "/v1/specs/train-a/status?wait=60s&for=Ready")
    awaited(server)
    server.tell(deployed, Phase.STARTING)
    server.tell(deployed, **READY)
    assert waiting.result(10).json()["phase"] == "Running"


def test_waiting_with_an_etag_ends_at_the_next_change(me, server, deployed, pool):
    etag = me.get("/v1/specs/train-a/status").headers["etag"]
    waiting = pool.submit(
        me.get, "/v1/specs/train-a/status?wait=60s&for=Ready", headers={"If-None-Match": etag}
    )
    awaited(server)
    server.tell(deployed, Phase.STARTING)
    assert waiting.result(10).json()["phase"] == "Starting"


def test_waiting_ends_when_it_is_gone(me, server, deployed, pool):
    me.delete("/v1/specs/train-a")
    waiting = pool.submit(me.get, "/v1/specs/train-a/status?wait=60s&for=Deleted")
    awaited(server)
    server.finish_deletion(deployed)
    assert waiting.result(10).status_code == 404


def test_many_wait_and_each_is_told_its_own(server, manifest, pool):
    people = [server.caller() for _ in range(8)]
    uids = [p.post("/v1/specs", json=manifest()).json()["metadata"]["uid"] for p in people]
    waiting = [pool.submit(p.get, "/v1/specs/train-a/status?wait=60s&for=Ready") for p in people]
    awaited(server)
    for uid in uids:
        server.tell(uid, **READY)
    assert [w.result(10).json()["uid"] for w in waiting] == uids


@pytest.mark.parametrize("wait", ["0s", "1s"])
def test_when_the_time_is_up_the_status_is_told_as_it_is(me, deployed, wait):
    etag = me.get("/v1/specs/train-a/status").headers["etag"]
    path = f"/v1/specs/train-a/status?wait={wait}&for=Ready"
    assert me.get(path).json()["phase"] == "Accepted"
    assert me.get(path, headers={"If-None-Match": etag}).status_code == 304


@pytest.mark.parametrize(
    "query", ["wait=61s", "wait=-1s", "wait=5", "wait=1e3s", "for=Happy", "wait=%D9%A3s"]
)
def test_a_strange_wait_is_refused(me, deployed, query):
    assert me.get(f"/v1/specs/train-a/status?{query}").status_code == 422


def test_a_waiter_holds_no_thread(me, server, deployed, pool):
    before = threading.active_count()
    waiting = [pool.submit(me.get, "/v1/specs/train-a/status?wait=60s&for=Ready") for _ in range(8)]
    awaited(server)
    # The callers' own eight threads, and the few that AnyIO keeps for short work.
    assert threading.active_count() - before <= 8 + 8
    server.tell(deployed, **READY)
    assert {w.result(10).status_code for w in waiting} == {200}


def test_a_change_between_two_looks_is_not_missed(open_store, a_wish):
    owner = Owner("https://op", "a")
    made, _ = open_store.create(a_wish, owner=owner, owner_name="a", source={})

    async def scenario():
        changes = Changes(open_store)
        changes.start()
        looks = []

        async def look():
            # Marked for deletion right after the first look, before anybody waits.
            seen = open_store.find_uid(Reach(owner, frozenset({made.vo})), uid=made.uid)
            looks.append(seen)
            if len(looks) == 1:
                open_store.request_deletion(made.uid, actor="Alice", source={"type": "http"})
            return seen

        try:
            return await look_until(lambda d: d.being_deleted, look, changes=changes, timeout_s=30)
        finally:
            await changes.stop()

    assert asyncio.run(scenario()).being_deleted


def test_while_nobody_waits_the_store_is_not_asked(open_store, a_wish, monkeypatch):
    asked = []
    monkeypatch.setattr(
        type(open_store), "wait_for_changes", lambda *_, **__: asked.append(1) or False
    )

    async def scenario():
        changes = Changes(open_store)
        changes.start()
        open_store.create(a_wish, owner=Owner("o", "a"), owner_name="a", source={})
        await changes.stop()

    asyncio.run(scenario())
    assert asked == []


def test_a_waiter_looks_once_per_change_and_leaves_no_trace(open_store, a_wish):
    owner = Owner("https://op", "a")
    made, _ = open_store.create(a_wish, owner=owner, owner_name="a", source={})

    async def scenario():
        changes = Changes(open_store)
        changes.start()
        looks = []

        async def look():
            looks.append(open_store.get(made.uid))
            if len(looks) == 2:
                open_store.request_deletion(made.uid, actor="Alice", source={"type": "http"})
            return looks[-1]

        await look_until(lambda _: False, look, changes=changes, timeout_s=0.3)
        left = changes._wanted.is_set(), dict(changes._events)
        await changes.stop()
        return len(looks), left

    looks, left = asyncio.run(scenario())
    assert looks <= 4
    assert left == (False, {})


def test_what_a_look_raises_ends_the_waiting(open_store):
    async def look():
        raise NotFound("gone")

    with pytest.raises(NotFound):
        asyncio.run(look_until(lambda _: False, look, changes=Changes(open_store), timeout_s=30))


@pytest.fixture
def a_wish(etc_conf, manifest):
    from specs.wish import wish_of_manifest  # noqa: PLC0415

    return wish_of_manifest(manifest(), etc_conf, vos=["vo.ai4eosc.eu"])
