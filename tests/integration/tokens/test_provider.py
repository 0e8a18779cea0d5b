"""A provider that is slow, down, broken or hostile, and what its users see. T15, T23-T29, T34."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from api.auth import InvalidToken
from api.auth import provider as asked
from api.routers import requests
from tests.integration.tokens.conftest import PATH, refused
from tests.provider import (
    DISCOVERY,
    KEYS,
    MEMBER,
    NOW,
    REALM,
    USERINFO,
    Provider,
    Trap,
    answers,
    drops,
    floods,
    hangs,
    redirects,
    rsa_key,
    trickles,
    waits_for,
)

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n"
FAULTS = {
    "not found": answers(404),
    "broken": answers(500, b"<html>"),
    "busy": answers(429),
    "empty": answers(200),
    "html": answers(200, b"<html></html>"),
    "list": answers(200, b"[]"),
    "deep": answers(200, b"[" * 100_000),
    "twice": answers(200, b'{"sub": "x", "sub": "alice"}'),
    "signed": answers(200, b"eyJh.e30.AAAA"),
    "garbage": lambda handler: handler.wfile.write(b"\x00\xff" * 500),
    "short": lambda handler: handler.wfile.write(HEAD + b"\r\n{"),
    "drops": drops,
    "floods": floods,
    "hangs": hangs,
    "slow head": trickles(b""),
    "slow header": trickles(HEAD + b"X: "),
    "slow body": trickles(HEAD + b"\r\n"),
    "endless chunks": trickles(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n"),
    "continues": lambda handler: handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 50),
}


def unavailable(answer) -> bool:
    """Whether the answer says that the provider is to blame, and when to come back."""
    assert answer.status_code == 503
    assert answer.json()["reason"] == "ProviderUnavailable"
    assert int(answer.headers["retry-after"]) > 0
    assert "www-authenticate" not in answer.headers
    return True


@pytest.mark.parametrize("path", [DISCOVERY, KEYS, USERINFO])
@pytest.mark.parametrize("fault", FAULTS)
def test_t15_t27_trouble_of_a_provider_is_503_and_is_forgotten_when_it_is_over(site, path, fault):
    site.restart(patience_s=0.4)
    token = site.provider.mint()
    site.provider.faults[path] = FAULTS[fault]
    answer = site.get(token)
    assert unavailable(answer)
    assert answer.elapsed.total_seconds() < 5
    del site.provider.faults[path]
    # A whole answer takes less than this on any machine.
    site.door.inner._patience_s = 20.0
    assert site.status(token) == 200


@pytest.mark.parametrize("path", [DISCOVERY, KEYS, USERINFO])
def test_t15_nobody_is_asked_where_a_provider_sends_us(site, path):
    with Trap() as trap:
        for status in ("http", "https"):
            site.provider.faults[path] = redirects(
                f"{status}://127.0.0.1:{trap.port}/v1/agent/self"
            )
            site.restart()
            assert unavailable(site.get(site.provider.mint()))
        assert not trap.caught


@pytest.mark.parametrize("name", ["jwks_uri", "userinfo_endpoint"])
def test_t15_addresses_of_another_host_are_not_asked(site, name):
    with Trap() as trap:
        for url in (
            f"https://127.0.0.1:{trap.port}/keys",
            f"http://127.0.0.1:{trap.port}/keys",
            f"{site.provider.origin}@127.0.0.1:{trap.port}/keys",
            site.provider.origin.replace("https", "http") + KEYS,
            site.provider.origin.replace("127.0.0.1", "localhost") + KEYS,
            "https://127.0.0.1:99999/",
            "https://[::1",
            "file:///etc/passwd",
            "/keys",
            site.provider.origin + KEYS + " HTTP/1.1\r\nX: y",
            None,
            5,
            [],
        ):
            site.provider.discovery = {name: url}
            site.restart()
            assert unavailable(site.get(site.provider.mint()))
        assert not trap.caught


@pytest.mark.parametrize("issuer", ["https://evil.example.org", None, ["x"]])
def test_t15_a_provider_that_calls_itself_another_is_not_believed(site, issuer):
    site.provider.discovery = {"issuer": issuer}
    assert unavailable(site.get(site.provider.mint()))


def test_t15_a_provider_with_a_strange_certificate_is_not_asked(site, tmp_path):
    with Provider(tmp_path) as stranger:
        site.restart(issuers=(stranger.issuer,))
        assert unavailable(site.get(stranger.mint()))
        assert stranger.calls.total() == 0


def test_t13_one_subject_at_two_providers_is_two_owners(site, tmp_path, monkeypatch):
    with Provider(tmp_path) as second:
        both = tmp_path / "both.pem"
        both.write_bytes(second.ca_file.read_bytes() + site.provider.ca_file.read_bytes())
        monkeypatch.setattr(site.provider, "ca_file", both)
        site.restart(issuers=(second.issuer,))
        mine = {"Authorization": f"Bearer {site.provider.mint('t13')}"}
        theirs = {"Authorization": f"Bearer {second.mint('t13')}"}
        body = {"metadata": {"name": "t13"}, "spec": {}}
        assert site.client.put(f"{PATH}/t13", json=body, headers=mine).status_code == 201
        assert site.client.get(f"{PATH}/t13", headers=mine).status_code == 200
        assert site.client.get(f"{PATH}/t13", headers=theirs).status_code == 404
        assert site.client.get(PATH, headers=theirs).json()["items"] == []


def test_a_token_of_one_provider_is_not_checked_with_the_keys_of_another(
    site, tmp_path, monkeypatch
):
    with Provider(tmp_path) as second:
        both = tmp_path / "both.pem"
        both.write_bytes(second.ca_file.read_bytes() + site.provider.ca_file.read_bytes())
        monkeypatch.setattr(site.provider, "ca_file", both)
        site.restart(issuers=(second.issuer,))
        second.published = {"key-2": rsa_key("key-2")}
        signed_there = {"header": {"kid": "key-2"}, "key": rsa_key("key-2")}
        stolen = second.mint(iss=site.provider.issuer, **signed_there)
        assert refused(site.get(stolen))
        assert second.calls.total() == 0


def test_t17_userinfo_that_tells_of_another_is_not_believed(site):
    token = site.provider.mint("alice", userinfo={})
    for sub in ("bob", "Alice", "alice ", None, ["alice"], 5):
        site.provider.log_in(token, {"sub": sub, "eduperson_entitlement": [MEMBER]})
        assert refused(site.get(token))


@pytest.mark.parametrize("status", [401, 403])
def test_t23_a_token_that_its_provider_does_not_know_is_refused(site, status):
    site.provider.faults[USERINFO] = answers(status, b"{}")
    assert refused(site.get(site.provider.mint()))


def test_t23_logging_out_is_seen_within_a_minute(site):
    token = site.provider.mint()
    assert site.status(token) == 200
    site.provider.log_out(token)
    site.clock.advance(59)
    assert site.status(token) == 200
    site.clock.advance(1)
    assert refused(site.get(token))
    site.restart()
    assert refused(site.get(token))


def test_t24_losing_the_vo_is_seen_within_a_minute(site):
    # The token itself goes on saying that its user is a member.
    token = site.provider.mint(eduperson_entitlement=[MEMBER])
    assert site.status(token) == 200
    site.provider.people[token] = {"sub": "alice"}
    site.clock.advance(60)
    assert site.status(token) == 403


def test_t24_what_the_token_says_counts_where_the_site_wants_it(site):
    site.restart(entitlements={"from_token": True})
    token = site.provider.mint(eduperson_entitlement=[MEMBER], userinfo={})
    assert site.status(token) == 200
    site.provider.people[token] = {"sub": "alice", "eduperson_entitlement": []}
    site.clock.advance(60)
    assert site.status(token) == 403


def test_t26_a_new_key_is_found_and_an_old_one_counts_five_minutes_at_most(site):
    assert site.status(site.provider.mint()) == 200
    site.provider.published = {"key-2": rsa_key("key-2")}
    site.clock.advance(31)
    new = {"header": {"kid": "key-2"}, "key": rsa_key("key-2")}
    assert site.status(site.provider.mint(**new)) == 200
    assert site.provider.calls[KEYS] == 2
    assert refused(site.get(site.provider.mint()))


def test_t26_a_key_that_was_withdrawn_counts_until_the_keys_are_asked_for_again(site):
    assert site.status(site.provider.mint()) == 200
    site.provider.published = {}
    site.clock.advance(299)
    token = site.provider.mint(exp=NOW + 3600)
    assert site.status(token) == 200
    site.clock.advance(61)
    assert refused(site.get(token))


def test_t28_who_is_known_stays_in_for_the_minute_while_the_provider_is_down(site):
    token = site.provider.mint()
    assert site.status(token) == 200
    for path in (DISCOVERY, KEYS, USERINFO):
        site.provider.faults[path] = drops
    site.clock.advance(59)
    assert site.status(token) == 200
    site.clock.advance(1)
    assert unavailable(site.get(token))
    site.provider.faults.clear()
    assert site.status(token) == 200


def test_t29_fifty_first_uses_at_once_ask_once(site):
    go = threading.Event()
    site.provider.faults[USERINFO] = waits_for(go)
    token = site.provider.mint()
    with ThreadPoolExecutor(50) as pool:
        asks = [pool.submit(site.status, token) for _ in range(50)]
        go.set()
        assert {ask.result() for ask in asks} == {200}
    assert site.provider.calls == {DISCOVERY: 1, KEYS: 1, USERINFO: 1}


def test_t29_a_failure_is_shared_and_not_kept(site):
    go = threading.Event()

    def fails(handler):
        go.wait(20)
        drops(handler)

    site.provider.faults[USERINFO] = fails
    token = site.provider.mint()
    with ThreadPoolExecutor(20) as pool:
        asks = [pool.submit(site.get, token) for _ in range(20)]
        go.set()
        assert all(unavailable(ask.result()) for ask in asks)
    site.provider.faults.clear()
    assert site.status(token) == 200


def test_t29_two_thousand_tokens_of_garbage_ask_nobody(site):
    good = site.provider.mint()
    for number in range(2000):
        with pytest.raises(InvalidToken):
            site.door(f"{good[:40]}{number}.e30.AAAA")
    for number in range(50):
        assert refused(site.get(f"{good.rsplit('.', 1)[0]}.AAAA{number:04}"))
    assert site.provider.calls[USERINFO] == 0
    assert site.provider.calls[KEYS] == 1


def test_t29_after_1100_expired_tokens_new_users_come_in(site):
    for number in range(1100):
        user = site.door(site.provider.mint(f"user-{number}", exp=NOW + 60))
        assert user.owner.sub == f"user-{number}"
    site.clock.advance(120)
    assert all(site.status(site.provider.mint(f"new-{n}", iat=NOW + 120)) == 200 for n in range(10))


def test_f6_while_a_provider_hangs_everybody_else_is_served(site):
    site.restart(patience_s=60.0)
    warm = site.provider.mint("warm")
    assert site.status(warm) == 200
    go = threading.Event()
    site.provider.faults[USERINFO] = waits_for(go)
    site.provider.calls.clear()
    # More newcomers than the server has threads of any kind.
    newcomers = [site.provider.mint(f"new-{number}") for number in range(64)]
    with ThreadPoolExecutor(64) as pool:
        asks = [pool.submit(site.get, token, timeout=60) for token in newcomers]
        try:
            while site.provider.calls[USERINFO] < asked.CONVERSATIONS:
                assert site.client.get("/livez").status_code == 200
            served = [site.client.get("/livez"), site.get(warm), site.get(warm, "/v1/deployments")]
            assert [answer.status_code for answer in served] == [200] * 3
            assert not any(ask.done() for ask in asks)
            assert site.provider.calls[USERINFO] == asked.CONVERSATIONS
        finally:
            go.set()
        assert {ask.result().status_code for ask in asks} == {200}


def test_f6_who_comes_when_too_many_wait_is_told_to_come_back(site, monkeypatch):
    monkeypatch.setattr(requests, "MAX_LOGINS_WAITING", 0)
    assert unavailable(site.get(site.provider.mint()))
    assert site.provider.calls.total() == 0


def test_t15_no_more_than_a_megabyte_is_taken(site):
    site.restart(patience_s=60.0)
    site.provider.faults[USERINFO] = floods
    assert unavailable(site.get(site.provider.mint()))
    assert site.provider.flooded < 50_000_000


def test_t29_who_comes_just_after_the_first_asks_nobody(site):
    token = site.provider.mint()
    assert site.door(token) is site.door(token)
    assert site.provider.calls[USERINFO] == 1


def test_t34_an_operator_is_told_what_is_wrong_and_no_more(site, caplog):
    site.provider.faults[USERINFO] = answers(500, b"Bearer eyJhbGciOi")
    with caplog.at_level(logging.WARNING, "api.auth.provider"):
        assert unavailable(site.get(site.provider.mint()))
    (record,) = [r for r in caplog.records if r.name == "api.auth.provider"]
    assert record.message == "identity provider in trouble"
    assert (record.issuer, record.asked_for) == (site.provider.issuer, "userinfo")
    assert record.reason == "it answered 500"


@pytest.mark.parametrize(
    ("roles", "sees"),
    [({"operator": ["vm_operator"]}, 403), ({"operator": ["member"]}, 200), ({}, 403)],
)
def test_an_operator_of_every_vo_may_see_orphans(site, roles, sees):
    both = [MEMBER, MEMBER.replace("vo.ai4eosc.eu", "vo.imagine-ai.eu")]
    site.restart(roles=roles)
    token = site.provider.mint(userinfo={"eduperson_entitlement": both})
    assert site.get(token, "/v1/orphans").status_code == sees


def test_a_person_is_operator_by_name(site):
    person = {"iss": site.provider.issuer, "sub": "olga"}
    site.restart(roles={"operator": [person]})
    assert site.get(site.provider.mint("olga", userinfo={}), "/v1/orphans").status_code == 200
    assert site.get(site.provider.mint("igor", userinfo={}), "/v1/orphans").status_code == 403


def test_realm_roles_count_where_they_are_switched_on(site):
    held = {"realm_access": {"roles": ["access:vo.ai4eosc.eu:ap-u", "offline_access"]}}
    assert site.status(site.provider.mint(userinfo={}, **held)) == 403
    site.restart(realm_roles={"claim": "realm_access.roles"})
    assert site.status(site.provider.mint(userinfo={}, **held)) == 200
    for role in ("access:vo.ai4eosc.eu:ap-x", "access:vo.other:ap-u", "xaccess:vo.ai4eosc.eu:ap-u"):
        other = {"realm_access": {"roles": [role]}}
        assert site.status(site.provider.mint(userinfo={}, **other)) == 403
    for odd in (None, [], "roles", {"roles": None}, {"roles": {"a": 1}}):
        assert site.status(site.provider.mint(userinfo={}, realm_access=odd)) == 403


def test_the_realm_of_the_tests_is_that_of_egi():
    assert REALM == "/auth/realms/egi"


def test_r31_a_provider_and_a_nomad_that_are_both_down_are_told_apart(site, told):
    """Nothing asks for a restart; who is known goes on, who is not is told which of them it is."""
    known, new = site.provider.mint(), site.provider.mint(sub="bob@egi.eu")
    assert site.status(known) == 200
    for path in (DISCOVERY, KEYS, USERINFO):
        site.provider.faults[path] = FAULTS["busy"]
    told["ready"] = False
    assert site.client.get("/livez").status_code == 200
    ready = site.client.get("/readyz")
    assert (ready.status_code, ready.json()["detail"]) == (503, "the cluster is not in sight")
    assert unavailable(site.get(new))
    assert site.status(known) == 200
    told["ready"] = True
    assert site.client.get("/readyz").status_code == 200
    site.provider.faults.clear()
    assert site.status(new) == 200
