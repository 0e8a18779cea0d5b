"""The declarative routes: create, apply, patch, read, list, delete, and trying first."""

import pytest

from api.schemas import DeploymentList, DeploymentView, PlanView
from specs.faults import NotFound
from specs.model import SECRET_SET, Phase

PASSWORD = "correct-horse-battery"


def create(me, manifest, name="train-a", **spec):
    answer = me.post("/v1/specs", json=manifest(name, **spec))
    assert answer.status_code == 201, answer.text
    return answer.json()


def causes(answer):
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return {cause["pointer"]: cause["code"] for cause in answer.json()["causes"]}


def test_a_manifest_becomes_a_deployment(me, manifest):
    answer = me.post("/v1/specs", json=manifest(hardware={"gpu_num": 1}))
    assert answer.status_code == 201
    shown = DeploymentView.model_validate_json(answer.content)
    assert (shown.metadata.name, shown.metadata.vo) == ("train-a", "vo.ai4eosc.eu")
    assert (shown.metadata.owner.iss, shown.metadata.owner.sub) == me.owner
    assert shown.metadata.generation == 1
    assert shown.metadata.source == {"type": "http"}
    assert shown.spec.hardware.gpu_num == 1
    assert shown.spec.hardware.ram == 8000
    assert shown.status.phase is Phase.ACCEPTED
    assert answer.headers["location"] == "/v1/specs/train-a?vo=vo.ai4eosc.eu"
    assert answer.headers["etag"] == f'"{shown.metadata.resource_version}"'
    assert me.get(answer.headers["location"]).json() == answer.json()


def test_the_same_again_changes_nothing(me, manifest):
    first = create(me, manifest)
    again = me.post("/v1/specs", json=manifest())
    assert again.status_code == 200
    assert again.json() == first
    assert "location" not in again.headers


def test_a_taken_name_is_a_conflict(me, manifest):
    create(me, manifest)
    answer = me.post("/v1/specs", json=manifest(hardware={"gpu_num": 2}))
    assert answer.status_code == 409
    assert answer.json()["reason"] == "AlreadyExists"


def test_two_people_may_use_one_name(me, someone_else, manifest):
    assert (
        create(me, manifest)["metadata"]["uid"] != create(someone_else, manifest)["metadata"]["uid"]
    )


def test_an_idempotency_key_makes_one_deployment(me, manifest):
    def post(name):
        return me.post("/v1/specs", json=manifest(name), headers={"Idempotency-Key": "k-1"})

    first, again = post("train-a"), post("train-a")
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["metadata"]["uid"] == again.json()["metadata"]["uid"]


@pytest.mark.parametrize("key", ["", "a b", "é".encode(), "k" * 256])
def test_a_strange_idempotency_key_is_refused(me, manifest, key):
    answer = me.post("/v1/specs", json=manifest(), headers={"Idempotency-Key": key})
    assert answer.status_code == 422
    assert me.get("/v1/specs/train-a").status_code == 404


def test_apply_creates_then_changes_then_rests(me, manifest):
    made = me.put("/v1/specs/train-a", json=manifest())
    changed = me.put("/v1/specs/train-a", json=manifest(hardware={"ram": 16000}))
    same = me.put("/v1/specs/train-a", json=manifest(hardware={"ram": 16000}))
    assert [a.status_code for a in (made, changed, same)] == [201, 200, 200]
    assert [a.json()["metadata"]["generation"] for a in (made, changed, same)] == [1, 2, 2]
    assert changed.json()["spec"]["hardware"]["ram"] == 16000
    assert changed.headers["etag"] == same.headers["etag"] != made.headers["etag"]


def test_labels_change_without_a_new_generation(me, manifest):
    made = create(me, manifest)
    answer = me.put("/v1/specs/train-a", json=manifest(metadata={"labels": {"team": "a"}}))
    assert answer.json()["metadata"]["labels"] == {"team": "a"}
    assert answer.json()["metadata"]["generation"] == made["metadata"]["generation"]
    assert answer.headers["etag"] != f'"{made["metadata"]["resourceVersion"]}"'


@pytest.mark.parametrize(
    ("if_match", "holds"),
    [
        (None, True),
        ("{etag}", True),
        ("*", True),
        ('"0", {etag}', True),
        ('"0"', False),
        ("W/{etag}", False),
        ('"x"', False),
        ("nonsense", False),
        ('"' + "9" * 5000 + '"', False),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_a_write_holds_its_precondition(me, manifest, method, if_match, holds):
    etag = me.post("/v1/specs", json=manifest()).headers["etag"]
    body = {
        "PUT": {"json": manifest(hardware={"ram": 16000})},
        "PATCH": {"json": {"spec": {"hardware": {"ram": 16000}}}},
        "DELETE": {},
    }[method]
    headers = {} if if_match is None else {"If-Match": if_match.replace("{etag}", etag)}
    answer = me.request(method, "/v1/specs/train-a", headers=headers, **body)
    assert answer.is_success == holds
    assert holds or answer.status_code == 412
    touched = me.get("/v1/specs/train-a").headers["etag"] != etag
    assert touched == holds


def test_a_put_that_must_create_changes_nothing(me, manifest):
    only_new = {"If-None-Match": "*"}
    made = me.put("/v1/specs/train-a", json=manifest(), headers=only_new)
    again = me.put("/v1/specs/train-a", json=manifest(hardware={"ram": 16000}), headers=only_new)
    tried = me.put("/v1/specs/train-a?dryRun=true", json=manifest(), headers=only_new)
    assert (made.status_code, again.status_code, tried.status_code) == (201, 412, 412)
    assert me.get("/v1/specs/train-a").json() == made.json()


@pytest.mark.parametrize("if_match", ['"1"', "*"])
def test_nothing_matches_what_is_not_there(me, manifest, if_match):
    answer = me.put("/v1/specs/train-a", json=manifest(), headers={"If-Match": if_match})
    assert answer.status_code == 412
    assert me.get("/v1/specs/train-a").status_code == 404


def test_the_name_in_the_address_counts(me, manifest):
    answer = me.put("/v1/specs/train-b", json=manifest("train-a"))
    assert answer.status_code == 422
    assert causes(answer) == {"/metadata/name": "Mismatch"}


def test_a_patch_changes_its_part_only(me, manifest):
    create(me, manifest, general={"title": "Mine"}, hardware={"gpu_num": 2})
    answer = me.patch("/v1/specs/train-a", json={"spec": {"hardware": {"ram": 16000}}})
    assert answer.status_code == 200
    assert answer.json()["spec"]["hardware"] | {"disk": 0} == {
        "cpu_num": 1,
        "gpu_num": 2,
        "gpu_type": "",
        "ram": 16000,
        "disk": 0,
    }
    assert answer.json()["spec"]["general"]["title"] == "Mine"
    assert answer.json()["metadata"]["generation"] == 2


def test_a_patch_takes_a_value_back_to_its_default(me, manifest):
    create(me, manifest, hardware={"gpu_num": 2})
    answer = me.patch("/v1/specs/train-a", json={"spec": {"hardware": {"gpu_num": None}}})
    assert answer.json()["spec"]["hardware"]["gpu_num"] == 0


def test_a_patch_is_read_as_merge_patch_too(me, manifest):
    create(me, manifest)
    answer = me.patch(
        "/v1/specs/train-a",
        content=b'{"metadata": {"labels": {"team": "a"}}}',
        headers={"Content-Type": "application/merge-patch+json"},
    )
    assert answer.json()["metadata"]["labels"] == {"team": "a"}


@pytest.mark.parametrize(
    ("patch", "pointer"),
    [
        ([{"op": "move", "from": "/a", "path": "/b"}], ""),
        ("text", ""),
        ({"__proto__": {}}, "/__proto__"),
        ({"status": {"phase": "Running"}}, "/status"),
        ({"metadata": {"name": "other"}}, "/metadata/name"),
        ({"metadata": {"vo": "vo.imagine-ai.eu"}}, "/metadata/vo"),
        ({"metadata": {"uid": "x"}}, "/metadata/uid"),
        ({"spec": {"hardware": {"ram": -5}}}, "/spec/hardware/ram"),
        ({"spec": None}, "/spec"),
    ],
)
def test_a_bad_patch_changes_nothing(me, manifest, patch, pointer):
    made = create(me, manifest)
    answer = me.patch("/v1/specs/train-a", json=patch)
    assert answer.status_code == 422
    assert pointer in causes(answer)
    assert me.get("/v1/specs/train-a").json() == made


def test_a_status_that_moves_does_not_fail_a_patch(me, server, manifest, monkeypatch):
    uid = create(me, manifest)["metadata"]["uid"]
    put, told = server.store.put, []

    def moved_meanwhile(*args, **options):
        if not told:
            told.append(server.tell(uid, Phase.RUNNING, ready=True))
        return put(*args, **options)

    monkeypatch.setattr(type(server.store), "put", lambda _, *a, **o: moved_meanwhile(*a, **o))
    answer = me.patch("/v1/specs/train-a", json={"spec": {"hardware": {"ram": 16000}}})
    assert told
    assert answer.status_code == 200
    assert (answer.json()["spec"]["hardware"]["ram"], answer.json()["status"]["phase"]) == (
        16000,
        "Running",
    )


def test_a_put_that_must_create_loses_a_race_honestly(me, server, manifest, monkeypatch):
    made = create(me, manifest)
    monkeypatch.setattr(type(server.store), "find", lambda *_, **__: refuse())

    def refuse():
        raise NotFound("not there yet")

    body = manifest(hardware={"ram": 16000})
    late = me.put("/v1/specs/train-a", json=body, headers={"If-None-Match": "*"})
    assert late.status_code == 412
    assert server.store.get(made["metadata"]["uid"]).generation == 1


def test_a_patch_keeps_what_another_wrote_meanwhile(me, server, manifest, monkeypatch):
    create(me, manifest)
    put, others = server.store.put, []

    def put_after_another(_, *args, **options):
        if not others:
            others.append("on its way")
            other = {"spec": {"hardware": {"ram": 16000}}}
            others.append(me.patch("/v1/specs/train-a", json=other).status_code)
        return put(*args, **options)

    monkeypatch.setattr(type(server.store), "put", put_after_another)
    answer = me.patch("/v1/specs/train-a", json={"spec": {"hardware": {"gpu_num": 2}}})
    assert others[1:] == [200]
    hardware = answer.json()["spec"]["hardware"]
    assert (hardware["ram"], hardware["gpu_num"]) == (16000, 2)


def test_a_secret_is_taken_and_never_shown(me, server, manifest):
    general = {"service": "jupyterlab", "jupyter_password": PASSWORD}
    made = create(me, manifest, general=general)
    uid = made["metadata"]["uid"]
    kept = me.put(
        "/v1/specs/train-a", json=manifest(general=general | {"jupyter_password": SECRET_SET})
    )
    patched = me.patch("/v1/specs/train-a", json={"metadata": {"labels": {"a": "b"}}})
    answers = [
        me.get("/v1/specs"),
        me.get("/v1/specs/train-a"),
        me.get("/v1/specs/train-a/status"),
        me.get("/v1/deployments"),
        me.get(f"/v1/deployments/{uid}"),
        me.put("/v1/specs/train-a?dryRun=true", json=manifest(general=general)),
        kept,
        patched,
    ]
    assert [a.status_code for a in answers] == [200] * len(answers)
    assert all(PASSWORD not in answer.text for answer in answers)
    assert made["spec"]["general"]["jupyter_password"] == SECRET_SET
    assert kept.json()["metadata"]["generation"] == 1
    assert server.store.secrets(uid) == {"general.jupyter_password": PASSWORD}


def test_what_is_read_can_be_applied_by_its_spec(me, manifest):
    made = create(me, manifest, general={"title": "Mine"}, hardware={"gpu_num": 2})
    again = me.put("/v1/specs/train-a", json=manifest(**made["spec"]))
    assert again.json()["metadata"]["generation"] == 1


def test_an_unchanged_object_is_not_sent_again(me, server, manifest):
    made = me.post("/v1/specs", json=manifest())
    etag = made.headers["etag"]
    unchanged = me.get("/v1/specs/train-a", headers={"If-None-Match": f'"0", W/{etag}'})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert unchanged.headers["etag"] == etag
    server.tell(made.json()["metadata"]["uid"], Phase.STARTING)
    changed = me.get("/v1/specs/train-a", headers={"If-None-Match": etag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != etag


def test_a_deletion_is_asked_for_once_and_ends_in_nothing(me, server, manifest):
    made = create(me, manifest)
    first, again = me.delete("/v1/specs/train-a"), me.delete("/v1/specs/train-a")
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json() == again.json()
    assert first.json()["metadata"]["deletionTimestamp"].endswith("Z")
    assert me.post("/v1/specs", json=manifest()).status_code == 409
    server.finish_deletion(made["metadata"]["uid"])
    assert me.get("/v1/specs/train-a").status_code == 404
    assert me.delete("/v1/specs/train-a").status_code == 404
    assert me.post("/v1/specs", json=manifest()).status_code == 201


def without_occurrence(answer):
    body = answer.json()
    del body["instance"], body["requestId"]
    headers = {k: v for k, v in answer.headers.items() if k not in ("x-request-id", "date")}
    return answer.status_code, body, headers


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("route", ["/v1/specs/{name}", "/v1/specs/{name}?vo=vo.ai4eosc.eu"])
def test_what_is_not_yours_is_not_there(me, someone_else, manifest, method, route):
    mine = create(me, manifest)
    if method == "PUT":  # which would make one of one's own
        assert someone_else.put("/v1/specs/train-a", json=manifest()).status_code == 201
    else:
        options = {"json": {}} if method == "PATCH" else {}
        there = someone_else.request(method, route.format(name="train-a"), **options)
        missing = someone_else.request(method, route.format(name="train-b"), **options)
        assert there.status_code == 404
        assert repr(without_occurrence(there)).replace("train-a", "train-b") == repr(
            without_occurrence(missing)
        )
    assert me.get("/v1/specs/train-a").json() == mine
    assert [i["metadata"]["uid"] for i in me.get("/v1/specs").json()["items"]] == [
        mine["metadata"]["uid"]
    ]


def test_a_list_is_newest_first_and_in_pages(me, manifest):
    for number in range(5):
        create(me, manifest, f"train-{number}")
    seen, path = [], "/v1/specs?limit=2"
    while path:
        page = DeploymentList.model_validate_json(me.get(path).content)
        seen.append([item.metadata.name for item in page.items])
        more = page.metadata.continue_
        path = f"/v1/specs?limit=2&continue={more}" if more else None
    assert seen == [["train-4", "train-3"], ["train-2", "train-1"], ["train-0"]]


def names(answer):
    assert answer.status_code == 200, answer.text
    return {item["metadata"]["name"] for item in answer.json()["items"]}


def test_a_list_is_chosen_by_label_phase_and_vo(server, manifest):
    me = server.caller(several_vos=True)
    for name, labels, vo in [
        ("train-a", {"team": "x", "stage": "test"}, "vo.ai4eosc.eu"),
        ("train-b", {"team": "x"}, "vo.imagine-ai.eu"),
        ("train-c", {}, "vo.ai4eosc.eu"),
    ]:
        body = manifest(name, metadata={"labels": labels, "vo": vo})
        uid = me.post("/v1/specs", json=body).json()["metadata"]["uid"]
        if name == "train-c":
            server.tell(uid, Phase.RUNNING, ready=True)
    assert names(me.get("/v1/specs")) == {"train-a", "train-b", "train-c"}
    assert names(me.get("/v1/specs?labelSelector=team=x")) == {"train-a", "train-b"}
    assert names(me.get("/v1/specs?labelSelector=team%3D%3Dx,stage=test")) == {"train-a"}
    assert names(me.get("/v1/specs?labelSelector=team=y")) == set()
    assert names(me.get("/v1/specs?phase=Running")) == {"train-c"}
    assert names(me.get("/v1/specs?phase=Accepted&vo=vo.ai4eosc.eu")) == {"train-a"}
    assert names(me.get("/v1/specs?vo=vo.imagine-ai.eu")) == {"train-b"}
    assert me.get("/v1/specs?vo=vo.unknown").status_code == 403


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=501",
        "limit=-1",
        "limit=" + "9" * 5000,
        "limit=x",
        "limit=1&limit=2",
        "phase=Happy",
        "labelSelector=team",
        "labelSelector=team!=x",
        "labelSelector=team in (a,b)",
        "labelSelector=a=b=c",
        "continue=nonsense",
        "continue=%00",
        "fieldSelector=a",
        "dryRun=true",
        "vo=" + "v" * 300,
        "watch=maybe",
        "watch=1&resourceVersion=new",
    ],
)
def test_a_strange_list_query_is_refused(me, query):
    answer = me.get(f"/v1/specs?{query}")
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["causes"]


def test_a_misspelt_dry_run_does_not_write(me, manifest):
    answer = me.post("/v1/specs?dryrun=true", json=manifest())
    assert answer.status_code == 422
    assert causes(answer) == {"/query/dryrun": "UnknownParameter"}
    assert me.get("/v1/specs/train-a").status_code == 404


def test_one_name_in_two_vos_needs_the_vo(server, manifest):
    me = server.caller(several_vos=True)
    for vo in ("vo.ai4eosc.eu", "vo.imagine-ai.eu"):
        assert me.post("/v1/specs", json=manifest(metadata={"vo": vo})).status_code == 201
    ambiguous = me.get("/v1/specs/train-a")
    assert ambiguous.status_code == 422
    assert "vo.imagine-ai.eu" in ambiguous.text
    chosen = me.get("/v1/specs/train-a?vo=vo.imagine-ai.eu")
    assert chosen.json()["metadata"]["vo"] == "vo.imagine-ai.eu"
    changed = me.put(
        "/v1/specs/train-a?vo=vo.imagine-ai.eu", json=manifest(hardware={"ram": 16000})
    )
    assert changed.json()["metadata"]["vo"] == "vo.imagine-ai.eu"
    other = me.get("/v1/specs/train-a?vo=vo.ai4eosc.eu").json()
    assert other["spec"]["hardware"]["ram"] == 8000
    two = me.put(
        "/v1/specs/train-a?vo=vo.imagine-ai.eu", json=manifest(metadata={"vo": "vo.ai4eosc.eu"})
    )
    assert causes(two) == {"/metadata/vo": "Mismatch"}


def test_a_vo_that_is_not_yours_is_refused(me, manifest):
    answer = me.post("/v1/specs", json=manifest(metadata={"vo": "vo.imagine-ai.eu"}))
    assert answer.status_code == 403
    assert causes(answer) == {"/metadata/vo": "NotAMember"}
    both = me.post("/v1/specs", json=manifest(metadata={"vo": "x"}, hardware={"ram": -1}))
    assert both.status_code == 422
    assert causes(both) == {"/metadata/vo": "NotAMember", "/spec/hardware/ram": "OutOfRange"}


def test_a_dry_run_says_what_would_be_and_does_nothing(me, told, manifest):
    told["plan"] = PlanView(effect="creates", fits=False, message="needs 8 GPUs; none free")
    answer = me.post("/v1/specs?dryRun=true", json=manifest(hardware={"gpu_num": 8}))
    assert answer.status_code == 200
    shown = DeploymentView.model_validate_json(answer.content)
    assert shown.plan == told["plan"]
    assert shown.spec.hardware.gpu_num == told["previewed"].spec.hardware.gpu_num == 8
    assert "etag" not in answer.headers
    assert me.get("/v1/specs/train-a").status_code == 404


def test_a_dry_run_of_a_change_leaves_the_record(me, told, manifest):
    made = create(me, manifest)
    told["plan"] = PlanView(effect="restarts", fits=True)
    for answer in (
        me.put("/v1/specs/train-a?dryRun=true", json=manifest(hardware={"ram": 16000})),
        me.patch("/v1/specs/train-a?dryRun=true", json={"spec": {"hardware": {"ram": 16000}}}),
    ):
        assert answer.status_code == 200
        assert answer.json()["plan"] == {"effect": "restarts", "fits": True, "message": ""}
        assert answer.json()["spec"]["hardware"]["ram"] == 16000
        assert told["previewed"].uid == made["metadata"]["uid"]
    assert me.get("/v1/specs/train-a").json() == made


def test_a_dry_run_of_the_same_asks_nobody(me, told, manifest):
    create(me, manifest)
    for answer in (
        me.post("/v1/specs?dryRun=true", json=manifest()),
        me.put("/v1/specs/train-a?dryRun=true", json=manifest()),
    ):
        assert answer.json()["plan"]["effect"] == "unchanged"
    assert "previewed" not in told


def test_a_dry_run_sees_a_changed_secret(me, told, manifest):
    create(me, manifest, storage={"rclone_password": PASSWORD})
    body = manifest(storage={"rclone_password": PASSWORD})
    same = me.put("/v1/specs/train-a?dryRun=true", json=body)
    assert same.json()["plan"]["effect"] == "unchanged"
    told["plan"] = PlanView(effect="restarts", fits=True)
    body = manifest(storage={"rclone_password": "another"})
    changed = me.put("/v1/specs/train-a?dryRun=true", json=body)
    assert changed.json()["plan"]["effect"] == "restarts"


def test_a_dry_run_is_refused_where_the_write_would_be(me, manifest):
    assert me.post("/v1/specs?dryRun=true", json=manifest("Bad Name")).status_code == 422
    create(me, manifest)
    other = manifest(hardware={"ram": 16000})
    assert me.post("/v1/specs?dryRun=true", json=other).status_code == 409
    stale = me.put("/v1/specs/train-a?dryRun=true", json=other, headers={"If-Match": '"0"'})
    assert stale.status_code == 412
    me.delete("/v1/specs/train-a")
    assert me.post("/v1/specs?dryRun=true", json=manifest()).status_code == 409
    assert me.put("/v1/specs/train-a?dryRun=true", json=other).status_code == 409


def test_a_dry_run_of_a_deletion_deletes_nothing(me, manifest):
    made = create(me, manifest)
    answer = me.delete("/v1/specs/train-a?dryRun=true")
    assert answer.status_code == 200
    assert answer.json()["plan"]["effect"] == "stops"
    assert me.get("/v1/specs/train-a").json() == made


BIG = "9" * 5000


@pytest.mark.parametrize(
    ("spec", "pointer"),
    [
        ('{"hardware": {"ram": -5}}', "/spec/hardware/ram"),
        ('{"hardware": {"ram": 0}}', "/spec/hardware/ram"),
        ('{"hardware": {"ram": true}}', "/spec/hardware/ram"),
        ('{"hardware": {"ram": "5"}}', "/spec/hardware/ram"),
        ('{"hardware": {"ram": 8000.0}}', "/spec/hardware/ram"),
        ('{"hardware": {"ram": 1e308}}', "/spec/hardware/ram"),
        ('{"hardware": {"ram": 1e999}}', "/spec/hardware/ram"),
        ('{"hardware": {"ram": NaN}}', "/spec/hardware/ram"),
        ('{"hardware": {"ram": Infinity}}', "/spec/hardware/ram"),
        ('{"hardware": {"ram": 2147483648}}', "/spec/hardware/ram"),
        ('{"hardware": {"ram": 9223372036854775808}}', "/spec/hardware/ram"),
        (f'{{"hardware": {{"ram": {BIG}}}}}', "/spec/hardware/ram"),
        ('{"hardware": {"ram": null}}', "/spec/hardware/ram"),
        ('{"hardware": {"ram": [8000]}}', "/spec/hardware/ram"),
        ('{"hardware": [1]}', "/spec/hardware"),
        ('{"hardwear": {}}', "/spec/hardwear"),
        ('{"general": {"title": "${attr.unique.hostname}"}}', "/spec/general/title"),
        ('{"general": {"title": "%{if true}"}}', "/spec/general/title"),
        ('{"general": {"title": "a\\nb"}}', "/spec/general/title"),
        ('{"general": {"title": "\\ud800"}}', "/spec/general/title"),
        ('{"general": {"title": "\\u0000"}}', "/spec/general/title"),
        ('{"general": {"title": 5}}', "/spec/general/title"),
        ('{"general": {"docker_image": "UPPER/case"}}', "/spec/general/docker_image"),
        ('{"general": {"jupyter_password": "\\udfff"}}', "/spec/general/jupyter_password"),
        ('{"general": {"owner": "me"}}', "/spec/general/owner"),
        ('{"suspend": "yes"}', "/spec/suspend"),
        ('{"update": {"policy": "now"}}', "/spec/update/policy"),
        ('{"Driver": "raw_exec"}', "/spec/Driver"),
        ("[]", "/spec"),
        ("null", "/spec"),
    ],
)
def test_a_bad_spec_is_refused_with_a_pointer(me, spec, pointer):
    raw = f'{{"metadata": {{"name": "train-a"}}, "spec": {spec}}}'.encode()
    for send, path in ((me.post, "/v1/specs"), (me.put, "/v1/specs/train-a")):
        answer = send(path, content=raw, headers={"Content-Type": "application/json"})
        assert answer.status_code == 422, answer.text
        assert any(at.startswith(pointer) for at in causes(answer)), causes(answer)
    assert me.get("/v1/specs/train-a").status_code == 404


@pytest.mark.parametrize(
    ("metadata", "pointer"),
    [
        ({"name": "Train A"}, "/metadata/name"),
        ({"name": "a" * 64}, "/metadata/name"),
        ({"name": "train\n"}, "/metadata/name"),
        ({"name": "../../etc"}, "/metadata/name"),
        ({"name": None}, "/metadata/name"),
        ({"name": 7}, "/metadata/name"),
        ({}, "/metadata/name"),
        ({"name": "a", "uid": "x"}, "/metadata/uid"),
        ({"name": "a", "owner": "bob"}, "/metadata/owner"),
        ({"name": "a", "generation": 5}, "/metadata/generation"),
        ({"name": "a", "labels": {"team": 5}}, "/metadata/labels/team"),
        ({"name": "a", "vo": 5}, "/metadata/vo"),
    ],
)
def test_bad_metadata_is_refused_with_a_pointer(me, metadata, pointer):
    answer = me.post("/v1/specs", json={"metadata": metadata, "spec": {}})
    assert answer.status_code == 422, answer.text
    assert pointer in causes(answer)


@pytest.mark.parametrize("body", [[], "x", 5, True, {}, {"spec": {}}, {"metadata": {}}])
def test_a_body_that_is_no_manifest_is_refused(me, body):
    for send, path in ((me.post, "/v1/specs"), (me.put, "/v1/specs/train-a")):
        assert send(path, json=body).status_code == 422


@pytest.mark.parametrize(
    "name",
    ["%2e%2e%2fetc", "%00", "%ff", "a%0ab", "TRAIN-A", "x" * 5000, "train-a%20", "%F0%9F%98%80"],
)
@pytest.mark.parametrize("method", ["GET", "DELETE", "PATCH"])
def test_a_strange_name_is_nobodys(me, manifest, method, name):
    create(me, manifest)
    options = {"json": {}} if method == "PATCH" else {}
    answer = me.request(method, f"/v1/specs/{name}", **options)
    assert answer.status_code in (404, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
