"""The routes of the past: timeline, revisions, rollback, trash; and looking now."""

import pytest

from api.schemas import ComparisonView, FieldView
from api.timeline import EventList, RevisionList, TrashList
from specs.model import SECRET_SET, Event, Phase

PASSWORD = "correct-horse-battery"

ABOUT_ONE = [
    ("GET", "/v1/specs/train-a/events", None),
    ("GET", "/v1/specs/train-a/history", None),
    ("GET", "/v1/specs/train-a/plan", None),
    ("POST", "/v1/specs/train-a/rollback", {"generation": 1}),
    ("POST", "/v1/specs/train-a/reconcile", None),
    ("POST", "/v1/specs/train-a/undelete", None),
]


def put(me, manifest, name="train-a", **spec):
    answer = me.put(f"/v1/specs/{name}", json=manifest(name, **spec))
    assert answer.is_success, answer.text
    return answer.json()


def ask(caller, method, path, body=None):
    return caller.request(method, path, **({} if body is None else {"json": body}))


def happen(server, uid, *events):
    deployment = server.store.get(uid)
    seen = {"observed_generation": deployment.generation}
    status = deployment.status.model_copy(update=seen)
    assert server.store.put_status(uid, status, applied=None, seen_index=1, events=events)


def delete(me, server, name="train-a"):
    uid = me.delete(f"/v1/specs/{name}").json()["metadata"]["uid"]
    server.finish_deletion(uid)
    return uid


def items(answer):
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


def reasons(answer):
    return [event["reason"] for event in items(answer)]


def test_an_event_is_told_with_who_and_from_where_to_where(me, server, manifest):
    uid = put(me, manifest)["metadata"]["uid"]
    before = len(items(me.get("/v1/specs/train-a/events")))
    happen(
        server,
        uid,
        Event(
            "Running",
            "running on node a",
            actor="reconciler",
            source="nomad",
            from_phase="Starting",
            to_phase="Running",
        ),
    )
    answer = me.get("/v1/specs/train-a/events")
    (event,) = items(answer)[before:]
    assert EventList.model_validate_json(answer.content)
    assert event | {"number": 0, "time": ""} == {
        "number": 0,
        "time": "",
        "type": "Normal",
        "reason": "Running",
        "message": "running on node a",
        "actor": "reconciler",
        "source": "nomad",
        "fromPhase": "Starting",
        "toPhase": "Running",
        "generation": 1,
        "deployment": "train-a",
    }
    assert event["time"].endswith("Z")


def test_a_timeline_goes_on_where_a_page_ended(me, server, manifest):
    uid = put(me, manifest)["metadata"]["uid"]
    happen(server, uid, *(Event(f"Step{number}", "went on") for number in range(3)))
    whole = items(me.get("/v1/specs/train-a/events"))
    told, after = [], "0"
    while after:
        page = me.get(f"/v1/specs/train-a/events?after={after}&limit=2").json()
        told += page["items"]
        after = page["metadata"]["continue"]
    assert told == whole
    assert [e["number"] for e in whole] == sorted(e["number"] for e in whole)
    newest = whole[-1]["number"]
    assert items(me.get(f"/v1/specs/train-a/events?after={newest}")) == []


def test_all_ones_own_events_and_nobody_elses_are_one_timeline(me, someone_else, server, manifest):
    for caller, name in ((me, "a"), (someone_else, "theirs"), (me, "b")):
        happen(server, put(caller, manifest, name)["metadata"]["uid"], Event(f"At{name}", "x"))
    mine = items(me.get("/v1/events"))
    assert {event["deployment"] for event in mine} == {"a", "b"}
    assert [e["reason"] for e in mine if e["reason"].startswith("At")] == ["Ata", "Atb"]


def test_a_timeline_outlives_its_deployment(me, server, manifest):
    happen(server, put(me, manifest)["metadata"]["uid"], Event("Seen", "it was there"))
    delete(me, server)
    assert "Seen" in reasons(me.get("/v1/specs/train-a/events"))
    assert "Seen" in reasons(me.get("/v1/events"))


@pytest.mark.parametrize("query", ["after=-1", "after=x", "limit=0", "limit=501", "since=1"])
@pytest.mark.parametrize("path", ["/v1/events", "/v1/specs/train-a/events"])
def test_a_strange_place_in_a_timeline_is_refused(me, manifest, path, query):
    put(me, manifest)
    assert me.get(f"{path}?{query}").status_code == 422


def test_history_says_who_changed_what_newest_first(me, manifest):
    put(me, manifest)
    put(me, manifest, hardware={"ram": 16000}, suspend=True)
    answer = me.get("/v1/specs/train-a/history")
    newest, first = RevisionList.model_validate_json(answer.content).items
    assert (newest.generation, first.generation) == (2, 1)
    assert newest.actor == me.token
    assert newest.source == {"type": "http"}
    assert items(answer)[0]["changes"] == [
        {"path": "hardware.ram", "from": 8000, "to": 16000},
        {"path": "suspend", "from": False, "to": True},
    ]
    assert first.changes == []


def test_history_shows_no_secret(me, manifest):
    put(me, manifest)
    lab = {"service": "jupyterlab", "jupyter_password": PASSWORD}
    put(me, manifest, general=lab)
    answer = me.get("/v1/specs/train-a/history")
    changes = {c["path"]: c["to"] for c in items(answer)[0]["changes"]}
    assert changes["general.jupyter_password"] == SECRET_SET
    assert PASSWORD not in answer.text


def test_a_rollback_pins_an_older_generation_until_the_next_wish(me, manifest):
    put(me, manifest)
    put(me, manifest, hardware={"ram": 16000})
    back = me.post("/v1/specs/train-a/rollback", json={"generation": 1})
    assert back.status_code == 200
    assert back.json()["metadata"]["pinnedGeneration"] == 1
    assert back.json()["metadata"]["generation"] == 3
    assert back.json()["spec"]["hardware"]["ram"] == 16000
    assert back.headers["etag"] == me.get("/v1/specs/train-a").headers["etag"]
    newest = items(me.get("/v1/specs/train-a/history"))[0]
    assert newest["pinnedGeneration"] == 1
    assert newest["changes"] == [{"path": "hardware.ram", "from": 16000, "to": 8000}]
    lifted = put(me, manifest, hardware={"ram": 32000})
    assert "pinnedGeneration" not in lifted["metadata"]


def test_a_generation_that_never_was_is_not_found(me, manifest):
    put(me, manifest)
    answer = me.post("/v1/specs/train-a/rollback", json={"generation": 7})
    assert (answer.status_code, answer.json()["reason"]) == (404, "NotFound")
    assert "pinnedGeneration" not in me.get("/v1/specs/train-a").json()["metadata"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        1,
        {"generation": "1"},
        {"generation": True},
        {"generation": 0},
        {"generation": 1.5},
        {"generation": 10**30},
        {"generation": None},
        {"generation": 1, "force": True},
    ],
)
def test_a_rollback_to_no_generation_is_refused(me, manifest, body):
    put(me, manifest)
    answer = me.post("/v1/specs/train-a/rollback", json=body)
    assert (answer.status_code, answer.json()["reason"]) == (422, "InvalidSpec")


def test_a_rollback_holds_its_precondition(me, manifest):
    put(me, manifest)
    changed = me.put("/v1/specs/train-a", json=manifest(hardware={"ram": 16000}))
    back = lambda tag: me.post(  # noqa: E731
        "/v1/specs/train-a/rollback", json={"generation": 1}, headers={"If-Match": tag}
    )
    assert back('"0"').status_code == 412
    assert back(changed.headers["etag"]).status_code == 200


def test_reconcile_has_the_loop_look_without_a_new_generation(me, server, manifest):
    made = put(me, manifest)
    position = server.store.newest_version()
    answer = me.post("/v1/specs/train-a/reconcile")
    assert answer.status_code == 202
    assert answer.json()["generation"] == made["metadata"]["generation"]
    woken = [uid for _, uid, *_ in server.store.wishes_after(position)]
    assert woken == [made["metadata"]["uid"]]


def test_reconcile_waits_for_the_look_even_if_nothing_changed(me, server, manifest):
    uid = put(me, manifest)["metadata"]["uid"]
    server.tell(uid, Phase.RUNNING, ready=True)
    with server.meanwhile(lambda: server.tell(uid, Phase.RUNNING, ready=True)):
        answer = me.post("/v1/specs/train-a/reconcile?wait=30s")
    assert (answer.status_code, answer.json()["phase"]) == (202, "Running")
    assert answer.json()["observedAt"]


def test_reconcile_that_waits_in_vain_says_so(me, server, manifest):
    server.tell(put(me, manifest)["metadata"]["uid"], Phase.RUNNING, ready=True)
    answer = me.post("/v1/specs/train-a/reconcile?wait=0s")
    assert answer.status_code == 202
    assert "observedAt" not in answer.json()


@pytest.mark.parametrize("wait", ["61s", "-1s", "1", "1m", "soon"])
def test_reconcile_does_not_wait_for_ever(me, manifest, wait):
    put(me, manifest)
    assert me.post(f"/v1/specs/train-a/reconcile?wait={wait}").status_code == 422


def test_what_was_deleted_is_in_the_trash_and_can_be_had_back(me, server, manifest):
    made = put(me, manifest, hardware={"ram": 16000})
    uid = delete(me, server)
    assert me.get("/v1/specs/train-a").status_code == 404
    answer = me.get("/v1/trash")
    (trashed,) = TrashList.model_validate_json(answer.content).items
    assert (trashed.name, trashed.vo, trashed.uid) == ("train-a", "vo.ai4eosc.eu", uid)
    assert (trashed.expires_at - trashed.deleted_at).days == 7
    assert trashed.spec.hardware.ram == 16000
    back = me.post("/v1/specs/train-a/undelete")
    assert back.status_code == 200
    assert back.json()["spec"] == made["spec"]
    assert back.json()["metadata"]["uid"] == uid
    assert back.headers["etag"] == me.get("/v1/specs/train-a").headers["etag"]
    assert items(me.get("/v1/trash")) == []


def test_a_deletion_under_way_is_taken_back(me, manifest):
    put(me, manifest)
    me.delete("/v1/specs/train-a")
    back = me.post("/v1/specs/train-a/undelete")
    assert back.status_code == 200
    assert "deletionTimestamp" not in back.json()["metadata"]


def test_a_name_that_is_taken_again_is_not_undeleted(me, server, manifest):
    put(me, manifest)
    delete(me, server)
    put(me, manifest)
    answer = me.post("/v1/specs/train-a/undelete")
    assert (answer.status_code, answer.json()["reason"]) == (409, "AlreadyExists")


def test_a_plan_tells_each_field_and_the_schedulers_word(me, manifest, told):
    put(me, manifest)
    told["comparison"] = ComparisonView(
        effect="in place",
        fits=False,
        message="no node has 2 GPUs free",
        changes=[FieldView(path="TaskGroups[usergroup].Count", wanted=1, actual=0)],
    )
    assert me.get("/v1/specs/train-a/plan").json() == {
        "effect": "in place",
        "fits": False,
        "message": "no node has 2 GPUs free",
        "changes": [{"path": "TaskGroups[usergroup].Count", "wanted": 1, "actual": 0}],
    }


def test_the_plan_of_what_is_to_stop_asks_no_cluster(me, server, manifest, told):
    told["comparison"] = None
    uid = put(me, manifest, suspend=True)["metadata"]["uid"]
    plan = lambda: me.get("/v1/specs/train-a/plan").json()["effect"]  # noqa: E731
    assert plan() == "stops"
    server.tell(uid, Phase.SUSPENDED)
    assert plan() == "unchanged"
    me.delete("/v1/specs/train-a")
    assert plan() == "stops"


@pytest.mark.parametrize("question", ABOUT_ONE)
def test_other_peoples_are_not_found(me, someone_else, server, manifest, question):
    put(someone_else, manifest)
    before = server.store.newest_version()
    answer = ask(me, *question)
    assert (answer.status_code, answer.json()["reason"]) == (404, "NotFound")
    assert server.store.newest_version() == before


def test_other_peoples_trash_is_not_shown(me, someone_else, server, manifest):
    put(someone_else, manifest)
    delete(someone_else, server)
    assert items(me.get("/v1/trash")) == []
    assert me.post("/v1/specs/train-a/undelete").status_code == 404
    assert me.get("/v1/specs/train-a/events").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [*ABOUT_ONE, ("GET", "/v1/events", None), ("GET", "/v1/trash", None)],
)
def test_nobody_gets_in_without_a_token(server, method, path, body):
    answer = server.client.request(method, path, json=body)
    assert (answer.status_code, answer.json()["reason"]) == (401, "NotAuthenticated")


@pytest.mark.parametrize(("method", "path", "body"), ABOUT_ONE)
def test_a_name_in_two_vos_must_be_told_apart(server, manifest, method, path, body):
    me = server.caller(several_vos=True)
    for vo in ("vo.ai4eosc.eu", "vo.imagine-ai.eu"):
        me.post("/v1/specs", json=manifest(metadata={"vo": vo}))
    if path.endswith("undelete"):
        me.delete("/v1/specs/train-a?vo=vo.ai4eosc.eu")
        me.delete("/v1/specs/train-a?vo=vo.imagine-ai.eu")
    assert ask(me, method, path, body).status_code == 422
    assert ask(me, method, f"{path}?vo=vo.imagine-ai.eu", body).is_success


def test_the_way_in_of_a_deletion_is_told(me, server, manifest):
    uid = put(me, manifest)["metadata"]["uid"]
    me.delete("/v1/specs/train-a")
    newest = server.store.events(uid)[-1].event
    assert (newest.actor, newest.source) == (me.token, "http")
