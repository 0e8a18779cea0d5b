"""One history: a world, its processes, what happens to them in which order, and the verdict."""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Final

from tests.simulation.faults import RATES, Fault, Faults, NeverRests
from tests.simulation.oracles import violations_of
from tests.simulation.process import Process
from tests.simulation.stage import Stage

STEPS: Final = (30, 80)
NAMES: Final = (2, 6)
PROCESSES_MAX: Final = 2
LIMITED: Final = 0.6
"""How many histories have quotas."""
ADOPTING: Final = 4
"""One history in so many has jobs of the platform before this one."""
CALM: Final = 0.3
"""How many histories let everything follow from a step before the next: they come furthest."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one history. `violations` are (oracle, sentence); `trace` is for people."""

    seed: int
    steps: int
    faults: Counter[str]
    deeds: Counter[str]
    violations: tuple[tuple[str, str], ...]
    trace: tuple[str, ...] = ()


def play(seed: int, *, tracing: bool = False) -> Outcome:
    """Play the history of `seed` to its end and judge it."""
    history = History(seed, tracing=tracing)
    try:
        with suppress(NeverRests):
            history.live()
            history.stage.calm_down()
        return history.outcome()
    finally:
        history.stage.end()


class History:
    """A history being played: each step is a deed, then a few moves of the processes."""

    def __init__(self, seed: int, *, tracing: bool = False) -> None:
        self.seed = seed
        self._random = Random(seed)
        self._faults = Faults(self._random, rate=self._random.choice(RATES))
        self._steps = self._random.randint(*STEPS)
        self._calm = self._random.random() < CALM
        self._done: Counter[str] = Counter()
        names, limited = self._random.randint(*NAMES), self._random.random() < LIMITED
        self.stage = Stage(
            self._random, self._faults, names=names, tracing=tracing, limited=limited
        )

    def live(self) -> None:
        """Do what the seed says, step by step."""
        deeds = self._deeds()
        names, weights = list(deeds), [weight for weight, _ in deeds.values()]
        for _ in range(self._steps):
            for name in self._random.choices(names, weights, k=3):
                if deeds[name][1]():
                    self._done[name] += 1
                    break
            if self._random.random() < 0.1:
                self.stage.world.remember()
            if self._calm:
                self.stage.settle()
            else:
                for _ in range(self._random.choice((0, 1, 2, 5))):
                    self._move_something()
            self.stage.world.limits.watch()

    def outcome(self) -> Outcome:
        """Judge what happened."""
        faults = Counter({str(fault): count for fault, count in self._faults.counts.items()})
        violations = tuple(violations_of(self.stage.evidence()))
        trace = tuple(self.stage.world.lines)
        return Outcome(self.seed, self._steps, faults, self._done, violations, trace)

    def _deeds(self) -> dict[str, tuple[float, Callable[[], bool]]]:
        """Return what can happen, with weights."""
        users, files = self.stage.users, self.stage.files
        hands, weather = self.stage.hands, self.stage.weather
        return self._takeovers() | {
            "create": (4, users.create),
            "change of the title": (2, users.change_title),
            "change of memory": (3, users.change_memory),
            "change of GPUs": (2, users.change_gpus),
            "change of CPUs": (2, users.change_cpus),
            "change of priority": (0.7, users.change_priority),
            "change of a secret": (1, users.change_secret),
            "suspend or resume": (2, users.suspend),
            "restart": (0.7, users.restart),
            "lease": (0.7, users.lease),
            "rollback": (0.8, users.roll_back),
            "delete": (1.5, users.delete),
            "undelete": (0.8, users.undelete),
            "clean-up": (0.3, users.clean_up),
            "file written": (1.5, files.edit),
            "file removed": (0.5, files.remove),
            "files read": (2, lambda: files.read(self._any_process())),
            "deletions confirmed": (0.3, files.confirm),
            "stop by hand": (0.7, hands.stop),
            "purge by hand": (0.5, hands.purge),
            "scale by hand": (0.5, hands.scale),
            "edit by hand": (0.7, hands.edit),
            "revert by hand": (0.5, hands.revert),
            "our id taken by hand": (0.2, hands.take_over),
            "foreign job": (0.5, hands.foreign),
            "node lost": (0.7, weather.lose_node),
            "node back": (1.2, weather.return_node),
            "node drained": (0.4, weather.drain_node),
            "node ineligible": (0.3, weather.lock_node),
            "devices changed": (0.6, weather.change_devices),
            "work failed": (0.6, weather.fail_work),
            "snapshot saved": (0.5, weather.take_backup),
            "snapshot restored": (0.2, self._restore),
            "time passed": (6, self._pass_some_time),
            "worker's looks": (6, self._look),
            "stream read": (4, self._hear),
            "suspended look went on": (3, self._go_on),
            "resync": (1, self._resync),
            "audit": (0.3, self._audit),
            "second process started": (0.5, self._start_another),
            "process killed between looks": (0.4, self._kill),
            "limits moved": (0.5, self._move_limits),
        }

    def _takeovers(self) -> dict[str, tuple[float, Callable[[], bool]]]:
        if self.seed % ADOPTING != ADOPTING // 2:
            return {}
        adoptions = self.stage.adoptions
        return {
            "job of theirs started": (3, adoptions.start),
            "jobs taken over": (4, lambda: adoptions.adopt(self._any_process())),
        }

    def _any_process(self) -> Process:
        self.stage.bury()
        return self._random.choice(self.stage.processes)

    def _look(self) -> bool:
        process = self._any_process()
        looked = False
        for _ in range(self._random.randint(1, 4)):
            if not process.alive or not process.look(suspendable=self._random.random() < 0.4):
                break
            looked = True
        return looked

    def _hear(self) -> bool:
        process = self._any_process()
        if not process.can_hear():
            return False
        process.hear()
        return True

    def _go_on(self) -> bool:
        process = self._any_process()
        if not process.looks:
            return False
        process.go_on(self._random.randrange(len(process.looks)))
        return True

    def _resync(self) -> bool:
        self._any_process().compare(suspendable=self._random.random() < 0.5)
        return True

    def _audit(self) -> bool:
        self._any_process().check_contents()
        return True

    def _restore(self) -> bool:
        restored = self.stage.weather.restore_backup()
        for process in self.stage.processes if restored else ():
            process.lose_stream()
        return restored

    def _start_another(self) -> bool:
        if len(self.stage.processes) >= PROCESSES_MAX:
            return False
        self.stage.start()
        return True

    def _kill(self) -> bool:
        process = self._any_process()
        self._faults.counts[Fault.CRASHED] += 1
        process.die()
        self.stage.world.trace(f"{process.name} killed")
        return True

    def _move_limits(self) -> bool:
        limits = self.stage.world.limits
        if not limits.there:
            return False
        limits.draw()
        for process in self.stage.processes:
            self._faults.counts[Fault.CRASHED] += process.alive
            process.die()
        return True

    def _pass_some_time(self) -> bool:
        seconds = self._random.choice((0.1, 1, 5, 20, 120, 400))
        if self._calm:
            self.stage.pass_time(seconds)
            return True
        self.stage.world.pretend.move(seconds)
        for process in self.stage.processes:
            if process.alive and process.next_resync_ns <= self.stage.world.clock.now_ns:
                process.compare(suspendable=self._random.random() < 0.5)
        return True

    def _move_something(self) -> None:
        process = self._any_process()
        moves: list[Callable[[], object]] = [process.look]
        if process.can_hear():
            moves.append(process.hear)
        if process.looks:
            moves.append(lambda: process.go_on(0))
        if process.has_wishes():
            moves.append(process.read_wishes)
        self._random.choice(moves)()
