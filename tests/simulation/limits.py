"""The site's quotas: how tight they are, when the operator moves them, and what is counted."""

from typing import TYPE_CHECKING, Final, Literal

from pydantic_core import from_json
from sqlalchemy import select

from specs.model import Owner
from specs.priorities import PriorityClass
from specs.quota import NO_QUOTAS, Amounts, Quotas, Scope, UserScope, VoScope
from specs.schema import deployments, quota_use
from tests.builders import VO
from tests.simulation.counting import (
    NOTHING_COUNTED,
    Count,
    Counted,
    amounts_of_job,
    can_run,
    miscounts,
    uncounted,
)
from tests.simulation.journal import HANDS, NOMAD
from tests.whole import NAMESPACES, PRIORITIES

if TYPE_CHECKING:
    from tests.simulation.world import SimulatedWorld

USER_LIMITS: Final = {
    "deployments": (1, 2, 4),
    "cpu_num": (3, 4, 6),
    "gpu_num": (1, 2),
    "ram": (8_000, 12_000),
}
VO_LIMITS: Final = {
    "deployments": (2, 4, 6),
    "cpu_num": (4, 6, 10),
    "gpu_num": (1, 2, 3),
    "ram": (12_000, 20_000),
}
CLASSES: Final = {name: PriorityClass(priority=rank) for name, rank in PRIORITIES.items()}


class Limits:
    """The limits of one history, and who watches what is counted.

    `miscounts` and `uncounted` are violations that showed at once.
    """

    def __init__(self, world: "SimulatedWorld") -> None:
        self._world, self._random = world, world.random
        self._over: Literal["queue", "refuse"] = "queue"
        self._before = NOTHING_COUNTED
        self._wished_at: dict[str, int] = {}
        self.miscounts: list[str] = []
        self.uncounted: list[str] = []

    @property
    def there(self) -> bool:
        """Whether the site has any."""
        return self._world.store._quotas is not NO_QUOTAS

    def begin(self) -> None:
        """Give the site limits, most often with a line to wait in."""
        self._over = self._random.choice(("queue", "queue", "queue", "refuse"))
        self.draw()

    def draw(self) -> None:
        """Have other limits from now on; every process is to be started anew."""
        user, vo = self._some(USER_LIMITS), self._some(VO_LIMITS)
        quotas = Quotas(user=user, vo={VO: vo}, over=self._over, classes=CLASSES)
        self.watch()
        self._world.store._quotas = quotas
        self._world.trace(f"limits: {user} of a user, {vo} of the VO, else {self._over}")

    def note_wish(self, uid: str, number: int) -> None:
        """Know when a record was last wished anew."""
        self._wished_at[uid] = number
        self.watch()

    def note_register(self, uid: str, look_began_at: int) -> None:
        """Know that a job was written, perhaps by a look that was paused until a newer wish.

        Nomad knows no wishes, so nobody can keep that one from writing; it is set right later.
        """
        if self._wished_at.get(uid, 0) > look_began_at:
            self.excuse(uid)
        self.watch()

    def excuse(self, uid: str) -> None:
        """Expect nothing of a job until we write it anew."""
        self._world.journal.writers.pop((NAMESPACES[VO], uid), None)

    def note_adoption(self) -> None:
        """Know that what ran already is counted now, whatever the limits."""
        self._before = self._count()
        self.watch()

    def watch(self) -> None:
        """Hold what is counted against the limits and against what runs."""
        now = self._count()
        self.miscounts += miscounts(self._before, now)
        self.uncounted += uncounted(now)
        self._before = now

    def _some(self, of: dict[str, tuple[int, ...]]) -> Amounts:
        chosen = {item: self._random.choice(amounts) for item, amounts in of.items()}
        return {item: amount for item, amount in chosen.items() if self._random.random() < 0.6}

    def _count(self) -> Count:
        columns = deployments.c
        with self._world.store._database.read() as connection:
            rows = connection.execute(
                select(
                    columns.uid, columns.owner_iss, columns.owner_sub, columns.vo, columns.counted
                )
            ).all()
            used = connection.execute(select(quota_use.c.scope, quota_use.c.used)).all()
        records = [
            Counted(uid, (UserScope(Owner(iss, sub)), VoScope(vo)), from_json(counted))
            for uid, iss, sub, vo, counted in rows
        ]
        quotas = self._world.store._quotas
        by_scope = {_scope(text): from_json(amounts) for text, amounts in used}
        scopes = {scope for one in records for scope in one.scopes}
        limits = {scope: quotas.limits(scope) for scope in scopes}
        runs = {uid: amounts for uid, *_ in rows if (amounts := self._runs(uid)) is not None}
        return Count(records, by_scope, limits, runs)

    def _runs(self, uid: str) -> Amounts | None:
        place = (NAMESPACES[VO], uid)
        writer = self._world.journal.writers.get(place)
        with self._world.nomad.reading() as world:
            job = world.jobs.get(place)
            if job is None or writer is None or writer.by in (HANDS, NOMAD):
                return None
            allocations = [world.allocs[i] for i in world.allocs_of.get(place, ())]
        return amounts_of_job(job) if can_run(job, allocations) else None


def _scope(text: str) -> Scope:
    kind, *names = from_json(text)
    return UserScope(Owner(*names)) if kind == "user" else VoScope(*names)
