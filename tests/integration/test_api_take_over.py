"""What a spec file declares is not for people to change, unless they take it over aloud."""

import pytest

from specs.intake import DeletionBudget, SourcedWish, SourceRead, take_in
from specs.wish import wish_of_manifest

GIT = "https://git.example.org/taken.git@main"
FROM = {"type": "git", "path": "deploy/train-a.yaml", "line": "3", "digest": "d1"}
READY = {"spec": {"general": {"title": "by hand"}}}


@pytest.fixture
def declared(server, me, manifest, etc_conf):
    wish = wish_of_manifest(manifest(), etc_conf, vos=("vo.ai4eosc.eu",))
    sourced = SourcedWish(me.owner, me.token, wish, FROM)
    take_in(server.store, SourceRead(GIT, True, [sourced]), DeletionBudget())
    return me.get("/v1/specs/train-a").json()


def uid(declared):
    return declared["metadata"]["uid"]


@pytest.mark.parametrize("dry_run", ["", "?dryRun=true"])
@pytest.mark.parametrize("write", ["put", "patch", "delete"])
def test_every_write_is_refused_and_says_which_file_to_edit(me, manifest, declared, write, dry_run):
    body = {
        "put": {"json": manifest(**READY["spec"])},
        "patch": {"json": READY, "headers": {"Content-Type": "application/merge-patch+json"}},
        "delete": {},
    }[write]
    answer = me.request(write.upper(), f"/v1/specs/train-a{dry_run}", **body)
    assert answer.status_code == 409
    problem = answer.json()
    assert problem["reason"] == "ManagedBySource"
    assert "edit deploy/train-a.yaml" in problem["detail"]
    assert "takeOver=true" in problem["hint"]
    assert me.get("/v1/specs/train-a").json() == declared


def test_the_classic_delete_is_refused_too(me, declared):
    answer = me.delete(f"/v1/deployments/{uid(declared)}")
    assert (answer.status_code, answer.json()["reason"]) == (409, "ManagedBySource")


def test_what_is_declared_already_may_be_said_again(me, manifest, declared):
    assert me.put("/v1/specs/train-a", json=manifest()).status_code == 200
    assert me.post("/v1/specs", json=manifest()).status_code == 200
    assert me.get("/v1/specs/train-a").json() == declared


def test_taking_over_is_said_and_told(me, declared):
    answer = me.patch("/v1/specs/train-a?takeOver=true", json=READY)
    assert answer.status_code == 200
    source = answer.json()["metadata"]["source"]
    assert (source["type"], source["takenFrom"], source["takenPath"]) == (
        "http",
        GIT,
        "deploy/train-a.yaml",
    )
    reasons = [event["reason"] for event in me.get("/v1/specs/train-a/events").json()["items"]]
    assert reasons[-2:] == ["TakenOver", "SpecChanged"]
    assert me.patch("/v1/specs/train-a", json={"spec": {"suspend": True}}).status_code == 200
    assert me.get("/v1/specs/train-a").json()["metadata"]["source"]["takenFrom"] == GIT


def test_a_dry_run_of_taking_over_takes_nothing(me, manifest, declared):
    answer = me.put("/v1/specs/train-a?takeOver=true&dryRun=true", json=manifest(**READY["spec"]))
    assert answer.status_code == 200
    assert me.get("/v1/specs/train-a").json() == declared


def test_a_deletion_takes_over_too(me, declared):
    assert me.delete("/v1/specs/train-a?takeOver=true").status_code == 202
    metadata = me.get("/v1/specs/train-a").json()["metadata"]
    assert metadata["source"]["takenFrom"] == GIT
    assert "deletionTimestamp" in metadata


def test_a_rollback_leaves_it_to_the_file(me, declared):
    """An emergency brake: it changes what runs, not what is wished."""
    assert me.post("/v1/specs/train-a/rollback", json={"generation": 1}).status_code == 200
    assert me.get("/v1/specs/train-a").json()["metadata"]["source"]["id"] == GIT
