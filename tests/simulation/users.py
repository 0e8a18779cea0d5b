"""What users do at the faces. A deed is tried; it returns False where there was nothing to do."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from specs.faults import SpecError
from specs.model import SECRET_SET, Deployment, DeploymentSpec, Owner, Reach, Update
from specs.wish import Wish
from tests.builders import VO, a_spec
from tests.simulation.evidence import Wished
from tests.simulation.world import SimulatedWorld
from tests.whole import ALICE

RAMS: Final = (2000, 4000, 8000)
CPUS: Final = (1, 2, 2, 3)
GPUS: Final = (0, 0, 0, 1, 2)
SECRET: Final = "general.jupyter_password"
LEASES: Final = ("5m", "20m", "1h", None)
PRIORITY_CLASSES: Final = (None, "low", "high")
BOB: Final = Owner("https://idp.example", "bob")
EVERYBODY: Final = Reach(None, frozenset({VO}))
HTTP: Final = {"type": "http"}


class Users:
    """The faces' side: every answered wish is kept in `wishes`."""

    def __init__(self, world: SimulatedWorld, *, names: int) -> None:
        self._world, self._random = world, world.random
        self._names = [f"work-{n}" for n in range(1, names + 1)]
        self.wishes: list[Wished] = []
        self.known: dict[str, Deployment] = {}

    def create(self) -> bool:
        """Declare a deployment whose name is free."""
        taken = {record.name for record in self.known.values()}
        free = [name for name in self._names if name not in taken]
        if not free:
            return False
        secrets = {SECRET: self._word()} if self._random.random() < 0.3 else {}
        spec = a_spec(
            ram=self._random.choice(RAMS),
            gpu_num=self._random.choice(GPUS),
            cpu_num=self._random.choice(CPUS),
            title=self._word(),
            disk=5000,
            jupyter_password=SECRET_SET if secrets else "",
            update=Update(
                policy=self._random.choice(("safe", "safe", "queue")),
                rollback_on_failure=self._random.random() < 0.2,
            ),
            priority_class=self._random.choice(PRIORITY_CLASSES),
        )
        owner = self._random.choice((ALICE, ALICE, BOB))
        return self._put("create", self._random.choice(free), spec, owner, secrets)

    def change_title(self) -> bool:
        """Wish another title, which costs no restart."""
        return self._change("title", title=self._word())

    def change_memory(self) -> bool:
        """Wish other memory, which restarts the work."""
        return self._change("memory", ram=self._random.choice(RAMS))

    def change_gpus(self) -> bool:
        """Wish other GPUs, of which there are few."""
        return self._change("gpus", gpu_num=self._random.choice(GPUS))

    def change_cpus(self) -> bool:
        """Wish other CPUs."""
        return self._change("cpus", cpu_num=self._random.choice(CPUS))

    def change_priority(self) -> bool:
        """Wish to come sooner or later in line."""
        return self._change("priority", priority_class=self._random.choice(PRIORITY_CLASSES))

    def suspend(self) -> bool:
        """Suspend what runs, or resume what is suspended."""
        record = self._any()
        if record is None:
            return False
        spec = record.spec.model_copy(update={"suspend": not record.spec.suspend})
        what = "suspend" if spec.suspend else "resume"
        return self._put(what, record.name, spec, record.owner)

    def change_secret(self) -> bool:
        """Wish another password."""
        record = self._any()
        if record is None:
            return False
        spec = record.spec
        general = spec.general.model_copy(update={"jupyter_password": SECRET_SET})
        new = spec.model_copy(update={"general": general})
        return self._put("secret", record.name, new, record.owner, {SECRET: self._word()})

    def restart(self) -> bool:
        """Turn the restart counter."""
        record = self._any()
        return record is not None and self._change("restart", restart=record.spec.restart + 1)

    def lease(self) -> bool:
        """Give the work an end, another one, or none."""
        return self._change("lease", ttl=self._random.choice(LEASES))

    def roll_back(self) -> bool:
        """Go back to an earlier generation."""
        record = self._any()
        if record is None or record.generation < 2:
            return False
        generation = self._random.randint(1, record.generation - 1)
        try:
            rolled = self._world.store.rollback(record.uid, generation, actor="Alice", source=HTTP)
        except SpecError:
            return False
        self.note(f"rollback to {generation}", rolled)
        return True

    def delete(self) -> bool:
        """Ask for a deletion."""
        record = self._any()
        if record is None:
            return False
        gone = self._world.store.request_deletion(record.uid, actor="Alice", source=HTTP)
        self.note("delete", gone)
        return True

    def undelete(self) -> bool:
        """Call off a deletion, under way or done."""
        deleted = sorted(
            {
                (w.record.name, w.record.owner)
                for w in self.wishes
                if w.record.being_deleted and w.what == "delete"
            }
        )
        if not deleted:
            return False
        name, owner = self._random.choice(deleted)
        reach = Reach(owner, frozenset({VO}))
        try:
            back = self._world.store.undelete(reach, vo=VO, name=name, actor=owner.sub, source=HTTP)
        except SpecError:
            return False
        self.note("undelete", back)
        return True

    def clean_up(self) -> bool:
        """Empty the trash of what is older than a quarter of an hour, and the timeline."""
        before = self._world.now() - timedelta(minutes=15)
        self._world.store.clean_up(trash_before=before, events_before=before)
        return True

    def note_pin(self, uid: str) -> None:
        """Keep that the reconciler went back to an earlier generation."""
        record = self._world.store.get(uid)
        if record is not None:
            self.note("pin", record)

    def note(self, what: str, record: Deployment) -> None:
        """Keep an answered wish."""
        self._world.trace(f"{what} {record.name} ({record.uid[:8]}): {record.generation}")
        with_secrets = record.spec.general.jupyter_password
        secrets = dict(self._world.store.secrets(record.uid)) if with_secrets else {}
        self._world.generations[record.uid] = record.generation
        self._world.wished += 1
        number = self._world.journal.tick()
        self.wishes.append(Wished(number, self._world.now(), what, record, secrets))
        self.known[record.uid] = record
        self._world.limits.note_wish(record.uid, number)

    def refresh(self) -> None:
        """See which deployments are gone, so that their names are free."""
        there = {head.uid for head in self._world.store.heads()}
        self.known = {uid: record for uid, record in self.known.items() if uid in there}

    def _change(self, what: str, **changes: Any) -> bool:
        record = self._any()
        return record is not None and self._put(
            what, record.name, changed(record.spec, **changes), record.owner
        )

    def _put(
        self,
        what: str,
        name: str,
        spec: DeploymentSpec,
        owner: Owner,
        secrets: Mapping[str, str] | None = None,
    ) -> bool:
        kept = {SECRET: SECRET_SET} if spec.general.jupyter_password else {}
        wish = Wish(vo=VO, name=name, spec=spec, secrets=kept if secrets is None else secrets)
        try:
            record, _ = self._world.store.put(wish, owner=owner, owner_name=owner.sub, source=HTTP)
        except SpecError:
            return False
        self.note(what, record)
        return True

    def _any(self) -> Deployment | None:
        """Return one deployment as its owner last saw it."""
        self.refresh()
        uids = [
            uid
            for uid, record in self.known.items()
            if not record.being_deleted and "id" not in record.source
        ]
        return self.known[self._random.choice(uids)] if uids else None

    def _word(self) -> str:
        return f"word-{self._random.randrange(1000)}"


def changed(spec: DeploymentSpec, **changes: Any) -> DeploymentSpec:
    """Return `spec` with some fields of its groups or its own changed."""
    for group in ("general", "hardware", "storage"):
        fields = type(getattr(spec, group)).model_fields
        inner = {key: value for key, value in changes.items() if key in fields}
        if inner:
            spec = spec.model_copy(update={group: getattr(spec, group).model_copy(update=inner)})
    top = {key: value for key, value in changes.items() if key in type(spec).model_fields}
    return spec.model_copy(update=top)
