"""Nodes and allocations, handled from outside: by an operator, or by a test that breaks things."""

from collections.abc import Mapping
from typing import Any, Final

from reconciler.cluster.simulator import tasks
from reconciler.cluster.simulator.clients import Clients
from reconciler.cluster.simulator.nodes import with_devices
from reconciler.cluster.simulator.refusal import Refusal, not_found
from reconciler.cluster.simulator.servers import Servers
from reconciler.cluster.simulator.timers import Timers
from reconciler.cluster.simulator.turns import Turns
from reconciler.cluster.simulator.world import JobKey, Json, World

_ENDED: Final = frozenset({"complete", "failed", "lost"})


class Machines:
    """Drain, lose and return nodes; stop and fail allocations."""

    def __init__(self, turns: Turns, timers: Timers, *, servers: Servers, clients: Clients) -> None:
        self._turns = turns
        self._timers = timers
        self._servers = servers
        self._clients = clients

    def put_node(self, node: Mapping[str, Any]) -> None:
        """Add a node, or change one; waiting jobs are placed where that made room."""
        with self._turns.turn() as world:
            world.next_index()
            created = world.nodes.get(node["ID"], {}).get("CreateIndex", 0)
            world.put_node({**node, "CreateIndex": created}, "NodeRegistration")
            world.tell()
            self._servers.look_for_room(world.nodes[node["ID"]]["ComputedClass"])

    def drain_node(self, node_id: str) -> None:
        """Move every allocation off a node; it stays ineligible."""
        changes = {
            "Drain": True,
            "SchedulingEligibility": "ineligible",
            "DrainStrategy": {"Deadline": 3600 * 10**9, "IgnoreSystemJobs": False},
        }
        self._change(node_id, changes, "NodeDrain", trigger="node-drain")

    def lose_node(self, node_id: str) -> None:
        """Let a node miss its heartbeats; its allocations are lost and placed elsewhere."""
        self._change(node_id, {"Status": "down"}, "NodeStreamEvent", trigger="node-update")

    def return_node(self, node_id: str) -> None:
        """Let a node be ready and eligible again, and not drained.

        Where it was lost, what still ran on it is stopped: it has been given up meanwhile.
        """
        changes = {
            "Status": "ready",
            "Drain": False,
            "DrainStrategy": None,
            "SchedulingEligibility": "eligible",
        }
        self._change(node_id, changes, "NodeEligibility")
        with self._turns.turn():
            self._clients.stop_lost(node_id)

    def set_devices(self, node_id: str, gpus: Mapping[str, int]) -> None:
        """Let devices of a node appear or vanish; `gpus` as for `nodes.node`.

        Work that holds one that vanished goes on; waiting jobs are placed where room came. Those
        that asked for more of a kind than the node had are not: Nomad does not ask them again.
        """
        with self._turns.turn() as world:
            node = world.nodes.get(node_id)
            if node is None:
                raise not_found("node")
            self.put_node(with_devices(node, gpus))

    def set_eligibility(self, node_id: str, *, eligible: bool) -> None:
        """Let a node be placed on, or not; what runs there stays."""
        word = "eligible" if eligible else "ineligible"
        self._change(node_id, {"SchedulingEligibility": word}, "NodeEligibility")

    def stop_allocation(self, alloc_id: str) -> Json:
        """Stop an allocation as `nomad alloc stop` does; it is replaced where there is room."""
        with self._turns.turn() as world:
            allocation = world.allocs.get(alloc_id)
            if allocation is None:
                raise not_found("allocation")
            index = world.next_index()
            moved = {**allocation, "DesiredTransition": {"Migrate": True}}
            now_ns = self._timers.now_ns()
            world.put_alloc(moved, "AllocationUpdateDesiredStatus", now_ns=now_ns)
            evaluation = self._servers.evaluate(_job_of(allocation), "alloc-stop")
            return {"EvalID": evaluation["ID"], "Index": index}

    def restart_allocation(self, alloc_id: str) -> None:
        """Restart an allocation's tasks in place as `nomad alloc restart -all-tasks` does.

        Raises `Refusal` 404 where it is unknown or its node is down, 500 where it has ended.
        """
        with self._turns.turn() as world:
            allocation = world.allocs.get(alloc_id)
            if allocation is None:
                raise Refusal(404, f'Unknown allocation "{alloc_id}"')
            if world.nodes[allocation["NodeID"]]["Status"] == "down":
                raise Refusal(404, "No path to node")
            if allocation["DesiredStatus"] != "run" or allocation["ClientStatus"] in _ENDED:
                raise Refusal(500, "restart of an alloc that should not run")
            if allocation["ClientStatus"] == "running":
                self._clients.restart(allocation, "User requested all tasks to restart")

    def fail_allocation(self, alloc_id: str, *, exit_code: int = 1) -> None:
        """Let an allocation's tasks end for good; the job's reschedule policy takes over."""
        with self._turns.turn() as world:
            if alloc_id not in world.allocs:
                raise not_found("allocation")
            self._clients.end_tasks(alloc_id, tasks.Exit(0, exit_code), may_restart=False)

    def _change(
        self, node_id: str, changes: Mapping[str, Any], kind: str, *, trigger: str = ""
    ) -> None:
        with self._turns.turn() as world:
            node = world.nodes.get(node_id)
            if node is None:
                raise not_found("node")
            world.next_index()
            world.put_node({**node, **changes}, kind)
            world.tell()
            for key in _jobs_on(world, node_id) if trigger else ():
                world.next_index()
                self._servers.evaluate(key, trigger, kind=kind)
            self._servers.look_for_room(world.nodes[node_id]["ComputedClass"])


def _jobs_on(world: World, node_id: str) -> list[JobKey]:
    return list(
        dict.fromkeys(
            _job_of(allocation)
            for allocation in world.allocs.values()
            if allocation["NodeID"] == node_id and allocation["ClientStatus"] not in _ENDED
        )
    )


def _job_of(allocation: Json) -> JobKey:
    return allocation["Namespace"], allocation["JobID"]
