"""Talks to one configured identity provider, and to nobody that it points at.

Trouble of any kind is `ProviderUnavailable`: nobody is refused for what they can't help. Keys are
kept for `KEYS_S`, a failure is never kept.
"""

import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import Any, Final
from urllib.parse import urlsplit

from api.auth.flights import Flights
from api.auth.https import Answer, Get, Unreachable
from api.auth.keys import Keys, PublicKey, read_keys
from api.auth.users import InvalidToken, ProviderUnavailable
from specs.faults import InvalidSpec
from specs.json_text import UnreadableJson, read_json
from specs.timed import Deadline

KEYS_S: Final = 300.0
"""How long published keys are used; a key that the provider withdrew counts at most so long."""

ROTATION_S: Final = 30.0
"""Least time between two looks for a key that is not known: anybody can name one."""

CONVERSATIONS: Final = 8
"""Most requests to one provider at a time; who can't begin one in time is told to come back."""

DISCOVERY: Final = "/.well-known/openid-configuration"

_URL: Final = re.compile(r"https://[!-~]+", re.ASCII)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Published:
    """What a provider says of itself; `at` is when it was asked.

    The addresses of the login in a browser are None where it names none.
    """

    userinfo_url: str
    keys: Keys
    at: float
    authorization_url: str | None = None
    token_url: str | None = None


class Provider:
    """One trusted issuer. Safe to use from any thread."""

    def __init__(
        self, issuer: str, get: Get, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.issuer = issuer
        self._get = get
        self._monotonic = monotonic
        self._published: Published | None = None
        self._asking: Flights[str, Published] = Flights()
        self._slots = BoundedSemaphore(CONVERSATIONS)

    def key(self, key_id: str, algorithm: str, deadline: Deadline) -> PublicKey | None:
        """Return the key of this name for this algorithm, or None where the provider has none.

        Raises: ProviderUnavailable.
        """
        published = self._current(deadline)
        found = published.keys.get((key_id, algorithm))
        if found is None and self._age(published) >= ROTATION_S:
            found = self._ask_again(published, deadline).keys.get((key_id, algorithm))
        return found

    def userinfo(self, token: str, subject: str, deadline: Deadline) -> Mapping[str, object]:
        """Return what the provider says now of the token's user, `subject`.

        Raises: InvalidToken where it does not know the token, or knows it as another's;
            ProviderUnavailable.
        """
        answer = self._ask(self._current(deadline).userinfo_url, deadline, token=token)
        if answer.status in (401, 403):
            raise InvalidToken("its provider does not know it, or not any more")
        claims = self._object(answer, "userinfo")
        if claims.get("sub") != subject:
            raise InvalidToken("its provider knows it as another's")
        return claims

    def login_urls(self, deadline: Deadline) -> tuple[str, str]:
        """Return where a browser logs in, and where a code is turned into tokens.

        Raises: ProviderUnavailable.
        """
        published = self._current(deadline)
        if published.authorization_url is None or published.token_url is None:
            raise self._trouble("discovery", "it offers no login in a browser")
        return published.authorization_url, published.token_url

    def _current(self, deadline: Deadline) -> Published:
        published = self._published
        if published is not None and self._age(published) < KEYS_S:
            return published
        return self._ask_again(published, deadline)

    def _age(self, published: Published) -> float:
        return self._monotonic() - published.at

    def _ask_again(self, seen: Published | None, deadline: Deadline) -> Published:
        def work() -> Published:
            # Somebody may have asked between our look and our turn.
            published = self._published
            if published is None or published is seen:
                published = self._published = self._read_published(deadline)
            return published

        try:
            return self._asking.share("published", work, wait_s=deadline.left_s())
        except TimeoutError:
            raise self._trouble("keys", "the time is up") from None

    def _read_published(self, deadline: Deadline) -> Published:
        at = self._monotonic()
        url = self.issuer.rstrip("/") + DISCOVERY
        document = self._object(self._ask(url, deadline), "discovery")
        if document.get("issuer") != self.issuer:
            raise self._trouble("discovery", "it names another issuer")
        userinfo_url = self._own(document.get("userinfo_endpoint"), "userinfo_endpoint")
        jwks_url = self._own(document.get("jwks_uri"), "jwks_uri")
        try:
            keys = read_keys(self._object(self._ask(jwks_url, deadline), "keys"))
        except ValueError as error:
            raise self._trouble("keys", str(error)) from error
        login, tokens = (
            None if document.get(name) is None else self._own(document[name], name)
            for name in ("authorization_endpoint", "token_endpoint")
        )
        return Published(userinfo_url, keys, at, login, tokens)

    def _own(self, url: object, name: str) -> str:
        # A provider that was broken into must not send us into our own network.
        if isinstance(url, str) and _URL.fullmatch(url) and origin(url) == origin(self.issuer):
            return url
        raise self._trouble("discovery", f"its {name} is not an https address of its own host")

    def _ask(self, url: str, deadline: Deadline, *, token: str | None = None) -> Answer:
        try:
            if not self._slots.acquire(timeout=deadline.left_s()):
                raise self._trouble("request", "too many are under way")
        except TimeoutError:
            raise self._trouble("request", "the time is up") from None
        try:
            return self._get(url, deadline, token=token)
        except Unreachable as error:
            raise self._trouble("request", str(error)) from error
        finally:
            self._slots.release()

    def _object(self, answer: Answer, what: str) -> Mapping[str, object]:
        if answer.status != 200:
            raise self._trouble(what, f"it answered {answer.status}")
        try:
            tree: Any = read_json(answer.body)
        except (UnreadableJson, InvalidSpec):
            raise self._trouble(what, "it answered no JSON") from None
        if not isinstance(tree, dict):
            raise self._trouble(what, "it answered no JSON object")
        return tree

    def _trouble(self, what: str, why: str) -> ProviderUnavailable:
        told = {"issuer": self.issuer, "asked_for": what, "reason": why}
        _log.warning("identity provider in trouble", extra=told)
        return ProviderUnavailable("the identity provider can't be asked about your token now")


def origin(url: str) -> tuple[str, str | None, int] | None:
    """Return scheme, host and port of a URL; None where it is none."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    return parts.scheme, parts.hostname, 443 if port is None else port
