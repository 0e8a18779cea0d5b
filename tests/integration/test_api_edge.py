"""What holds for every request: ids, limits, bodies, methods, tokens, headers."""

import json
import re
import socket
from dataclasses import replace
from urllib.parse import urlsplit

import httpx
import pytest

from api.app import create_app
from api.problems import Problem

OPEN = {
    "/metrics",  # for this machine and the networks of metrics.allow
    "/",
    "/v1",
    "/livez",
    "/readyz",
    "/v1/info/conf/{module_name}",
    "/v1/auth/config",
    "/v1/schema/deployment.json",
    "/v1/modules",
    "/v1/modules/summary",
    "/v1/modules/metadata/{module_name}",
}
"""Paths that are read without a token; everything else needs one."""

JSON = {"Content-Type": "application/json"}
MAX_BODY_BYTES = 100_000


def refused(answer, status):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = Problem.model_validate_json(answer.content)
    assert problem.status == status
    assert problem.requestId == answer.headers["x-request-id"]
    return problem


def operations(server):
    document = server.client.get("/openapi.json").json()
    return [
        (method.upper(), path) for path, methods in document["paths"].items() for method in methods
    ]


def filled(path):
    return re.sub(r"\{[a-z_]+\}", "some-name", path)


def test_every_route_but_the_open_ones_wants_a_token(server):
    for method, path in operations(server):
        answer = server.client.request(method, filled(path))
        if method == "GET" and path in OPEN:
            assert answer.status_code == (404 if "metadata" in path else 200), path
        else:
            refused(answer, 401)
            assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Basic dXNlcjpw", "user-one-x", "Bearer a b", "Bearer nobody", "Token user-x"],
)
@pytest.mark.parametrize("path", ["/v1/specs", "/v1/specs/a/status", "/v1/deployments"])
def test_what_is_no_valid_token_gets_nowhere(server, header, path):
    problem = refused(server.client.get(path, headers={"Authorization": header}), 401)
    assert "user-x" not in problem.model_dump_json()


def test_a_token_elsewhere_than_in_the_header_is_not_read(server):
    for options in (
        {"params": {"access_token": "user-one-x"}},
        {"headers": {"Cookie": "token=user-one-x"}},
        {"headers": {"X-Remote-User": "user-one-x"}},
    ):
        assert server.client.get("/v1/deployments", **options).status_code == 401


def test_two_tokens_are_none(server):
    headers = [("Authorization", "Bearer user-one-a"), ("Authorization", "Bearer user-one-b")]
    refused(server.client.get("/v1/specs", headers=headers), 401)


def test_the_scheme_may_be_written_small(server):
    headers = {"Authorization": "bearer user-one-x"}
    assert server.client.get("/v1/specs", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "path", ["/nothing", "/v1/nothing", "/v1/specs/a/b/c", "//v1/specs", "/v1/specs//"]
)
def test_an_unknown_route_is_a_problem(me, path):
    assert refused(me.get(path), 404).reason == "NoSuchRoute"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/v1/specs/a", "GET, HEAD, PUT, PATCH, DELETE"),
        ("DELETE", "/v1/specs/", "GET, HEAD, POST"),
        ("PUT", "/v1/deployments/a", "GET, HEAD, DELETE"),
        ("POST", "/livez", "GET, HEAD"),
        ("OPTIONS", "/v1/specs", "GET, HEAD, POST"),
        ("TRACE", "/v1/specs", "GET, HEAD, POST"),
    ],
)
def test_a_wrong_method_is_told_the_right_one(me, method, path, allowed):
    answer = me.request(method, path)
    assert refused(answer, 405).reason == "MethodNotAllowed"
    assert answer.headers["allow"] == allowed


@pytest.mark.parametrize("path", ["/v1/specs", "/v1/deployments", "/v1"])
def test_a_collection_answers_with_and_without_the_slash(me, path):
    plain, slashed = me.get(path), me.get(path + "/")
    assert (
        (slashed.status_code, slashed.content) == (plain.status_code, plain.content) != (404, b"")
    )
    assert slashed.status_code == 200


def test_a_post_with_the_slash_is_no_redirect(me, manifest):
    assert me.post("/v1/specs/", json=manifest()).status_code == 201
    assert me.post("/v1/deployments/", json={}).status_code == 200


def test_head_is_get_without_the_body(me):
    answer = me.request("HEAD", "/v1/specs")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == me.get("/v1/specs").headers["content-length"]
    assert me.request("HEAD", "/nothing").status_code == 404


@pytest.mark.parametrize("given", ["abc", "a.b-c_d:1", "0" * 64])
def test_a_request_keeps_its_id(server, given):
    assert (
        server.client.get("/v1", headers={"X-Request-ID": given}).headers["x-request-id"] == given
    )
    problem = refused(server.client.get("/nothing", headers={"X-Request-ID": given}), 404)
    assert problem.requestId == given


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, 'a"b', "<script>", "é".encode(), "a\tb"])
def test_a_strange_request_id_is_replaced(server, given):
    made = server.client.get("/v1", headers={"X-Request-ID": given}).headers["x-request-id"]
    assert re.fullmatch("[0-9a-f]{32}", made)


def test_every_request_has_an_id_of_its_own(server):
    ids = {server.client.get("/v1").headers["x-request-id"] for _ in range(3)}
    assert len(ids) == 3


@pytest.mark.parametrize("path", ["/", "/v1/specs", "/nothing", "/livez"])
def test_every_answer_is_closed_to_browsers_tricks(server, path):
    headers = server.client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("path", ["/v1/specs", "/v1/deployments"])
@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"{", 400),
        (b"not json", 400),
        (b"\xff\xfe", 400),
        (b"metadata: {name: a}", 400),
        (b'{"spec": {}, "spec": {}}', 400),
        (b"[" * 50_000, 400),
        (b'{"a":' * 15_000, 400),
        (b"NaN", 422),
        (b'{"x": 1e999}', 422),
        (b'{"x": ' + b"9" * 5000 + b"}", 422),
        (b'{"x": "\\ud800"}', 422),
        (b'{"\\ud800": 1}', 422),
        (b'{"' + b"k" * 50_000 + b'": 1}', 422),
        (b"[]", 422),
        (b"null", 422),
        (b'"text"', 422),
    ],
)
def test_a_bad_body_is_refused_and_never_breaks_the_server(me, path, raw, status):
    answer = me.post(path, content=raw, headers=JSON)
    problem = refused(answer, status)
    assert len(answer.content) < 10_000
    assert problem.detail


@pytest.mark.parametrize(
    "kind",
    [
        "application/yaml",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-16",
        "application/jsonx",
        "",
    ],
)
def test_a_body_of_another_kind_is_not_read(me, kind):
    answer = me.post("/v1/specs", content=b'{"metadata": {}}', headers={"Content-Type": kind})
    assert refused(answer, 415).reason == "UnsupportedMediaType"


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON", "application/json; charset=UTF-8"]
)
def test_json_is_read_however_it_is_written(me, manifest, kind):
    raw = json.dumps(manifest()).encode()
    answer = me.post("/v1/specs", content=raw, headers={"Content-Type": kind})
    assert answer.status_code == 201


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("path", ["/v1/specs", "/v1/deployments"])
def test_a_huge_body_is_refused_with_and_without_its_length(me, path, chunked):
    raw = b'{"x": "' + b"a" * 10_000_000 + b'"}'
    content = (raw[i : i + 65536] for i in range(0, len(raw), 65536)) if chunked else raw
    try:
        answer = me.post(path, content=content, headers=JSON)
    except (httpx.WriteError, httpx.RemoteProtocolError):
        return  # the server hung up in the middle of the flood: as good
    assert refused(answer, 413).reason == "BodyTooLarge"


@pytest.mark.parametrize("chunked", [False, True])
def test_the_limit_itself_is_allowed(me, chunked):
    raw = b'{"' + b"k" * (MAX_BODY_BYTES - 7) + b'":1}'
    assert len(raw) == MAX_BODY_BYTES - 1
    for size, status in ((1, 422), (2, 413)):
        content = raw + b" " * size
        parts = iter([content[:70_000], content[70_000:]])
        answer = me.post("/v1/specs", content=parts if chunked else content, headers=JSON)
        assert answer.status_code == status


def test_the_next_request_works_after_a_refused_flood(server, me, manifest):
    host, port = urlsplit(server.url).hostname, urlsplit(server.url).port
    with socket.create_connection((host, port), timeout=10) as plug:
        plug.sendall(
            b"POST /v1/specs HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer user-one-flood\r\n"
            b"Content-Type: application/json\r\nContent-Length: 10000000\r\n\r\n"
        )
        assert b" 413 " in plug.recv(65536)
    assert me.post("/v1/specs", json=manifest()).status_code == 201


def test_a_crash_is_a_problem_without_its_words(me, server, monkeypatch, caplog):
    def broken(*_, **__):
        raise RuntimeError("hunter2")

    monkeypatch.setattr(type(server.store), "page", broken)
    answer = me.get("/v1/specs", headers={"X-Request-ID": "crash-1"})
    problem = refused(answer, 500)
    assert (problem.reason, problem.requestId) == ("InternalError", "crash-1")
    assert "hunter2" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
    records = [r for r in caplog.records if r.message == "request failed"]
    assert [r.request_id for r in records] == ["crash-1"]
    assert me.token not in caplog.text


def test_local_mode_answers_on_loopback_only(server, serve):
    services = replace(server.app.state.services, local_only=True)
    with serve(create_app(services), host="0.0.0.0") as url:
        assert httpx.get(f"{url}/livez", trust_env=False).status_code == 200
        far = url.replace("127.0.0.1", _own_address())
        answer = httpx.get(f"{far}/livez", trust_env=False)
        assert refused(answer, 403).reason == "NotLocal"


def _own_address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: asks the routing table
        except OSError:
            pytest.skip("this machine has no address but loopback")
        return str(probe.getsockname()[0])
