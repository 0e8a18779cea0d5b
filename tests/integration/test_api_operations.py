"""The routes for operators: sources of spec files, held deletions, orphaned jobs."""

from urllib.parse import quote

import pytest

from api.operations import OrphanView
from specs.intake import DeletionBudget, SourcedWish, SourceRead, take_in
from specs.wish import wish_of_manifest

NONE_FREE = DeletionBudget(count=0, percent=0)
IDS = ["https://git.example.org/specs.git@main", "/srv/specs", "a/confirm", "what?#%2F ü"]
ROUTES = [
    ("GET", "/v1/sources"),
    ("POST", "/v1/sources/https://git.example.org/specs.git/confirm"),
    ("GET", "/v1/orphans"),
]


@pytest.fixture
def operator(server):
    return server.caller(operator=True)


@pytest.fixture
def read(server, me, manifest, etc_conf):
    """Read a source that holds these names of `me`, with no deletion free of a person's yes."""

    def take(source, *names):
        wishes = [
            SourcedWish(
                owner=me.owner,
                owner_name=me.token,
                wish=wish_of_manifest(manifest(name), etc_conf, vos=("vo.ai4eosc.eu",)),
                provenance={"file": f"{name}.yaml"},
            )
            for name in names
        ]
        take_in(server.store, SourceRead(source, complete=True, wishes=wishes), NONE_FREE)

    return take


def of(operator, source):
    answer = operator.get("/v1/sources")
    assert answer.status_code == 200
    return next(s for s in answer.json()["items"] if s["id"] == source)


@pytest.mark.parametrize("source", IDS)
def test_held_deletions_are_told_and_wait_for_a_word(operator, me, read, source):
    read(source, "a", "b")
    assert of(operator, source) == {"id": source, "deployments": 2, "held": []}
    read(source, "b")
    (held,) = of(operator, source)["held"]
    assert (held["name"], held["owner"]) == ("a", me.token)
    assert held["message"] == me.get("/v1/specs/a").json()["metadata"]["deletionHeld"]
    assert "deletionTimestamp" not in me.get("/v1/specs/a").json()["metadata"]
    confirmed = operator.post(f"/v1/sources/{quote(source, safe='')}/confirm")
    assert (confirmed.status_code, confirmed.json()) == (200, {"deleted": 1})
    assert "deletionTimestamp" in me.get("/v1/specs/a").json()["metadata"]
    assert "deletionTimestamp" not in me.get("/v1/specs/b").json()["metadata"]
    assert of(operator, source)["held"] == []


def test_an_address_as_an_id_need_not_be_quoted(operator, read):
    source = "https://git.example.org/plain.git@main"
    read(source, "plain")
    answer = operator.post(f"/v1/sources/{source}/confirm")
    assert (answer.status_code, answer.json()) == (200, {"deleted": 0})


def test_a_source_that_is_none_is_not_found(operator):
    answer = operator.post("/v1/sources/https://git.example.org/none/confirm")
    assert (answer.status_code, answer.json()["reason"]) == (404, "NotFound")


def test_orphans_are_listed(operator, told):
    told["orphans"] = [OrphanView(namespace="ai4eosc", job_id="0b9f")]
    assert operator.get("/v1/orphans").json() == {
        "items": [{"namespace": "ai4eosc", "jobID": "0b9f"}]
    }


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_only_operators_see_other_peoples(me, method, path):
    answer = me.request(method, path)
    assert (answer.status_code, answer.json()["reason"]) == (403, "Forbidden")


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_nobody_gets_in_without_a_token(server, method, path):
    assert server.client.request(method, path).status_code == 401


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_parameter_that_there_is_not_is_refused(operator, method, path):
    assert operator.request(method, f"{path}?force=true").status_code == 422
