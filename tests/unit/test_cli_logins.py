"""What is kept of a login, who can read it, and when a token is renewed."""

import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.cli.access import find_access
from api.cli.failures import Code, CommandFailed, NoAnswer
from api.cli.logins import Login, Logins
from api.cli.private_file import config_folder
from api.cli.session import LEEWAY_S, Session
from api.cli.tokens import expiry_of, instant

SERVER = "https://api.example:443"
NOW = 1_800_000_000.0
LOGIN = Login(
    "provider",
    issuer="https://op.example",
    client_id="cli",
    access_token="access-1",
    refresh_token="refresh-1",
    expires_at=NOW + 600,
)


@pytest.fixture
def logins(tmp_path: Path) -> Logins:
    return Logins(tmp_path / "ai4papi")


def keep(logins: Logins, login: Login | None, server: str = SERVER) -> None:
    with logins.locked():
        logins.write(server, login)


class Renewals:
    """Gives the tokens access-2, access-3 …; or fails as it is told."""

    def __init__(self, fault: CommandFailed | None = None) -> None:
        self.count, self.fault = 0, fault

    def __call__(self, login: Login) -> Login:
        if self.fault:
            raise self.fault
        self.count += 1
        number = self.count + 1
        return replace(
            login,
            access_token=f"access-{number}",
            refresh_token=f"refresh-{number}",
            expires_at=NOW + 10_000,
        )


def session(logins: Logins, renewals: Renewals, *, now: float) -> Session:
    login = logins.read(SERVER)
    assert login is not None
    return Session(SERVER, logins, login, now=lambda: now, renew=renewals)


def test_a_login_is_read_as_it_was_kept_and_only_its_owner_can_read_it(logins):
    keep(logins, LOGIN)
    keep(logins, replace(LOGIN, access_token="other"), "https://b.example:443")
    assert logins.read(SERVER) == LOGIN
    assert logins.read("https://c.example:443") is None
    assert logins.file.stat().st_mode & 0o777 == 0o600
    assert logins.file.parent.stat().st_mode & 0o777 == 0o700
    keep(logins, None)
    assert logins.read(SERVER) is None
    assert [each.name for each in sorted(logins.file.parent.iterdir())] == ["lock", "logins.json"]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602, 0o604])
def test_a_file_that_others_can_touch_is_refused(logins, mode):
    keep(logins, LOGIN)
    logins.file.chmod(mode)
    with pytest.raises(CommandFailed, match="others can read or change it") as caught:
        logins.read(SERVER)
    assert "access-1" not in "\n".join(caught.value.lines())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"servers": 5}',
        "[" * 100_000,
        "\x00",
        json.dumps({"servers": {SERVER: "x"}}),
        json.dumps({"servers": {SERVER: {"source": "thief"}}}),
        json.dumps({"servers": {SERVER: {"source": "provider", "access_token": 5}}}),
        json.dumps({"servers": {SERVER: {"source": "provider", "access_token": "a\nb"}}}),
    ],
)
def test_a_file_that_is_none_of_ours_is_refused_with_a_sentence(logins, text):
    keep(logins, LOGIN)
    logins.file.write_text(text)
    with pytest.raises(CommandFailed, match="can't be used"):
        logins.read(SERVER)


def test_no_token_is_in_what_is_shown_of_a_login():
    assert "access-1" not in repr(LOGIN)
    assert "refresh-1" not in repr(LOGIN)


def test_logins_are_kept_where_the_environment_says():
    assert config_folder({"XDG_CONFIG_HOME": "/x", "HOME": "/h"}) == Path("/x/ai4papi")
    assert config_folder({"XDG_CONFIG_HOME": "rel", "HOME": "/h"}) == Path("/h/.config/ai4papi")
    assert config_folder({"HOME": ""}) is None


def test_a_login_reaches_exactly_its_server_and_goes_before_the_local_token(logins, tmp_path):
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    given = Login("given", access_token="kept")
    keep(logins, given, "https://api.example:443/papi")
    keep(logins, given, "http://127.0.0.1:8080")
    local = tmp_path / "token"
    local.write_text("local")
    assert find_access("https://api.example/papi/", None, environ=environ).token == "kept"
    assert find_access(None, None, environ=environ, local_token=local).token == "kept"
    assert find_access("http://[::1]:8080", None, environ=environ, local_token=local).token == (
        "local"
    )
    for other in ("https://api.example", "https://api.example:444/papi", "https://evil.example"):
        with pytest.raises(CommandFailed, match="not logged in") as caught:
            find_access(other, None, environ=environ)
        assert caught.value.code is Code.NOT_ALLOWED


def test_a_token_is_renewed_before_it_expires_and_not_earlier(logins):
    keep(logins, LOGIN)
    renewals = Renewals()
    assert session(logins, renewals, now=NOW + 600 - LEEWAY_S - 1)() == "access-1"
    assert renewals.count == 0
    late = session(logins, renewals, now=NOW + 600 - LEEWAY_S)
    assert [late(), late()] == ["access-2", "access-2"]
    assert renewals.count == 1
    kept = logins.read(SERVER)
    assert (kept.access_token, kept.refresh_token) == ("access-2", "refresh-2")


def test_of_many_commands_at_once_one_renews_and_the_others_take_its_token(logins):
    """A provider that turns refresh tokens over would end the login at the second renewal."""
    keep(logins, LOGIN)
    renewals, tokens = Renewals(), []
    sessions = [session(logins, renewals, now=NOW + 600) for _ in range(8)]
    together = threading.Barrier(len(sessions))

    def ask(mine: Session) -> None:
        together.wait()
        tokens.append(mine())

    threads = [threading.Thread(target=ask, args=(each,)) for each in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tokens == ["access-2"] * 8
    assert renewals.count == 1


def test_while_the_provider_is_down_a_token_that_lasts_is_used(logins):
    keep(logins, LOGIN)
    down = Renewals(NoAnswer(Code.FAILED, "the provider does not answer"))
    assert session(logins, down, now=NOW + 599)() == "access-1"
    with pytest.raises(NoAnswer):
        session(logins, down, now=NOW + 601)()


def test_a_logout_ends_the_commands_that_still_run(logins):
    keep(logins, LOGIN)
    running = session(logins, Renewals(), now=NOW + 600)
    keep(logins, None)
    with pytest.raises(CommandFailed, match="logged out meanwhile"):
        running()
    assert logins.read(SERVER) is None


def test_a_token_of_an_agent_is_never_kept(logins):
    keep(logins, Login("agent", issuer="https://op.example", account="egi"))
    renewals = Renewals()
    running = session(logins, renewals, now=NOW)
    assert [running(), running()] == ["access-2", "access-2"]
    assert renewals.count == 1
    assert "access" not in logins.file.read_text().replace("access_token", "")


def test_a_token_that_nothing_renews_ends_with_the_way_to_log_in(logins):
    keep(logins, Login("given", access_token="old", expires_at=NOW - 1))
    login = logins.read(SERVER)
    with pytest.raises(CommandFailed, match="has expired") as caught:
        Session(SERVER, logins, login, now=lambda: NOW)()
    assert caught.value.next_command == "ai4papi login"


def test_a_folder_that_can_not_be_written_is_told(tmp_path):
    (tmp_path / "ai4papi").write_text("a file")
    with pytest.raises(CommandFailed, match="can't be"):
        keep(Logins(tmp_path / "ai4papi"), LOGIN)
    assert [each.name for each in tmp_path.iterdir()] == ["ai4papi"]


def test_the_end_of_a_jwt_is_read_and_nothing_else_is_one():
    assert expiry_of("e30.eyJleHAiOiAxODAwMDAwMDAwfQ.x") == NOW
    for value in (True, "5", None, float("nan"), float("inf"), -1, 0, 1e300, [], {}):
        assert instant(value) is None


@given(st.text(max_size=200) | st.from_regex(r"[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}\.x"))
def test_whatever_is_no_jwt_says_no_end(text):
    assert expiry_of(text) is None or isinstance(expiry_of(text), float)
