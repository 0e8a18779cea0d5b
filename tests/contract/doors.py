"""What a case of the cluster contract works with: one door to a Nomad, and jobs that fit it.

A door is the simulator in process, the simulator over HTTP, or a real Nomad. All three have one
node and on it, where the real one can, one device; cases run the same on each.
"""

import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import quote

import requests

from reconciler.cluster.protocol import Cluster
from reconciler.jobs import MANAGED_BY, Allocation, Change, Evaluation, JobRef, Registered
from tests.real import NAMESPACES

T = TypeVar("T")

NAMESPACE: Final = NAMESPACES[0]
DEVICE: Final = "nomad/file/mock"
NO_SUCH_DEVICE: Final = "acme/gpu"
DEADLINE_S: Final = 20.0


@dataclass
class Door:
    """One way to a Nomad. `add_device` lets a second device be there, `remove_device` lets it not;
    both are None where the Nomad has no device plugin."""

    cluster: Cluster
    stop_allocation: Callable[[str], object]
    add_device: Callable[[], object] | None = None
    remove_device: Callable[[], object] | None = None
    address: str = ""
    standing: "Running | None" = None


class Running(NamedTuple):
    """A registered job, its index, and its allocation, which runs."""

    job: dict[str, Any]
    index: int
    allocation: Allocation


@dataclass
class Case:
    """One test's jobs behind one door; `clean` removes them all."""

    door: Door
    refs: set[JobRef] = field(default_factory=set)

    @property
    def cluster(self) -> Cluster:
        return self.door.cluster

    def a_job(self, **changed: Any) -> dict[str, Any]:
        job = a_job(**changed)
        self.refs.add(JobRef(job["Namespace"], job["ID"]))
        return job

    def register(self, job: Mapping[str, Any], *, if_index: int = 0) -> Registered:
        self.refs.add(ref_of(job))
        return self.cluster.register_job(job, if_index=if_index)

    def running(self, **changed: Any) -> Running:
        """Register a job and wait for its allocation."""
        job = self.a_job(**changed)
        with watching(self.cluster) as watch:
            index = self.register(job).index
            return Running(job, index, watch.until(lambda: self.allocation(job, "running")))

    def standing(self) -> Running:
        """Return the one job that runs through all cases: to be looked at, not to be changed."""
        if self.door.standing is None:
            self.door.standing = self.running()
        return deepcopy(self.door.standing)

    def leave_standing(self) -> None:
        """Remove the job that runs through all cases: the next that looks at it starts another."""
        if self.door.standing is not None:
            self.refs.add(ref_of(self.door.standing.job))
            self.door.standing = None

    def read(self, job: Mapping[str, Any]) -> Mapping[str, Any]:
        found = self.cluster.read_job(ref_of(job))
        assert found is not None
        return found

    def allocations(self, job: Mapping[str, Any]) -> list[Allocation]:
        return [a for a in self.cluster.list_allocations().items if a.ref == ref_of(job)]

    def allocation(self, job: Mapping[str, Any], client_status: str) -> Allocation | None:
        """Return the one allocation of the job in that state, or None."""
        return next((a for a in self.allocations(job) if a.client_status == client_status), None)

    def blocked(self, job: Mapping[str, Any]) -> Evaluation | None:
        """Return the evaluation that waits for room for the job, or None."""
        evaluations = self.cluster.list_evaluations().items
        return next(
            (e for e in evaluations if e.ref == ref_of(job) and e.status == "blocked"), None
        )

    def wire(
        self, method: str, path: str, body: object = None, **query: object
    ) -> requests.Response:
        """Call the HTTP API past our adapter; `{id}`s in paths are quoted by the caller."""
        with requests.Session() as session:
            session.trust_env = False
            return session.request(
                method,
                f"{self.door.address}/v1/{path}",
                json=body,
                params={"namespace": NAMESPACE, **query},  # type: ignore[arg-type]
                timeout=10,
            )

    def clean(self) -> None:
        kept = {ref_of(self.door.standing.job)} if self.door.standing else set()
        for ref in self.refs - kept:
            if " " not in ref.id:
                self.cluster.purge_job(ref)
                self.cluster.delete_variable(ref)


class Watch:
    """The event stream of one case: looks again at every message, until a deadline."""

    def __init__(self, stream: Iterator[Any]) -> None:
        self._stream = stream
        self.seen: list[Change] = []

    def until(self, look: Callable[[], T | None]) -> T:
        """Return what `look` finds, as soon as it finds something."""
        while not (found := look()):
            message = next(self._stream, None)
            assert message is not None, f"nothing within {DEADLINE_S} s; seen: {self.seen[-5:]}"
            self.seen.extend(message.changes)
        return found

    def change(self, kind: type[T], true: Callable[[T], bool]) -> T:
        """Return the first change of that kind that the stream tells and that is so."""
        return self.until(
            lambda: next((c for c in self.seen if isinstance(c, kind) and true(c)), None)
        )


@contextmanager
def watching(cluster: Cluster) -> Iterator[Watch]:
    """Follow events from now on."""
    stop = threading.Event()
    alarm = threading.Timer(DEADLINE_S, stop.set)
    alarm.daemon = True
    alarm.start()
    stream = cluster.changes(after=cluster.list_jobs().index, stop=stop)
    try:
        next(stream)
        yield Watch(stream)
    finally:
        alarm.cancel()
        stop.set()
        stream.close()  # type: ignore[attr-defined]


def ref_of(job: Mapping[str, Any]) -> JobRef:
    return JobRef(job["Namespace"], job["ID"])


def quoted(job: Mapping[str, Any]) -> str:
    return quote(job["ID"], safe="")


def a_job(
    *,
    job_id: str | None = None,
    namespace: str = NAMESPACE,
    count: int = 1,
    memory_mb: int = 10,
    disk_mb: int = 20,
    log_mb: int = 1,
    device: str | None = None,
    ports: tuple[str, ...] = (),
    config: Mapping[str, Any] | None = None,
    **top: Any,
) -> dict[str, Any]:
    """Return a job of one task that runs for an hour and costs nothing."""
    job_id = job_id or str(uuid.uuid4())
    resources = {"CPU": 10, "MemoryMB": memory_mb}
    if device:
        resources["Devices"] = [{"Name": device, "Count": 1}]  # type: ignore[assignment]
    task = {
        "Name": "usertask",
        "Driver": "mock_driver",
        "Config": dict(config or {"run_for": "1h"}),
        "LogConfig": {"MaxFiles": 1, "MaxFileSizeMB": log_mb},
        "Resources": resources,
    }
    group = {
        "Name": "usergroup",
        "Count": count,
        "EphemeralDisk": {"SizeMB": disk_mb},
        "Tasks": [task],
    }
    if ports:
        group["Networks"] = [{"DynamicPorts": [{"Label": p, "To": 5000} for p in ports]}]
    return {
        "ID": job_id,
        "Name": job_id,
        "Namespace": namespace,
        "Type": "service",
        "Datacenters": ["*"],
        "Meta": {"managed_by": MANAGED_BY, "owner": "alice"},
        "TaskGroups": [group],
        **top,
    }


def group_of(job: Mapping[str, Any]) -> dict[str, Any]:
    return job["TaskGroups"][0]


def task_of(job: Mapping[str, Any]) -> dict[str, Any]:
    return group_of(job)["Tasks"][0]
