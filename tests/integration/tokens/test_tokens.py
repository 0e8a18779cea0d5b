"""Tokens that somebody might send. Each test names the rows that it covers: T1, T2, …"""

import base64
import hmac
import json
import socket
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import serialization

from tests.integration.tokens.conftest import PATH, refused
from tests.provider import (
    KEYS,
    MEMBER,
    NOW,
    USERINFO,
    Trap,
    base64url,
    ec_key,
    ed_key,
    encoded,
    jwk,
    rsa_key,
    signed,
)

INVALID = 'Bearer error="invalid_token"'


def unsigned(site, algorithm: str, **header: Any) -> str:
    token = site.provider.mint(header={"alg": algorithm, **header})
    site.provider.log_out(token)
    return token


def test_a_member_comes_in(site):
    assert site.status(site.provider.mint()) == 200
    assert site.provider.calls.total() == 3


@pytest.mark.parametrize(
    ("headers", "challenge"),
    [
        ([], "Bearer"),
        ([""], "Bearer"),
        (["Basic dTpw"], "Bearer"),
        (["Bearer"], "Bearer"),
        (["Bearer {token}", "Bearer {token}"], INVALID),
        (["Bearer {token},Bearer {token}"], INVALID),
        (["Bearer {token} {token}"], INVALID),
    ],
)
def test_t1_what_is_not_one_token_is_refused(site, headers, challenge):
    token = site.provider.mint()
    sent = [("Authorization", text.format(token=token)) for text in headers]
    answer = site.client.get(PATH, headers=sent)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, challenge)
    assert site.provider.calls.total() == 0


def test_t1_a_token_elsewhere_is_not_read(site):
    token = site.provider.mint()
    site.sent.append(token)
    cookies = {"Cookie": f"access_token={token}; Authorization=Bearer {token}"}
    assert site.client.get(PATH, headers=cookies).status_code == 401
    assert site.client.get(PATH, params={"access_token": token}).status_code == 401


@pytest.mark.parametrize("path", [PATH, "/v1/deployments", "/v1/events", "/v1/orphans"])
@pytest.mark.parametrize("scheme", ["bearer ", "BEARER ", "Bearer  "])
def test_t2_the_scheme_is_read_in_any_case_on_every_route(site, path, scheme):
    token = site.provider.mint()
    answer = site.get(token, path, headers={"Authorization": scheme + token})
    # /v1/orphans is for operators: this user is known, and may not.
    assert answer.status_code in (200, 403)


@pytest.mark.parametrize("algorithm", ["none", "None", "nOnE"])
@pytest.mark.parametrize("without", [(), ("kid",)])
@pytest.mark.parametrize("signature", ["", "AAAA"])
def test_t3_an_unsigned_token_is_refused(site, algorithm, without, signature):
    token = site.provider.mint(header={"alg": algorithm}, without=without) + signature
    assert refused(site.get(token))
    assert site.provider.calls.total() == 0


def test_t4_a_wrong_key_is_refused(site):
    assert refused(site.get(site.provider.mint(key=rsa_key("mallory"))))


def test_t4_a_flood_of_unknown_key_names_asks_once_in_30_s(site):
    for number in range(20):
        kid = {"kid": f"unknown-{number}"}
        assert refused(site.get(site.provider.mint(header=kid, key=rsa_key("mallory"))))
    assert site.provider.calls[KEYS] == 1
    site.clock.advance(31)
    for number in range(20):
        kid = {"kid": f"unknown-{number}"}
        assert refused(site.get(site.provider.mint(header=kid, key=rsa_key("mallory"))))
    assert (site.provider.calls[KEYS], site.provider.calls[USERINFO]) == (2, 0)


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
@pytest.mark.parametrize("form", ["pem", "der", "jwk"])
@pytest.mark.parametrize("without", [(), ("kid",)])
def test_t5_the_public_key_is_no_shared_secret(site, algorithm, form, without):
    public = rsa_key("key-1").public_key()
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    secret = {
        "pem": public.public_bytes(serialization.Encoding.PEM, kind),
        "der": public.public_bytes(serialization.Encoding.DER, kind),
        "jwk": json.dumps(jwk(("key-1", rsa_key("key-1")))).encode(),
    }[form]
    text = unsigned(site, "none").rsplit(".", 1)[0].split(".")[1]
    header = {k: v for k, v in {"alg": algorithm, "kid": "key-1"}.items() if k not in without}
    text = f"{encoded(header)}.{text}"
    digest = hmac.digest(secret, text.encode(), f"sha{algorithm[2:]}")
    token = f"{text}.{base64url(digest)}"
    assert refused(site.get(site.provider.log_in(token, {"sub": "alice"})))
    assert site.provider.calls.total() == 0


def test_t6_keys_that_a_token_points_at_are_never_fetched(site):
    mallory = rsa_key("mallory")
    with Trap() as trap:
        url = f"https://127.0.0.1:{trap.port}/keys"
        for header in (
            {"jku": url},
            {"x5u": url},
            {"jku": url, "kid": "mallory"},
            {"jwk": jwk(("key-1", mallory))},
            {"x5c": ["MIIB"]},
        ):
            assert refused(site.get(site.provider.mint(header=header, key=mallory)))
        assert not trap.caught


@pytest.mark.parametrize(
    "kid",
    ["../../etc/passwd", "' OR 1=1 --", "x" * 257, "x" * 10_000, "", ["key-1"], 1, None, {}, "é"],
)
def test_t6_a_strange_key_name_is_refused(site, kid):
    assert refused(site.get(site.provider.mint(header={"kid": kid})))
    assert site.provider.calls[USERINFO] == 0


@pytest.mark.parametrize(
    "header",
    [
        {"crit": ["x"]},
        {"crit": []},
        {"b64": False},
        {"zip": "DEF"},
        {"typ": "logout+jwt"},
        {"typ": "dpop+jwt"},
        {"typ": 5},
        {"cty": "JWT", "typ": "JOSE"},
    ],
)
def test_t7_a_header_that_asks_for_more_is_refused(site, header):
    assert refused(site.get(site.provider.mint(header=header)))
    assert site.provider.calls.total() == 0


def test_t7_what_is_no_compact_token_is_refused(site):
    good = site.provider.mint()
    head, body, signature = good.split(".")
    for text in (
        f"{good}.AA.AA",
        f"{head}.{body}",
        f"{head}.{body}.",
        f"{head}..{signature}",
        f"{head}=.{body}.{signature}",
        f"{head}.{body}.{signature}==",
        f"{encoded([1])}.{body}.{signature}",
        f"{head}.{encoded('text')}.{signature}",
        f"{base64url(b'[' * 5000)}.{body}.{signature}",
        f"{base64url(b'{')}.{body}.{signature}",
        base64url(json.dumps({"payload": body, "signature": signature}).encode()),
        base64.b64encode(b"\xfb\xff\xfe" * 9).decode() + f".{body}.{signature}",
        signed({"alg": "RS256", "kid": "key-1", "cty": "JWT"}, good, rsa_key("key-1")),
    ):
        assert refused(site.get(text))
    assert site.provider.calls.total() == 0
    assert site.status(good) == 200


def test_t7_one_token_has_one_text(site):
    good = site.provider.mint()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    # The last character of 256 bytes carries four bits too many.
    twin = good[:-1] + alphabet[alphabet.index(good[-1]) ^ 1]
    site.provider.log_in(twin, {"sub": "alice", "eduperson_entitlement": [MEMBER]})
    assert refused(site.get(twin))
    assert site.provider.calls.total() == 0


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": NOW - 1},
        {"exp": NOW},
        {"nbf": NOW + 3600},
        {"iat": NOW + 3600, "exp": NOW + 3900},
        {"exp": NOW + 86_402},
        {"exp": 1e308},
        {"exp": float("inf")},
        {"exp": 10**400},
        {"exp": "tomorrow"},
        {"exp": str(int(NOW) + 60)},
        {"exp": True},
        {"exp": None},
        {"iat": [1]},
        {"nbf": "soon"},
        {"nbf": None},
    ],
)
def test_t8_t9_a_token_out_of_its_time_is_refused(site, claims):
    assert refused(site.get(site.provider.mint(**claims)))
    assert site.provider.calls.total() == 0


def test_t8_a_token_expires_while_it_is_known(site):
    token = site.provider.mint(exp=NOW + 10)
    assert site.status(token) == 200
    site.clock.advance(9)
    assert site.status(token) == 200
    site.clock.advance(1)
    assert refused(site.get(token))


@pytest.mark.parametrize("claims", [{"nbf": NOW + 30}, {"iat": NOW + 30}, {"iat": NOW - 86_000}])
def test_t9_a_clock_that_is_a_little_ahead_is_forgiven(site, claims):
    assert site.status(site.provider.mint(**claims)) == 200


@pytest.mark.parametrize("name", ["exp", "iat", "sub", "iss", "alg", "kid"])
def test_t9_t11_t14_a_token_without_what_it_needs_is_refused(site, name):
    assert refused(site.get(site.provider.mint(without=(name,))))
    assert site.provider.calls.total() == 0


@pytest.mark.parametrize(
    "sub",
    ["", 5, ["alice"], {}, None, True, "x" * 256, "x" * 10_000]
    + [f"al{char}ice" for char in "\n\0\t\x7f\x85\u202e\u200b\u2028\ufeff\ud800"],
)
def test_t11_a_subject_that_is_none_is_refused(site, sub):
    assert refused(site.get(site.provider.mint(sub)))
    assert site.provider.calls.total() == 0


@pytest.mark.parametrize(
    "sub",
    [
        *("*", "${attr.unique.hostname}", "../x", '" or ""="', "alice ", " alice", "ALICE"),
        *("al ice", "e\u0301", "\u00e9", "a/b?c#d", "<script>", "x" * 255, "user@example.org"),
    ],
)
def test_t12_an_odd_subject_is_that_exact_subject_and_owns_nothing_of_alices(site, sub):
    name = f"t12-{abs(hash(sub)) % 10**9}"
    body = {"metadata": {"name": name}, "spec": {}}
    alice = {"Authorization": f"Bearer {site.provider.mint()}"}
    site.client.put(
        f"{PATH}/{name}-a", json=body | {"metadata": {"name": f"{name}-a"}}, headers=alice
    )
    odd = {"Authorization": f"Bearer {site.provider.mint(sub)}"}
    made = site.client.put(f"{PATH}/{name}", json=body, headers=odd)
    assert made.status_code == 201
    assert made.json()["metadata"]["owner"]["sub"] == sub
    uid = made.json()["metadata"]["uid"]
    assert len(uid) == 36
    assert sub.strip("*") == "" or sub not in uid
    listed = site.client.get(PATH, headers=odd).json()["items"]
    assert [item["metadata"]["name"] for item in listed] == [name]
    assert site.client.get(f"{PATH}/{name}-a", headers=odd).status_code == 404


def test_t14_nothing_is_opened_for_an_issuer_that_is_not_trusted(site):
    issuer = site.provider.issuer
    with Trap() as trap:
        here = f"https://127.0.0.1:{trap.port}/auth/realms/egi"
        for iss in (
            here,
            here.replace("https", "http"),
            f"127.0.0.1:{trap.port}",
            issuer + "/",
            issuer.replace("https", "http"),
            issuer.replace("/egi", "/other"),
            issuer.replace("/egi", "/EGI"),
            issuer.upper(),
            issuer + "/..",
            issuer + "/../egi",
            issuer + " ",
            issuer + "#",
            issuer.replace("https://", "https://user@"),
            issuer.replace("https://", f"https://127.0.0.1:{trap.port}@"),
            issuer.replace("127.0.0.1", "127.1"),
            issuer.replace("a", "\u0430"),
            [issuer],
            [issuer, here],
            {issuer: 1},
            5,
            None,
            "",
        ):
            assert refused(site.get(site.provider.mint(iss=iss)))
        assert not trap.caught
    assert site.provider.calls.total() == 0


@pytest.mark.parametrize(
    ("audience", "claims", "status"),
    [
        (None, {"aud": "another"}, 200),
        ("papi", {"aud": "another"}, 200),  # azp is papi
        ("api", {"aud": "another"}, 401),
        ("api", {"aud": "api"}, 200),
        (["x", "api"], {"aud": ["other", "api"]}, 200),
        ("api", {"aud": [["api"], {"api": 1}, None, 5]}, 401),
        ("api", {"aud": {"api": 1}}, 401),
        ("api", {"aud": "api ", "azp": ["api"]}, 401),
    ],
)
def test_t16_the_audience_is_asked_for_where_one_is_set(site, audience, claims, status):
    site.restart(audience=audience)
    assert site.status(site.provider.mint(**claims)) == status


@pytest.mark.parametrize(
    "claims",
    [
        {"typ": "ID"},
        {"typ": "Refresh"},
        {"typ": "Offline"},
        {"typ": "Logout"},
        {"typ": ["Bearer"]},
        {"at_hash": "x"},
        {"c_hash": "x"},
        {"events": {"http://schemas.openid.net/event/backchannel-logout": {}}},
        {"cnf": {"jkt": "x"}},
        {"cnf": None},
    ],
)
def test_t17_what_is_no_bearer_access_token_is_refused(site, claims):
    assert refused(site.get(site.provider.mint(**claims)))
    assert site.provider.calls.total() == 0


def test_t17_a_nonce_makes_an_id_token_unless_the_token_says_what_it_is(site):
    assert refused(site.get(site.provider.mint(nonce="n", without=("typ",))))
    assert site.status(site.provider.mint(nonce="n")) == 200


def test_t17_a_service_account_has_no_entitlement(site):
    assert site.status(site.provider.mint("service-account-x", userinfo={})) == 403


@pytest.mark.parametrize("value", [None, {}, "text", 5, [], [None, 5, {}, [MEMBER]], True])
def test_t18_who_has_no_entitlement_is_told_so(site, value):
    answer = site.get(site.provider.mint(userinfo={"eduperson_entitlement": value}))
    assert (answer.status_code, answer.json()["reason"]) == (403, "Forbidden")
    assert answer.headers["www-authenticate"] == 'Bearer error="insufficient_scope"'


def test_t18_an_entitlement_alone_needs_no_list(site):
    assert site.status(site.provider.mint(userinfo={"eduperson_entitlement": MEMBER})) == 200


def test_t19_a_foreign_vo_is_like_one_that_does_not_exist(site):
    other = MEMBER.replace("vo.ai4eosc.eu", "vo.other.eu")
    assert site.status(site.provider.mint(userinfo={"eduperson_entitlement": [other]})) == 403
    token = site.provider.mint()
    told = [
        site.get(token, PATH, params={"vo": vo}) for vo in ("vo.imagine-ai.eu", "vo.nowhere.eu")
    ]
    assert {answer.status_code for answer in told} <= {200, 403, 404}
    foreign, unknown = ({**answer.json(), "requestId": ""} for answer in told)
    assert json.dumps(foreign).replace("vo.imagine-ai.eu", "vo.nowhere.eu") == json.dumps(unknown)
    twice = site.get(token, f"{PATH}?vo=vo.ai4eosc.eu&vo=vo.imagine-ai.eu")
    assert twice.status_code == 422


SPOOFED = [
    "urn:mace:egi.eu:group:vo.ai4eosc.eu:role=member#evil.org",
    "urn:mace:egi.eu:group:vo.ai4eosc.eu:role=member",
    "urn:mace:egi.eu:evil:group:vo.ai4eosc.eu:role=member#aai.egi.eu",
    "urn:mace:egi.eu:user:mallory:group:vo.ai4eosc.eu:role=member#aai.egi.eu",
    "urn:geant:evil.org:group:vo.ai4eosc.eu:role=member#aai.egi.eu",
    "urn:mace:egi.eu:group:vo.other.eu:group:vo.ai4eosc.eu:role=member#aai.egi.eu",
    "urn:mace:egi.eu:res:group:vo.ai4eosc.eu:act:ppa#aai.egi.eu",
    "urn:mace:egi.eu:group:vo.ai4eosc.eu:sub:role=member#aai.egi.eu",
    "urn:mace:egi.eu:group:vo.ai4eosc.eu#aai.egi.eu",
    "urn:mace:egi.eu:group:vo.ai4eosc.eu.evil.org:role=member#aai.egi.eu",
    "urn:mace:egi.eu:group:xvo.ai4eosc.eu:role=member#aai.egi.eu",
    "urn:mace:egi.eu:group:VO.ai4eosc.eu:role=member#aai.egi.eu",
    "urn:mace:egi.eu:group:vo.ai4eosc.eu:role=owner#aai.egi.eu",
    "urn:mace:egi.eu:group:vo.ai4eosc.eu:role=member:role=member#aai.egi.eu",
    "urn:mace:egi.eu:group:vo.ai4eosc.eu:role=member#aai.egi.eu#aai.egi.eu",
    "urn:mace:egi.eu:group:vo.ai4eosc.eu:role=member?=x#aai.egi.eu",
    "urn:mace:egi.eu:group:vo%2Eai4eosc.eu:role=member#aai.egi.eu",
    MEMBER + "\nurn:x",
    MEMBER + "\n",
    " " + MEMBER,
    MEMBER.upper(),
    "access:vo.ai4eosc.eu:ap-u",
]


@pytest.mark.parametrize("value", SPOOFED)
def test_t20_a_spoofed_entitlement_gives_nothing(site, value):
    assert site.status(site.provider.mint(userinfo={"eduperson_entitlement": [value]})) == 403


@pytest.mark.parametrize(
    "values",
    [
        [MEMBER] * 10_000,
        ["urn:mace:egi.eu:" + "group:" * 100_000],
        ["urn:mace:egi.eu:group:" + "a" * 900_000],
    ],
)
def test_t21_a_flood_of_entitlements_gives_nothing(site, values):
    assert site.status(site.provider.mint(userinfo={"eduperson_entitlement": values})) in (403, 503)


def test_t22_a_large_token_is_taken_and_a_huge_one_is_not(site):
    assert site.status(site.provider.mint(padding="x" * 5_900)) == 200
    assert site.status(site.provider.mint(padding="x" * 12_700)) == 401
    big = site.provider.mint(padding="x" * 50_000)
    assert site.status(big) in (401, 431)
    huge = site.provider.mint(padding="x" * 750_000)
    try:
        answer = site.client.get(PATH, headers={"Authorization": f"Bearer {huge}"})
        assert answer.status_code in (400, 401, 431)
    except httpx.TransportError:
        pass  # the server closed the connection
    assert site.status(site.provider.mint()) == 200


def test_t26_keys_of_every_taken_kind_verify_and_each_only_its_own_algorithm(site):
    kinds = {
        "RS512": rsa_key("key-1"),
        "PS256": rsa_key("key-1"),
        "ES256": ec_key("SECP256R1"),
        "ES384": ec_key("SECP384R1"),
        "ES512": ec_key("SECP521R1"),
        "EdDSA": ed_key(),
    }
    site.provider.published |= {
        name: key for name, key in kinds.items() if name[:2] in ("ES", "Ed")
    }
    for name, key in kinds.items():
        kid = name if name in site.provider.published else "key-1"
        header = {"alg": name, "kid": kid}
        assert site.status(site.provider.mint(header=header, key=key)) == 200
        assert (
            site.status(site.provider.mint(header=header | {"alg": "RS256"}, key=rsa_key("m")))
            == 401
        )


def test_t26_a_key_that_is_too_short_or_for_something_else_verifies_nothing(site):
    short, other = rsa_key("short", 1024), rsa_key("other")
    site.provider.published["short"] = short
    site.provider.jwks_extra = [
        jwk(("enc", other)) | {"use": "enc"},
        jwk(("ops", other)) | {"key_ops": ["encrypt"]},
        jwk(("alg", other)) | {"alg": "RS512"},
        {"kty": "oct", "kid": "oct", "k": base64url(b"x" * 32)},
        {"kid": "empty"},
        {"kty": "RSA", "kid": "bad", "n": 5, "e": []},
        "text",
        None,
    ]
    for kid, key in {"short": short, "enc": other, "ops": other, "alg": other}.items():
        assert refused(site.get(site.provider.mint(header={"kid": kid}, key=key)))
    assert site.status(site.provider.mint(header={"kid": "alg", "alg": "RS512"}, key=other)) == 200


@pytest.mark.parametrize(
    "name",
    ["X-Forwarded-User", "X-Remote-User", "X-Original-URL", "X-HTTP-Method-Override", "X-User"],
)
def test_t30_headers_that_name_a_user_are_not_read(site, name):
    assert site.client.get(PATH, headers={name: "admin"}).status_code == 401
    answer = site.get(site.provider.mint(), "/v1/orphans", headers={name: "admin"})
    assert answer.status_code == 403


def test_t30_a_header_can_not_be_put_into_another(site):
    address = (site.client.base_url.host, site.client.base_url.port)
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(
            b"GET /v1/specs HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b"Authorization: Bearer x\r\nX-User: admin\r\n\r\n"
        )
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("wrong_s", [-300, 300])
def test_t32_a_wrong_clock_moves_the_limits_and_breaks_nothing(site, wrong_s):
    token = site.provider.mint(exp=NOW + 600)
    site.clock.now += wrong_s
    # Five minutes late, this machine takes a new token for one from the future.
    assert site.status(token) == (401 if wrong_s < 0 else 200)
    site.clock.now = NOW
    assert site.status(token) == 200


def test_t32_setting_the_clock_back_keeps_nobody_in(site):
    token = site.provider.mint()
    assert site.status(token) == 200
    site.provider.log_out(token)
    site.clock.now -= 30
    site.clock.age += 61
    assert refused(site.get(token))
