"""What a caller may send: rates, sizes, time, other origins; and what is put on record."""

import ipaddress
import logging
import socket
import ssl
import threading
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from api.app import create_app
from api.auth import NotAuthenticated
from api.connection import PatientConnection
from api.limits import LimitRules
from api.login import LoginView
from api.problems import Problem

ORIGIN = "https://dashboard.ai4eosc.eu"
HEADER_BYTES = 32_768


@pytest.fixture
def open_server(server, serve):
    """Serve the same store with other rules; give a client."""

    @contextmanager
    def opened(*, options=None, **services):
        app = create_app(replace(server.app.state.services, **services))
        with (
            serve(app, **options or {}) as url,
            httpx.Client(base_url=url, trust_env=False, timeout=20) as client,
        ):
            client.changes = app.state.changes
            yield client

    return opened


def as_user(name):
    return {"Authorization": f"Bearer user-one-{name}"}


def refused(answer, status, reason):
    assert answer.status_code == status, answer.text
    problem = Problem.model_validate_json(answer.content)
    assert problem.reason == reason
    return problem


def denials(caplog):
    return [r for r in caplog.records if r.message == "request denied"]


def test_c30_one_users_flood_is_refused_and_hinders_nobody_else(open_server, manifest):
    with open_server(limits=LimitRules(user_writes=3)) as client:
        for number in range(3):
            answer = client.post(
                "/v1/specs", json=manifest(f"flood-{number}"), headers=as_user("flood")
            )
            assert answer.status_code == 201
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            path = "/v1/specs" if method == "POST" else "/v1/specs/flood-0"
            answer = client.request(method, path, json=manifest("x"), headers=as_user("flood"))
            refused(answer, 429, "TooManyRequests")
            assert 1 <= int(answer.headers["retry-after"]) <= 20
        assert client.get("/v1/specs/flood-0", headers=as_user("flood")).status_code == 200
        other = client.post("/v1/specs", json=manifest("mine"), headers=as_user("calm"))
        assert other.status_code == 201


def test_every_route_counts_the_status_and_the_form_included(open_server):
    paths = ("/v1/specs", "/v1/specs/a/status", "/v1/info/conf/a", "/v1/deployments")
    for path in paths:
        with open_server(limits=LimitRules(user_requests=2)) as client:
            asked = [client.get(path, headers=as_user("often")).status_code for _ in range(3)]
            assert asked[:2] == [asked[0]] * 2 != [429] * 2
            assert asked[2] == 429


def test_a_good_token_is_never_refused_for_its_neighbours(open_server):
    with open_server(limits=LimitRules(address_failures=3)) as client:
        bad = {"Authorization": "Bearer nobody"}
        asked = [client.get("/v1/specs", headers=bad).status_code for _ in range(6)]
        assert asked == [401, 401, 401, 429, 429, 429]
        answer = client.get("/v1/specs/a/status")
        refused(answer, 429, "TooManyRequests")
        assert int(answer.headers["retry-after"]) == 20
        for path in ("/v1/specs", "/v1/auth/config", "/livez"):
            assert client.get(path, headers=as_user("good")).status_code == 200


def test_a_good_token_that_is_new_is_let_in_too(open_server, server):
    class Slow:
        """Knows nobody before it has looked."""

        def known(self, token):
            return None

        def __call__(self, token):
            user = server.app.state.services.auth.known(token)
            if user is None:
                raise NotAuthenticated("the token is nobody's")
            return user

    with open_server(limits=LimitRules(address_failures=1), auth=Slow()) as client:
        bad = {"Authorization": "Bearer nobody"}
        assert [client.get("/v1/specs", headers=bad).status_code for _ in range(2)] == [401, 429]
        assert client.get("/v1/specs", headers=as_user("new")).status_code == 200


def test_c45_a_user_has_so_many_places_to_wait(open_server, manifest):
    with open_server(limits=LimitRules(user_waits=1)) as client:
        client.put("/v1/specs/idle", json=manifest("idle"), headers=as_user("idle"))
        etag = client.get("/v1/specs/idle", headers=as_user("idle")).headers["etag"]
        path = "/v1/specs/idle/status?wait=60s"
        headers = as_user("idle") | {"If-None-Match": etag}
        answers = []
        waiter = threading.Thread(
            target=lambda: answers.append(client.get(path, headers=headers, timeout=70))
        )
        waiter.start()
        try:
            assert client.changes._wanted.wait(10)
            answer = client.get("/v1/specs/idle/status?wait=1s", headers=headers)
            refused(answer, 429, "TooManyRequests")
            assert answer.headers["retry-after"] == "5"
            looked = client.post("/v1/specs/idle/reconcile?wait=1s", headers=as_user("idle"))
            refused(looked, 429, "TooManyRequests")
            assert client.get("/v1/specs/idle/status", headers=as_user("idle")).status_code == 200
        finally:
            client.delete("/v1/specs/idle", headers=as_user("idle"))
            waiter.join(20)
        assert [a.status_code for a in answers] == [200]
        status = client.get("/v1/specs/idle/status?wait=1s", headers=as_user("idle"))
        assert status.status_code == 200


def test_every_denial_is_on_record_and_nothing_that_the_caller_wrote(open_server, caplog):
    caplog.set_level(logging.INFO)
    with open_server(limits=LimitRules(address_failures=2, user_requests=2)) as client:
        secret = {"Authorization": "Bearer s3cret-t0ken", "X-Request-ID": "denied-1"}
        client.get("/v1/specs/hostile%0aname?vo=hunter2", headers=secret)
        client.get("/v1/orphans", headers=as_user("plain"))
        client.get("/v1/specs", headers=as_user("plain"))
        client.get("/v1/specs", headers=as_user("plain"))
        client.get("/v1/specs/x", headers=as_user("other"))
    first, second, third = denials(caplog)
    assert (
        first.__dict__.items()
        >= {
            "request_id": "denied-1",
            "method": "GET",
            "operation": "readSpec",
            "address": "127.0.0.1",
            "status": 401,
            "reason": "NotAuthenticated",
            "issuer": None,
        }.items()
    )
    told = [(r.status, r.reason, r.issuer, r.operation) for r in (second, third)]
    assert told == [
        (403, "Forbidden", "https://op", "listOrphans"),
        (429, "TooManyRequests", "https://op", "listSpecs"),
    ]
    assert second.subject_digest == third.subject_digest != ""
    whole = "".join(str(r.__dict__) for r in denials(caplog))
    for text in ("s3cret", "hostile", "hunter2", "user-one-plain"):
        assert text not in whole


def exchange(url, raw, *, parts=1):
    """Send bytes as they are, in so many pieces; return all that comes back."""
    host, port = urlsplit(url).hostname, urlsplit(url).port
    with socket.create_connection((host, port), timeout=10) as plug:
        size = -(-len(raw) // parts)
        answer = b""
        try:
            for at in range(0, len(raw), size):
                plug.sendall(raw[at : at + size])
            while chunk := plug.recv(65536):
                answer += chunk
        except ConnectionError:
            pass  # the server hung up
        return answer


def head(token, *, extra=""):
    return (
        f"GET /v1/specs HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
        f"Authorization: Bearer {token}\r\n{extra}\r\n"
    ).encode()


@pytest.mark.parametrize("parts", [1, 5])
@pytest.mark.parametrize(
    ("size", "statuses"),
    [
        (8_000, {b"200"}),
        (17_000, {b"401"}),
        (40_000, {b"431"}),
        (70_000, {b"431", b"400", b""}),
        (1_000_000, {b"431", b"400", b""}),
    ],
)
def test_t22_a_long_token_is_read_refused_or_hung_up_on(open_server, size, parts, statuses):
    options = {
        "http": PatientConnection,
        "h11_max_incomplete_event_size": 2 * HEADER_BYTES,
    }
    with open_server(options=options, max_header_bytes=HEADER_BYTES) as client:
        url = str(client.base_url)
        answer = exchange(url, head("user-one-" + "x" * size), parts=parts)
        assert answer[9:12] in statuses, answer[:200]
        assert exchange(url, head("user-one-next"))[9:12] == b"200"


def test_a_long_address_and_many_headers_are_refused(open_server):
    with open_server(max_header_bytes=8192) as client:
        long = client.get("/v1/specs", params={"labelSelector": "x" * 9000}, headers=as_user("x"))
        refused(long, 431, "HeadersTooLarge")
        many = client.get("/v1", headers=[(f"X-{n}", "y" * 80) for n in range(110)])
        assert "8192" in refused(many, 431, "HeadersTooLarge").detail
        assert "strict-transport-security" not in many.headers
        assert client.get("/v1").status_code == 200


def test_a_body_that_trickles_is_given_up_and_hung_up_on(open_server):
    with open_server(body_s=0.3) as client:
        raw = (
            b"POST /v1/specs HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer user-one-slow\r\n"
            b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        )
        answer = exchange(str(client.base_url), raw)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"BodyTooSlow" in answer
        assert b"connection: close" in answer.lower()


def test_headers_that_trickle_are_hung_up_on(open_server):
    class Impatient(PatientConnection):
        head_s = 0.3

    with open_server(options={"http": Impatient}) as client:
        url = str(client.base_url)
        assert exchange(url, b"G") == b""
        assert exchange(url, b"GET /v1 HTTP/1.1\r\nHost:") == b""
        # After a whole request, the next one has its own time.
        begun = exchange(url, b"GET /v1 HTTP/1.1\r\nHost: a\r\n\r\nGET /v1 HT")
        assert begun.count(b"HTTP/1.1 200") == 1


def test_a_wait_is_not_cut_off_by_the_deadlines(open_server, manifest):
    class Impatient(PatientConnection):
        head_s = 0.2

    with open_server(options={"http": Impatient}, body_s=0.2) as client:
        client.put("/v1/specs/w", json=manifest("w"), headers=as_user("wait"))
        answer = client.post("/v1/specs/w/reconcile?wait=1s", headers=as_user("wait"))
        assert answer.status_code == 202


@pytest.fixture
def cors(open_server):
    with open_server(cors=(ORIGIN, "http://localhost:3000"), limits=LimitRules()) as client:
        yield client


def preflight(client, origin, method="PUT", headers="authorization, content-type, if-match"):
    asked = {"Origin": origin, "Access-Control-Request-Method": method}
    return client.options(
        "/v1/specs/a", headers=asked | {"Access-Control-Request-Headers": headers}
    )


def test_c42_a_listed_origin_may_ask_and_read_refusals_too(cors):
    allowed = preflight(cors, ORIGIN)
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == ORIGIN
    assert "PUT" in allowed.headers["access-control-allow-methods"]
    assert allowed.headers["x-content-type-options"] == "nosniff"
    for path, status in (("/v1", 200), ("/v1/specs", 401), ("/nothing", 404)):
        answer = cors.get(path, headers={"Origin": ORIGIN})
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "Retry-After" in answer.headers["access-control-expose-headers"]
    # What the outermost layer refuses, too.
    big = {"Origin": ORIGIN, "X-Big": "x" * 40_000}
    answer = cors.get("/v1", headers=big)
    refused(answer, 431, "HeadersTooLarge")
    assert answer.headers["access-control-allow-origin"] == ORIGIN


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "*",
        "https://evil-dashboard.ai4eosc.eu",
        "https://dashboard.ai4eosc.eu.evil.org",
        "https://evildashboard.ai4eosc.eu",
        "http://dashboard.ai4eosc.eu",
        "https://dashboard.ai4eosc.eu:444",
        "https://DASHBOARD.ai4eosc.eu",
        "https://dashboard.ai4eosc.eu/",
        "http://localhost:3001",
    ],
)
def test_c42_every_other_origin_gets_no_leave(cors, origin):
    for answer in (preflight(cors, origin), cors.get("/v1", headers={"Origin": origin})):
        assert "access-control-allow-origin" not in answer.headers
        assert "access-control-allow-credentials" not in answer.headers


def test_c42_credentials_are_never_allowed_and_without_a_list_nobody_is(cors, server):
    answers = [preflight(cors, ORIGIN), cors.get("/v1", headers={"Origin": ORIGIN})]
    assert all("access-control-allow-credentials" not in a.headers for a in answers)
    answer = preflight(server.client, ORIGIN)
    assert answer.status_code == 405
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("path", ["/v1", "/nothing", "/docs", "/pages/swagger-ui/swagger-ui.css"])
def test_every_answer_keeps_others_from_loading_it(server, path):
    headers = server.client.get(path).headers
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["x-content-type-options"] == "nosniff"
    assert ("permissions-policy" in headers) == (path == "/docs")
    assert "strict-transport-security" not in headers


def test_over_tls_browsers_are_told_to_stay_with_it(server, serve, tmp_path):
    key, certificate = a_certificate(tmp_path)
    app = create_app(server.app.state.services)
    trusted = ssl.create_default_context(cafile=certificate)
    with serve(app, ssl_keyfile=key, ssl_certfile=certificate) as url:
        address = url.replace("http://", "https://")
        for path in ("/v1", "/v1/specs", "/docs"):
            answer = httpx.get(address + path, verify=trusted, trust_env=False)
            assert answer.headers["strict-transport-security"] == "max-age=31536000"


def a_certificate(folder):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(pem, *private))
    (folder / "cert.pem").write_bytes(certificate.public_bytes(pem))
    return folder / "key.pem", folder / "cert.pem"


def test_how_to_log_in_is_told_to_everybody(open_server):
    login = LoginView(
        mode="oidc",
        issuers=("https://op",),
        vos=("vo.a",),
        scopes=("openid",),
        client_id="a-public-client",
    )
    with open_server(login=login) as client:
        told = client.get("/v1/auth/config")
        assert told.status_code == 200
        assert told.json() == {
            "mode": "oidc",
            "issuers": ["https://op"],
            "vos": ["vo.a"],
            "scopes": ["openid"],
            "clientID": "a-public-client",
        }
        assert client.get("/v1/auth/config?x=1").status_code == 422
