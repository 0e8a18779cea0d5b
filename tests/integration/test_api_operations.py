"""The routes for operators: sources of spec files, held deletions, orphaned jobs."""

import hashlib
import hmac
import json
from urllib.parse import quote

import pytest

from api.operations import OrphanView
from specs.catalog.reads import CatalogRead, ModuleRead
from specs.catalog.states import CatalogState
from specs.intake import DeletionBudget, SourcedWish, SourceRead, take_in
from specs.source_reports import FaultReport, SourceReport
from specs.wish import wish_of_manifest
from tests.builders import NOW
from tests.catalog_server import early
from tests.integration.conftest import HOOK_SECRET

NONE_FREE = DeletionBudget(count=0, percent=0)
IDS = ["https://git.example.org/specs.git@main", "/srv/specs", "a/confirm", "what?#%2F ü"]
ROUTES = [
    ("GET", "/v1/sources"),
    ("POST", "/v1/sources/https://git.example.org/specs.git/confirm"),
    ("POST", "/v1/sources/https://git.example.org/specs.git/sync"),
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
    seen = of(operator, source)
    assert (seen["deployments"], seen["held"], seen["configured"]) == (2, [], False)
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


def test_a_source_says_where_it_stands_and_what_is_wrong(operator, server):
    report = SourceReport(
        kind="git",
        url="https://git.example.org/specs.git",
        ref="main",
        wanted="c2",
        applied="c1",
        behind_since=NOW,
        error="can't read it",
        files=3,
        faults=(FaultReport(file="a.yaml", line=3, column=5, message="bad"),),
    )
    server.store.put_source_report("team", report)
    seen = of(operator, "team")
    assert (seen["wanted"], seen["applied"], seen["error"]) == ("c2", "c1", "can't read it")
    assert (seen["configured"], seen["deployments"]) == (True, 0)
    assert seen["lagS"] >= 0
    (fault,) = seen["faults"]
    assert (fault["file"], fault["line"], fault["column"]) == ("a.yaml", 3, 5)


def test_a_source_is_read_now_when_an_operator_asks(operator, server):
    server.store.put_source_report("team", SourceReport(kind="folder", url="/srv/specs"))
    answer = operator.post("/v1/sources/team/sync")
    assert (answer.status_code, answer.json()) == (202, {"asked": 1})
    assert server.store.source_asks()["team"] == 1
    assert operator.post("/v1/sources/none/sync").status_code == 404


PUSH = b'{"repository": {"clone_url": "https://git.example.org/specs.git"}}'


def pushed(server, body=PUSH, secret=HOOK_SECRET):
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    headers = {"X-Hub-Signature-256": f"sha256={signature}", "Content-Type": "application/json"}
    return server.client.post("/v1/hooks/git", content=body, headers=headers)


def test_a_signed_webhook_has_its_repository_read(server):
    for name, kind, url in (
        ("team", "git", "https://git.example.org/specs.git"),
        ("other", "git", "https://git.example.org/other.git"),
        ("disk", "folder", "/srv/specs"),
    ):
        server.store.put_source_report(name, SourceReport(kind=kind, url=url))
    before = server.store.source_asks()
    answer = pushed(server)
    assert (answer.status_code, answer.json()) == (202, {"asked": 1})
    assert server.store.source_asks() == {**before, "team": before["team"] + 1}
    assert pushed(server, b"{}").json() == {"asked": 2}


def test_a_signed_webhook_that_is_no_json_is_refused(server):
    assert pushed(server, b"what?").status_code == 400


@pytest.mark.parametrize(
    ("repository", "asked"),
    [("team/market", 1), ("Team/Plants", 1), ("team/plant", 0), ("other/x", 0)],
)
def test_a_signed_webhook_has_the_catalogue_read_where_it_stands_there(server, repository, asked):
    raw = "https://raw.example.org/team"
    state = CatalogState(source="m", kind="gitmodules", url=f"{raw}/market/main/.gitmodules")
    server.store.put_catalog_state("m", state)
    plants = ModuleRead(
        "plants", "v1", "1", early("plants"), url=f"{raw}/plants/main/metadata.json"
    )
    server.store.put_catalog("m", CatalogRead([plants]), rank=0)
    before = server.store.catalog_asks()
    body = {"repository": {"clone_url": f"https://git.example.org/{repository}.git"}}
    assert pushed(server, json.dumps(body).encode()).status_code == 202
    assert server.store.catalog_asks() == before + asked


def test_a_webhook_of_somebody_else_is_refused(server):
    answer = pushed(server, secret="guessed guessed guessed")
    assert (answer.status_code, answer.json()["reason"]) == (401, "BadSignature")
    assert server.client.post("/v1/hooks/git", content=PUSH).status_code == 401


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
