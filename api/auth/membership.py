"""Which roles somebody has in which VO: from verified claims and the site's rules (pure)."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from api.auth.entitlements import read_entitlement, read_realm_role, texts_in
from api.auth.users import Role
from specs.model import Owner

NOTHING: Final[frozenset[Role]] = frozenset()


@dataclass(frozen=True, slots=True)
class EntitlementRule:
    """Entitlements of `namespace` by one of `authorities`; `roles` says what an URN's role gives.

    `from_token`: the token's own claim counts where the provider's userinfo has none.
    """

    claim: str
    namespace: str
    authorities: frozenset[str]
    roles: Mapping[str, frozenset[Role]]
    from_token: bool = False


@dataclass(frozen=True, slots=True)
class RealmRoleRule:
    """Realm roles `access:<vo>:<level>`; `claim` is a path with dots, `levels` what each gives."""

    claim: str
    levels: Mapping[str, frozenset[Role]]


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who has a role by name, in one VO or, with None, in every VO that is served."""

    owner: Owner
    role: Role
    vo: str | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """Who has which role at this site. Without `realm_roles` these are not read."""

    vos: tuple[str, ...]
    entitlements: EntitlementRule
    realm_roles: RealmRoleRule | None = None
    people: tuple[Person, ...] = ()


@dataclass(frozen=True, slots=True)
class Grant:
    """Roles in one VO, and the value of the claim that gives them."""

    vo: str
    roles: frozenset[Role]
    claim: str
    value: str


def grants_of(
    rules: Rules, owner: Owner, *, token: Mapping[str, object], userinfo: Mapping[str, object]
) -> Iterator[Grant]:
    """Yield everything that gives `owner` a role, from the claims of the token and of userinfo.

    Userinfo is asked for again every minute and is believed where both have a claim: what a token
    says stays as it was when the token was made.
    """
    yield from _by_entitlement(rules, token, userinfo)
    yield from _by_realm_role(rules, token, userinfo)
    for person in rules.people:
        if person.owner == owner:
            for vo in rules.vos if person.vo is None else (person.vo,):
                yield Grant(vo, frozenset({person.role}), "sub", owner.sub)


def roles_of(grants: Iterable[Grant]) -> dict[str, frozenset[Role]]:
    """Return the roles by VO that the grants give together."""
    roles: dict[str, frozenset[Role]] = {}
    for grant in grants:
        roles[grant.vo] = roles.get(grant.vo, NOTHING) | grant.roles
    return roles


def claim_at(claims: Mapping[str, object], path: str) -> object:
    """Return the value at a path with dots, or None where there is none."""
    value: object = claims
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _by_entitlement(
    rules: Rules, token: Mapping[str, object], userinfo: Mapping[str, object]
) -> Iterator[Grant]:
    rule = rules.entitlements
    claim = userinfo.get(rule.claim)
    if claim is None and rule.from_token:
        claim = token.get(rule.claim)
    for text in texts_in(claim):
        found = read_entitlement(text, rule.namespace)
        if found is not None and found.group in rules.vos and found.authority in rule.authorities:
            roles = rule.roles.get(found.role, NOTHING)
            if roles:
                yield Grant(found.group, roles, rule.claim, text)


def _by_realm_role(
    rules: Rules, token: Mapping[str, object], userinfo: Mapping[str, object]
) -> Iterator[Grant]:
    rule = rules.realm_roles
    if rule is None:
        return
    claim = claim_at(userinfo, rule.claim)
    # Keycloak puts realm roles into tokens only, unless told otherwise.
    for text in texts_in(claim_at(token, rule.claim) if claim is None else claim):
        found = read_realm_role(text)
        if found is not None and found.vo in rules.vos:
            roles = rule.levels.get(found.level, NOTHING)
            if roles:
                yield Grant(found.vo, roles, rule.claim, text)
