"""What flaat says of a role that our own reading found: both must agree. The only importer of it.

flaat's requirements are asked over claims that were verified before; its own way to a token's
claims is never taken: one release hands them out unverified, and its switches in the environment
and its `flaat.conf` act there only.
"""

from collections.abc import Iterable
from importlib.metadata import version
from itertools import product
from typing import Final

from flaat.requirements import AllOf, HasSubIss, get_claim_requirement, get_vo_requirement
from flaat.user_infos import UserInfos

from api.auth.membership import Grant, Rules
from api.auth.users import AuthFault
from specs.model import Owner

UNSAFE_RELEASES: Final = frozenset({"1.3.1"})
"""Releases that take a forged token for anybody's."""


def refuse_unsafe_flaat(installed: str | None = None) -> None:
    """Raise `AuthFault` where the installed flaat must not be used."""
    release = version("flaat") if installed is None else installed
    if release in UNSAFE_RELEASES:
        raise AuthFault(
            f"flaat {release} takes a forged token for anybody's: install another, such as 1.3.0"
        )


class SecondOpinion:
    """flaat's requirements for the rules of a site, built once."""

    def __init__(self, rules: Rules) -> None:
        self._required = {
            (vo, rules.entitlements.claim): AllOf(HasSubIss(), _entitlements(rules, vo))
            for vo in rules.vos
        }
        if rules.realm_roles is not None:
            for vo in rules.vos:
                levels = [f"access:{vo}:{level}" for level in rules.realm_roles.levels]
                claim = rules.realm_roles.claim
                requirement = get_claim_requirement(levels, claim, match="one")
                self._required[vo, claim] = AllOf(HasSubIss(), requirement)

    def confirmed(self, owner: Owner, grants: Iterable[Grant]) -> list[Grant]:
        """Return the grants that flaat would give `owner` too."""
        return [grant for grant in grants if self._confirms(owner, grant)]

    def _confirms(self, owner: Owner, grant: Grant) -> bool:
        claims = {"iss": owner.iss, "sub": owner.sub}
        # Somebody who has their role by name: that they are who they are is all there is to ask.
        required = self._required.get((grant.vo, grant.claim), HasSubIss())
        if grant.claim not in claims:
            claims[grant.claim] = grant.value
        answer = required.is_satisfied_by(UserInfos(None, claims, None))
        return answer.is_satisfied is True


def _entitlements(rules: Rules, vo: str) -> object:
    rule = rules.entitlements
    named = [
        f"{rule.namespace}:group:{vo}:role={role}#{authority}"
        for role, authority in product(sorted(rule.roles), sorted(rule.authorities))
    ]
    return get_vo_requirement(named, rule.claim, match="one")
