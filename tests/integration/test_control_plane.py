"""The control plane's attack list over HTTP: each test names the rows (C…, T…) that it covers."""

import json
import logging
import re
import socket
import uuid
from urllib.parse import quote, urlsplit

import pytest
from fastapi.routing import iter_route_contexts

from api.app import routes
from api.problems import Problem
from reconciler.logs import JsonLines

OPEN_ROUTES = {
    ("GET", "/metrics"),  # for this machine and the networks of metrics.allow
    ("GET", "/"),
    ("GET", "/v1"),
    ("GET", "/v1/auth/config"),
    ("GET", "/v1/info/conf/{module_name}"),
    ("GET", "/v1/schema/deployment.json"),
    ("GET", "/v1/modules"),
    ("GET", "/v1/modules/summary"),
    ("GET", "/v1/modules/metadata/{module_name}"),
    ("GET", "/livez"),
    ("GET", "/readyz"),
    ("GET", "/docs"),
    ("GET", "/redoc"),
    ("GET", "/openapi.json"),
}
"""What anybody may read. A new route that is not here must want a token."""


PAGE = ("/ui", "/login", "/logout", "/auth/")
"""The page's own: who has no session is sent to the login, or refused."""


def refused(answer, *statuses):
    assert answer.status_code in statuses, answer.text
    problem = Problem.model_validate_json(answer.content)
    assert problem.status == answer.status_code
    return problem


def raw(url, text):
    """Send bytes as they are; return status line and all else that comes back."""
    host, port = urlsplit(url).hostname, urlsplit(url).port
    with socket.create_connection((host, port), timeout=10) as plug:
        plug.sendall(text)
        answer = b""
        while chunk := plug.recv(65536):
            answer += chunk
        return answer


# Identity and ownership


def odd_forms(uid):
    return [
        uid.upper(),
        "{" + uid + "}",
        "urn:uuid:" + uid,
        uid.replace("-", ""),
        uid + ".",
        uid + " ",
        "../" + uid,
        "..%2f" + uid,
        uid + "/../x",
        uid + "?purge=true",
        uid + "#",
        uid + "\0",
        "x" * 10_000,
        "*",
        "%",
        "${attr.unique.hostname}",
        "' or '1'='1",
        "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
    ]


def test_c2_an_id_in_another_form_is_nobodys(me, manifest):
    uid = me.post("/v1/deployments", json={}).json()["job_ID"]
    for method in ("GET", "DELETE"):
        for form in odd_forms(uid):
            answer = me.request(method, "/v1/deployments/" + quote(form, safe=""))
            refused(answer, 404, 422)
    assert me.get(f"/v1/deployments/{uid}").status_code == 200


def test_c2_a_name_in_another_form_is_nobodys(me, manifest):
    me.put("/v1/specs/train-a", json=manifest())
    for form in odd_forms("train-a"):
        if form == "traina":
            continue
        refused(me.get("/v1/specs/" + quote(form, safe="")), 404, 422)
        refused(me.delete("/v1/specs/" + quote(form, safe="")), 404, 422)
    assert me.get("/v1/specs/train-a").status_code == 200


SERVERS_OWN = (
    "id",
    "uid",
    "owner",
    "namespace",
    "status",
    "generation",
    "resourceVersion",
    "roles",
)


@pytest.mark.parametrize("key", SERVERS_OWN)
def test_c3_c10_what_the_server_says_can_not_be_said_for_it(me, manifest, key):
    body = manifest("c3", metadata={"labels": {}})
    for place in (body, body["metadata"], body["spec"]):
        place[key] = "x"
        answer = me.post("/v1/specs", json=body)
        # A manifest that was read comes with these: they are not obeyed, or refused.
        if answer.status_code != 201:
            refused(answer, 422)
        else:
            shown = answer.json()
            assert shown["metadata"]["owner"]["sub"] == me.token
            assert shown["metadata"]["uid"] != "x"
            assert shown["metadata"]["generation"] == 1
            me.delete("/v1/specs/c3")
        del place[key]
    for conf in ({key: "x"}, {"general": {key: "x"}}, {"hardware": {key: "x"}}):
        refused(me.post("/v1/deployments", json=conf), 422)


def test_c8_ids_are_random_and_what_is_not_mine_looks_like_nothing(me, someone_else, manifest):
    uids = [me.post("/v1/deployments", json={}).json()["job_ID"] for _ in range(3)]
    assert {uuid.UUID(uid).version for uid in uids} == {4}
    me.put("/v1/specs/mine", json=manifest("mine"))
    for theirs, nothing in (
        (f"/v1/deployments/{uids[0]}", f"/v1/deployments/{uuid.uuid4()}"),
        ("/v1/specs/mine", "/v1/specs/none"),
        ("/v1/specs/mine/status", "/v1/specs/none/status"),
        ("/v1/specs/mine/events", "/v1/specs/none/events"),
    ):
        given = {"X-Request-ID": "same"}
        one, other = (someone_else.get(p, headers=given) for p in (theirs, nothing))
        assert one.status_code == other.status_code == 404
        same = [a.text.replace(p, "") for a, p in ((one, theirs), (other, nothing))]
        same = [re.sub(r"'(mine|none)'|[0-9a-f-]{36}|\b(mine|none)\b", "", text) for text in same]
        assert same[0] == same[1]
        headers = [
            {k: v for k, v in a.headers.items() if k not in ("content-length", "date")}
            for a in (one, other)
        ]
        assert headers[0] == headers[1]
    listed = someone_else.get("/v1/specs").json()
    assert listed["items"] == []
    assert someone_else.get("/v1/events").json()["items"] == []


HEADERS_OF_PROXIES = {
    "X-Forwarded-User": "admin",
    "X-Remote-User": "admin",
    "X-Auth-Request-User": "admin",
    "X-Original-URL": "/v1/orphans",
    "X-Rewrite-URL": "/v1/orphans",
    "X-HTTP-Method-Override": "DELETE",
    "X-Method-Override": "DELETE",
    "Impersonate-User": "admin",
    "X-Roles": "operator",
}


def test_c10_t30_headers_that_other_servers_obey_are_ignored(server, me, manifest):
    refused(server.client.get("/v1/specs", headers=HEADERS_OF_PROXIES), 401)
    refused(me.get("/v1/orphans", headers=HEADERS_OF_PROXIES), 403)
    me.put("/v1/specs/kept", json=manifest("kept"), headers=HEADERS_OF_PROXIES)
    shown = me.get("/v1/specs/kept", headers=HEADERS_OF_PROXIES).json()
    assert shown["metadata"]["owner"]["sub"] == me.token
    assert "deletionTimestamp" not in shown["metadata"]


@pytest.mark.parametrize(
    "injected",
    [
        b"Bearer nobody\r\nX-User: admin",
        b"Bearer nobody\nX-User: admin",
        b"Bearer nobody\r\n Bearer user-operator-x",
        b"Bearer user-operator-x\0",
        b"Bearer nobody\r\nAuthorization: Bearer user-operator-x",
    ],
)
def test_t30_a_header_in_a_header_gets_nobody_in(server, injected):
    answer = raw(
        server.url,
        b"GET /v1/orphans HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: "
        + injected
        + b"\r\n\r\n",
    )
    assert answer[9:12] in {b"400", b"401"}


# Injection


def test_c21_what_callers_write_starts_no_log_line(server, me, manifest, caplog):
    caplog.set_level(logging.DEBUG)
    nasty = 'x\r\nlevel=error msg=forged \x1b[31m %s {"a": 1}'
    me.get("/v1/specs/" + quote(nasty, safe=""))
    me.get("/v1/specs", params={"labelSelector": nasty, "phase": nasty})
    me.post("/v1/specs", json=manifest("a", metadata={"labels": {nasty: nasty}}))
    server.client.get("/v1/specs", headers={"X-Request-ID": "a\tb"})
    lines = [JsonLines().format(record) for record in caplog.records]
    assert lines
    for line in lines:
        assert line.isprintable()
        assert json.loads(line)["message"] != "forged"


# Numbers


@pytest.mark.parametrize("key", ["cpu_num", "gpu_num", "ram", "disk"])
@pytest.mark.parametrize(
    "written",
    [
        *("-1", "true", '"5"', "1e308", "2147483648", "9223372036854775808", "9223372036854775807"),
        *("NaN", "Infinity", "-Infinity", "1e999", "9" * 5000, "null", "[]", "{}", "0.5", "1.01"),
    ],
)
def test_c24_a_number_that_is_none_is_refused(me, key, written):
    for path, body in (
        ("/v1/deployments", f'{{"hardware": {{"{key}": {written}}}}}'),
        (
            "/v1/specs",
            f'{{"metadata": {{"name": "n"}}, "spec": {{"hardware": {{"{key}": {written}}}}}}}',
        ),
    ):
        answer = me.post(path, content=body, headers={"Content-Type": "application/json"})
        refused(answer, 400, 422)


@pytest.mark.parametrize("value", ["-1", "1e3", "NaN", "99999999999999999999", "0x1", "", "\u0661"])
def test_c24_a_number_in_the_query_is_one(me, value):
    for path in ("/v1/specs?limit=", "/v1/events?after=", "/v1/specs?continue="):
        refused(me.get(path + quote(value)), 422)


# Exposure


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
)
def test_c44_no_form_of_another_site_changes_anything(server, me, manifest, kind):
    body = json.dumps(manifest("csrf")).encode()
    refused(me.post("/v1/specs", content=body, headers={"Content-Type": kind}), 415)
    # What a browser sends by itself is no token.
    cookie = {"Cookie": f"token={me.token}; Authorization=Bearer {me.token}"}
    refused(server.client.post("/v1/specs", json=manifest("csrf"), headers=cookie), 401)
    refused(me.get("/v1/specs/csrf"), 404)
    assert "set-cookie" not in server.client.get("/docs").headers


def test_c44_reading_changes_nothing(server, me, manifest):
    me.put("/v1/specs/still", json=manifest("still"))
    before = me.get("/v1/specs/still").json()
    for method in ("GET", "HEAD", "OPTIONS"):
        for operation_method, path in operations():
            if operation_method != "GET" or "wait" in path:
                continue
            given = path.replace("{name}", "still").replace("{deployment_uuid}", "x")
            me.request(method, given, params={"_method": "DELETE"})
            me.request(method, given)
    assert me.get("/v1/specs/still").json() == before


@pytest.mark.parametrize(
    "value",
    ["1e30", "10" * 20, "-1", "abc", "1; drop table specs", "${x}", "0x10"],
)
def test_c45_a_place_in_the_events_is_read_strictly(me, value):
    refused(me.get("/v1/events", params={"after": value}), 422)


def test_c45_events_of_others_stay_theirs_wherever_one_starts(me, someone_else, manifest):
    me.put("/v1/specs/seen", json=manifest("seen"))
    last = me.get("/v1/events").json()["items"][-1]
    for after in (0, 1, 10**17):
        told = someone_else.get("/v1/events", params={"after": after})
        assert told.json()["items"] == []
    assert "seen" not in someone_else.get("/v1/events").text
    assert last


@pytest.mark.parametrize(
    "selector",
    [
        '"x" or Meta.owner == "bob"',
        "a=b' or '1'='1",
        "a=(a+)+$",
        "a in (b,c)",
        "!a",
        "a!=b",
        "a=b; drop table specs",
        "%=%",
        "a=b,\x00=c",
        "\u202ea=b",
    ],
)
def test_c47_a_selector_is_a_list_of_equalities_and_nothing_else(
    me, someone_else, manifest, selector
):
    someone_else.post("/v1/specs", json=manifest("theirs", metadata={"labels": {"a": "b"}}))
    answer = me.get("/v1/specs", params={"labelSelector": selector})
    if answer.status_code == 200:
        assert answer.json()["items"] == []
    else:
        refused(answer, 422)


@pytest.mark.parametrize("tag", ['"1"', 'W/"1"', "1", '"x"', '"' + "9" * 40 + '"', '""', "?"])
def test_c48_a_stale_or_strange_tag_writes_nothing(me, manifest, tag):
    me.put("/v1/specs/older", json=manifest("older"))
    before = me.put("/v1/specs/tagged", json=manifest("tagged")).headers["etag"]
    assert tag != before
    changed = manifest("tagged", hardware={"ram": 9000})
    refused(me.put("/v1/specs/tagged", json=changed, headers={"If-Match": tag}), 412)
    patch = {"spec": {"hardware": {"ram": 9000}}}
    refused(me.patch("/v1/specs/tagged", json=patch, headers={"If-Match": tag}), 412)
    refused(me.delete("/v1/specs/tagged", headers={"If-Match": tag}), 412)
    assert me.get("/v1/specs/tagged").headers["etag"] == before


@pytest.mark.parametrize(
    "patch",
    [
        {"__proto__": {"operator": True}},
        {"spec": {"__proto__": {"x": 1}}},
        {"spec": {"__class__": "x"}},
        {"constructor": {"prototype": {}}},
        [{"op": "move", "from": "/spec/storage/rclone_password", "path": "/spec/general/title"}],
        [{"op": "copy", "from": "/spec/storage/rclone_password", "path": "/spec/general/desc"}],
    ],
)
def test_c48_a_patch_changes_what_the_model_has_and_nothing_else(me, manifest, patch):
    me.put("/v1/specs/patched", json=manifest("patched"))
    before = me.get("/v1/specs/patched").json()["spec"]
    refused(me.patch("/v1/specs/patched", json=patch), 422)
    assert me.get("/v1/specs/patched").json()["spec"] == before


def operations():
    """Every route that the application has, those that its document leaves out too."""
    for context in iter_route_contexts(routes().routes):
        for method in sorted(getattr(context, "methods", None) or ()):
            yield method, context.path


@pytest.mark.parametrize("path", ["/debug", "/admin", "/v1/admin", "/.env", "/pages/"])
def test_c50_what_is_not_served_is_not_there(server, path):
    refused(server.client.get(path), 404)


def test_c50_every_route_but_the_open_ones_wants_a_token(server):
    seen = set()
    for method, path in operations():
        if method == "HEAD":
            continue
        seen.add((method, path))
        filled = re.sub(r"\{[^}]+\}", "some-name", path)
        answer = server.client.request(method, filled, follow_redirects=False)
        if path.startswith(PAGE):
            is_login = (method, path) == ("GET", "/login")
            sent_away = answer.headers.get("location", "").startswith("/login")
            assert is_login or sent_away or answer.status_code in (400, 401, 403, 404, 415), path
        elif (method, path) in OPEN_ROUTES:
            assert answer.status_code in (200, 404), path
        else:
            refused(answer, 401)
    assert seen >= OPEN_ROUTES
    assert len(seen) >= 28


def test_c50_the_document_says_of_each_route_whether_it_wants_a_token():
    for path, methods in routes().openapi()["paths"].items():
        for method, operation in methods.items():
            wants = [scheme for scheme in operation.get("security", []) if scheme]
            optional = {} in operation.get("security", [])
            is_open = (method.upper(), path) in OPEN_ROUTES
            assert is_open == (not wants or optional), path
