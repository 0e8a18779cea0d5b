"""Who is asking, and what they may do (pure).

`Authenticator` is the one door of authentication: every face calls it and nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, Protocol

from specs.faults import Forbidden
from specs.model import Owner, Reach

MAX_TOKEN: Final = 16_384
"""Longest `Authorization` header that is looked at, in characters."""


class NotAuthenticated(Exception):
    """Nobody we know sent this. Log in (again), then repeat the request."""


class InvalidToken(NotAuthenticated):
    """A token was sent, and it is nobody's here.

    The caller is told one sentence whatever is wrong; `why` is for the log and quotes nothing.
    """

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__("the token is not valid here, or not any more; log in again")


class NoMembership(Forbidden):
    """The token is good, and its user has no role in any VO that is served."""


class ProviderUnavailable(Exception):
    """The identity provider did not answer, so nobody can say who sent this. Try again later."""


class AuthFault(Exception):
    """Authentication can't be set up as configured; `str()` says what to change."""


class Role(StrEnum):
    """What somebody may do in one VO.

    A `user` has deployments of their own. An `editor` changes the catalogue of modules. An
    `operator` sees and changes everybody's deployments and lets held deletions through. An
    `auditor` sees everybody's. None includes another.
    """

    USER = "user"
    EDITOR = "editor"
    OPERATOR = "operator"
    AUDITOR = "auditor"


SEES_ALL: Final = frozenset({Role.OPERATOR, Role.AUDITOR})
CHANGES_ALL: Final = frozenset({Role.OPERATOR})


@dataclass(frozen=True, slots=True)
class User:
    """A known caller with their roles by VO.

    `operator`: of every VO that the site serves, and so of what belongs to no VO. `owner` is whose
    deployments are meant: their own, or in `acting_for` another's. `email` is one that their
    provider vouches for, else "".
    """

    owner: Owner
    name: str
    roles: Mapping[str, frozenset[Role]]
    operator: bool = False
    acts_for_another: bool = False
    email: str = field(default="", repr=False)

    @property
    def vos(self) -> tuple[str, ...]:
        """The VOs that they may deploy in, sorted."""
        return self.vos_as(frozenset({Role.USER}))

    @property
    def reach(self) -> Reach:
        """Whose records they may look at."""
        return Reach(self.owner, frozenset(self.roles))

    def everybody(self) -> Reach:
        """Return the reach of who looks at everybody's records.

        Raises: Forbidden where they have no role for that.
        """
        return Reach(None, frozenset(self._vos_of_all(SEES_ALL)))

    def looking_at(self, owner: Owner) -> "User":
        """Return who looks at the deployments of `owner`. Raises: Forbidden."""
        return self._for(owner, SEES_ALL)

    def acting_for(self, owner: Owner) -> "User":
        """Return who changes the deployments of `owner` in their name. Raises: Forbidden."""
        return self._for(owner, CHANGES_ALL)

    def _for(self, owner: Owner, any_of: frozenset[Role]) -> "User":
        if owner == self.owner:
            return self
        roles = {vo: self.roles[vo] | {Role.USER} for vo in self._vos_of_all(any_of)}
        return replace(
            self, owner=owner, roles=roles, operator=False, acts_for_another=True, email=""
        )

    def _vos_of_all(self, any_of: frozenset[Role]) -> tuple[str, ...]:
        vos = self.vos_as(any_of)
        if not vos:
            names = " or ".join(sorted(any_of))
            raise Forbidden(f"other people's deployments are for who is {names} of their VO")
        return vos

    def vos_as(self, any_of: frozenset[Role]) -> tuple[str, ...]:
        """Return the VOs in which they have one of these roles, sorted."""
        return tuple(sorted(vo for vo, roles in self.roles.items() if roles & any_of))


class Authenticator(Protocol):
    """Turns a bearer token into its user. Safe to use from any thread."""

    def known(self, token: str) -> User | None:
        """Return the user without waiting, or None where that takes a call of this object."""
        ...

    def __call__(self, token: str) -> User:
        """Return the user; may wait for the identity provider.

        Raises: NotAuthenticated; ProviderUnavailable; NoMembership.
        """
        ...


def bearer_token(headers: list[str]) -> str:
    """Return the token of a request's `Authorization` headers. Raises `NotAuthenticated`."""
    if not headers:
        raise NotAuthenticated("the request carries no Authorization header")
    if len(headers) > 1 or len(headers[0]) > MAX_TOKEN:
        raise InvalidToken("not one header of at most 16384 characters")
    scheme, _, token = headers[0].strip().partition(" ")
    token = token.strip(" ")
    if scheme.lower() != "bearer" or not token:
        raise NotAuthenticated("the Authorization header is not `Bearer <token>`")
    if " " in token:
        raise InvalidToken("more than one word")
    return token
