"""The token of a login while a command runs: renewed before it expires, however long that takes."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from api.cli.failures import Code, CommandFailed, NoAnswer
from api.cli.logins import Login, Logins

LEEWAY_S: Final = 60.0
"""How long before its end a token is replaced: a request and a clock may be late."""


def renewed(login: Login, *, now: Callable[[], float] = time.time) -> Login:
    """Return the login with a new token, from where its tokens come. Raises: CommandFailed."""
    if login.source == "agent":
        from api.cli.agent import ask_agent  # noqa: PLC0415

        token, expires_at = ask_agent(login.issuer, login.account)
        return replace(login, access_token=token, expires_at=expires_at)
    if not login.refresh_token:
        raise CommandFailed(
            Code.NOT_ALLOWED,
            "the token has expired, and there is nothing to renew it with",
            next_command="ai4papi login",
        )
    from api.cli.provider import renew  # noqa: PLC0415

    return renew(login, now=now)


class Session:
    """Gives the token of the login at `server`; what is renewed is kept for the next command."""

    def __init__(
        self,
        server: str,
        logins: Logins,
        login: Login,
        *,
        now: Callable[[], float] = time.time,
        renew: Callable[[Login], Login] = renewed,
    ) -> None:
        self._server = server
        self._logins = logins
        self._now = now
        self._renew = renew
        self.login = login

    def __call__(self) -> str:
        """Return a token that is good for a while. Raises: CommandFailed."""
        if not self._lasts(LEEWAY_S):
            with self._logins.locked():
                self.login = self._newer()
        return self.login.access_token

    def _newer(self) -> Login:
        kept = self._logins.read(self._server)
        if kept is None:
            raise CommandFailed(
                Code.NOT_ALLOWED, "you logged out meanwhile", next_command="ai4papi login"
            )
        if kept != self._without_agent_token():
            # Another command renewed it, or somebody logged in anew.
            self.login = kept
            if self._lasts(LEEWAY_S):
                return kept
        try:
            newer = self._renew(kept)
        except NoAnswer:
            if self._lasts(0):
                return self.login
            raise
        if newer.source != "agent":  # an agent keeps its tokens itself
            self._logins.write(self._server, newer)
        return newer

    def _without_agent_token(self) -> Login:
        if self.login.source != "agent":
            return self.login
        return replace(self.login, access_token="", expires_at=None)

    def _lasts(self, for_s: float) -> bool:
        """Whether the token is good for so long; one that says no end is asked about by use."""
        if not self.login.access_token:
            return False
        return self.login.expires_at is None or self.login.expires_at - self._now() > for_s
