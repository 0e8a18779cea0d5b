"""Logging in through a browser: OIDC's authorization code flow with PKCE (RFC 6749, 7636, 9700).

What comes out is an access token and nothing else; who it belongs to, and whether they are let in,
the same authenticator decides that every API call goes through.
"""

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

from api.auth.https import Post, Unreachable
from api.auth.keys import is_signed
from api.auth.provider import Provider
from api.auth.tokens import MAX_LIFETIME_S, Claimed, read_id_token
from api.auth.users import MAX_TOKEN, InvalidToken, ProviderUnavailable
from specs.faults import InvalidSpec
from specs.json_text import UnreadableJson, read_json
from specs.timed import Deadline

PATIENCE_S: Final = 10.0
"""Longest time that turning a code into a token may take."""

PENDING_S: Final = 600.0
"""How long somebody may take over logging in at the provider."""

MAX_CODE: Final = 4096

BEYOND_A_PAGE: Final = frozenset({"offline_access"})
"""Scopes that a page does not need: its session ends with the access token."""


class LoginRefused(InvalidToken):
    """The login did not come to its end. `why` quotes nothing that was received."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A login under way, to be kept by the browser that began it, sealed.

    `began_at` is in seconds since 1970.
    """

    issuer: str
    state: str
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)
    began_at: float


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """The access token of a login, whose it is, and when it ends, in seconds since 1970."""

    token: str = field(repr=False)
    subject: str
    expires_at: float


class CodeLogin:
    """Logs people in at one provider, as the public client `client_id`."""

    def __init__(
        self,
        provider: Provider,
        post: Post,
        *,
        client_id: str,
        scopes: Sequence[str],
        now: Callable[[], float] = time.time,
    ) -> None:
        self.issuer = provider.issuer
        self._provider = provider
        self._post = post
        self._client_id = client_id
        self._scopes = [scope for scope in scopes if scope not in BEYOND_A_PAGE]
        self._now = now

    def begin(self, redirect_uri: str) -> tuple[Pending, str]:
        """Return a new login, and the address that the browser is sent to.

        Raises: ProviderUnavailable.
        """
        login_url, _ = self._provider.login_urls(Deadline(PATIENCE_S))
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        pending = Pending(self.issuer, state, nonce, verifier, self._now())
        query = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": redirect_uri,
            "scope": " ".join(self._scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge_of(verifier),
            "code_challenge_method": "S256",
        }
        return pending, f"{login_url}{'&' if '?' in login_url else '?'}{urlencode(query)}"

    def finish(self, pending: Pending, told: Mapping[str, str], redirect_uri: str) -> LoggedIn:
        """Return the login that the provider's answer `told`, the query of its redirect, ends.

        Raises: LoginRefused; InvalidToken; ProviderUnavailable.
        """
        deadline = Deadline(PATIENCE_S)
        code = code_of(pending, told, issuer=self.issuer, now=self._now())
        _, token_url = self._provider.login_urls(deadline)
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "client_id": self._client_id,
            "code_verifier": pending.verifier,
        }
        answer = self._exchanged(token_url, form, deadline)
        claimed = self._identified(answer.get("id_token"), pending, deadline)
        token = answer.get("access_token")
        if not isinstance(token, str) or not 0 < len(token) <= MAX_TOKEN or not token.isascii():
            raise LoginRefused("the provider answered without an access token")
        if str(answer.get("token_type", "")).lower() != "bearer":
            raise LoginRefused("the provider answered with no bearer token")
        return LoggedIn(token, claimed.subject, self._now() + lifetime_of(answer))

    def _exchanged(
        self, url: str, form: Mapping[str, str], deadline: Deadline
    ) -> Mapping[str, Any]:
        try:
            answer = self._post(url, deadline, form=form)
        except (Unreachable, TimeoutError) as error:
            raise ProviderUnavailable("the identity provider can't be asked now") from error
        if answer.status >= 500:
            raise ProviderUnavailable("the identity provider can't answer now")
        if answer.status != 200:
            raise LoginRefused("the provider does not take the code")
        try:
            tree = read_json(answer.body)
        except (UnreadableJson, InvalidSpec) as error:
            raise LoginRefused("the provider answered no JSON") from error
        if not isinstance(tree, dict):
            raise LoginRefused("the provider answered no JSON object")
        return tree

    def _identified(self, id_token: object, pending: Pending, deadline: Deadline) -> Claimed:
        if not isinstance(id_token, str):
            raise LoginRefused("the provider answered without an ID token")
        claimed = read_id_token(
            id_token,
            issuer=self.issuer,
            client_id=self._client_id,
            nonce=pending.nonce,
            now=self._now(),
        )
        key = self._provider.key(claimed.key_id, claimed.algorithm, deadline)
        if key is None or not is_signed(id_token, algorithm=claimed.algorithm, key=key):
            raise LoginRefused("the signature of the ID token is none of its issuer's")
        return claimed


def challenge_of(verifier: str) -> str:
    """Return the S256 challenge of a PKCE verifier (RFC 7636, 4.2)."""
    digest = hashlib.sha256(verifier.encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def code_of(pending: Pending, told: Mapping[str, str], *, issuer: str, now: float) -> str:
    """Return the code of an answer to this very login. Raises: LoginRefused."""
    if not hmac.compare_digest(told.get("state", "").encode(), pending.state.encode()):
        raise LoginRefused("the answer is to another login")
    if now - pending.began_at > PENDING_S:
        raise LoginRefused("the login took too long")
    # RFC 9207: a provider that says who it is must be the one that was asked.
    if told.get("iss", issuer) != issuer:
        raise LoginRefused("the answer is another provider's")
    code = told.get("code", "")
    if "error" in told or not 0 < len(code) <= MAX_CODE:
        raise LoginRefused("the provider let nobody in")
    return code


def lifetime_of(answer: Mapping[str, Any]) -> float:
    """Return how long the access token lives, in seconds; an hour where the answer says nothing."""
    lives_s = answer.get("expires_in")
    if isinstance(lives_s, bool) or not isinstance(lives_s, int | float) or not lives_s > 0:
        return 3600.0
    return min(float(lives_s), MAX_LIFETIME_S)
