"""R32: whatever people do in whatever order, store and planner do what a plain model says."""

from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from specs.faults import AlreadyExists, NotFound
from specs.model import DeploymentSpec, Phase
from specs.wish import Wish
from tests.builders import VO, a_spec
from tests.simulation.faults import Faults
from tests.simulation.oracles import essence, essence_of_job, violations_of
from tests.simulation.stage import Stage
from tests.simulation.users import HTTP, changed
from tests.whole import ALICE, ALICE_REACH

NAMES = st.sampled_from(["red", "green", "blue"])
RAMS = st.sampled_from([1000, 2000, 3000])


@dataclass
class Modelled:
    """What a plain mind keeps of one name: its wish, what is pinned, whether it is deleted."""

    uid: str
    spec: DeploymentSpec
    pinned: DeploymentSpec | None = None
    deleted: bool = False
    history: dict[int, DeploymentSpec] = field(default_factory=dict)

    @property
    def target(self) -> DeploymentSpec:
        if self.pinned is None:
            return self.spec
        return self.pinned.model_copy(update={"suspend": self.spec.suspend})


class PeopleAndPlanner(RuleBasedStateMachine):
    """Wishes in any order, with the loop running or not in between."""

    def __init__(self) -> None:
        super().__init__()
        faults = Faults(Random(0), rate=0.0)
        self.stage = Stage(Random(0), faults, names=3, tracing=False)
        self.store = self.stage.world.store
        self.model: dict[str, Modelled] = {}

    @rule(name=NAMES, ram=RAMS, title=st.sampled_from(["one", "two"]))
    def put(self, name, ram, title):
        known = self.model.get(name)
        suspended = known.spec.suspend if known and not known.deleted else False
        self._put(name, a_spec(ram=ram, title=title, disk=5000, suspend=suspended))

    @rule(name=NAMES)
    def suspend_or_resume(self, name):
        known = self.model.get(name)
        if known is not None and not known.deleted:
            self._put(name, changed(known.spec, suspend=not known.spec.suspend))

    @rule(name=NAMES)
    def delete(self, name):
        known = self.model.get(name)
        if known is None or known.deleted:
            return
        record = self.store.request_deletion(known.uid, actor="Alice", source=HTTP)
        self.stage.users.note("delete", record)
        known.deleted = True

    @rule(name=NAMES)
    def undelete(self, name):
        known = self.model.get(name)
        try:
            record = self.store.undelete(ALICE_REACH, vo=VO, name=name, actor="Alice", source=HTTP)
        except (NotFound, AlreadyExists):
            assert known is None or not known.deleted
            return
        assert known is not None
        assert known.deleted
        assert record.uid == known.uid
        known.deleted = False
        self.stage.users.note("undelete", record)
        known.history[record.generation] = known.spec

    @rule(name=NAMES, back=st.integers(1, 3))
    def roll_back(self, name, back):
        known = self.model.get(name)
        if known is None or known.deleted:
            return
        generations = sorted(known.history)
        generation = generations[max(0, len(generations) - 1 - back)]
        record = self.store.rollback(known.uid, generation, actor="Alice", source=HTTP)
        self.stage.users.note("rollback", record)
        chosen = known.history[generation]
        known.pinned = None if _same_work(chosen, known.spec) else chosen
        known.history[record.generation] = known.target

    @rule()
    def a_process_is_started_anew(self):
        self.stage.processes[0].die()
        self.stage.bury()

    @rule()
    def the_loop_settles(self):
        self.stage.settle()

    @rule(seconds=st.sampled_from([1, 20, 400]))
    def time_passes(self, seconds):
        self.stage.pass_time(seconds)

    @precondition(lambda self: self.model)
    @rule()
    def quiesce(self):
        self.stage.pass_time(90)
        with self.stage.world.nomad.reading() as world:
            jobs = {key[1]: job for key, job in world.jobs.items()}
        for name, known in self.model.items():
            record, job = self.store.get(known.uid), jobs.get(known.uid)
            if known.deleted:
                assert record is None
                assert job is None
                continue
            assert record is not None
            assert (record.name, record.spec) == (name, known.spec)
            assert essence(record.target) == essence(known.target)
            assert record.status.observed_generation == record.generation
            if known.spec.suspend:
                assert job is None or job["Stop"]
                assert record.status.phase is Phase.SUSPENDED
            else:
                assert essence_of_job(job) == essence(known.target)
                assert not job["Stop"]

    def teardown(self) -> None:
        try:
            self.stage.calm_down()
            assert violations_of(self.stage.evidence()) == []
        finally:
            self.stage.end()

    def _put(self, name, spec):
        known = self.model.get(name)
        wish = Wish(vo=VO, name=name, spec=spec)
        try:
            record, created = self.store.put(wish, owner=ALICE, owner_name="Alice", source=HTTP)
        except AlreadyExists:
            assert known is not None
            assert known.deleted
            return
        self.stage.users.note("put", record)
        if created:
            known = self.model[name] = Modelled(record.uid, spec)
        assert known is not None
        if not _same_work(known.spec, spec):
            known.pinned = None
        known.spec, known.deleted = spec, False
        known.history[record.generation] = known.target


def _same_work(one: DeploymentSpec, other: DeploymentSpec) -> bool:
    return replace_switches(one) == replace_switches(other)


def replace_switches(spec: DeploymentSpec) -> DeploymentSpec:
    return spec.model_copy(update={"suspend": False, "restart": 0})


PeopleAndPlanner.TestCase.settings = settings(
    max_examples=15,
    stateful_step_count=20,
    derandomize=True,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestPeopleAndPlanner = pytest.mark.filterwarnings("default")(PeopleAndPlanner.TestCase)
