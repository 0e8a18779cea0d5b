"""The two doors of a simulated process, with faults in them: to the cluster and to the store.

Every call passes `_through`: there the process can be killed, the call can fail before or after its
effect, and a look can be suspended while the rest of the world goes on.
"""

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Final

from reconciler.cluster import decode
from reconciler.errors import ClusterUnavailable
from reconciler.jobs import Changes
from specs.faults import StoreFull, StoreUnavailable
from specs.model import DeploymentStatus
from specs.store import SpecStore
from tests.simulated import SECOND
from tests.simulation.faults import BEFORE_THE_EFFECT, Crash, Fault, refusal_of
from tests.simulation.fibres import in_fibre, pause

if TYPE_CHECKING:
    from tests.simulation.process import Process

CLUSTER_READS: Final = frozenset(
    {
        "list_jobs",
        "list_foreign_jobs",
        "list_allocations",
        "list_evaluations",
        "list_rollouts",
        "list_nodes",
        "read_job",
        "read_variable",
    }
)
"""Calls that can be answered from an older state than the newest."""

CLUSTER_WRITES: Final = frozenset(
    {
        "register_job",
        "stop_job",
        "purge_job",
        "restart_allocation",
        "evaluate_job",
        "put_variable",
        "delete_variable",
    }
)

STORE_WRITES: Final = frozenset(
    {
        "put_status",
        "remove_finalizer",
        "pin_last_good",
        "put_from_source",
        "prune",
        "release",
        "let_in",
        "adopt",
    }
)

SILENCE_S: Final = 90
"""After so long without a word the adapter gives a stream up."""


class FaultyCluster:
    """The cluster as one process reaches it."""

    def __init__(self, process: "Process") -> None:
        self._process = process
        self._world = process.world

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._world.cluster, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            return self._through(name, method, args, kwargs)

        return call

    def changes(self, *, after: int, stop: object) -> Generator[Changes, None, None]:
        """Follow the event stream; what it loses, repeats and mixes up is drawn here."""
        self._through("changes", lambda: None, (), {})
        stream = Stream(self._process, self._world.nomad.position_at(after + 1 if after else 0))
        self._process.stream = stream
        yield Changes(0)
        while True:
            pause()
            self._process.live_or_die()
            yield from stream.take()

    def _through(self, name: str, method: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        process, faults = self._process, self._world.faults
        process.enter(name)
        for fault in BEFORE_THE_EFFECT:
            if faults.draws(fault):
                process.note(f"{name}: {fault}")
                raise refusal_of(fault)
        if name in CLUSTER_READS and faults.draws(Fault.STALE):
            process.note(f"{name}: {Fault.STALE}")
            process.misled_at = self._world.journal.number
            answer = getattr(self._world.a_past(), name)(*args, **kwargs)
        else:
            with self._world.journal.by(process.name, process.look_began_at, process.misled_at):
                answer = method(*args, **kwargs)
        if name in CLUSTER_WRITES:
            process.note(f"{name} -> {answer}")
        if name == "register_job":
            self._world.registers[args[0]["ID"]] += 1
            self._world.limits.note_register(args[0]["ID"], process.look_began_at)
        process.leave(name)
        if faults.draws(Fault.ANSWER_LOST):
            process.note(f"{name}: {Fault.ANSWER_LOST}")
            raise ClusterUnavailable("connection reset while waiting for the answer")
        return answer


class Stream:
    """One connection to the event stream; `position` is the last message that was read."""

    def __init__(self, process: "Process", position: int) -> None:
        self._process = process
        self._world = process.world
        self.position = position
        self._late: list[Changes] = []
        self._silent_from_ns: int | None = None
        self.cut = False

    @property
    def waiting(self) -> bool:
        """Whether there is something to read, an end included."""
        if self.cut or self._given_up():
            return True
        # Of the heartbeats only that one is simulated which somebody waits for.
        said = bool(self._late) or self._behind() or self._process.mirror.doubted
        return self._silent_from_ns is None and said

    def take(self) -> list[Changes]:
        """Read everything there is. Raises: ClusterUnavailable where the connection is over."""
        faults = self._world.faults
        if self.cut or faults.draws(Fault.CUT):
            raise ClusterUnavailable("the event stream broke")
        if self._given_up():
            raise ClusterUnavailable(f"the event stream was silent for {SILENCE_S} s")
        if self._silent_from_ns is None and faults.draws(Fault.SILENT):
            self._silent_from_ns = self._world.clock.now_ns
        if self._silent_from_ns is not None:
            return []
        told = self._late
        self._late = []
        for message in self._world.nomad.messages_after(self.position, timeout_s=0):
            if message.position > self.position + 1:
                # Nomad's own words to a reader that its ring has overtaken.
                raise ClusterUnavailable("subscription closed by server, client should resubscribe")
            self.position = message.position
            changes = self._world.ours(
                decode.changes({"Index": message.at_index, "Events": message.events})
            )
            if faults.draws(Fault.DROPPED):
                self._process.note(f"message at {message.at_index}: {Fault.DROPPED}")
                continue
            if faults.draws(Fault.REORDERED):
                self._late.append(changes)
                continue
            told.append(changes)
            if faults.draws(Fault.DUPLICATED):
                told.append(changes)
        return told or [Changes(0)]

    def wake_at_ns(self) -> int | None:
        """Return when a silent stream is given up, None where it is not silent."""
        if self._silent_from_ns is None:
            return None
        return self._silent_from_ns + SILENCE_S * SECOND

    def _given_up(self) -> bool:
        at_ns = self.wake_at_ns()
        return at_ns is not None and self._world.clock.now_ns >= at_ns

    def _behind(self) -> bool:
        ring = self._world.nomad._world.ring
        return bool(ring) and ring[-1].position > self.position


class FaultyStore:
    """The store as one process reaches it."""

    def __init__(self, process: "Process", store: SpecStore) -> None:
        self._process = process
        self._store = store

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._store, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            return self._through(name, method, args, kwargs)

        return call

    def wait_for_wishes(self, after: int, *, timeout_s: float) -> bool:
        """Sleep until the wish feed has news, or as long as it may."""
        pause(self._process.world.clock.now_ns + int(timeout_s * SECOND))
        return True

    def _through(self, name: str, method: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        process, faults = self._process, self._process.world.faults
        process.enter(name)
        if name in STORE_WRITES:
            if faults.draws(Fault.STORE_FAILED):
                process.note(f"{name}: {Fault.STORE_FAILED}")
                raise StoreFull("the store has no room left")
            process.note(f"{name}{_short(args[1:])}")
        if name == "put_status":
            self._check_told(*args)
        answer = method(*args, **kwargs)
        if name == "pin_last_good" and answer:
            process.world.on_pin(args[0])
        if name == "release" and process.misled_at >= process.look_began_at:
            process.world.limits.excuse(args[0])
        if name == "adopt":
            process.world.limits.note_adoption()
        elif name in STORE_WRITES and name != "put_status":
            process.world.limits.watch()
        process.leave(name)
        if name in STORE_WRITES and faults.draws(Fault.STORE_ANSWER_LOST):
            process.note(f"{name}: {Fault.STORE_ANSWER_LOST}")
            raise StoreUnavailable("disk I/O error")
        return answer

    def _check_told(self, uid: str, status: DeploymentStatus) -> None:
        # What users were answered is known without asking; only a newer one is worth a query.
        world = self._process.world
        if status.observed_generation <= world.generations.get(uid, 0):
            return
        record = self._store.get(uid)
        if record is not None and status.observed_generation > record.generation:
            world.told.append(f"{record.name}: a status of a generation to come")


def die_here(process: "Process") -> None:
    """Kill the process: nothing it does from here on has an effect."""
    process.alive = False
    raise Crash


def suspend_here(process: "Process") -> None:
    """Let a look that may be suspended wait until it is resumed."""
    if in_fibre() and process.suspendable and process.world.faults.draws(Fault.SUSPENDED):
        process.note("suspended")
        pause()
        process.live_or_die()


def _short(args: tuple[Any, ...]) -> str:
    status = args[0] if args else ""
    return f" {status.phase.value}/{status.reason}" if hasattr(status, "phase") else f" {status}"
