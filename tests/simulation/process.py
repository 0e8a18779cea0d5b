"""One process of ours: the real loop, queue, mirror and sources, moved on step by step."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from reconciler.errors import ClusterError
from reconciler.jobs import Changes, JobRef
from reconciler.loop import work_once
from reconciler.mirror import Mirror
from specs.faults import StoreUnavailable
from tests.simulated import SECOND
from tests.simulation.faults import Crash
from tests.simulation.fibres import Fibre, pause
from tests.simulation.ports import FaultyCluster, FaultyStore, Stream, die_here, suspend_here
from tests.whole import Parts

if TYPE_CHECKING:
    from tests.simulation.world import SimulatedWorld

RESYNC_S: Final = 300


class OrderedMirror(Mirror):
    """The mirror, whose sets come in an order: that of a set is not the seed's."""

    def apply(self, changes: Changes) -> frozenset[JobRef]:
        return tuple(sorted(super().apply(changes)))  # type: ignore[return-value]

    def compare(self, *args: Any, **kwargs: Any) -> frozenset[JobRef]:
        return tuple(sorted(super().compare(*args, **kwargs)))  # type: ignore[return-value]


class Stop:
    """The stop event of a process that is only ever killed; who waits at it sleeps."""

    def __init__(self, process: "Process") -> None:
        self._process = process

    def is_set(self) -> bool:
        return False

    def wait(self, timeout: float) -> bool:
        pause(self._process.world.clock.now_ns + int(timeout * SECOND))
        self._process.live_or_die()
        return False


class Process:
    """A reconciler from its start to its death."""

    def __init__(self, world: "SimulatedWorld", name: str) -> None:
        self.world, self.name = world, name
        self.alive = True
        self.suspendable = False
        self.look_began_at, self.misled_at = 0, -1
        self.stream: Stream | None = None
        self.looks: list[Fibre] = []
        self.store = FaultyStore(self, world.store)
        # One that dies before it stands is the same as one that was never started.
        active, world.faults.active = world.faults.active, False
        parts = Parts(
            store=self.store,
            cluster=FaultyCluster(self),
            clock=world.clock,
            template=world.template,
            random=world.random.random,
            mirror=OrderedMirror(),
        )
        self.queue, self.mirror, self.reconciler = parts.queue, parts.mirror, parts.reconciler
        self.resync, self.audit = parts.resync(), parts.audit()
        wishes, changes = parts.wish_changes(), parts.cluster_changes()
        world.faults.active = active
        stop: Any = Stop(self)
        self.wishes = Fibre(lambda: wishes.run(stop))
        self.changes = Fibre(lambda: changes.run(stop))
        self._read_at = -1
        self.next_resync_ns = world.clock.now_ns + RESYNC_S * SECOND

    # -- what happens in it

    def can_hear(self) -> bool:
        """Whether the cluster's source has something to do now."""
        if self.changes.wake_at_ns is not None:
            return self.changes.wake_at_ns <= self.world.clock.now_ns
        return self.stream is None or self.stream.waiting

    def hear(self) -> None:
        """Let the cluster's source go on: connect, list, read what the stream has."""
        self._move(self.changes)

    def has_wishes(self) -> bool:
        """Whether there may be a wish that it has not read."""
        return self._read_at < self.world.wished

    def lose_stream(self) -> None:
        """Let the connection to the event stream end."""
        if self.stream is not None:
            self.stream.cut = True

    def read_wishes(self) -> None:
        """Let the source of wishes go on."""
        self._read_at = self.world.wished
        self._move(self.wishes)

    def look(self, *, suspendable: bool = False) -> bool:
        """Let a worker take one deployment and look at it; False where none is due."""
        uid = self.queue.get(timeout_s=0)
        if uid is None:
            return False
        self.note(f"look {uid[:8]}")
        self._begin(lambda: work_once(self.queue, self._reconcile, uid), suspendable=suspendable)
        return True

    def go_on(self, number: int) -> None:
        """Let a suspended look (or resync) go on."""
        fibre = self.looks.pop(number)
        self._move(fibre)
        if not fibre.ended and self.alive:
            self.looks.append(fibre)

    def compare(self, *, suspendable: bool = False) -> None:
        """Run the resync's timer."""
        self.next_resync_ns = self.world.clock.now_ns + RESYNC_S * SECOND

        def run() -> None:
            # As the controller does: the stream's own loop deals with the cause.
            try:
                self.resync.run_once()
            except (ClusterError, StoreUnavailable) as error:
                self.note(f"resync failed: {error}")

        self.note("resync")
        self._begin(run, suspendable=suspendable)

    def do(self, run: Callable[[], object]) -> None:
        """Do something else of this process's at one go; a fault ends it, or only that."""
        self.suspendable, self.look_began_at = False, self.world.journal.number

        def guarded() -> None:
            try:
                run()
            except (ClusterError, StoreUnavailable) as error:
                self.note(f"failed: {error}")

        self._guarded(guarded)

    def check_contents(self) -> None:
        """Run the audit's timer."""
        self._guarded(lambda: self.audit.run_once(over_s=10))

    def next_due_ns(self) -> int | None:
        """Return when something of it comes due by itself."""
        due = [self.next_resync_ns]
        if self.changes.wake_at_ns is not None:
            due.append(self.changes.wake_at_ns)
        if self.stream is not None and (given_up := self.stream.wake_at_ns()) is not None:
            due.append(given_up)
        if self.queue._delayed:
            due.append(int(self.queue._delayed[0][0] * SECOND) + 1)
        return min(due)

    def die(self) -> None:
        """Be killed: every thread ends where it is, and what it does meanwhile has no effect."""
        self.alive = False
        for fibre in (self.wishes, self.changes, *self.looks):
            if not fibre.ended:
                try:
                    fibre.resume(throw=Crash())
                except Crash:
                    continue
        self.looks = []

    # -- for its ports

    def enter(self, call: str) -> None:
        """Pass the place before a call."""
        self.live_or_die()
        suspend_here(self)

    def leave(self, call: str) -> None:
        """Pass the place after a call's effect, before its answer is used."""
        if self.world.faults.dies_after(call):
            self.note(f"killed after {call}")
            die_here(self)
        suspend_here(self)

    def live_or_die(self) -> None:
        """End the thread of a process that was killed."""
        if not self.alive:
            raise Crash

    def note(self, text: str) -> None:
        """Add a line to the trace."""
        self.world.trace(f"  {self.name}: {text}")

    def _reconcile(self, uid: str) -> float | None:
        try:
            return self.reconciler.reconcile(uid)
        except (ClusterError, StoreUnavailable):
            raise
        except Exception as error:  # the queue's back-off would hide it
            self.world.surprises.append(f"a look at {uid[:8]} failed: {error!r}")
            raise

    def _begin(self, run: Callable[[], object], *, suspendable: bool) -> None:
        began_at = self.world.journal.number
        if suspendable:
            self.looks.append(Fibre(run, began_at=began_at))
            self.go_on(len(self.looks) - 1)
        else:
            self.suspendable, self.look_began_at = False, began_at
            self._guarded(run)

    def _move(self, fibre: Fibre) -> None:
        self.suspendable = fibre not in (self.wishes, self.changes)
        self.look_began_at = fibre.began_at
        self._guarded(fibre.resume)
        if fibre in (self.wishes, self.changes) and fibre.ended and self.alive:
            self.note("a source has ended: its supervisor restarts the process")
            self.die()

    def _guarded(self, run: Callable[[], object]) -> None:
        try:
            run()
        except Crash:
            self.die()
        except StoreUnavailable as error:
            self.note(f"ended by {error}")
            self.die()
