"""Who may do what with whose deployments: owners, operators, auditors, strangers."""

import pytest

from api.auth import Role
from specs.model import Owner
from tests.integration.conftest import VOS

MANIFEST = {"metadata": {"name": "train-a"}, "spec": {"hardware": {"ram": 4000}}}


@pytest.fixture
def owner(server):
    return server.caller()


@pytest.fixture
def made(owner):
    assert owner.post("/v1/specs", json=MANIFEST).status_code == 201
    return owner.owner.sub


@pytest.fixture
def operator(server):
    return server.caller(operator=True)


@pytest.fixture
def auditor(server):
    return server.caller(auditor=True)


READS = ["", "/status", "/events", "/history", "/plan"]


@pytest.mark.parametrize("part", READS)
def test_c1_a_stranger_meets_the_same_404_as_for_what_is_not_there(server, made, part):
    stranger = server.caller()
    theirs = stranger.get(f"/v1/specs/train-a{part}")
    nothing = stranger.get(f"/v1/specs/train-b{part}")
    assert theirs.status_code == nothing.status_code == 404
    hidden = {"instance", "requestId", "detail"}
    assert {k: v for k, v in theirs.json().items() if k not in hidden} == {
        k: v for k, v in nothing.json().items() if k not in hidden
    }
    assert theirs.json()["detail"].replace("train-a", "train-b") == nothing.json()["detail"]


@pytest.mark.parametrize("part", READS)
def test_c10_a_user_may_not_ask_for_anothers_whoever_that_is(server, made, part):
    stranger = server.caller()
    for name in (made, "nobody-there", f"https://op#{made}"):
        answer = stranger.get(f"/v1/specs/train-a{part}", params={"owner": name})
        assert answer.status_code == 403
        assert answer.json()["reason"] == "Forbidden"
    assert stranger.get("/v1/specs", params={"owner": "*"}).status_code == 403


@pytest.mark.parametrize("part", READS)
@pytest.mark.parametrize("who", ["operator", "auditor"])
def test_operators_and_auditors_see_everybodys(request, made, part, who):
    caller = request.getfixturevalue(who)
    for name in (made, f"https://op#{made}"):
        seen = caller.get(f"/v1/specs/train-a{part}", params={"owner": name})
        assert seen.status_code == 200
    assert caller.get(f"/v1/specs/train-a{part}").status_code == 404
    assert (
        caller.get(f"/v1/specs/train-a{part}", params={"owner": "nobody-there"}).status_code == 404
    )


@pytest.mark.parametrize("who", ["operator", "auditor"])
def test_everybodys_are_listed_page_by_page(request, server, who):
    makers = [server.caller() for _ in range(3)]
    for maker in makers:
        maker.post("/v1/specs", json=MANIFEST)
    caller = request.getfixturevalue(who)
    page, names = {"metadata": {}}, []
    while page is not None:
        given = {"owner": "*", "limit": 2} | (
            {"continue": page["metadata"]["continue"]} if page["metadata"] else {}
        )
        page = caller.get("/v1/specs", params=given).json()
        names += [item["metadata"]["owner"]["sub"] for item in page["items"]]
        page = page if page["metadata"].get("continue") else None
    assert {maker.owner.sub for maker in makers} <= set(names)
    assert len(names) == len(set(zip(names, range(len(names)), strict=True)))


def test_an_operator_changes_anothers_in_their_name(server, owner, operator, made):
    given = {"params": {"owner": made}}
    changed = operator.patch(
        "/v1/specs/train-a",
        json={"spec": {"suspend": True}},
        headers={"Content-Type": "application/merge-patch+json"},
        **given,
    )
    assert changed.status_code == 200
    assert changed.json()["metadata"]["owner"] == {
        "iss": "https://op", "sub": made, "name": made,
    }  # fmt: skip
    events = owner.get("/v1/specs/train-a/events").json()["items"]
    assert events[-1]["actor"] == operator.token
    assert operator.post("/v1/specs/train-a/reconcile", **given).status_code == 202
    assert (
        operator.post("/v1/specs/train-a/rollback", json={"generation": 1}, **given).status_code
        == 200
    )
    assert operator.delete("/v1/specs/train-a", **given).status_code == 202
    assert operator.post("/v1/specs/train-a/undelete", **given).status_code == 200
    assert owner.get("/v1/specs/train-a").status_code == 200


def test_an_operator_declares_nothing_new_for_another(operator, owner):
    owner.post("/v1/specs", json=MANIFEST)
    answer = operator.put(
        "/v1/specs/other",
        json={"metadata": {"name": "other"}, "spec": {}},
        params={"owner": owner.owner.sub},
    )
    assert answer.status_code == 404
    assert operator.post("/v1/specs", json=MANIFEST, params={"owner": "x"}).status_code == 422


def test_an_auditor_changes_nothing(auditor, made):
    given = {"params": {"owner": made}}
    for answer in (
        auditor.delete("/v1/specs/train-a", **given),
        auditor.put("/v1/specs/train-a", json=MANIFEST, **given),
        auditor.post("/v1/specs/train-a/reconcile", **given),
        auditor.post("/v1/specs/train-a/rollback", json={"generation": 1}, **given),
        auditor.post("/v1/specs/train-a/undelete", **given),
    ):
        assert answer.status_code == 403


def test_an_auditor_without_membership_has_nothing_of_their_own(auditor):
    assert auditor.get("/v1/specs").json()["items"] == []
    answer = auditor.post("/v1/specs", json=MANIFEST)
    assert answer.status_code == 403


def test_t19_a_vo_of_others_is_no_way_in(server, owner, made):
    """Nor does an operator of one VO reach into another."""
    several = server.caller(several_vos=True)
    body = {"metadata": {"name": "b", "vo": VOS[1]}, "spec": {}}
    assert several.post("/v1/specs", json=body).status_code == 201
    one = server.caller(operator_of_one=True)
    seen = one.get("/v1/specs/b", params={"owner": several.owner.sub})
    assert seen.status_code == 404
    listed = one.get("/v1/specs", params={"owner": "*"}).json()["items"]
    assert listed
    assert all(item["metadata"]["vo"] == VOS[0] for item in listed)
    foreign = owner.post(
        "/v1/specs", json={"metadata": {"name": "c", "vo": VOS[1]}, "spec": {}}
    ).json()
    unknown = owner.post(
        "/v1/specs", json={"metadata": {"name": "c", "vo": "vo.nowhere"}, "spec": {}}
    ).json()
    assert foreign["status"] == unknown["status"] == 403
    assert foreign["causes"][0]["code"] == unknown["causes"][0]["code"]
    both = [owner.get("/v1/specs", params={"vo": vo}).json() for vo in (VOS[1], "vo.nowhere")]
    assert [answer["status"] for answer in both] == [403, 403]


def test_t24_c9_who_left_a_vo_no_longer_reaches_what_they_have_there(server):
    """The work goes on: that VO's operators see it and may end it."""
    member = server.caller(several_vos=True)
    body = {"metadata": {"name": "left", "vo": VOS[1]}, "spec": {}}
    member.post("/v1/specs", json=body)
    server.auth.leave(member.token, VOS[1])
    assert member.get("/v1/specs/left").status_code == 404
    assert member.get("/v1/specs").json()["items"] == []
    assert member.get("/v1/events").json()["items"] == []
    operator = server.caller(operator=True)
    seen = operator.get("/v1/specs/left", params={"owner": member.owner.sub})
    assert seen.status_code == 200


def test_whoami_says_who_and_what(operator, owner):
    mine = owner.get("/v1/whoami").json()
    assert mine == {
        "owner": {"iss": "https://op", "sub": owner.token},
        "name": owner.token,
        "vos": [{"name": VOS[0], "roles": ["user"]}],
        "operator": False,
    }
    assert operator.get("/v1/whoami").json()["vos"][1]["roles"] == ["operator", "user"]


def test_the_quota_is_shown_of_oneself_and_of_ones_vos(owner, operator, made):
    shown = owner.get("/v1/quota").json()
    assert shown["user"]["used"] == {
        "deployments": 1, "cpu_num": 1, "ram": 4000, "disk": 20000,
    }  # fmt: skip
    assert [vo["name"] for vo in shown["vos"]] == [VOS[0]]
    assert shown["vos"][0]["used"]["deployments"] >= 1
    assert operator.get("/v1/quota", params={"owner": made}).json()["user"] == shown["user"]


def test_roles_do_not_include_each_other():
    assert {role.value for role in Role} == {"user", "editor", "operator", "auditor"}


def test_an_owner_is_named_with_or_without_the_provider(operator):
    """T13: the same `sub` at two providers is two people."""
    other = Owner("https://other", "user-one-1")
    answer = operator.get("/v1/specs/train-a", params={"owner": "#".join(other)})
    assert answer.status_code == 404
