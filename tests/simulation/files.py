"""A source of spec files: what is in the folder, and what its reads find."""

from collections.abc import Mapping
from typing import Final

from specs.intake import DeletionBudget, SourcedWish, SourceRead, take_in
from specs.model import Deployment, DeploymentSpec
from specs.wish import Wish
from tests.builders import VO, a_spec
from tests.simulation.evidence import SourcePass
from tests.simulation.oracles import BUDGET_COUNT, BUDGET_PERCENT
from tests.simulation.process import Process
from tests.simulation.users import RAMS, Users
from tests.simulation.world import SimulatedWorld
from tests.whole import ALICE

FILE: Final = {"type": "folder", "path": "specs"}
SOURCE: Final = "specs"
BUDGET: Final = DeletionBudget(count=BUDGET_COUNT, percent=BUDGET_PERCENT)


class Files:
    """A folder of spec files, and the passes of the source that reads it.

    `passes` tells what every pass read and what it deleted.
    """

    def __init__(self, world: SimulatedWorld, users: Users) -> None:
        self._world, self._random, self._users = world, world.random, users
        self._files: dict[str, DeploymentSpec] = {}
        self._names = [f"file-{n}" for n in range(1, 6)]
        self.passes: list[SourcePass] = []

    def edit(self) -> bool:
        """Write a file, new or anew."""
        spec = a_spec(
            ram=self._random.choice(RAMS), title=f"word-{self._random.randrange(1000)}", disk=5000
        )
        self._files[self._random.choice(self._names)] = spec
        return True

    def remove(self) -> bool:
        """Remove a file, or most of them."""
        if not self._files:
            return False
        count = 1 if self._random.random() < 0.7 else len(self._files) - 1
        for name in self._random.sample(sorted(self._files), k=count):
            del self._files[name]
        return True

    def read(self, process: Process) -> bool:
        """Read the folder and take it in; some reads are partial, some find nothing."""
        names, complete = sorted(self._files), True
        kind = self._random.choices(("whole", "partial", "empty", "shrunken"), (6, 1, 1, 1))[0]
        if kind == "partial":
            names, complete = self._random.sample(names, k=len(names) // 2), False
        elif kind == "empty":
            names = []
        elif kind == "shrunken":
            names = names[:1]
        wishes = [
            SourcedWish(ALICE, "Alice", Wish(vo=VO, name=name, spec=self._files[name]), FILE)
            for name in names
        ]
        before = self._owned()
        self._world.trace(f"source: {kind} read of {names}")
        read = SourceRead(SOURCE, complete, wishes)
        process.do(lambda: take_in(process.store, read, BUDGET))  # type: ignore[arg-type]
        self._keep(before, frozenset(names), complete=complete)
        return True

    def confirm(self) -> bool:
        """Say yes to the deletions that are held."""
        if not self._world.store.confirm_deletions(SOURCE, actor="operator"):
            return False
        self._note_moved("confirmed")
        return True

    def _keep(
        self, before: Mapping[str, Deployment], read: frozenset[str], *, complete: bool
    ) -> None:
        self._note_moved("file")
        after = self._owned()
        known = frozenset(r.name for r in before.values() if not r.being_deleted)
        kept = {r.name for r in after.values() if not r.being_deleted}
        self.passes.append(SourcePass(complete, read, known, known - kept))

    def _owned(self) -> dict[str, Deployment]:
        store = self._world.store
        records = [store.get(head.uid) for head in store.heads()]
        return {r.uid: r for r in records if r is not None and r.source.get("id") == SOURCE}

    def _note_moved(self, what: str) -> None:
        for uid, record in self._owned().items():
            if record.generation > self._world.generations.get(uid, 0):
                self._users.note(what, record)
