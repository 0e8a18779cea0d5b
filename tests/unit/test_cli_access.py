"""Which server and which token, and where a token never goes."""

from pathlib import Path

import pytest

from api.cli.access import Server, find_access, read_server
from api.cli.failures import Code, CommandFailed

SECRET = "s3cret-token"


@pytest.fixture
def local_token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{SECRET}\n")
    return path


def test_the_local_server_and_its_token_are_the_default(local_token: Path) -> None:
    access = find_access(None, None, environ={}, local_token=local_token)
    assert access.server == Server("http", "127.0.0.1", 8080)
    assert access.token == SECRET


def test_an_option_wins_over_the_environment_and_that_over_the_local_file(
    tmp_path: Path, local_token: Path
) -> None:
    environ = {"AI4PAPI_SERVER": "https://b.example", "AI4PAPI_TOKEN": "from-environment"}
    given = tmp_path / "given"
    given.write_text("from-option")
    by_environment = find_access(None, None, environ=environ, local_token=local_token)
    assert str(by_environment.server) == "https://b.example:443"
    assert by_environment.token == "from-environment"
    by_option = find_access("https://a.example/papi/", given, environ=environ)
    assert str(by_option.server) == "https://a.example:443/papi"
    assert by_option.token == "from-option"


def test_the_local_token_goes_to_no_other_server(local_token: Path) -> None:
    with pytest.raises(CommandFailed) as caught:
        find_access("https://api.example", None, environ={}, local_token=local_token)
    assert caught.value.code is Code.NOT_ALLOWED


@pytest.mark.parametrize(
    "address",
    [
        "http://api.example",
        "http://127.0.0.1.evil.example",
        "http://localhost.evil.example",
        "http://0x7f.1",
        "http://10.0.0.1:8080",
        "http://[2001:db8::1]",
    ],
)
def test_no_token_travels_in_the_clear(address: str) -> None:
    with pytest.raises(CommandFailed, match="in the clear") as caught:
        find_access(address, None, environ={"AI4PAPI_TOKEN": SECRET})
    assert caught.value.code is Code.USAGE


@pytest.mark.parametrize(
    "address", ["http://localhost:1", "http://127.9.9.9", "http://[::1]:8080", "https://a.example"]
)
def test_loopback_and_https_get_the_token(address: str) -> None:
    assert find_access(address, None, environ={"AI4PAPI_TOKEN": SECRET}).token == SECRET


@pytest.mark.parametrize(
    "address",
    [
        "api.example",
        "ftp://api.example",
        "https://",
        f"https://me:{SECRET}@api.example",
        f"https://api.example/?token={SECRET}",
        "https://api.example/#x",
        "https://api.example:99999",
        "https://[::1",
        "https://a b.example",
        "https://api.example/a b",
    ],
)
def test_an_address_that_is_none_is_refused_without_repeating_it(address: str) -> None:
    with pytest.raises(CommandFailed) as caught:
        read_server(address)
    assert caught.value.code is Code.USAGE
    assert SECRET not in "\n".join(caught.value.lines())


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "a\x00b", "ö", "x" * 20_000])
def test_a_token_that_can_be_none_is_refused_without_showing_it(tmp_path: Path, token: str) -> None:
    path = tmp_path / "token"
    path.write_text(token)
    with pytest.raises(CommandFailed) as caught:
        find_access(None, path, environ={})
    assert caught.value.code is Code.NOT_ALLOWED
    assert not token or token not in "\n".join(caught.value.lines())


def test_a_token_file_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed) as caught:
        find_access(None, tmp_path / "none", environ={})
    assert caught.value.code is Code.USAGE


def test_a_token_is_not_in_what_is_shown_of_an_access(local_token: Path) -> None:
    assert SECRET not in repr(find_access(None, local_token, environ={}))
