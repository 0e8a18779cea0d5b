"""The parts of the OIDC door on their own: reading, keys, memory, sharing."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from api.auth import InvalidToken, Role, User
from api.auth.flights import Flights
from api.auth.keys import is_signed, read_keys
from api.auth.oidc import shown_name, vouched_email
from api.auth.recent import RecentUsers, digest_of
from api.auth.tokens import read_token
from specs.model import Owner
from tests.provider import NOW, base64url, encoded, jwk, rsa_key, signed

ISSUER = "https://op.example.org/realms/a"
HEADER = {"alg": "RS256", "kid": "key-1", "typ": "JWT"}
CLAIMS = {"iss": ISSUER, "sub": "alice", "typ": "Bearer", "iat": NOW, "exp": NOW + 300}
ALICE = User(Owner(ISSUER, "alice"), "Alice", {"vo.a": frozenset({Role.USER})})
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


def read(text):
    return read_token(text, issuers={ISSUER}, audiences=(), now=NOW)


def put(part, name, value):
    parts = [dict(HEADER), dict(CLAIMS)]
    parts[part][name] = value
    return ".".join([*map(encoded, parts), "AAAA"])


def test_a_token_says_who_and_until_when():
    claimed = read(f"{encoded(HEADER)}.{encoded(CLAIMS)}.AAAA")
    assert (claimed.issuer, claimed.subject) == (ISSUER, "alice")
    assert (claimed.algorithm, claimed.key_id, claimed.expires_at) == ("RS256", "key-1", NOW + 300)
    assert "alice" not in repr(claimed.claims) or "claims" not in repr(claimed)


@given(st.text(max_size=300) | st.lists(st.text(max_size=40), max_size=6).map(".".join))
@example("\ud800.a.b")
@example("." * 20_000)
def test_no_text_is_a_crash_t7(text):
    with pytest.raises(InvalidToken):
        read(text)


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_no_bytes_inside_a_token_are_a_crash_t7(header, payload):
    with pytest.raises(InvalidToken):
        read(f"{base64url(header)}.{base64url(payload)}.AAAA")


@given(
    st.sampled_from([0, 1]), st.sampled_from([*HEADER, *CLAIMS, "crit", "nbf", "aud", "azp"]), JSON
)
def test_no_value_of_a_field_is_a_crash(part, name, value):
    try:
        claimed = read(put(part, name, value))
    except InvalidToken:
        return
    assert isinstance(claimed.subject, str)
    assert NOW < claimed.expires_at <= NOW + 24 * 3600 + 60


@given(
    st.dictionaries(
        st.sampled_from(["kid", "kty", "crv", "n", "e", "x", "y", "alg", "use", "k"]), JSON
    )
)
@example({"kid": "a", "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"})
@example({"kid": "a", "kty": "RSA", "n": "AQAB", "e": "AQAB"})
@example({"kid": "a", "kty": "OKP", "crv": "Ed25519", "x": "AA"})
@example({"kid": "a", "kty": [], "crv": {}})
def test_no_key_of_a_provider_is_a_crash_t15(entry):
    read_keys({"keys": [entry, {"kid": "a", "kty": "RSA", **entry}, {**entry, "kty": "EC"}]})


def test_the_private_half_of_a_key_is_not_taken():
    public = jwk(("a", rsa_key("key-1")))
    assert {name for name, _ in read_keys({"keys": [public]})} == {"a"}
    assert read_keys({"keys": [public | {"d": "AA"}]}) == {}


@pytest.mark.parametrize("keys", [None, {}, "text", [{}] * 101])
def test_what_is_no_list_of_keys_is_said_to_be_none(keys):
    with pytest.raises(ValueError, match="keys"):
        read_keys({"keys": keys})


def test_a_signature_counts_for_its_own_algorithm_only_t5():
    key = rsa_key("key-1")
    token = signed(HEADER, CLAIMS, key)
    assert is_signed(token, algorithm="RS256", key=key.public_key())
    assert not is_signed(token, algorithm="RS512", key=key.public_key())
    assert not is_signed(token, algorithm="RS256", key=rsa_key("other").public_key())
    assert not is_signed(token[:-8] + "AAAAAAAA", algorithm="RS256", key=key.public_key())


class Recent:
    def __init__(self, **options):
        self.now, self.age = NOW, 0.0
        self.users = RecentUsers(now=lambda: self.now, monotonic=lambda: self.age, **options)

    def keep(self, token, *, expires_at=NOW + 300):
        self.users.keep(digest_of(token), ALICE, asked_at=self.age, expires_at=expires_at)

    def knows(self, token):
        return self.users.get(digest_of(token)) is not None


def test_a_user_is_known_for_a_minute_and_no_longer_than_the_token_t8_t23():
    recent = Recent()
    recent.keep("a")
    recent.keep("b", expires_at=NOW + 10)
    recent.age = 59.9
    assert recent.knows("a")
    assert recent.knows("b")
    recent.now += 10
    assert not recent.knows("b")
    recent.age = 60
    assert not recent.knows("a")
    assert not recent.knows("c")


def test_the_oldest_makes_room_and_nothing_ever_raises_t29():
    recent = Recent(max_users=3)
    for token in "abcd":
        recent.keep(token)
    assert [recent.knows(token) for token in "abcd"] == [False, True, True, True]
    recent.age = 1000
    for number in range(5000):
        recent.keep(str(number), expires_at=NOW - 1)
    recent.keep("new")
    assert recent.knows("new")
    assert len(recent.users._entries) == 3


def test_no_token_is_kept_in_memory_t34():
    recent = Recent()
    recent.keep("eyJh.secret.token")
    assert "secret" not in repr(recent.users._entries)


def test_one_does_the_work_and_all_get_its_result_or_failure():
    flights, go, calls = Flights(), threading.Event(), []

    def work():
        calls.append(1)
        go.wait(10)
        raise RuntimeError("down")

    with ThreadPoolExecutor(8) as pool:
        asks = [pool.submit(flights.share, "k", work, wait_s=10) for _ in range(8)]
        while not calls:
            pass
        go.set()
        for ask in asks:
            with pytest.raises(RuntimeError):
                ask.result(10)
    assert flights.share("k", lambda: "up", wait_s=1) == "up"
    assert flights._under_way == {}


def test_who_waits_too_long_for_anothers_work_is_told_so():
    flights, go, begun = Flights(), threading.Event(), threading.Event()

    def work():
        begun.set()
        go.wait(10)
        return "done"

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(flights.share, "k", work, wait_s=10)
        assert begun.wait(10)
        with pytest.raises(TimeoutError):
            flights.share("k", work, wait_s=0)
        go.set()
        assert first.result(10) == "done"


@pytest.mark.parametrize(
    ("userinfo", "name"),
    [
        ({"name": "Ada", "preferred_username": "ada", "email": "a@b"}, "Ada"),
        ({"preferred_username": "ada", "email": "a@b"}, "ada"),
        ({"name": " \n\u202e ", "email": "a@b"}, "a@b"),
        ({"name": 5, "preferred_username": None, "email": ["x"]}, "sub"),
        ({"name": "A\u202ed\x00a\nB\ud800"}, "AdaB"),
        ({"name": "x" * 5000}, "x" * 255),
        ({}, "sub"),
    ],
)
def test_somebody_is_shown_by_the_first_name_that_says_anything(userinfo, name):
    assert shown_name(userinfo, "sub") == name


@pytest.mark.parametrize(
    ("claims", "email"),
    [
        ({"email": "ada@example.org"}, "ada@example.org"),
        ({"email": "ada@example.org", "email_verified": True}, "ada@example.org"),
        ({"email": "ada@example.org", "email_verified": "true"}, "ada@example.org"),
        ({"email": "ada@example.org", "email_verified": False}, ""),
        ({"email": "ada@example.org", "email_verified": "false"}, ""),
        ({"email": "ada@example.org", "email_verified": None}, ""),
        ({"email": "ada@example.org", "email_verified": 1}, ""),
        ({"email": "ada@example.org\r\nBcc: eve@example.org"}, ""),
        ({"email": ["ada@example.org"]}, ""),
        ({}, ""),
    ],
)
def test_an_address_counts_that_the_provider_does_not_call_unverified(claims, email):
    assert vouched_email(claims) == email
