"""Sessions in cookies: sealed, named for their host, and good for one purpose."""

import pytest
from fastapi import Request, Response

from api.auth.code_flow import Pending
from api.dashboard.session import LoginUnderWay, Sessions
from api.dashboard.visitor import local_path

KEYS = ["a" * 43 + "=", "b" * 43 + "="]


def request(scheme="http", cookies=()):
    header = "; ".join(f"{name}={value}" for name, value in cookies)
    scope = {"type": "http", "scheme": scheme, "path": "/", "query_string": b"", "method": "GET"}
    headers = [(b"host", b"papi.example"), (b"cookie", header.encode())]
    return Request(scope | {"headers": headers, "server": ("papi.example", 80)})


def cookies_of(response):
    found = [value for name, value in response.raw_headers if name == b"set-cookie"]
    return [tuple(cookie.decode().partition(";")[0].split("=", 1)) for cookie in found]


def begun(sessions, token="t0ken", scheme="http"):
    response = Response()
    sessions.begin(response, request(scheme), token, expires_at=sessions.now() + 60)
    return response


@pytest.fixture
def sessions():
    return Sessions(KEYS, now=lambda: 1000.0)


def test_over_tls_the_cookie_is_secure_and_of_this_host_alone(sessions):
    (header,) = [
        v.decode() for n, v in begun(sessions, scheme="https").raw_headers if n == b"set-cookie"
    ]
    assert header.startswith("__Host-ai4papi-session-0=")
    parts = {part.strip() for part in header.split(";")}
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=lax"} <= parts
    assert not any(part.startswith("Domain") for part in parts)


def test_another_process_with_the_same_keys_reads_it(sessions):
    kept = cookies_of(begun(sessions))
    assert Sessions(KEYS, now=lambda: 1000.0).read(request(cookies=kept)).token == "t0ken"
    turned = Sessions(KEYS[::-1], now=lambda: 1000.0)
    assert turned.read(request(cookies=kept)).token == "t0ken"
    assert Sessions(KEYS[1:], now=lambda: 1000.0).read(request(cookies=kept)) is None
    assert Sessions([], now=lambda: 1000.0).read(request(cookies=kept)) is None


def test_a_session_has_its_end(sessions):
    kept = cookies_of(begun(sessions))
    assert Sessions(KEYS, now=lambda: 1061.0).read(request(cookies=kept)) is None


def test_the_cookie_tells_nothing(sessions):
    assert "t0ken" not in str(begun(sessions).raw_headers)


def test_a_login_under_way_is_no_session(sessions):
    response = Response()
    login = LoginUnderWay(Pending("i", "s", "n", "v", 0.0), "/")
    sessions.begin_login(response, request(), login, lives_s=60)
    kept = cookies_of(response)
    assert sessions.read_login(request(cookies=kept)) == login
    renamed = [(name.replace("login", "session"), value) for name, value in kept]
    assert sessions.read(request(cookies=renamed)) is None


@pytest.mark.parametrize("value", ["", "x", "1~", "1~x", "0~x", "7~x", "-1~x", "1~ü", "²~x"])
def test_what_is_no_session_is_none(sessions, value):
    assert sessions.read(request(cookies=[("ai4papi-session-0", value)])) is None


def test_a_long_token_comes_back_whole_and_not_in_part(sessions):
    kept = cookies_of(begun(sessions, "x" * 16_000))
    assert len(kept) == 6
    assert sessions.read(request(cookies=kept)).token == "x" * 16_000
    assert sessions.read(request(cookies=kept[:-1])) is None


@pytest.mark.parametrize("path", ["/", "/ui/nodes", "/ui/d/vo/a?owner=x%23y", "/?a=b&c=d"])
def test_a_path_of_ours_is_gone_back_to(path):
    assert local_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "x",
        "//x",
        "/\\x",
        "\\x",
        "http://x",
        "javascript:x",
        "/\nx",
        "/ x",
        "/\tx",
        "///x",
        "/ü",
    ],
)
def test_no_other_is(path):
    assert local_path(path) == "/"
