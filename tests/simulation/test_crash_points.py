"""R1: the process dies after every call of every scenario, alone and in pairs; nothing is lost.

A call's effect is there, its answer is not. What happens before the first call leaves nothing
behind, so the places after each call are all there are.
"""

from collections.abc import Callable
from itertools import combinations
from random import Random

import pytest

from specs.model import SECRET_SET
from specs.wish import Wish
from tests.builders import VO, a_spec
from tests.simulation.faults import Fault, Faults
from tests.simulation.oracles import violations_of
from tests.simulation.stage import Stage
from tests.simulation.users import HTTP, SECRET, changed
from tests.whole import ALICE, ALICE_REACH

Scenario = Callable[[Stage], None]


class KillsAt(Faults):
    """No fault but this: once armed, a process dies after these calls, counted from 1."""

    def __init__(self, points: frozenset[int] = frozenset()) -> None:
        super().__init__(Random(0), rate=0.0)
        self._points = points
        self.armed = False
        self.calls = 0

    def draws(self, fault: Fault) -> bool:
        return False

    def dies_after(self, call: str) -> bool:
        if not (self.armed and self.active):
            return False
        self.calls += 1
        if self.calls not in self._points:
            return False
        self.counts[Fault.CRASHED] += 1
        return True


def put(stage: Stage, *, secret: str = "first-secret", **changes) -> None:
    spec = changed(a_spec(disk=5000, ram=2000, jupyter_password=SECRET_SET), **changes)
    wish = Wish(vo=VO, name="work", spec=spec, secrets={SECRET: secret})
    record, _ = stage.world.store.put(wish, owner=ALICE, owner_name="Alice", source=HTTP)
    stage.users.note("put", record)


def uid_of(stage: Stage) -> str:
    return stage.users.wishes[0].record.uid


def delete(stage: Stage) -> None:
    record = stage.world.store.request_deletion(uid_of(stage), actor="Alice", source=HTTP)
    stage.users.note("delete", record)


def undelete(stage: Stage) -> None:
    record = stage.world.store.undelete(ALICE_REACH, vo=VO, name="work", actor="Alice", source=HTTP)
    stage.users.note("undelete", record)


def change_type(stage: Stage) -> None:
    """The operator changes the template: with the next start it is there, with a wish it counts."""
    template = stage.world.template
    # Blocks that a batch job does not have.
    groups = [
        {k: v for k, v in group.items() if k not in ("Update", "ReschedulePolicy")}
        for group in template["TaskGroups"]
    ]
    stage.world.template = {**template, "Type": "batch", "TaskGroups": groups}
    stage.processes[0].die()
    stage.bury()
    put(stage, ram=4000)


SCENARIOS: dict[str, tuple[Scenario, Scenario]] = {
    "create with a secret": (lambda stage: None, put),
    "change of memory": (put, lambda stage: put(stage, ram=4000)),
    "change of a secret": (put, lambda stage: put(stage, secret="second-secret")),
    "change of the job's type": (put, change_type),
    "delete": (put, delete),
    "suspend": (put, lambda stage: put(stage, suspend=True)),
    "resume": (lambda s: put(s, suspend=True), put),
    "undelete": (lambda s: (put(s), s.pass_time(60), delete(s)), undelete),
    "repair of an edit": (put, lambda stage: stage.hands.edit()),
    "repair of a stop": (put, lambda stage: stage.hands.stop()),
    "repair of a purge": (put, lambda stage: stage.hands.purge()),
    "restart": (put, lambda stage: put(stage, restart=1)),
}
"""By name: what was before, and what happens while processes die."""


def outcome(name: str, points: frozenset[int]) -> tuple[Stage, int]:
    """Play a scenario with deaths at `points`; return what there is, and how many calls it took."""
    before, deed = SCENARIOS[name]
    faults = KillsAt(points)
    stage = Stage(Random(0), faults, names=1, tracing=False)
    try:
        before(stage)
        stage.pass_time(60)
        registered = stage.world.registers.total()
        faults.armed = True
        deed(stage)
        stage.pass_time(90)
        calls = faults.calls
        stage.calm_down()
        assert violations_of(stage.evidence()) == []
        assert stage.world.registers.total() - registered <= 1 + len(points)
        return stage, calls
    finally:
        stage.end()


@pytest.mark.parametrize("name", SCENARIOS)
def test_r1_every_call_can_be_the_last_one(name):
    _, calls = outcome(name, frozenset())
    assert calls > 3
    for point in range(1, calls + 1):
        outcome(name, frozenset({point}))


@pytest.mark.parametrize("name", ["create with a secret", "delete", "repair of a purge"])
def test_r1_every_two_calls_can_be_the_last_ones(name):
    """Pairs of places within one scenario's first nine calls: deaths soon after each other."""
    for pair in combinations(range(1, 10), 2):
        outcome(name, frozenset(pair))
