"""Webhooks of git hosts: whether one is genuine, and which sources it is about (pure).

A webhook only says *look*: what a source holds is read from the repository itself. So a replayed
one costs a look, and what a payload claims is believed for nothing else.
"""

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from api.auth import NotAuthenticated
from specs.faults import Forbidden

SIGNATURES: Final = ("x-hub-signature-256", "x-hub-signature", "x-gitea-signature")
"""Headers that carry the HMAC-SHA256 of the body in hexadecimal digits, `sha256=` before it or not:
those of GitHub and Forgejo, of Bitbucket, and of Gitea."""

TOKENS: Final = ("x-gitlab-token",)
"""Headers that carry the secret itself, as GitLab sends it."""

REPOSITORIES: Final = ("repository", "project")
"""Where payloads speak of the repository; the addresses in it end in `url`."""


class BadSignature(NotAuthenticated):
    """The webhook was not signed with our secret."""


def refuse_unsigned(headers: Mapping[str, str], body: bytes, secret: str | None) -> None:
    """Do nothing where the webhook is signed with `secret`.

    Raises:
        Forbidden: this site takes no webhooks.
        BadSignature: it is not signed, or with another secret.
    """
    if secret is None:
        raise Forbidden("this site takes no webhooks: its operator set no AI4PAPI_HOOK_SECRET")
    expected = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    given = [headers.get(name, "").removeprefix("sha256=") for name in SIGNATURES]
    signed = any(_equal(one, expected) for one in given if one)
    told = any(_equal(headers[name], secret) for name in TOKENS if name in headers)
    if not signed and not told:
        raise BadSignature(
            f"none of {', '.join((*SIGNATURES, *TOKENS))} is made with this site's secret"
        )


def sources_meant(payload: object, urls: Mapping[str, str]) -> Sequence[str]:
    """Return the ids of the sources that a webhook is about; all, where it can't be told.

    `urls` are the repositories' addresses by source. One repository has many addresses, so only
    what is behind the host is compared.
    """
    named = {_path(address) for address in _addresses(payload)} - {""}
    meant = [source for source, url in urls.items() if _path(url) in named]
    return meant or list(urls)


def is_about(payload: object, urls: Iterable[str]) -> bool:
    """Whether the webhook is about a repository that one of the addresses leads into.

    Also where it names no repository: then it may be about any.
    """
    named = {_path(address) for address in _addresses(payload)} - {""}
    return not named or any(f"/{name}/" in _inside(url) for url in urls for name in named)


def _inside(url: str) -> str:
    """Return the path of an address with `/` around it and no `.git`, in lower case."""
    try:
        path = urlsplit(url).path
    except ValueError:
        return ""
    return f"/{path.strip('/').lower()}/".replace(".git/", "/")


def _addresses(payload: object) -> Iterator[str]:
    for key in REPOSITORIES:
        repository: Any = payload.get(key) if isinstance(payload, dict) else None
        if isinstance(repository, dict):
            for name, value in repository.items():
                if name.endswith("url") and isinstance(value, str):
                    yield value


def _path(address: str) -> str:
    """Return `team/specs` of https://host/team/specs.git and git@host:team/specs.git alike."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    path = parts.path if parts.scheme and "://" in address else address.partition(":")[2]
    return path.strip("/").removesuffix(".git").lower()


def _equal(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "backslashreplace"), other.encode())
