"""Logging in and out of a server by its identity provider, and what the verbs then tell."""

import gc
import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from api.cli.app import app
from api.cli.failures import Code, CommandFailed, NoAnswer
from api.cli.provider import Provider, await_device, discover, start_device
from tests.authority import Authority
from tests.integration.oidc_agent import agent_for
from tests.pretender import Answer, Asked, Pretender, pretending

pytestmark = pytest.mark.usefixtures("elsewhere")

SECRETS = ("access-", "refresh-", "device-code")
ME = {
    "owner": {"iss": "https://op.example", "sub": "a1"},
    "name": "alice",
    "vos": [{"name": "vo.ai4eosc.eu", "roles": ["user"]}],
    "operator": False,
}
QUOTA = {
    "user": {
        "limits": {"deployments": 20, "ram": 128000, "gpu_num": 2},
        "used": {"deployments": 3, "ram": 8000, "gpu_num": 0},
    },
    "vos": [{"name": "vo.ai4eosc.eu", "limits": {"gpu_num": 8}, "used": {"gpu_num:A100": 1}}],
}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def op(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator["Op"]:
    """A provider that turns refresh tokens over."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with pretending(authority.context("127.0.0.1")) as server:
        yield Op(server)


class Op:
    """What the provider knows; `pending` is what it says before the person has confirmed."""

    def __init__(self, server: Pretender) -> None:
        self.server, self.issuer = server, server.address
        self.pending: list[Answer] = []
        self.more: dict[str, Any] = {}
        self.device: dict[str, Any] = {
            "device_code": "device-code",
            "user_code": "ABCD-EFGH",
            "verification_uri": f"{self.issuer}/device",
            "expires_in": 2,
            "interval": 0.001,
        }
        self.lives_s, self.number = 3600, 0
        self.refresh = "refresh-0"
        server.answer = self.answer

    def answer(self, asked: Asked) -> Answer:
        match asked.path:
            case "/.well-known/openid-configuration":
                return Answer(self.described())
            case "/device":
                if self.server_refuses(asked.body["scope"]):
                    return Answer({"error": "invalid_scope"}, 400)
                return Answer(self.device)
            case "/token":
                return self.tokens(asked.body)
            case "/revoke":
                return Answer({})
        return Answer({}, 404)

    def described(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "token_endpoint": f"{self.issuer}/token",
            "device_authorization_endpoint": f"{self.issuer}/device",
            "revocation_endpoint": f"{self.issuer}/revoke",
            "scopes_supported": ["openid", "offline_access"],
        } | self.more

    def server_refuses(self, scope: str) -> bool:
        return "unknown" in scope

    def tokens(self, form: dict[str, str]) -> Answer:
        if self.pending:
            return self.pending.pop(0)
        if form["grant_type"] == "refresh_token" and form["refresh_token"] != self.refresh:
            return Answer({"error": "invalid_grant", "error_description": "used\x1b[2J"}, 400)
        self.number += 1
        self.refresh = f"refresh-{self.number}"
        return Answer(
            {
                "access_token": f"access-{self.number}",
                "refresh_token": self.refresh,
                "token_type": "Bearer",
                "expires_in": self.lives_s,
            }
        )

    def forms(self, path: str) -> list[dict[str, str]]:
        return [asked.body for asked in self.server.asked if asked.path == path]


@pytest.fixture
def api(op: Op) -> Iterator["Api"]:
    with pretending() as server:
        yield Api(server, op)


class Api:
    """The server: how people log in there, and who the caller is."""

    def __init__(self, server: Pretender, op: Op) -> None:
        self.server = server
        self.config: dict[str, Any] = {
            "mode": "oidc",
            "issuers": [op.issuer],
            "vos": ["vo.ai4eosc.eu"],
            "scopes": ["openid", "offline_access"],
            "clientID": "papi-cli",
        }
        self.me: dict[str, Any] = ME
        self.says = 200
        server.answer = self.answer

    def answer(self, asked: Asked) -> Answer:
        if asked.path == "/v1/auth/config":
            assert "Authorization" not in asked.headers
            return Answer(self.config)
        if self.says != 200:
            reason = {401: "NotAuthenticated", 403: "Forbidden"}[self.says]
            return Answer({"reason": reason, "title": "No", "detail": "not you"}, self.says)
        return Answer({"/v1/whoami": self.me, "/v1/quota": QUOTA}[asked.path])

    @property
    def tokens(self) -> list[str]:
        headers = [asked.headers.get("Authorization", "") for asked in self.server.asked]
        return [each.removeprefix("Bearer ") for each in headers if each]


@pytest.fixture
def run(api: Api) -> Callable[..., Result]:
    """Run one command line; only `token` may say a secret."""

    def command(*words: str, stdin: str | None = None, **env: str) -> Result:
        given = {"AI4PAPI_SERVER": api.server.address, **env}
        result = CliRunner().invoke(app, words, input=stdin, env=given)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        if words[0] != "token":
            assert not [each for each in SECRETS if each in result.output]
        return result

    return command


def kept() -> Path:
    return Path(os.environ["XDG_CONFIG_HOME"], "ai4papi", "logins.json")


def test_a_code_confirmed_in_a_browser_logs_in(run, op, api):
    op.pending = [Answer({"error": "authorization_pending"}, 400)] * 2
    op.device["verification_uri_complete"] = f"{op.issuer}/device?user_code=ABCD-EFGH"
    result = run("login")
    assert result.stdout == (f"logged in to {api.server.address} as alice (vo.ai4eosc.eu)\n"), (
        result.output
    )
    assert result.stderr.splitlines()[:2] == [
        f"Open {op.issuer}/device?user_code=ABCD-EFGH",
        "in a browser on any machine, and confirm the code ABCD-EFGH",
    ]
    assert op.forms("/device") == [{"client_id": "papi-cli", "scope": "openid offline_access"}]
    assert len(op.forms("/token")) == 3
    assert stat.S_IMODE(kept().stat().st_mode) == 0o600
    assert run("token").stdout == "access-1\n"
    assert run("whoami").exit_code == 0
    assert set(api.tokens) == {"access-1"}


def test_an_expired_token_is_renewed_and_so_is_the_refresh_token(run, op, api):
    op.lives_s = 30
    run("login")
    for _ in range(3):
        assert run("whoami").exit_code == 0
    used = [form["refresh_token"] for form in op.forms("/token") if "refresh_token" in form]
    assert used[:4] == ["refresh-1", "refresh-2", "refresh-3", "refresh-4"]
    assert api.tokens[-1] == f"access-{op.number}"


def test_a_login_that_the_provider_ended_says_how_to_log_in_again(run, op):
    op.lives_s = 30
    run("login")
    op.refresh = "somebody else's"
    result = run("whoami")
    assert result.exit_code == 5
    assert result.stderr == (
        f"error: {op.issuer} said no: invalid_grant: used\\x1b[2J\nnext: ai4papi login\n"
    )


def test_logging_out_revokes_the_tokens_and_forgets_them(run, op, api):
    run("login")
    assert run("logout").stdout.endswith("; the tokens are revoked\n")
    assert [form["token"] for form in op.forms("/revoke")] == ["refresh-1", "access-1"]
    assert "access" not in kept().read_text()
    assert run("whoami").exit_code == 5
    assert run("logout").stdout == f"you were not logged in to {api.server.address}\n"


def test_logging_out_while_the_provider_is_down_forgets_the_tokens_and_says_so(run, op):
    run("login")
    op.server.answer = lambda _: Answer({}, 503)
    result = run("logout")
    assert result.exit_code == 1
    assert "could not be revoked" in result.stderr
    assert "access" not in kept().read_text()


def test_a_token_that_the_server_refuses_is_not_kept(run, api):
    api.says = 401
    result = run("login")
    assert (result.exit_code, result.stdout) == (5, "")
    assert "access" not in kept().read_text()


def test_somebody_without_a_role_is_logged_in_and_told_so(run, api):
    api.says = 403
    assert run("login").exit_code == 5
    assert run("token").stdout == "access-1\n"
    answer = run("can-i", "create")
    assert (answer.exit_code, answer.stdout) == (1, "no\n")


def test_a_token_from_standard_input_is_kept_as_it_is(run, op):
    assert run("login", "--token-file", "-", stdin="given-token\n").exit_code == 0
    assert op.server.asked == []
    assert run("token").stdout == "given-token\n"


@pytest.mark.parametrize("text", ["", "two words\n", "x" * 20_000, "a\x00b\n"])
def test_what_is_no_token_on_standard_input_is_refused(run, text):
    assert run("login", "--token-file", "-", stdin=text).exit_code == 5
    assert not kept().exists()


def test_a_local_server_needs_no_login_and_says_where_its_token_is(run, api):
    api.config |= {"mode": "local", "issuers": [], "clientID": None}
    result = run("login")
    assert result.exit_code == 2
    assert "in local mode" in result.stderr


def test_without_a_client_the_other_ways_are_named(run, api):
    api.config["clientID"] = None
    result = run("login")
    assert result.exit_code == 2
    assert "--token-file -" in result.stderr
    assert run("login", "--client-id", "mine").exit_code == 0


@pytest.mark.parametrize(
    "told",
    [
        {},
        [],
        {"mode": "magic", "issuers": [], "scopes": []},
        {"mode": "oidc", "issuers": "https://op", "scopes": []},
        {"mode": "oidc", "issuers": [5], "scopes": []},
        {"mode": "oidc", "issuers": [], "scopes": [], "clientID": 5},
        {"mode": "oidc", "issuers": [], "scopes": [], "clientID": "x"},
        {"mode": "oidc", "issuers": ["http://127.0.0.1:1"], "scopes": [], "clientID": "x"},
        {"mode": "oidc", "issuers": ["https://me@127.0.0.1:1"], "scopes": [], "clientID": "x"},
        {"mode": "oidc", "issuers": ["https://127.0.0.1:99999"], "scopes": [], "clientID": "x"},
    ],
)
def test_a_server_that_says_nothing_usable_gets_no_login(run, api, op, told):
    api.config = told
    result = run("login")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert op.server.asked == []


def test_an_issuer_that_the_server_does_not_take_is_not_asked(run, op):
    assert run("login", "--issuer", f"{op.issuer}/").exit_code == 2
    assert op.server.asked == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("issuer", "https://127.0.0.1:1"),
        ("token_endpoint", "http://127.0.0.1:1/token"),
        ("token_endpoint", None),
        ("token_endpoint", ["https://127.0.0.1:1"]),
        ("device_authorization_endpoint", "file:///etc/passwd"),
        ("revocation_endpoint", 5),
    ],
)
def test_a_provider_that_describes_itself_wrongly_gets_no_code(run, op, key, value):
    op.more = {key: value}
    assert run("login").exit_code == 1
    assert {asked.path for asked in op.server.asked} == {"/.well-known/openid-configuration"}


@pytest.mark.parametrize(
    "uri", ["http://op.example/device", "javascript:alert(1)", "https://u@op.example", None, 5]
)
def test_nobody_is_sent_to_an_address_that_is_not_https(run, op, uri):
    op.device["verification_uri"] = uri
    result = run("login")
    assert result.exit_code == 1
    assert "is not an https address" in result.stderr
    assert "Open" not in result.stderr


def test_a_redirect_of_the_provider_is_not_followed(run, op):
    op.server.answer = lambda _: Answer({}, 302, {"Location": f"{op.issuer}/elsewhere"})
    assert run("login").exit_code == 1
    assert [asked.path for asked in op.server.asked] == ["/.well-known/openid-configuration"]


def test_a_provider_whose_certificate_nobody_signed_is_not_asked(run, op):
    result = run("login", SSL_CERT_FILE="/dev/null")
    assert result.exit_code == 1
    assert "is not trusted" in result.stderr
    assert op.server.asked == []


def test_a_scope_that_the_provider_does_not_know_is_left_out(op):
    code = start_device(discover(op.issuer), "papi-cli", ["openid", "unknown", "offline_access"])
    assert code.user_code == "ABCD-EFGH"
    assert [form["scope"] for form in op.forms("/device")] == [
        "openid unknown offline_access",
        "openid offline_access",
    ]


class Clock:
    def __init__(self) -> None:
        self.now_s, self.slept = 1000.0, list[float]()

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, for_s: float) -> None:
        self.slept.append(for_s)
        self.now_s += for_s


def polled(op: Op, clock: Clock, *, expires_in_s: int = 600) -> Any:
    provider = Provider(op.issuer, f"{op.issuer}/token", f"{op.issuer}/device")
    op.device |= {"interval": 5, "expires_in": expires_in_s}
    code = start_device(provider, "papi-cli", ["openid"])
    return await_device(
        provider, "papi-cli", code, clock=clock, now=lambda: 50.0, sleep=clock.sleep
    )


def no(error: str, status: int = 400) -> Answer:
    return Answer({"error": error}, status)


def test_the_provider_is_asked_at_its_own_pace(op):
    op.pending = [no("authorization_pending"), no("slow_down"), no("x", 503), no("slow_down")]
    clock = Clock()
    login = polled(op, clock)
    assert clock.slept == [5, 5, 10, 20, 25]
    assert (login.access_token, login.expires_at) == ("access-1", 3650.0)


def test_a_code_that_nobody_confirms_ends(op):
    op.pending = [no("authorization_pending")] * 10
    clock = Clock()
    with pytest.raises(CommandFailed) as caught:
        polled(op, clock, expires_in_s=23)
    assert caught.value.code is Code.TIMED_OUT
    assert clock.slept == [5, 5, 5, 5]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (no("access_denied"), Code.NOT_ALLOWED),
        (no("expired_token"), Code.TIMED_OUT),
        (no("invalid_client", 401), Code.NOT_ALLOWED),
        (Answer("not JSON"), Code.FAILED),
        (Answer({"access_token": "a b", "token_type": "bearer"}), Code.FAILED),
        (Answer({"access_token": "a", "token_type": "DPoP"}), Code.FAILED),
        (Answer({"access_token": "a", "token_type": "bearer", "refresh_token": 5}), Code.FAILED),
    ],
)
def test_whatever_else_the_provider_answers_ends_the_login(op, answer, code):
    op.pending = [answer]
    with pytest.raises(CommandFailed) as caught:
        polled(op, Clock())
    assert caught.value.code is code
    assert not isinstance(caught.value, NoAnswer)


@pytest.fixture
def leaky() -> Iterator[None]:
    """Let liboidcagent 0.6.0 leave its sockets to the garbage collector: it closes none."""
    yield
    gc.collect()


@pytest.mark.usefixtures("leaky")
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_an_oidc_agent_is_asked_each_time_and_keeps_the_token_itself(run, op, api, tmp_path):
    with agent_for({op.issuer: "access-of-agent", "egi": "access-of-egi"}, tmp_path) as agent:
        assert run("login", OIDC_SOCK=agent.path).exit_code == 0
        assert run("token", OIDC_SOCK=agent.path).stdout == "access-of-agent\n"
        assert run("login", "--agent", "egi", OIDC_SOCK=agent.path).exit_code == 0
        assert run("token", OIDC_SOCK=agent.path).stdout == "access-of-egi\n"
        assert "access-" not in kept().read_text()
        assert op.server.asked == []
        assert {request["application_hint"] for request in agent.asked} == {"ai4papi"}
        result = run("login", "--agent", "none", OIDC_SOCK=agent.path)
        assert result.exit_code == 5
        assert "next: oidc-add none" in result.stderr
    gone = run("whoami", OIDC_SOCK=agent.path)
    assert gone.exit_code == 5
    assert "Could not connect to oidc-agent" in gone.stderr


@pytest.mark.usefixtures("leaky")
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_an_agent_without_an_account_leaves_the_code(run, op, tmp_path):
    with agent_for({}, tmp_path) as agent:
        assert run("login", OIDC_SOCK=agent.path).exit_code == 0
    assert len(op.forms("/device")) == 1


def test_whoami_tells_roles_quota_and_what_named_server_and_token(run, api):
    assert run("whoami", AI4PAPI_TOKEN="any").stdout == (
        "name              alice\n"
        "owner             a1 at https://op.example\n"
        f"server            {api.server.address}, from AI4PAPI_SERVER\n"
        "token             says no end, from AI4PAPI_TOKEN\n"
        "in vo.ai4eosc.eu  user\n"
        "\n"
        "QUOTA OF                     USED  LIMIT\n"
        "you            deployments   3     20\n"
        "you            ram (MB)      8000  128000\n"
        "you            gpu_num       0     2\n"
        "vo.ai4eosc.eu  gpu_num       0     8\n"
        "vo.ai4eosc.eu  gpu_num:A100  1     -\n"
    )


def test_whoami_tells_when_the_token_ends(run, api):
    run("login")
    line = next(li for li in run("whoami").stdout.splitlines() if li.startswith("token"))
    assert line.split(maxsplit=1)[1] in {
        "expires in 59m59s (renewed by itself), from ai4papi login",
        "expires in 59m58s (renewed by itself), from ai4papi login",
    }
    told = json.loads(run("whoami", "-o", "json").stdout)
    assert told["token"]["renewed"] is True
    assert told["token"]["from"] == "ai4papi login"
    assert told["server"] == {"url": api.server.address, "from": "AI4PAPI_SERVER"}
    assert told["token"]["expiresAt"].endswith("Z")
    assert told["quota"] == QUOTA
    assert yaml.safe_load(run("whoami", "-o", "yaml").stdout)["owner"] == ME["owner"]


def test_whoami_shows_no_control_character_of_a_name(run, api):
    api.me = ME | {"name": "al\x1b[2Jice"}
    assert "\x1b" not in run("whoami", AI4PAPI_TOKEN="any").output


@pytest.mark.parametrize(
    ("roles", "allowed"),
    [
        (["user"], {"create"}),
        (["editor"], {"edit-catalogue"}),
        (["auditor"], {"see-all"}),
        (["operator"], {"see-all", "operate"}),
        (["user", "operator"], {"create", "see-all", "operate"}),
        ([], set()),
        (["owner-of-the-world"], set()),
    ],
)
def test_can_i_answers_by_the_roles(run, api, roles, allowed):
    api.me = ME | {"vos": [{"name": "vo.ai4eosc.eu", "roles": roles}]}
    for verb in ("create", "edit-catalogue", "see-all", "operate"):
        result = run("can-i", verb, AI4PAPI_TOKEN="any")
        expected = (0, "yes, in vo.ai4eosc.eu\n") if verb in allowed else (1, "no\n")
        assert (result.exit_code, result.stdout) == expected
        other = run("can-i", verb, "--vo", "vo.other.eu", AI4PAPI_TOKEN="any")
        assert (other.exit_code, other.stdout) == (1, "no\n")


def test_can_i_answers_programs(run):
    answer = run("can-i", "create", "-o", "json", AI4PAPI_TOKEN="any")
    told = {"verb": "create", "allowed": True, "vos": ["vo.ai4eosc.eu"]}
    assert json.loads(answer.stdout) == told
    assert yaml.safe_load(run("can-i", "operate", "-o", "yaml", AI4PAPI_TOKEN="any").stdout) == (
        {"verb": "operate", "allowed": False, "vos": []}
    )


def test_who_is_not_logged_in_is_told_how(run, api):
    for words in (["whoami"], ["can-i", "create"], ["token"]):
        result = run(*words)
        assert result.exit_code == 5
        assert f"next: ai4papi login --server {api.server.address}" in result.stderr
    api.says = 401
    result = run("whoami", AI4PAPI_TOKEN="stale")
    assert result.exit_code == 5
    assert "next: ai4papi login" in result.stderr
