"""Group membership as AARC-G002 URNs and as Keycloak's realm roles, parsed and not searched (pure).

https://aarc-community.org/guidelines/aarc-g002: `<NAMESPACE>:group:<GROUP>[:<SUBGROUP>*]
[:role=<ROLE>]#<AUTHORITY>`. A search for the VO's name in such a text finds it in another's
sub-namespace, parent group or authority; one anchored pattern for the whole text does not. What is
not exactly the site's own form names no group.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Final, NamedTuple

MAX_VALUES: Final = 1000
"""A claim with more values is not read at all."""

MAX_CHARS: Final = 1024
"""Longest value that is read."""

_WORD: Final = "[A-Za-z0-9][A-Za-z0-9._~-]*"
_REALM_ROLE: Final = re.compile(rf"access:({_WORD}):({_WORD})")


class Entitlement(NamedTuple):
    """A role in a group, by the authority that says so."""

    group: str
    role: str
    authority: str


class RealmRole(NamedTuple):
    """A level of access to a VO."""

    vo: str
    level: str


def texts_in(claim: object) -> Iterator[str]:
    """Yield the texts of a claim, which may be a list or a single text, within the bounds."""
    values = [claim] if isinstance(claim, str) else claim if isinstance(claim, list) else []
    if len(values) <= MAX_VALUES:
        yield from (v for v in values if isinstance(v, str) and len(v) <= MAX_CHARS)


def read_entitlement(text: str, namespace: str) -> Entitlement | None:
    """Return the role that an entitlement of `namespace` gives in a root group, else None."""
    found = _pattern(namespace).fullmatch(text)
    return Entitlement(*found.groups()) if found else None


def read_realm_role(text: str) -> RealmRole | None:
    """Return the level that `access:<vo>:<level>` gives, else None."""
    found = _REALM_ROLE.fullmatch(text)
    return RealmRole(*found.groups()) if found else None


@cache
def _pattern(namespace: str) -> re.Pattern[str]:
    # Fixed words between runs that can't hold them: there is one way to match, in linear time.
    return re.compile(rf"{re.escape(namespace)}:group:({_WORD}):role=({_WORD})#({_WORD})")
