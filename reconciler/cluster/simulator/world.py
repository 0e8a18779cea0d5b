"""The tables of the pretend Nomad: its objects, their indexes, and the ring of events.

Objects are Nomad's own JSON and are never changed in place: a change puts a new one. No locking and
no decisions here; `state` holds the lock, `engine` decides.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from reconciler.cluster.simulator.nodes import computed_class
from reconciler.cluster.simulator.room import Claim, Ground, Load, claim_of

Json: TypeAlias = dict[str, Any]
JobKey: TypeAlias = tuple[str, str]
"""Namespace and id."""

EVENTS_KEPT: Final = 100
"""Messages in the event ring: Nomad's own default."""

VERSIONS_KEPT: Final = 6
"""Versions of a job that Nomad keeps."""

_HISTORY_KEPT: Final = 12
"""Ended evaluations, allocations and rollouts kept per job. Nomad collects garbage by age; a long
simulation must not grow either."""

_PURGED_KEPT: Final = 1000
"""Purged jobs whose evaluations are still told, as Nomad does for some hours."""

_TOPICS: Final = {
    "jobs": ("Job", "Job"),
    "allocs": ("Allocation", "Allocation"),
    "evals": ("Evaluation", "Evaluation"),
    "deployment": ("Deployment", "Deployment"),
    "nodes": ("Node", "Node"),
}


class Message(NamedTuple):
    """One message of the event ring. `position` counts messages; several may share an index."""

    position: int
    at_index: int
    events: Sequence[Json]


_FLAT_TABLES: Final = (
    "table_index",
    "namespaces",
    "jobs",
    "versions",
    "sources",
    "allocs",
    "evals",
    "rollouts",
    "nodes",
    "variables",
    "claims",
)
_TABLES_BY_JOB: Final = ("allocs_of", "evals_of", "rollouts_of")


class Tables(NamedTuple):
    """All tables of a world at one index, by the names of its attributes."""

    at_index: int
    by_name: Mapping[str, Mapping[Any, Any]]
    purged: tuple[JobKey, ...]


class World:
    """All tables, and the one counter that stands for Nomad's log."""

    def __init__(self, nodes: Sequence[Mapping[str, Any]]) -> None:
        self.index = 0
        self.table_index: dict[str, int] = {}
        self.namespaces: dict[str, Json] = {}
        self.jobs: dict[JobKey, Json] = {}
        self.versions: dict[JobKey, tuple[Json, ...]] = {}
        """The versions that are kept of each job, newest first."""
        self.sources: dict[tuple[JobKey, int], Json] = {}
        """Job submissions (the text that was sent) by job and version."""
        self.allocs: dict[str, Json] = {}
        self.allocs_of: dict[JobKey, dict[str, None]] = {}
        self.evals: dict[str, Json] = {}
        self.evals_of: dict[JobKey, dict[str, None]] = {}
        self.rollouts: dict[str, Json] = {}
        self.rollouts_of: dict[JobKey, dict[str, None]] = {}
        self.nodes: dict[str, Json] = {}
        self.variables: dict[tuple[str, str], Json] = {}
        """By namespace and path."""
        self.loads: dict[str, Load] = {}
        self.claims: dict[str, Claim] = {}
        self.ring: deque[Message] = deque(maxlen=EVENTS_KEPT)
        self._purged: deque[JobKey] = deque()
        self.restored = 0
        """How often the tables went back to what they were: every stream from before then ended."""
        self._position = 0
        self._pending: list[Json] = []
        for node in nodes:
            self.next_index()
            self.put_node({**node, "CreateIndex": self.index}, "NodeRegistration")
            self.tell()

    @property
    def ground(self) -> Ground:
        """What the scheduler works on."""
        return Ground(self.nodes, self.loads, self.claims)

    def next_index(self) -> int:
        """Begin a write: everything put from here on carries this index."""
        self.index += 1
        return self.index

    def go_to_index(self, index: int) -> None:
        """Set the counter, backwards too, as a restored snapshot does. The event ring is lost."""
        self.index = index
        self.table_index = {table: min(at, index) for table, at in self.table_index.items()}
        self.ring.clear()

    def tables(self) -> "Tables":
        """Return all tables as they are now, to be given to `restore`.

        Objects are never changed in place, so copies of the tables that hold them are enough.
        """
        flat = {name: dict(getattr(self, name)) for name in _FLAT_TABLES}
        nested = {
            name: {key: dict(ids) for key, ids in getattr(self, name).items()}
            for name in _TABLES_BY_JOB
        }
        return Tables(self.index, {**flat, **nested}, tuple(self._purged))

    def restore(self, tables: "Tables") -> None:
        """Go back to these tables and their index. The event ring is lost, with its streams."""
        self.index = tables.at_index
        for name in _FLAT_TABLES:
            setattr(self, name, dict(tables.by_name[name]))
        for name in _TABLES_BY_JOB:
            setattr(self, name, {key: dict(ids) for key, ids in tables.by_name[name].items()})
        self._purged = deque(tables.purged)
        self.loads = {node_id: Load() for node_id in self.nodes}
        for alloc_id, claim in self.claims.items():
            self.loads[self.allocs[alloc_id]["NodeID"]].add(claim)
        self.ring.clear()
        self.restored += 1

    def tell(self) -> None:
        """End a message: what was put since the last one goes into the event ring."""
        if self._pending:
            self._position += 1
            self.ring.append(Message(self._position, self.index, tuple(self._pending)))
            self._pending = []

    def latest_index(self, *tables: str) -> int:
        """Return the newest index of these tables, 1 at least, as Nomad does."""
        return max(1, *(self.table_index.get(table, 0) for table in tables))

    def put_job(self, job: Json, kind: str) -> None:
        """Store a job as it is now; `kind` is the event's type."""
        key = job["Namespace"], job["ID"]
        self.jobs[key] = job
        kept = self.versions.get(key, ())
        older = kept[1:] if kept and kept[0]["Version"] == job["Version"] else kept
        self.versions[key] = (job, *older)[:VERSIONS_KEPT]
        self._note("jobs", kind, job["ID"], job)

    def drop_job(self, key: JobKey) -> None:
        """Forget a job with its versions, rollouts and allocations, as a purge does."""
        job = self.jobs.pop(key)
        for version in self.versions.pop(key):
            self.sources.pop((key, version["Version"]), None)
        for alloc_id in self.allocs_of.pop(key, {}):
            self._release(alloc_id)
            del self.allocs[alloc_id]
        for rollout_id in self.rollouts_of.pop(key, {}):
            del self.rollouts[rollout_id]
        self._note("jobs", "JobDeregistered", job["ID"], job, Deleted=True)
        self._purged.append(key)
        if len(self._purged) > _PURGED_KEPT:
            self._forget_evals(self._purged.popleft())

    def put_eval(self, evaluation: Json, kind: str) -> Json:
        """Store an evaluation; return it as stored."""
        stored = self._stamped(evaluation)
        self._put(self.evals, self.evals_of, stored)
        keys = [stored["JobID"], stored.get("DeploymentID", "")]
        self._note("evals", kind, stored["ID"], stored, keys=keys)
        return stored

    def put_alloc(self, allocation: Json, kind: str, *, now_ns: int) -> Json:
        """Store an allocation and take or release what it claims; return it as stored."""
        stored = self._stamped({**allocation, "ModifyTime": now_ns})
        if kind != "AllocationUpdated":
            stored["AllocModifyIndex"] = self.index
        self._put(self.allocs, self.allocs_of, stored)
        if stored["DesiredStatus"] == "run" and stored["ClientStatus"] in {"pending", "running"}:
            self._take(stored)
        else:
            self._release(stored["ID"])
        told = {name: value for name, value in stored.items() if name != "Job"}
        keys = [stored["JobID"], stored.get("DeploymentID", "")]
        self._note("allocs", kind, stored["ID"], told, keys=keys)
        return stored

    def put_rollout(self, rollout: Json, kind: str, *, now_ns: int) -> Json:
        """Store a rollout; return it as stored."""
        stored = self._stamped({**rollout, "ModifyTime": now_ns})
        self._put(self.rollouts, self.rollouts_of, stored)
        self._note("deployment", kind, stored["ID"], stored, keys=[stored["JobID"]])
        return stored

    def put_node(self, node: Mapping[str, Any], kind: str) -> None:
        """Store a node."""
        stored = self._stamped({**node, "ComputedClass": computed_class(node)})
        self.nodes[stored["ID"]] = stored
        self.loads.setdefault(stored["ID"], Load())
        self._note("nodes", kind, stored["ID"], stored)

    def touch(self, table: str) -> None:
        """Note a write to a table that has no events."""
        self.table_index[table] = self.index

    def _stamped(self, item: Json) -> Json:
        created = item.get("CreateIndex") or self.index
        return {**item, "CreateIndex": created, "ModifyIndex": self.index}

    def _put(
        self, table: dict[str, Json], by_job: dict[JobKey, dict[str, None]], item: Json
    ) -> None:
        table[item["ID"]] = item
        ids = by_job.setdefault((item["Namespace"], item["JobID"]), {})
        ids[item["ID"]] = None
        if len(ids) > _HISTORY_KEPT:
            self._collect(table, ids)

    def _collect(self, table: dict[str, Json], ids: dict[str, None]) -> None:
        ended = [item_id for item_id in ids if has_ended(table[item_id])]
        for item_id in ended[: len(ids) - _HISTORY_KEPT]:
            del ids[item_id]
            del table[item_id]

    def _forget_evals(self, key: JobKey) -> None:
        if key not in self.jobs:
            for eval_id in self.evals_of.pop(key, {}):
                del self.evals[eval_id]

    def _take(self, allocation: Json) -> None:
        if allocation["ID"] not in self.claims:
            claim = claim_of(allocation["AllocatedResources"])
            self.claims[allocation["ID"]] = claim
            self.loads[allocation["NodeID"]].add(claim)

    def _release(self, alloc_id: str) -> None:
        claim = self.claims.pop(alloc_id, None)
        if claim is not None:
            self.loads[self.allocs[alloc_id]["NodeID"]].remove(claim)

    def _note(
        self,
        table: str,
        kind: str,
        key: str,
        item: Json,
        *,
        keys: list[str] | None = None,
        **more: Any,
    ) -> None:
        self.table_index[table] = self.index
        topic, payload = _TOPICS[table]
        self._pending.append(
            {
                "Topic": topic,
                "Type": kind,
                "Key": key,
                "Namespace": item.get("Namespace", ""),
                "FilterKeys": keys,
                "Index": self.index,
                "Payload": {payload: item, **more},
            }
        )


def has_ended(item: Mapping[str, Any]) -> bool:
    """Tell whether an evaluation, an allocation or a rollout will never change again."""
    if "ClientStatus" in item:
        gone = item["ClientStatus"] in {"complete", "lost"} or bool(item.get("NextAllocation"))
        return gone and item["DesiredStatus"] != "run"
    return item["Status"] not in {"pending", "blocked", "running"}
