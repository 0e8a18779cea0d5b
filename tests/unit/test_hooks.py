"""Webhooks: which are genuine, and what they are about."""

import hashlib
import hmac

import pytest

from api.hooks import BadSignature, is_about, refuse_unsigned, sources_meant
from specs.faults import Forbidden

SECRET = "a secret of this site"
BODY = b'{"repository": {}}'
SIGNED = hmac.new(SECRET.encode(), BODY, hashlib.sha256).hexdigest()
OTHER = hmac.new(b"another secret", BODY, hashlib.sha256).hexdigest()


@pytest.mark.parametrize(
    "headers",
    [
        {"x-hub-signature-256": f"sha256={SIGNED}"},
        {"x-hub-signature": f"sha256={SIGNED}"},
        {"x-gitea-signature": SIGNED},
        {"x-gitlab-token": SECRET},
    ],
)
def test_every_hosts_way_of_signing_is_taken(headers: dict[str, str]) -> None:
    refuse_unsigned(headers, BODY, SECRET)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-hub-signature-256": ""},
        {"x-hub-signature-256": "sha256="},
        {"x-hub-signature-256": f"sha256={OTHER}"},
        {"x-hub-signature-256": f"sha1={SIGNED}"},
        {"x-hub-signature-256": SIGNED[:-1]},
        {"x-hub-signature-256": "sha256=\udcff"},
        {"x-gitea-signature": ""},
        {"x-gitlab-token": ""},
        {"x-gitlab-token": SIGNED},
        {"x-gitlab-token": SECRET + " "},
        {"authorization": f"Bearer {SECRET}"},
    ],
)
def test_nothing_else_is(headers: dict[str, str]) -> None:
    with pytest.raises(BadSignature):
        refuse_unsigned(headers, BODY, SECRET)


def test_another_body_is_not_what_was_signed() -> None:
    with pytest.raises(BadSignature):
        refuse_unsigned({"x-hub-signature-256": f"sha256={SIGNED}"}, BODY + b" ", SECRET)


def test_without_a_secret_no_webhook_is_taken() -> None:
    with pytest.raises(Forbidden):
        refuse_unsigned({"x-gitlab-token": "None"}, BODY, None)


URLS = {
    "team": "https://git.example.org/team/specs.git",
    "ssh": "git@git.example.org:other/specs.git",
    "disk": "file:///srv/git/third.git",
}


@pytest.mark.parametrize(
    ("payload", "meant"),
    [
        ({"repository": {"clone_url": "https://elsewhere/team/specs.git"}}, ["team"]),
        ({"repository": {"ssh_url": "git@host:Team/specs"}}, ["team"]),
        ({"repository": {"html_url": "https://host/other/specs"}}, ["ssh"]),
        ({"project": {"git_http_url": "https://gitlab/other/specs.git"}}, ["ssh"]),
        ({"repository": {"clone_url": "https://host/nobody/knows.git"}}, list(URLS)),
        ({"repository": {"clone_url": ["https://host/team/specs.git"]}}, list(URLS)),
        ({"repository": {"clone_url": "http://[bad/team"}}, list(URLS)),
        ({"repository": "team/specs"}, list(URLS)),
        ([], list(URLS)),
        ({"repository": {"url": ""}}, list(URLS)),
    ],
)
def test_a_payload_says_which_repository_was_pushed_to(payload: object, meant: list[str]) -> None:
    assert sources_meant(payload, URLS) == meant


@pytest.mark.parametrize("payload", [None, 3, "x", [], {}, {"repository": {}}])
def test_a_payload_that_says_nothing_means_all(payload: object) -> None:
    assert sources_meant(payload, URLS) == list(URLS)
    assert is_about(payload, [])


@pytest.mark.parametrize(
    ("url", "about"),
    [
        ("https://raw.example.org/team/a/main/metadata.json", True),
        ("https://git.example.org/team/a.git", True),
        ("https://git.example.org/group/Team/A/-/raw/main/x.yml", True),
        ("https://git.example.org/team/ab/main/x.yml", False),
        ("https://[bad/team/a", False),
        ("modules", False),
        ("", False),
    ],
)
def test_a_payload_is_about_what_lies_in_its_repository(url: str, about: bool) -> None:
    payload = {"repository": {"clone_url": "https://git.example.org/team/a.git"}}
    assert is_about(payload, [url]) is about
