"""Priority classes: which deployments go first where there is no room for all (pure).

A spec names a class. What a class is worth and who may ask for it, the operator says in
`main_conf.yaml`.
"""

from collections.abc import Collection, Mapping
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import Field

from specs.model import DeploymentSpec, Frozen

USUAL_PRIORITY: Final = 50
"""Nomad's default, and that of the shipped template."""

Asker: TypeAlias = Literal["user", "editor", "operator"]


class PriorityClass(Frozen):
    """What a class is worth, in Nomad's numbers, and the roles that may ask for it."""

    priority: Annotated[int, Field(strict=True, ge=1, le=100)]
    roles: Annotated[tuple[Asker, ...], Field(min_length=1)] = ("user", "editor", "operator")


PriorityClasses: TypeAlias = Mapping[str, PriorityClass]


def priority_of(spec: DeploymentSpec, classes: PriorityClasses) -> int:
    """Return where the deployment stands in a line, 1 to 100: the higher goes first.

    One without a class, or with one that is no longer there, stands at `USUAL_PRIORITY`.
    """
    known = classes.get(spec.priority_class or "")
    return USUAL_PRIORITY if known is None else known.priority


def usable_classes(
    classes: PriorityClasses, roles: Mapping[str, Collection[str]]
) -> dict[str, frozenset[str]]:
    """Return, for every class, the VOs in which somebody with `roles` by VO may ask for it."""
    return {
        name: frozenset(vo for vo, held in roles.items() if not set(held).isdisjoint(known.roles))
        for name, known in classes.items()
    }
