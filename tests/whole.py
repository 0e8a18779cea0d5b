"""The whole loop in one thread on a virtual clock: store, queue, mirror, reconciler, Nomad.

Nothing waits: `settle` hands on what happened until nobody has anything to do.
"""

import itertools
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from reconciler.apply import Hands
from reconciler.cluster import decode
from reconciler.cluster.protocol import Cluster
from reconciler.cluster.simulator.cluster import SimulatedCluster
from reconciler.endpoints import Endpoints
from reconciler.errors import ClusterUnavailable
from reconciler.guard import StoreGuard
from reconciler.jobs import JobRef, Json
from reconciler.loop import Reconciler, work_once
from reconciler.mirror import Mirror
from reconciler.orphans import Orphans
from reconciler.queue import Urgency, WorkQueue
from reconciler.render import Site
from reconciler.sources import (
    Audit,
    ClusterChanges,
    Resync,
    WishChanges,
    adopted_among,
    ask_again,
    enqueue_due,
    fill,
)
from reconciler.steps import Rules
from reconciler.waiting import WaitingForRoom
from specs.model import Deployment, DeploymentSpec, DeploymentStatus, Owner, Reach
from specs.quota import NO_QUOTAS
from specs.store import SpecStore
from specs.wish import Wish
from tests.builders import SEAL, VO, a_spec
from tests.simulated import SECOND, Clock, Pretend, a_node

ETC = Path(__file__).parents[1] / "etc"
ALICE = Owner("https://idp.example", "alice")
ALICE_REACH = Reach(ALICE, frozenset({VO}))
NAMESPACES = {VO: "ai4eosc"}
PRIORITIES = {"low": 30, "high": 70}


class Parts:
    """What one process has, put together for the site that these tests simulate; no threads.

    `clock` stands for both clocks, `template` is the parsed job, `drift` the site's policy.
    """

    def __init__(
        self,
        *,
        store: Any,
        cluster: Any,
        clock: Clock,
        template: Json,
        random: Callable[[], float],
        mirror: Mirror | None = None,
        drift: Callable[[], Literal["repair", "report"]] = lambda: "repair",
    ) -> None:
        self.store, self.cluster, self.random = store, cluster, random
        self.now = lambda: datetime.fromtimestamp(clock.now_ns / SECOND, UTC)
        self.mirror = Mirror() if mirror is None else mirror
        self.queue: WorkQueue[str] = WorkQueue(clock=lambda: clock.now_ns / SECOND, random=random)
        self.waiting = WaitingForRoom(clock=lambda: clock.now_ns / SECOND)
        self.guard = StoreGuard(cluster, store, "ai4eosc")
        self.store_id: str = store.identity().store_id
        self.reconciler = Reconciler(
            store=store,
            hands=Hands(cluster, self.mirror, store),
            template=lambda: template,
            site=Site(
                namespaces=NAMESPACES,
                mhz_per_cpu=100,
                store_id=self.store_id,
                priorities=PRIORITIES,
            ),
            endpoints=Endpoints(),
            now=self.now,
            rules=lambda: Rules(drift=drift(), frozen=self.guard.trouble),
            waiting=self.waiting,
        )

    def resync(self, orphans: Literal["report", "stop"] = "report") -> Resync:
        """Return the pass over everything, as the timer starts it."""
        return Resync(
            self.cluster,
            self.mirror,
            self.store.heads,
            self.queue,
            NAMESPACES,
            guard=self.guard,
            orphans=Orphans(self.cluster, self.store_id, self.store.deleted, orphans),
            let_in=self.store.let_in,
            now=self.now,
        )

    def audit(self) -> Audit:
        """Return the slow comparison by content."""
        return Audit(self.mirror, self.store.heads, self.queue, self.reconciler.audits, self.random)

    def wish_changes(self) -> WishChanges:
        """Return the source that follows the store's feed from now on."""
        return WishChanges(self.store, lambda _: self.queue, position=self.store.newest_version())

    def cluster_changes(self) -> ClusterChanges:
        """Return the source that follows Nomad's events."""
        return ClusterChanges(
            self.cluster,
            self.mirror,
            self.store.heads,
            self.queue,
            NAMESPACES,
            random=self.random,
            now=self.now,
            waiting=self.waiting,
            guard=self.guard,
        )


class Counted:
    """A cluster that counts its calls and can be made to fail."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.calls: list[str] = []
        self.down = False

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._cluster, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(name)
            if self.down:
                raise ClusterUnavailable("connection refused")
            return method(*args, **kwargs)

        return call


class Whole:
    """Everything that one process has, with its time in our hands."""

    def __init__(self, folder: Path, nodes: list[Any] | None = None) -> None:
        self.folder = folder
        self.pretend = Pretend(
            [a_node(memory_mb=32_000, disk_mb=500_000)] if nodes is None else nodes
        )
        self.clock: Clock = self.pretend.clock
        self.cluster = Counted(SimulatedCluster(self.pretend.nomad, ["ai4eosc"]))
        self.drift: Literal["repair", "report"] = "repair"
        self.quotas = NO_QUOTAS
        self._template = self.cluster.parse_job((ETC / "job.nomad").read_text())
        self._numbers = itertools.count(1)
        self.restart()

    def restart(self) -> None:
        """Begin again as a new process: only the store and Nomad remember."""
        uids = (f"{next(self._numbers):08d}-0000-4000-8000-000000000000" for _ in itertools.count())
        self.store = SpecStore(
            f"sqlite:///{self.folder}/store.db",
            now=self.now,
            new_uid=lambda: next(uids),
            seal=SEAL,
            quotas=self.quotas,
        )
        self.store.migrate()
        parts = Parts(
            store=self.store,
            cluster=self.cluster,
            clock=self.clock,
            template=self._template,
            random=lambda: 1.0,
            drift=lambda: self.drift,
        )
        self.mirror, self.queue, self.waiting = parts.mirror, parts.queue, parts.waiting
        self.guard, self.reconciler, self.resync = parts.guard, parts.reconciler, parts.resync
        self.audit, self.cluster_changes = parts.audit, parts.cluster_changes
        self._wished = self.store.newest_version()
        self._told = 0
        self.relist()

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.clock.now_ns / SECOND, UTC)

    def relist(self) -> int:
        """List as after a (re)connect; return how many deployments it found due."""
        self.guard.check()
        adopted = adopted_among(self.store.heads(), NAMESPACES)
        fill(self.mirror, self.cluster, adopted)  # type: ignore[arg-type]
        with self.pretend.nomad.reading() as world:
            self._told = world.ring[-1].position if world.ring else 0
        return enqueue_due(
            self.store.heads(), self.mirror.indexes(), self.queue, NAMESPACES, now=self.now()
        )

    def put(
        self,
        name: str = "train-a",
        spec: DeploymentSpec | None = None,
        *,
        owner: Owner = ALICE,
        **secrets: str,
    ) -> str:
        """Declare a deployment; return its uid."""
        wish = self.wish(name, spec, **secrets)
        record, _ = self.store.put(wish, owner=owner, owner_name="Alice", source={"type": "api"})
        return record.uid

    def wish(self, name: str, spec: DeploymentSpec | None = None, **secrets: str) -> Wish:
        """Return what Alice would declare under that name."""
        named = {key.replace("__", "."): value for key, value in secrets.items()}
        return Wish(vo=VO, name=name, spec=spec or a_spec(), secrets=named)

    def settle(self) -> int:
        """Let news travel and looks happen until there is nothing left; return the looks."""
        looks = 0
        while True:
            for position, uid, *_ in self.store.wishes_after(self._wished):
                self.queue.add(uid)
                self._wished = position
            self._listen()
            uid_due = self.queue.get(timeout_s=0)
            if uid_due is None:
                return looks
            work_once(self.queue, self.reconciler.reconcile, uid_due)
            looks += 1

    def pass_time(self, seconds: float) -> None:
        """Let time go by in steps of a second, with everything that follows from it."""
        for _ in range(int(seconds)):
            self.pretend.move(1)
            self.settle()

    def record(self, uid: str) -> Deployment:
        record = self.store.get(uid)
        assert record is not None
        return record

    def status(self, uid: str) -> DeploymentStatus:
        return self.record(uid).status

    def job(self, uid: str) -> Mapping[str, Any] | None:
        with self.pretend.nomad.reading() as world:
            return world.jobs.get(("ai4eosc", uid))

    def allocations(self, uid: str) -> list[Mapping[str, Any]]:
        with self.pretend.nomad.reading() as world:
            return [world.allocs[i] for i in world.allocs_of.get(("ai4eosc", uid), ())]

    def live(self, uid: str) -> list[Mapping[str, Any]]:
        return [a for a in self.allocations(uid) if a["ClientStatus"] in ("pending", "running")]

    def edit(self, uid: str, **changes: Any) -> None:
        """Change the job by hand, as somebody with Nomad's CLI would."""
        self.pretend.nomad.register({**(self.job(uid) or {}), **changes})

    def ref(self, uid: str) -> JobRef:
        return JobRef("ai4eosc", uid)

    def with_spec(self, uid: str, **changes: Any) -> None:
        """Replace the spec of a deployment by one with `changes`."""
        self.put(self.record(uid).name, a_spec(**changes))

    def _listen(self) -> None:
        for message in self.pretend.nomad.messages_after(self._told, timeout_s=0):
            self._told = message.position
            if not self.mirror.connected:
                continue
            told = decode.changes({"Index": message.at_index, "Events": message.events})
            for ref in self.mirror.apply(told):
                self.queue.add(ref.id, Urgency.DRIFT)
            if self.mirror.took_room():
                ask_again(self.queue, self.waiting)
