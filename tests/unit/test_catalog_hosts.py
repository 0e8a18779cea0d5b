"""C20, SSRF: whom the catalogue may ask, and at which addresses."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.catalog.hosts import Hosts, Refused, checked_host, is_public

HOSTS = Hosts(["git.example.org", "intra.example.org:8080", "10.0.0.5", "[fd00::5]:3000"])


@pytest.mark.parametrize(
    ("url", "scheme", "port", "inside"),
    [
        ("https://git.example.org/a", "https", 443, False),
        ("https://GIT.example.org:443/a", "https", 443, False),
        ("http://intra.example.org:8080/a?b=c", "http", 8080, True),
        ("https://intra.example.org:8080/", "https", 8080, True),
        ("https://10.0.0.5/", "https", 443, True),
        ("http://[fd00::5]:3000/x", "http", 3000, True),
    ],
)
def test_a_named_host_is_asked_as_it_is_named(url, scheme, port, inside):
    target = HOSTS.target(url)
    assert (target.scheme, target.port, target.inside) == (scheme, port, inside)


@pytest.mark.parametrize(
    "url",
    [
        "http://git.example.org/a",
        "https://git.example.org:8443/a",
        "https://git.example.org.evil.net/a",
        "https://evil.net/git.example.org",
        "https://git.example.org@evil.net/",
        "https://user:secret@git.example.org/",
        "https://evil.net\\@git.example.org/",
        "https://evil.net#@git.example.org/",
        "https://git.example.org./a",
        "https://intra.example.org/",
        "http://intra.example.org:8081/",
        "http://10.0.0.5/",
        "http://127.0.0.1:4646/v1/agent/self",
        "http://169.254.169.254/latest/meta-data/",
        "http://2130706433/",
        "http://[::1]:4646/",
        "https://git.example.org:99999/",
        "https://[::1",
        "https://git.example.org/a b",
        "https://git.example.org/\r\nHost: evil",
        "https://git.exämple.org/",
        "file:///etc/passwd",
        "ftp://git.example.org/",
        "gopher://git.example.org:70/_",
        "//git.example.org/",
        "https:///a",
        "",
        "https://git.example.org/" + "a" * 3000,
    ],
)
def test_nobody_else_is_asked(url):
    with pytest.raises(Refused) as refused:
        HOSTS.target(url)
    assert "secret" not in str(refused.value)


@given(st.text(max_size=60), st.sampled_from(["https://", "http://", "https://git.example.org"]))
def test_whatever_stands_there_is_a_target_or_refused(text, start):
    try:
        target = HOSTS.target(start + text)
    except Refused:
        return
    assert target.host in {"git.example.org", "intra.example.org", "10.0.0.5", "fd00::5"}
    assert target.path.isascii()
    assert not any(character.isspace() for character in target.path)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1"),
        *("0.0.0.0", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1"),
        *("::", "::1", "fe80::1", "fc00::1", "fd12::1", "fec0::1", "ff02::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe"),
        *("2002:7f00:1::1", "2002:a00:1::1", "::127.0.0.1"),
    ],
)
def test_an_address_within_a_network_is_not_public(address):
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    ["140.82.121.3", "1.1.1.1", "2606:50c0:8000::154", "::ffff:1.1.1.1", "64:ff9b::101:101"],
)
def test_an_address_of_the_internet_is_public(address):
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    "text", ["https://a.org", "a.org/", "a.org:0", "a.org:70000", "", "*", "ä"]
)
def test_what_is_no_host_is_refused(text):
    with pytest.raises(ValueError, match="is no host"):
        checked_host(text)
