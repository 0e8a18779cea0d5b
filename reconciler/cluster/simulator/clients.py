"""What Nomad's clients do: allocations start, prove healthy, end, restart and stop.

Works on the tables under the caller's lock, and only when told to: `run_due` carries out what the
clock says is due.
"""

from collections.abc import Callable
from typing import Any, Final

from reconciler.cluster.simulator import rollouts, tasks
from reconciler.cluster.simulator.servers import START_NS, STOP_NS, Servers, group_of
from reconciler.cluster.simulator.tasks import restarts_so_far, timestamp
from reconciler.cluster.simulator.timers import Due, Timers
from reconciler.cluster.simulator.world import JobKey, Json, World

TEMPLATE_RETRY_NS: Final = 10**9
"""How often a template that waits for its Variable looks again."""


class Clients:
    """The life of allocations over one world."""

    def __init__(self, world: World, timers: Timers, servers: Servers) -> None:
        self._world = world
        self._timers = timers
        self._servers = servers
        self._steps: dict[str, Callable[[Due], None]] = {
            "start": self._start,
            "ready": self._ready,
            "exit": self._exit,
            "stopped": self._stopped,
            "again": self._again,
            "deadline": self._deadline,
        }

    def run_due(self) -> None:
        """Carry out what is due by now, in order."""
        for due in self._timers.due():
            self._steps[due.what](due)

    def end_tasks(self, alloc_id: str, end: tasks.Exit, *, may_restart: bool) -> None:
        """Let an allocation's tasks end by themselves."""
        allocation = self._world.allocs[alloc_id]
        now_ns = self._timers.now_ns()
        delay_ns = self._restart_delay_ns(allocation) if may_restart else None
        self._world.next_index()
        if end.code == 0 and allocation["Job"]["Type"] == "batch":
            self._put(tasks.ended(allocation, end, failed=False, now_ns=now_ns))
            self._after_end(allocation)
        elif delay_ns is not None:
            self._put(tasks.restarting(allocation, end, delay_ns, now_ns))
            self._world.tell()
            self._timers.set(delay_ns, "start", alloc_id)
        else:
            failed = tasks.ended(allocation, end, failed=True, now_ns=now_ns)
            self._put(self._servers.with_health(failed, healthy=False))
            self._after_end(allocation, trigger="alloc-failure")

    def restart_for_variable(self, key: JobKey) -> None:
        """Restart the job's tasks whose templates read its Variable, which has changed."""
        for alloc_id in tuple(self._world.allocs_of.get(key, ())):
            allocation = self._world.allocs[alloc_id]
            reads = tasks.reads_variable(allocation["Job"], allocation["TaskGroup"])
            if reads and _runs(allocation):
                self.restart(allocation, "Template with change_mode restart re-rendered")

    def restart(self, allocation: Json, why: str) -> None:
        """Let the tasks of a running allocation end and start again, by nobody's policy."""
        self._world.next_index()
        self._put(tasks.told_to_restart(allocation, why, self._timers.now_ns()))
        self._world.tell()
        self._timers.set(START_NS, "start", allocation["ID"])

    def stop_lost(self, node_id: str) -> None:
        """Let a node that came back stop what was given up as lost while it was away."""
        for allocation in self._world.allocs.values():
            if allocation["NodeID"] == node_id and allocation["ClientStatus"] == "lost":
                self._timers.set(STOP_NS, "stopped", allocation["ID"])

    def _start(self, due: Due) -> None:
        allocation = self._world.allocs.get(due.object_id)
        if allocation is None or not _is(allocation, "pending"):
            return
        now_ns = self._timers.now_ns()
        fresh = allocation["TaskStates"] is None
        known = tasks.received(allocation, now_ns) if fresh else allocation
        missing = self._missing(known)
        if missing:
            self._timers.set(TEMPLATE_RETRY_NS, "start", due.object_id)
            if not fresh:
                return
        self._world.next_index()
        if missing:
            self._put(tasks.waiting(known, missing, now_ns))
        else:
            stored = self._put(tasks.started(known, now_ns))
            self._watch_end(stored)
            self._servers.watch_health(stored)
        self._world.tell()

    def _ready(self, due: Due) -> None:
        """The allocation has run for long enough to count as healthy."""
        allocation = self._world.allocs.get(due.object_id)
        if allocation is None or not _runs(allocation) or allocation.get("DeploymentStatus"):
            return
        if due.mark != restarts_so_far(allocation):
            return
        self._world.next_index()
        self._put(self._servers.with_health(allocation, healthy=True))
        self._world.tell()
        key = allocation["Namespace"], allocation["JobID"]
        if self._servers.active_rollout(key) is not None:
            self._world.next_index()
            self._servers.evaluate(key, "deployment-watcher")

    def _exit(self, due: Due) -> None:
        allocation = self._world.allocs.get(due.object_id)
        if allocation is None or not _runs(allocation):
            return
        end = tasks.own_end(allocation["Job"], allocation["TaskGroup"])
        if end is not None and due.mark == restarts_so_far(allocation):
            self.end_tasks(due.object_id, end, may_restart=True)

    def _stopped(self, due: Due) -> None:
        allocation = self._world.allocs.get(due.object_id)
        if allocation is None or allocation["ClientStatus"] not in {"pending", "running", "lost"}:
            return
        if self._world.nodes[allocation["NodeID"]]["Status"] == "down":
            return
        self._world.next_index()
        self._put(tasks.killed(allocation, self._timers.now_ns()))
        self._after_end(allocation)

    def _again(self, due: Due) -> None:
        evaluation = self._world.evals.get(due.object_id)
        if evaluation is not None and evaluation["Status"] == "pending":
            self._servers.work_off(evaluation)

    def _deadline(self, due: Due) -> None:
        rollout = self._world.rollouts.get(due.object_id)
        by_ns = rollouts.progress_by_ns(rollout) if rollout else None
        if rollout is not None and by_ns is not None and by_ns <= due.at_ns:
            self._world.next_index()
            self._servers.end_rollout(rollout)
            self._world.tell()
            self._world.next_index()
            self._servers.evaluate((rollout["Namespace"], rollout["JobID"]), "deployment-watcher")

    def _after_end(self, allocation: Json, *, trigger: str = "") -> None:
        """Let the servers see what follows: a new status, a replacement, room for others."""
        key = allocation["Namespace"], allocation["JobID"]
        self._servers.refresh_status(key, "AllocationUpdated")
        self._world.tell()
        if trigger:
            self._world.next_index()
            self._servers.evaluate(key, trigger, kind="AllocationUpdated")
        self._end_drain(allocation["NodeID"])
        node = self._world.nodes[allocation["NodeID"]]
        self._servers.look_for_room(node["ComputedClass"])

    def _end_drain(self, node_id: str) -> None:
        """A node whose last allocation has gone is drained; it stays ineligible."""
        node = self._world.nodes[node_id]
        if node["Drain"] and not any(
            allocation["NodeID"] == node_id and allocation["ClientStatus"] in {"pending", "running"}
            for allocation in self._world.allocs.values()
        ):
            self._world.next_index()
            self._world.put_node({**node, "Drain": False, "DrainStrategy": None}, "NodeDrain")
            self._world.tell()

    def _put(self, allocation: Json) -> Json:
        return self._world.put_alloc(allocation, "AllocationUpdated", now_ns=self._timers.now_ns())

    def _missing(self, allocation: Json) -> str:
        """Return what the tasks wait for before they can start, "" when nothing."""
        if not tasks.reads_variable(allocation["Job"], allocation["TaskGroup"]):
            return ""
        path = f"nomad/jobs/{allocation['JobID']}"
        if (allocation["Namespace"], path) in self._world.variables:
            return ""
        return f"Missing: nomad.var.block({path}@{allocation['Namespace']}.global)"

    def _watch_end(self, allocation: Json) -> None:
        end = tasks.own_end(allocation["Job"], allocation["TaskGroup"])
        if end is not None:
            mark = restarts_so_far(allocation)
            self._timers.set(end.after_ns, "exit", allocation["ID"], mark=mark)

    def _restart_delay_ns(self, allocation: Json) -> int | None:
        """Return after what delay the tasks start again on their node, None when they do not.

        Nomad counts the restarts within the policy's interval; here a quiet one clears the count.
        """
        policy = group_of(allocation)["RestartPolicy"]
        used = restarts_so_far(allocation)
        states: list[Any] = list((allocation["TaskStates"] or {}).values())
        last = max((state["LastRestart"] or "" for state in states), default="")
        if last and last < timestamp(self._timers.now_ns() - policy["Interval"]):
            used = 0
        if used < policy["Attempts"]:
            return int(policy["Delay"])
        return int(policy["Interval"]) if policy["Mode"] == "delay" else None


def _is(allocation: Json, client_status: str) -> bool:
    wanted = allocation["DesiredStatus"] == "run"
    return bool(wanted and allocation["ClientStatus"] == client_status)


def _runs(allocation: Json) -> bool:
    return _is(allocation, "running")
