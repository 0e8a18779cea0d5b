"""C20, SSRF: the guarded GET against a server that means it ill."""

import socket
import ssl
import time
from ipaddress import ip_address

import pytest

from reconciler.catalog import http as module
from reconciler.catalog.hosts import Hosts, Refused
from reconciler.catalog.http import Http, Unreachable
from specs.authorities import trust
from specs.timed import Deadline
from tests.catalog_server import (
    CatalogServer,
    bomb,
    breaks_off,
    fails,
    hangs,
    is_no_http,
    says,
    sends_to,
    trickles,
)
from tests.provider import KEYS, Provider, Trap

CONTEXT = ssl.create_default_context()


@pytest.fixture
def server():
    with CatalogServer() as server:
        yield server


def ask(server, path, *, hosts=(), within_s=30.0, resolve=module.resolved, etag="", token=""):
    with Http(Hosts([server.host, *hosts]), CONTEXT, resolve=resolve) as http:
        return http.get(server.origin + path, Deadline(within_s), etag=etag, token=token)


def test_what_is_there_is_read_and_asked_for_again_only_where_it_changed(server):
    server.files["/a"] = lambda handler: handler.document(b"one")
    first = ask(server, "/a")
    assert (first.status, first.body) == (200, b"one")
    assert ask(server, "/a", etag=first.headers["etag"]).status == 304
    assert ask(server, "/missing").status == 404


def test_nothing_is_sent_but_what_is_needed(server, monkeypatch):
    """No proxy, .netrc or cookie of the environment gets into what is asked."""
    with Trap() as trap:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{trap.port}")
        server.files["/a"] = lambda h: h.answer(200, b"{}", Set_Cookie="a=b")
        with Http(Hosts([server.host]), CONTEXT) as http:
            for _ in range(2):
                http.get(server.origin + "/a", Deadline(30))
        assert not trap.caught
    for headers in server.headers:
        assert set(headers) == {"Host", "User-Agent", "Accept", "Accept-Encoding"}


def test_a_connection_serves_many_questions_and_one_that_was_closed_is_made_anew(server):
    def closes(handler):
        handler.answer(200, b"last")
        handler.close_connection = True

    clients = []
    server.files["/a"] = lambda h: (clients.append(h.client_address), h.answer(200, b"a"))
    server.files["/close"] = closes
    with Http(Hosts([server.host]), CONTEXT) as http:
        for path in ("/a", "/a", "/close", "/a"):
            assert http.get(server.origin + path, Deadline(30)).status == 200
    assert clients[0] == clients[1] != clients[2]


def test_few_redirects_are_followed_and_each_is_checked(server):
    for step in range(5):
        server.files[f"/{step}"] = sends_to(f"/{step + 1}")
    server.files["/5"] = b"there"
    answer = ask(server, "/0")
    assert (answer.body, answer.url) == (b"there", server.origin + "/5")
    server.files["/5"] = sends_to("/6")
    with pytest.raises(Refused, match="more than 5 times"):
        ask(server, "/0")


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("{path}", "in a circle"),
        ("http://169.254.169.254/latest/meta-data/", "not among exchange.hosts"),
        ("http://10.0.0.1/", "not among exchange.hosts"),
        ("http://localhost:4646/v1/jobs", "not among exchange.hosts"),
        ("//127.0.0.1:4646/v1/jobs", "not among exchange.hosts"),
        ("file:///etc/passwd", "only https is asked"),
        ("https://user:secret@git.example.org/", "user or password"),
        ("https://[::1", "no address"),
        ("", "not told where to"),
    ],
)
def test_nobody_is_led_into_our_network(server, location, said):
    server.files["/a"] = sends_to(location)
    with pytest.raises(Refused, match=said) as refused:
        ask(server, "/a")
    assert "secret" not in str(refused.value)


def test_a_redirect_to_another_port_of_this_machine_is_refused(server):
    with Trap() as trap:
        server.files["/a"] = sends_to(f"http://127.0.0.1:{trap.port}/")
        with pytest.raises(Refused):
            ask(server, "/a")
        assert not trap.caught


def test_a_token_stays_with_the_host_that_it_is_for(server):
    with CatalogServer() as other:
        server.files["/a"] = sends_to(other.origin + "/b")
        other.files["/b"] = b"b"
        assert ask(server, "/a", hosts=[other.host], token="t0ken").body == b"b"
        assert server.headers[-1]["Authorization"] == "Bearer t0ken"
        assert "Authorization" not in other.headers[-1]


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fe80::1"])
def test_a_public_name_at_an_address_within_is_refused(server, address):
    http = Http(Hosts(["git.example.org"]), CONTEXT, resolve=lambda *_: [ip_address(address)])
    with pytest.raises(Refused, match="no public address"):
        http.get("https://git.example.org/a", Deadline(30))


def test_one_address_within_spoils_all_of_a_name(server):
    both = [ip_address("140.82.121.3"), ip_address("127.0.0.1")]
    http = Http(Hosts(["git.example.org"]), CONTEXT, resolve=lambda *_: both)
    with pytest.raises(Refused, match=r"at 127\.0\.0\.1"):
        http.get("https://git.example.org/a", Deadline(30))


def test_what_was_checked_is_what_is_connected_to(monkeypatch):
    """DNS rebinding: the name is asked for once, and nobody asks again behind our back."""
    answers = [[ip_address("140.82.121.3")], [ip_address("127.0.0.1")]]
    connected = []

    def connect(address, timeout):
        connected.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", connect)
    http = Http(Hosts(["git.example.org"]), CONTEXT, resolve=lambda *_: answers.pop(0))
    with pytest.raises(Unreachable):
        http.get("https://git.example.org/a", Deadline(30))
    assert connected == [("140.82.121.3", 443)]


def test_an_address_that_is_dead_leaves_the_next_one(server):
    with socket.create_server(("127.0.0.2", 0)) as free:
        free.listen()
    found = [ip_address("127.0.0.2"), ip_address("127.0.0.1")]
    server.files["/a"] = b"a"
    assert ask(server, "/a", resolve=lambda *_: found).body == b"a"


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (bomb, "more than 1,000,000 bytes"),
        (says(b"x" * 2_000_000), "more than 1,000,000 bytes"),
        (lambda h: h.answer(200, b"no gzip", Content_Encoding="gzip"), "can't be unpacked"),
        (lambda h: h.answer(200, b"x", Content_Encoding="br"), "which nobody asked for"),
    ],
)
def test_what_can_not_be_taken_is_refused(server, fault, said):
    server.files["/a"] = fault
    with pytest.raises(Refused, match=said):
        ask(server, "/a")


@pytest.mark.parametrize("fault", [breaks_off, is_no_http, lambda h: setattr(h, "x", 1)])
def test_half_an_answer_is_none(server, fault):
    def broken(handler):
        fault(handler)
        handler.close_connection = True

    server.files["/a"] = broken
    with pytest.raises(Unreachable):
        ask(server, "/a")


@pytest.mark.parametrize("fault", [hangs, trickles])
def test_whoever_is_slow_is_left_at_the_deadline(server, fault):
    server.files["/a"] = fault
    begun = time.monotonic()
    with pytest.raises(Unreachable, match="took too long"):
        ask(server, "/a", within_s=0.3)
    assert time.monotonic() - begun < 5


def test_nobody_there_is_told_without_the_systems_words(server):
    with Trap() as trap:
        port = trap.port
    with pytest.raises(Unreachable, match=f"127.0.0.1:{port} can't be asked: Connection"):
        Http(Hosts([f"127.0.0.1:{port}"]), CONTEXT).get(f"http://127.0.0.1:{port}/", Deadline(30))

    def unknown(*_):
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(Unreachable, match=r"'git.example.org' is not found"):
        Http(Hosts(["git.example.org"]), CONTEXT, resolve=unknown).get(
            "https://git.example.org/", Deadline(30)
        )


def test_a_failing_status_is_an_answer(server):
    server.files["/a"] = fails(500)
    assert ask(server, "/a").status == 500


def test_certificates_are_checked(tmp_path):
    with Provider(tmp_path) as provider:
        hosts = Hosts([provider.origin.removeprefix("https://")])
        with pytest.raises(Unreachable, match="is not trusted"):
            Http(hosts, trust({})).get(provider.origin + KEYS, Deadline(30))
        trusting = trust({"SSL_CERT_FILE": str(provider.ca_file)})
        with Http(hosts, trusting) as http:
            assert http.get(provider.origin + KEYS, Deadline(30)).status == 200
