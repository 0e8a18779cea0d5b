"""Who an OIDC access token belongs to, decided by us first and by flaat after.

Read the token, ask only the provider that it names and that is trusted, check the signature, ask
who it is now, find the roles. Each step is refused before the next one costs anything.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from api.auth.flights import Flights
from api.auth.keys import is_signed
from api.auth.membership import Rules, grants_of, roles_of
from api.auth.provider import Provider
from api.auth.recent import RecentUsers, digest_of
from api.auth.second_opinion import SecondOpinion
from api.auth.tokens import Claimed, read_token
from api.auth.users import InvalidToken, NoMembership, ProviderUnavailable, Role, User
from specs.contacts import is_address
from specs.model import Owner
from specs.timed import Deadline

PATIENCE_S: Final = 5.0
"""Longest time that one token may take, everything that a provider is asked included."""

MAX_NAME: Final = 255
NAME_CLAIMS: Final = ("name", "preferred_username", "email")

_log = logging.getLogger(__name__)


class OidcAuthenticator:
    """Turns access tokens of trusted providers into users. Safe to use from any thread.

    `now` gives seconds since 1970, `monotonic` ages. `patience_s` is how long a token may take.
    """

    def __init__(
        self,
        providers: Iterable[Provider],
        rules: Rules,
        *,
        audiences: Iterable[str] = (),
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._providers = {provider.issuer: provider for provider in providers}
        self._rules = rules
        self._audiences = frozenset(audiences)
        self._now = now
        self._monotonic = monotonic
        self._patience_s = patience_s
        self._opinion = SecondOpinion(rules)
        self._recent = RecentUsers(now=now, monotonic=monotonic)
        self._asking: Flights[bytes, User] = Flights()

    def known(self, token: str) -> User | None:
        """Return the user, where the token was found good within the last minute."""
        return self._recent.get(digest_of(token))

    def __call__(self, token: str) -> User:
        """Return the user; asks their provider where that was not done within the last minute.

        Raises: InvalidToken; ProviderUnavailable; NoMembership.
        """
        # Each look of a long poll comes here: to read the token anew would cost more than the look.
        if (user := self.known(token)) is not None:
            return user
        try:
            claimed = read_token(
                token, issuers=self._providers, audiences=self._audiences, now=self._now()
            )
            return self._recognised(token, claimed)
        except InvalidToken as refused:
            _log.debug("token refused", extra={"reason": refused.why})
            raise

    def _recognised(self, token: str, claimed: Claimed) -> User:
        digest = digest_of(token)

        def work() -> User:
            return self._recent.get(digest) or self._asked(token, digest, claimed)

        try:
            return self._asking.share(digest, work, wait_s=self._patience_s)
        except TimeoutError:
            raise ProviderUnavailable("the identity provider takes too long") from None

    def _asked(self, token: str, digest: bytes, claimed: Claimed) -> User:
        asked_at = self._monotonic()
        deadline = Deadline(self._patience_s)
        provider = self._providers[claimed.issuer]
        key = provider.key(claimed.key_id, claimed.algorithm, deadline)
        if key is None or not is_signed(token, algorithm=claimed.algorithm, key=key):
            raise InvalidToken("its signature is none of its issuer's")
        userinfo = provider.userinfo(token, claimed.subject, deadline)
        user = self._user(claimed, userinfo)
        self._recent.keep(digest, user, asked_at=asked_at, expires_at=claimed.expires_at)
        return user

    def _user(self, claimed: Claimed, userinfo: Mapping[str, object]) -> User:
        owner = Owner(claimed.issuer, claimed.subject)
        grants = grants_of(self._rules, owner, token=claimed.claims, userinfo=userinfo)
        roles = roles_of(self._opinion.confirmed(owner, grants))
        if not roles:
            served = ", ".join(self._rules.vos)
            raise NoMembership(f"you have no role in a VO that is served here ({served})")
        operator = all(Role.OPERATOR in roles.get(vo, ()) for vo in self._rules.vos)
        return User(
            owner,
            shown_name(userinfo, owner.sub),
            roles,
            operator=operator,
            email=vouched_email(userinfo if "email" in userinfo else claimed.claims),
        )


def shown_name(userinfo: Mapping[str, object], subject: str) -> str:
    """Return what people call somebody: the first name that says anything, else the subject."""
    for claim in NAME_CLAIMS:
        value = userinfo.get(claim)
        if isinstance(value, str):
            printable = "".join(char for char in value[: 2 * MAX_NAME] if char.isprintable())
            if name := printable.strip()[:MAX_NAME]:
                return name
    return subject


def vouched_email(claims: Mapping[str, object]) -> str:
    """Return the address that a provider gives and does not call unverified, "" where none is."""
    email, verified = claims.get("email"), claims.get("email_verified", True)
    # Some providers write booleans as text.
    vouched = verified is True or (isinstance(verified, str) and verified.lower() == "true")
    return email if vouched and isinstance(email, str) and is_address(email) else ""
