"""Who gets in with which token."""

import threading

import pytest

from api.auth import (
    LOCAL_OWNER,
    AuthFault,
    LocalAuthenticator,
    NotAuthenticated,
    bearer_token,
    local_token,
    local_token_file,
)


@pytest.mark.parametrize(
    "header", ["Bearer abc", "bearer abc", "BEARER abc", "Bearer  abc", " Bearer abc "]
)
def test_the_scheme_is_read_in_any_case(header):
    assert bearer_token([header]) == "abc"


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [""],
        ["Bearer"],
        ["Bearer "],
        ["abc"],
        ["Basic abc"],
        ["Bearer a b"],
        ["Bearer a,Bearer b"],
        ["Bearer abc", "Bearer abc"],
        ["Bearer " + "a" * 17_000],
    ],
)
def test_what_is_not_one_bearer_token_is_refused(headers):
    with pytest.raises(NotAuthenticated):
        bearer_token(headers)


def test_the_local_token_is_the_local_user():
    user = LocalAuthenticator(token="s3cret", vo="vo.a")("s3cret")
    assert user.owner == LOCAL_OWNER
    assert user.vos == ("vo.a",)
    assert user.operator


@pytest.mark.parametrize("token", ["", "s3cre", "s3cret ", "S3CRET", "é", "\ud800", "s3cret\0"])
def test_any_other_token_is_nobody(token):
    with pytest.raises(NotAuthenticated) as refused:
        LocalAuthenticator(token="s3cret", vo="vo.a")(token)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///var/ai4papi.db", "var/token"),
        ("sqlite:////srv/x/ai4papi.db?timeout=5", "/srv/x/token"),
        ("sqlite+pysqlite:///a/b.db", "a/token"),
        ("sqlite://", "var/token"),
        ("sqlite:///:memory:", "var/token"),
        ("postgresql://host/db", "var/token"),
    ],
)
def test_the_token_lies_beside_the_store(url, path):
    assert str(local_token_file(url)) == path


def test_a_token_is_made_once_for_its_owner_only(tmp_path):
    path = tmp_path / "new" / "token"
    token = local_token(path)
    assert len(token) >= 40
    assert path.stat().st_mode & 0o777 == 0o600
    assert local_token(path) == token
    assert [p.name for p in path.parent.iterdir()] == ["token"]


def test_servers_that_start_at_once_agree_on_the_token(tmp_path):
    tokens = []
    threads = [
        threading.Thread(target=lambda: tokens.append(local_token(tmp_path / "token")))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tokens) == 8
    assert len(set(tokens)) == 1


def test_a_token_that_others_can_read_is_refused(tmp_path):
    path = tmp_path / "token"
    path.write_text("abc")
    path.chmod(0o644)
    with pytest.raises(AuthFault, match="chmod 600"):
        local_token(path)


def test_an_empty_token_file_is_refused(tmp_path):
    path = tmp_path / "token"
    path.touch(0o600)
    with pytest.raises(AuthFault, match="no token"):
        local_token(path)
