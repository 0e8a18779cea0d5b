"""A world with its processes, and how it comes to rest."""

from random import Random
from typing import Final

from reconciler.render import variable_items
from tests.simulated import SECOND
from tests.simulation.adoptions import Adoptions
from tests.simulation.evidence import Evidence
from tests.simulation.faults import Fault, Faults, NeverRests
from tests.simulation.files import Files
from tests.simulation.hands import Hands
from tests.simulation.process import Process
from tests.simulation.users import EVERYBODY, Users
from tests.simulation.weather import Weather, some_nodes
from tests.simulation.world import NAMESPACE, SimulatedWorld

ROUND_S: Final = 310
"""How long one round of the end lasts: a resync and a little."""

ROUNDS_MAX: Final = 12
"""So many rounds, an hour, may pass until everything is quiet."""

BUSY_MAX: Final = 1000
"""More moves than this at one instant are a loop that never rests."""


class Stage:
    """Everything that is there, and the clock.

    `names` is how many deployments users may have, `limited` whether there are quotas for them.
    """

    def __init__(
        self,
        random: Random,
        faults: Faults,
        *,
        names: int,
        tracing: bool,
        limited: bool = False,
    ) -> None:
        self.faults = faults
        self.world = SimulatedWorld(random, faults=faults, nodes=some_nodes())
        self.world.tracing = tracing
        if limited:
            self.world.limits.begin()
        self.users = Users(self.world, names=names)
        self.files = Files(self.world, self.users)
        self.adoptions = Adoptions(self.world, self.users)
        self.hands, self.weather = Hands(self.world), Weather(self.world)
        self.world.on_pin = self.users.note_pin
        self.processes: list[Process] = []
        self.quiet_after_s: float | None = None
        self._started = 0
        self.start()

    def start(self) -> None:
        """Start one more process."""
        self._started += 1
        self.processes.append(Process(self.world, f"p{self._started}"))
        self.world.trace(f"p{self._started} started")

    def bury(self) -> None:
        """Forget the dead; where nobody is left, start one anew."""
        self.processes = [process for process in self.processes if process.alive]
        if not self.processes:
            self.start()

    def settle(self) -> None:
        """Let every process do all that it has to do at this instant. Raises: NeverRests."""
        for _ in range(BUSY_MAX):
            self.bury()
            moved = [_turn(process) for process in self.processes]
            if not any(moved):
                return
        self.world.surprises.append(f"no rest after {BUSY_MAX} moves at one instant")
        raise NeverRests

    def pass_time(self, seconds: float) -> None:
        """Let time go by as it does, with everything that follows from it."""
        clock = self.world.clock
        end_ns = clock.now_ns + int(seconds * SECOND)
        while True:
            self.settle()
            due = [p.next_due_ns() for p in self.processes] + [self.world.nomad.next_due_ns()]
            next_ns = min(at for at in due if at is not None)
            if next_ns > end_ns:
                break
            clock.now_ns = max(next_ns, clock.now_ns + SECOND // 1000)
            self.world.nomad.advance()
        clock.now_ns = end_ns
        self.world.nomad.advance()
        self.settle()

    def calm_down(self) -> None:
        """End every fault and let time pass until nothing changes any more, or time is up."""
        self.world.trace("-- no more faults")
        self.faults.active = False
        self.bury()
        # Within the hour comes the audit, which repairs what no event told.
        for process in self.processes:
            process.check_contents()
        began_ns, before = self.world.clock.now_ns, None
        for _ in range(ROUNDS_MAX):
            self.pass_time(ROUND_S)
            now = self._fingerprint()
            if now == before:
                self.quiet_after_s = (self.world.clock.now_ns - began_ns) / SECOND - 2 * ROUND_S
                return
            before = now

    def end(self) -> None:
        """End every thread."""
        for process in self.processes:
            process.die()

    def evidence(self) -> Evidence:
        """Return all that oracles may know."""
        store = self.world.store
        uids = [head.uid for head in store.heads()]
        records = {uid: record for uid in uids if (record := store.get(uid)) is not None}
        with self.world.nomad.reading() as world:
            return Evidence(
                wishes=self.users.wishes,
                journal=self.world.journal.entries,
                records=records,
                trash={t.deployment.uid: t.deployment for t in store.trash(EVERYBODY)},
                passes=self.files.passes,
                jobs={key[1]: job for key, job in world.jobs.items() if key[0] == NAMESPACE},
                allocations={
                    key[1]: [world.allocs[alloc_id] for alloc_id in ids]
                    for key, ids in world.allocs_of.items()
                    if key[0] == NAMESPACE
                },
                nodes=dict(world.nodes),
                variables={
                    path.rpartition("/")[2]: held["Items"]
                    for (_, path), held in world.variables.items()
                },
                secrets={uid: variable_items(store.secrets(uid)) for uid in records},
                hands=self.hands.counts,
                theirs=self.adoptions.metas,
                restored_at=self.weather.restored_at,
                registers=self.world.registers,
                kills=self.faults.counts[Fault.CRASHED],
                surprises=self.world.surprises,
                told=self.world.told,
                miscounts=self.world.limits.miscounts,
                uncounted=self.world.limits.uncounted,
                quotas=store._quotas,
                quiet_after_s=self.quiet_after_s,
                now=self.world.now(),
            )

    def _fingerprint(self) -> object:
        store = self.world.store
        records = [store.get(uid) for uid in sorted(head.uid for head in store.heads())]
        statuses = [
            (r.uid, r.generation, r.status.phase, r.status.reason, r.status.observed_generation)
            for r in records
            if r is not None
        ]
        return statuses, sum(entry.definition for entry in self.world.journal.entries)


def _turn(process: Process) -> bool:
    """Let a process do what it has to do now; False where there was nothing."""
    moved = False
    if process.next_resync_ns <= process.world.clock.now_ns:
        process.compare()
        moved = True
    while process.alive and process.looks:
        process.go_on(0)
        moved = True
    if process.alive and process.can_hear():
        process.hear()
        moved = True
    if process.alive and process.has_wishes():
        process.read_wishes()
        moved = True
    if process.alive and process.look():
        moved = True
    return moved or not process.alive
