"""What a deployment counts for, what is left, and who comes next in line (pure).

Counted is what a wish asks for, from the write that the quota admits it in until nothing of it can
run any more; so what is counted never falls short of what runs. A quota has two scopes: a user,
over all their VOs, and a VO, over all its users. Amounts are whole numbers by item: `deployments`,
`cpu_num` (CPUs), `gpu_num`, `ram` and `disk` (MB), and `gpu_num:MODEL` for wishes that name one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, TypeAlias

from specs.faults import Fault
from specs.model import Deployment, DeploymentSpec, Owner
from specs.priorities import PriorityClasses, priority_of

Amounts: TypeAlias = Mapping[str, int]

NOTHING: Final[Amounts] = MappingProxyType({})

ITEMS: Final = ("deployments", "cpu_num", "gpu_num", "ram", "disk")
MODEL_PREFIX: Final = "gpu_num:"

UNITS: Final[Mapping[str, str]] = {"ram": " MB", "disk": " MB"}


class UserScope(NamedTuple):
    """All that one person has."""

    owner: Owner


class VoScope(NamedTuple):
    """All that one VO has."""

    vo: str


Scope: TypeAlias = UserScope | VoScope


@dataclass(frozen=True, slots=True)
class Quotas:
    """The site's limits: of every user, of some VOs, and what happens to a wish beyond them.

    An item without a limit is counted and never refused. `classes` say
    who comes first in line.
    """

    user: Amounts = field(default_factory=dict)
    vo: Mapping[str, Amounts] = field(default_factory=dict)
    over: Literal["queue", "refuse"] = "queue"
    classes: PriorityClasses = field(default_factory=dict)

    def rank_of(self, spec: DeploymentSpec) -> int:
        """Return who comes first in line: a higher number, by the spec's priority class."""
        return priority_of(spec, self.classes)

    def limits(self, scope: Scope) -> Amounts:
        """Return the limits of a scope."""
        return self.user if isinstance(scope, UserScope) else self.vo.get(scope.vo, NOTHING)


NO_QUOTAS: Final = Quotas()


class Excess(NamedTuple):
    """An item that a limit does not leave room for; `asked` comes on top of `used`."""

    scope: Scope
    item: str
    used: int
    asked: int
    limit: int

    @property
    def hopeless(self) -> bool:
        """Whether waiting can't help: it asks for more than the limit."""
        return self.asked > self.limit


@dataclass(frozen=True, slots=True)
class Claimant:
    """A wish that stands in line: what is counted for it now, and what it asks for."""

    uid: str
    owner: Owner
    vo: str
    counted: Amounts
    asks: Amounts

    @property
    def scopes(self) -> tuple[Scope, Scope]:
        """The scopes that it counts in."""
        return scopes_of(self.owner, self.vo)

    @property
    def claims(self) -> Amounts:
        """What would be counted: until its change is made, the old and the new may run."""
        return at_least(self.counted, self.asks)


class Standing(NamedTuple):
    """Where a wish stands in line (1: next of its VO or owner), and what is in its way now."""

    position: int
    excess: Sequence[Excess]


def scopes_of(owner: Owner, vo: str) -> tuple[Scope, Scope]:
    """Return the scopes that a deployment of `owner` in `vo` counts in."""
    return UserScope(owner), VoScope(vo)


def asks_of(deployment: Deployment, now: datetime) -> dict[str, int]:
    """Return what a deployment asks for as it is wished: nothing while it is to rest."""
    ends_at = deployment.expires_at
    ended = ends_at is not None and ends_at <= now
    if deployment.being_deleted or deployment.spec.suspend or ended:
        return {}
    hardware = deployment.target.hardware
    amounts = {
        "deployments": 1,
        "cpu_num": hardware.cpu_num,
        "gpu_num": hardware.gpu_num,
        "ram": hardware.ram,
        "disk": hardware.disk,
    }
    if hardware.gpu_type:
        amounts[MODEL_PREFIX + hardware.gpu_type] = hardware.gpu_num
    return {item: amount for item, amount in amounts.items() if amount}


def at_least(one: Amounts, other: Amounts) -> dict[str, int]:
    """Return the larger amount of each item."""
    return {item: max(one.get(item, 0), other.get(item, 0)) for item in {**one, **other}}


def difference(after: Amounts, before: Amounts) -> dict[str, int]:
    """Return by how much each item moved, without those that stood still."""
    moved = {item: after.get(item, 0) - before.get(item, 0) for item in {**after, **before}}
    return {item: amount for item, amount in moved.items() if amount}


def total(amounts: Iterable[Amounts]) -> dict[str, int]:
    """Return the sum of each item, without those of nothing."""
    sums: dict[str, int] = {}
    for one in amounts:
        for item, amount in one.items():
            sums[item] = sums.get(item, 0) + amount
    return {item: amount for item, amount in sums.items() if amount}


def impossible(claimant: Claimant, quotas: Quotas) -> list[Excess]:
    """Return the limits that the wish exceeds all by itself: waiting would not help."""
    claims = claimant.claims
    return [
        Excess(scope, item, 0, claims[item], limits[item])
        for scope in claimant.scopes
        for limits in (quotas.limits(scope),)
        for item in difference(claims, claimant.counted)
        if item in limits and claims[item] > limits[item]
    ]


def excess_of(claimant: Claimant, used: Mapping[Scope, Amounts], quotas: Quotas) -> list[Excess]:
    """Return what a scope has no room for, of what the wish claims anew."""
    more = difference(claimant.claims, claimant.counted)
    return [
        Excess(scope, item, used[scope].get(item, 0), amount, limits[item])
        for scope in claimant.scopes
        for limits in (quotas.limits(scope),)
        for item, amount in more.items()
        if item in limits and used[scope].get(item, 0) + amount > limits[item]
    ]


def admitted(
    line: Sequence[Claimant], used: Mapping[Scope, Amounts], quotas: Quotas
) -> Sequence[Claimant]:
    """Return those of `line`, best placed first, for whom there is room.

    Nobody is overtaken: who has to wait keeps what they ask for from those behind. Only a wish that
    no waiting can help, because a limit was lowered, is passed by.
    """
    taken = {scope: dict(used.get(scope, NOTHING)) for one in line for scope in one.scopes}
    chosen = []
    for claimant in line:
        if impossible(claimant, quotas):
            continue
        if not excess_of(claimant, taken, quotas):
            chosen.append(claimant)
        more = difference(claimant.claims, claimant.counted)
        for scope in claimant.scopes:
            taken[scope] = total((taken[scope], more))
    return chosen


def excess_faults(excess: Sequence[Excess]) -> list[Fault]:
    """Return what is to be told of a wish that the quota does not take, with a pointer each."""
    return [Fault(_pointer(one.item), "OverQuota", _sentence(one), _room(one)) for one in excess]


def excess_in_words(excess: Sequence[Excess]) -> str:
    """Return what the quota has no room for, as one sentence."""
    return "over quota: " + "; ".join(_sentence(one) for one in excess)


def standing_in_words(standing: Standing) -> str:
    """Return why a wish waits, and where, as one sentence."""
    why = "over quota: those before it in line come first"
    if standing.excess:
        why = excess_in_words(standing.excess)
    return f"{why}; position {standing.position} in line"


def _sentence(one: Excess) -> str:
    item, unit = _item(one.item), UNITS.get(one.item, "")
    if one.hopeless:
        whose = "each user" if isinstance(one.scope, UserScope) else one.scope.vo
        return f"this asks for {one.asked}{unit} {item}, and {whose} has {one.limit}{unit} at most"
    whose = "you use" if isinstance(one.scope, UserScope) else f"{one.scope.vo} uses"
    return f"{whose} {one.used} of {one.limit}{unit} {item}, and this asks for {one.asked} more"


def _room(one: Excess) -> str:
    unit = UNITS.get(one.item, "")
    if one.hopeless:
        return f"at most {one.limit}{unit}"
    return f"at most {max(0, one.limit - one.used)}{unit} more"


def _item(item: str) -> str:
    if item.startswith(MODEL_PREFIX):
        return f"GPUs of model {item.removeprefix(MODEL_PREFIX)}"
    return {"cpu_num": "CPUs", "gpu_num": "GPUs", "ram": "RAM"}.get(item, item)


def _pointer(item: str) -> str:
    if item == "deployments":
        return "/spec"
    return "/spec/hardware/" + ("gpu_type" if item.startswith(MODEL_PREFIX) else item)
