"""Contexts: which server and which token win, and the file that names them."""

import json
import os
import stat
from pathlib import Path

import pytest

UNSET = {"AI4PAPI_SERVER": "", "AI4PAPI_TOKEN": ""}


@pytest.fixture
def token_file(me, elsewhere) -> Path:
    path = Path("me.token")
    path.write_text(me.token)
    return path


@pytest.fixture
def known(cli, server, token_file):
    """A context `here` for the server, with a token, and one for a server that is not there."""
    assert cli("context", "set", "here", "--server", server.url, "--token-file", str(token_file))
    assert cli("context", "set", "far", "--server", "https://far.example/papi").exit_code == 0
    return cli


def kept() -> Path:
    return Path(os.environ["XDG_CONFIG_HOME"], "ai4papi", "contexts.json")


def who(cli, *arguments: str, **env: str):
    result = cli("whoami", "-o", "json", *arguments, env={**UNSET, **env})
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    return told["server"]["from"], told["token"]["from"]


def test_the_first_context_is_in_use_at_once_and_nobody_else_can_read_it(known, server, token_file):
    rows = [line.split() for line in known("context", "list").stdout.splitlines()[1:]]
    assert rows == [
        ["far", "https://far.example:443/papi", "-"],
        ["*", "here", server.url, str(token_file.absolute())],
    ]
    assert stat.S_IMODE(kept().stat().st_mode) == 0o600
    assert who(known) == ("context here", str(token_file.absolute()))
    assert known("context", "list", "-o", "name").stdout == "far\nhere\n"


def test_an_option_wins_over_the_environment_and_that_over_the_context_in_use(
    known, server, me, token_file
):
    known("context", "use", "far")
    file = str(token_file)
    assert who(known, "--context", "here") == (
        "context here, by --server",
        f"{Path(file).absolute()}",
    )
    assert who(known, AI4PAPI_CONTEXT="here")[0] == "context here, by AI4PAPI_CONTEXT"
    by_address = {"AI4PAPI_SERVER": server.url, "AI4PAPI_CONTEXT": "far"}
    assert who(known, **by_address, AI4PAPI_TOKEN=me.token) == ("AI4PAPI_SERVER", "AI4PAPI_TOKEN")
    said = ("--server", server.url, "--token-file", file)
    assert who(known, *said, AI4PAPI_SERVER="https://far.example") == ("--server", "--token-file")


def test_a_contexts_token_goes_to_its_server_only(known):
    result = known("whoami", "--server", "https://other.example", env=UNSET)
    assert result.exit_code == 5
    assert "not logged in to https://other.example:443" in result.stderr


def test_a_context_that_is_deleted_is_used_no_more(known, server):
    assert known("context", "delete", "here").stdout == "context here deleted\n"
    assert json.loads(known("context", "list", "-o", "json").stdout) == {
        "items": [
            {
                "name": "far",
                "current": False,
                "server": "https://far.example:443/papi",
                "tokenFile": "",
            }
        ]
    }
    result = known("whoami", env=UNSET)
    assert "http://127.0.0.1:8080" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("get", "--context", "hree"), "there is no context 'hree'\nhint: Did you mean here?"),
        (("get", "--server", "api.example"), "there is no context 'api.example'"),
        (("context", "use", "none"), "next: ai4papi context list"),
        (("context", "set", "a b", "--server", "https://a.example"), "'a b' is no name"),
        (("context", "set", "a", "--server", "http://a.example"), "in the clear"),
        (("context", "set", "a", "--server", "https://u:pw@a.example"), "no user, password"),
        (("context", "set", "a", "--server", "https://a.example", "--token-file", "x"), "x can't"),
    ],
)
def test_what_can_not_be_a_context_ends_with_2_and_a_sentence(known, arguments, said):
    result = known(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert "pw@" not in result.stderr


@pytest.mark.parametrize("text", ["[]", "{", '{"contexts": {"a": 1}}', '{"contexts": []}'])
def test_a_file_of_contexts_that_is_none_is_said_and_left_alone(known, text):
    kept().write_text(text)
    result = known("context", "list")
    assert result.exit_code == 1
    assert "can't be used: it is not what `ai4papi context set` writes" in result.stderr
    assert kept().read_text() == text
    # Who names the server needs no context.
    assert known("get").exit_code == 0


def test_a_file_of_contexts_that_others_can_change_is_not_trusted(known):
    kept().chmod(0o622)
    result = known("get", env=UNSET)
    assert result.exit_code == 1
    assert "others can read or change it" in result.stderr
