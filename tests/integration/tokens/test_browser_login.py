"""Logging in through a browser: every answer but the provider's to this very login is refused."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from api.app import create_app
from api.auth.code_flow import CodeLogin, challenge_of
from api.auth.https import getter, poster, trust
from api.auth.provider import Provider as Asked
from tests.integration.tokens.conftest import Clock, Door, Site, shares_a_secret
from tests.provider import CLIENT, LOGIN, NOW, TOKENS, answers, ec_key, rsa_key

HTML = {"Accept": "text/html"}
SCOPES = ("openid", "profile", "offline_access", "eduperson_entitlement")


class Delegate:
    """The login of the running application; each test hangs in its own."""

    inner: CodeLogin

    def __getattr__(self, name: str):
        return getattr(self.inner, name)


@pytest.fixture(scope="session")
def page_site(server, serve) -> Iterator[tuple[Door, Delegate, object, str]]:
    door, login = Door(), Delegate()
    services = replace(server.app.state.services, auth=door, browser_logins=[login])
    app = create_app(services)
    with serve(app) as url:
        yield door, login, app, url


@dataclass
class Browser:
    """Somebody at a browser, and the provider that they log in at."""

    client: httpx.Client
    provider: object
    clock: Clock

    def begin(self, next_path: str = "/") -> tuple[str, dict[str, str]]:
        """Begin to log in; return where the browser was sent, and what with."""
        answer = self.client.get("/auth/start", params={"next": next_path})
        assert answer.status_code == 303, answer.text
        address = answer.headers["location"]
        return address, dict(parse_qsl(urlsplit(address).query))

    def log_in(self, next_path: str = "/") -> httpx.Response:
        _, asked = self.begin(next_path)
        return self.answer(self.provider.logged_in(asked))

    def answer(self, address: str) -> httpx.Response:
        """Follow the provider's redirect."""
        parts = urlsplit(address)
        return self.client.get(f"{parts.path}?{parts.query}")

    @property
    def is_in(self) -> bool:
        return self.client.get("/").status_code == 200


@pytest.fixture
def browser(site: Site, page_site) -> Iterator[Browser]:
    door, login, app, url = page_site
    door.inner = site.door.inner
    app.state.sessions.now = lambda: site.clock.now
    trusted = trust({"SSL_CERT_FILE": str(site.provider.ca_file)})
    asked = Asked(site.provider.issuer, getter(trusted), monotonic=lambda: site.clock.age)
    login.inner = CodeLogin(
        asked, poster(trusted), client_id=CLIENT, scopes=SCOPES, now=lambda: site.clock.now
    )
    with httpx.Client(base_url=url, trust_env=False, headers=HTML, timeout=30) as client:
        yield Browser(client, site.provider, site.clock)


def refused(answer: httpx.Response, browser: Browser) -> bool:
    assert answer.status_code == 401, answer.text
    assert "did not come to its end" in answer.text
    assert not shares_a_secret(answer.text, browser.provider.minted)
    return not browser.is_in


def test_somebody_logs_in_and_is_back_where_they_wanted_to_go(browser):
    answer = browser.log_in("/ui/nodes?x=1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/ui/nodes?x=1")
    assert browser.is_in
    assert "A. Lice" in browser.client.get("/").text
    assert browser.provider.calls[TOKENS] == 1


def test_the_provider_is_asked_as_the_specifications_say(browser):
    address, asked = browser.begin()
    assert address.startswith(browser.provider.origin + LOGIN)
    assert asked["response_type"] == "code"
    assert asked["client_id"] == CLIENT
    assert asked["code_challenge_method"] == "S256"
    assert asked["redirect_uri"] == f"{str(browser.client.base_url).rstrip('/')}/auth/callback"
    assert asked["scope"].split() == ["openid", "profile", "eduperson_entitlement"]
    others = browser.begin()[1]
    for name in ("state", "nonce", "code_challenge"):
        assert len(asked[name]) >= 43
        assert asked[name] != others[name]


def test_the_challenge_is_the_one_of_the_specification():
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"  # RFC 7636, appendix B
    assert challenge_of(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_no_token_is_in_an_address_a_page_or_a_cookie_that_can_be_read(browser):
    answer = browser.log_in()
    seen = [answer.text, answer.headers["location"], str(answer.headers.raw)]
    for path in ("/", "/ui/usage", "/ui/events"):
        found = browser.client.get(path)
        seen += [found.text, str(found.headers.raw)]
    assert not shares_a_secret("\n".join(seen), browser.provider.minted)


def test_another_state_is_another_login(browser):
    _, asked = browser.begin()
    assert refused(browser.answer(browser.provider.logged_in(asked | {"state": "x"})), browser)
    assert browser.provider.calls[TOKENS] == 0


def test_an_answer_without_a_state_is_refused(browser):
    browser.begin()
    assert refused(browser.client.get("/auth/callback?code=x"), browser)


def test_an_answer_to_nothing_is_refused(browser):
    assert refused(browser.client.get("/auth/callback?code=x&state=y"), browser)


def test_somebody_elses_answer_does_not_log_in_here(browser, page_site):
    _, asked = browser.begin()
    address = browser.provider.logged_in(asked)
    with httpx.Client(base_url=page_site[3], trust_env=False, headers=HTML) as other:
        victim = Browser(other, browser.provider, browser.clock)
        victim.begin()
        assert refused(victim.answer(address), victim)
    assert browser.provider.calls[TOKENS] == 0


def test_an_answer_counts_once(browser):
    _, asked = browser.begin()
    address = browser.provider.logged_in(asked)
    assert browser.answer(address).status_code == 303
    browser.client.cookies.clear()
    assert refused(browser.answer(address), browser)


def test_a_code_that_the_provider_knows_no_more_is_refused(browser):
    _, asked = browser.begin()
    address = browser.provider.logged_in(asked)
    browser.provider.codes.clear()
    assert refused(browser.answer(address), browser)


def test_a_code_for_another_verifier_is_refused(browser):
    _, asked = browser.begin()
    stolen = asked | {"code_challenge": challenge_of("another" * 10)}
    assert refused(browser.answer(browser.provider.logged_in(stolen)), browser)


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "foreign"},
        {"nonce": None},
        {"iss": "https://evil.example"},
        {"aud": "another-client"},
        {"aud": [CLIENT, "another"], "azp": "another"},
        {"exp": NOW - 1},
        {"iat": NOW + 3600},
        {"sub": "mallory"},
        {"sub": ""},
    ],
)
def test_an_id_token_that_is_not_of_this_login_is_refused(browser, claims):
    browser.provider.id_claims = claims
    assert refused(browser.log_in(), browser)


@pytest.mark.parametrize("key", [rsa_key("key-2"), ec_key("SECP256R1")])
def test_an_id_token_with_another_signature_is_refused(browser, key):
    browser.provider.id_key = key if key is rsa_key("key-2") else None
    browser.provider.token_answer = {} if browser.provider.id_key else {"id_token": "a.b.c"}
    assert refused(browser.log_in(), browser)


@pytest.mark.parametrize(
    "told",
    [
        {"id_token": None},
        {"access_token": None},
        {"access_token": ""},
        {"access_token": ["x"]},
        {"token_type": "mac"},
        {"access_token": "not-a-token"},
    ],
)
def test_an_answer_that_lacks_something_is_refused(browser, told):
    browser.provider.token_answer = told
    assert refused(browser.log_in(), browser)


def test_another_issuers_answer_is_refused(browser):
    _, asked = browser.begin()
    address = browser.provider.logged_in(asked).replace("iss=https%3A", "iss=http%3A")
    assert refused(browser.answer(address), browser)


@pytest.mark.parametrize("more", ["&code=other", "&state=other", "&error=access_denied"])
def test_an_answer_that_says_two_things_is_refused(browser, more):
    _, asked = browser.begin()
    assert refused(browser.answer(browser.provider.logged_in(asked) + more), browser)


def test_a_login_has_its_time(browser):
    _, asked = browser.begin()
    browser.clock.advance(601)
    assert refused(browser.answer(browser.provider.logged_in(asked)), browser)


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "javascript:alert(1)",
        "/%0d%0aSet-Cookie:x=1\r\nx: y",
        "evil",
        "",
        "/\tx",
        "/" + "x" * 1999,
    ],
)
def test_nobody_is_led_elsewhere(browser, target):
    answer = browser.log_in(target)
    assert answer.status_code == 303
    location = answer.headers["location"]
    assert location == "/" or (location.startswith("/x") and len(location) == 2000)
    form = {"token": browser.provider.mint(), "next": target}
    pasted = browser.client.post("/login", data=form, headers={"Sec-Fetch-Site": "same-origin"})
    assert pasted.headers["location"] == location


def test_the_session_ends_with_the_token(browser):
    browser.log_in()
    assert browser.is_in
    browser.clock.advance(301)
    assert not browser.is_in


def test_who_is_logged_out_at_the_provider_is_out_here_within_a_minute(browser):
    browser.log_in()
    assert browser.is_in
    for token in browser.provider.minted:
        browser.provider.log_out(token)
    browser.clock.advance(61)
    assert not browser.is_in


def test_who_has_no_vo_is_told_so_and_not_let_in(browser):
    browser.provider.mint = lambda *_: type(browser.provider).mint(
        browser.provider, userinfo={"eduperson_entitlement": []}
    )
    try:
        answer = browser.log_in()
    finally:
        del browser.provider.mint
    assert answer.status_code == 403
    assert "no role in a VO" in answer.text
    assert not browser.is_in


@pytest.mark.parametrize("fault", [answers(500), answers(503, b"{}")])
def test_a_provider_in_trouble_is_nobodys_fault(browser, fault):
    _, asked = browser.begin()
    browser.provider.faults[TOKENS] = fault
    answer = browser.answer(browser.provider.logged_in(asked))
    assert answer.status_code == 503
    assert "the identity provider can&#39;t answer now" in answer.text


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b'{"a": 1'])
def test_an_answer_that_is_no_json_object_is_refused(browser, body):
    _, asked = browser.begin()
    browser.provider.faults[TOKENS] = answers(200, body)
    assert refused(browser.answer(browser.provider.logged_in(asked)), browser)


def test_a_provider_without_a_login_for_browsers_is_told_of(browser):
    browser.provider.discovery = {"authorization_endpoint": None}
    answer = browser.client.get("/auth/start")
    assert answer.status_code == 503


def test_a_provider_that_points_elsewhere_is_not_followed(browser):
    browser.provider.discovery = {"token_endpoint": "https://169.254.169.254/"}
    assert browser.client.get("/auth/start").status_code == 503


def test_a_pasted_access_token_is_checked_by_the_same_guard(browser):
    headers = {"Sec-Fetch-Site": "same-origin"}
    good = browser.provider.mint()
    forged = browser.provider.mint(key=rsa_key("stranger"))
    assert browser.client.post("/login", data={"token": forged}, headers=headers).status_code == 401
    assert not browser.is_in
    assert browser.client.post("/login", data={"token": good}, headers=headers).status_code == 303
    assert browser.is_in


def test_a_long_token_takes_several_cookies(browser):
    token = browser.provider.mint(groups=["g" * 60] * 120)
    headers = {"Sec-Fetch-Site": "same-origin"}
    answer = browser.client.post("/login", data={"token": token}, headers=headers)
    cookies = answer.headers.get_list("set-cookie")
    assert len(cookies) > 1
    assert all(len(cookie) < 4096 for cookie in cookies)
    assert browser.is_in
