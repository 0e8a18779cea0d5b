"""Who the caller is, what they may do, and how much of their quota is in use.

Shapes, and the use cases behind them; knows the spec store, and nothing of HTTP.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from api.auth import User
from api.schemas import with_example
from specs.model import Shown
from specs.quota import Amounts, UserScope, VoScope
from specs.store import SpecStore

_EXAMPLE_USE = {
    "limits": {"deployments": 20, "gpu_num": 2},
    "used": {"deployments": 3, "cpu_num": 6, "gpu_num": 1, "ram": 24000, "disk": 60000},
}

_AMOUNTS = (
    "by item: deployments, cpu_num, gpu_num, ram and disk (MB), gpu_num:MODEL for the GPUs of"
    " wishes that name that model"
)


class PersonView(Shown):
    """An identity: the provider and its name for the person."""

    iss: str
    sub: str


class MembershipView(Shown):
    """A VO, and what the caller may do there."""

    name: str
    roles: Sequence[str] = Field(description="user, editor, operator, auditor")


class AccountView(Shown):
    """Who the caller is. `operator`: of every VO that the site serves."""

    model_config = with_example(
        {
            "owner": {"iss": "https://aai.egi.eu/auth/realms/egi", "sub": "4545@egi.eu"},
            "name": "Ada",
            "vos": [{"name": "vo.ai4eosc.eu", "roles": ["user"]}],
            "operator": False,
        }
    )

    owner: PersonView
    name: str
    vos: Sequence[MembershipView]
    operator: bool


class UseView(Shown):
    """What there may be and what is in use; an item without a limit has none."""

    limits: Mapping[str, int] = Field(description=_AMOUNTS)
    used: Mapping[str, int] = Field(description=_AMOUNTS)


class VoUseView(UseView):
    """The same of a VO, over all its users."""

    name: str


class QuotaView(Shown):
    """The quota of the caller, over all their VOs, and that of each of their VOs."""

    model_config = with_example(
        {
            "user": _EXAMPLE_USE,
            "vos": [{"name": "vo.ai4eosc.eu", **_EXAMPLE_USE}],
            "over": "queue",
        }
    )

    user: UseView
    vos: Sequence[VoUseView]
    over: Literal["queue", "refuse"] = Field(description="what happens to a wish beyond it")


def account_view(user: User) -> AccountView:
    """Return who `user` is."""
    return AccountView(
        owner=PersonView(iss=user.owner.iss, sub=user.owner.sub),
        name=user.name,
        vos=[
            MembershipView(name=vo, roles=sorted(roles)) for vo, roles in sorted(user.roles.items())
        ],
        operator=user.operator,
    )


@dataclass(frozen=True, slots=True)
class Account:
    """What a user is told of themselves."""

    store: SpecStore

    def quota(self, user: User) -> QuotaView:
        """Return what the user and their VOs may have and what they have."""
        mine = UserScope(user.owner)
        vos = [VoScope(vo) for vo in sorted(user.roles)]
        used = self.store.used([mine, *vos])
        quotas = self.store.quotas
        return QuotaView(
            user=UseView(limits=quotas.limits(mine), used=_with_limited(used[mine], quotas.user)),
            vos=[
                VoUseView(
                    name=scope.vo,
                    limits=quotas.limits(scope),
                    used=_with_limited(used[scope], quotas.limits(scope)),
                )
                for scope in vos
            ],
            over=quotas.over,
        )


def _with_limited(used: Amounts, limits: Amounts) -> Amounts:
    """Return what is used, with a zero for each limited item that is not."""
    return {**dict.fromkeys(limits, 0), **used}
