"""What has to happen to the allocations of one task group, before any node is looked at (pure)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reconciler.cluster.simulator.difference import restarts
from reconciler.cluster.simulator.scheduler import in_datacenter, why_unfit
from reconciler.cluster.simulator.tasks import instant_ns

Json = Mapping[str, Any]


@dataclass(slots=True)
class Sorted:
    """A group's allocations by what happens to them; `places` more are wanted on top.

    `replaced` are those that go whatever happens (migrating, lost, failed and due again): each
    lends its name to one of the `places`.
    """

    unchanged: list[Json] = field(default_factory=list)
    in_place: list[Json] = field(default_factory=list)
    destructive: list[Json] = field(default_factory=list)
    surplus: list[Json] = field(default_factory=list)
    migrating: list[Json] = field(default_factory=list)
    lost: list[Json] = field(default_factory=list)
    ending: list[Json] = field(default_factory=list)
    """Told to stop before, on a node that went down: nobody will say that they have."""
    due_again: list[Json] = field(default_factory=list)
    due_later: list[tuple[int, Json]] = field(default_factory=list)
    """(instant in ns, failed allocation) for those that wait for their follow-up evaluation."""
    done: int = 0
    places: int = 0

    @property
    def replaced(self) -> list[Json]:
        """The allocations that go whatever happens."""
        return [*self.migrating, *self.lost, *self.due_again]

    @property
    def kept(self) -> list[Json]:
        """The allocations that stay, for now or for good."""
        later = [allocation for _, allocation in self.due_later]
        return [*self.unchanged, *self.in_place, *self.destructive, *later]


def sort_out(
    job: Json,
    group_name: str,
    allocations: Sequence[Json],
    *,
    nodes: Mapping[str, Json],
    now_ns: int,
) -> Sorted:
    """Sort the allocations of one group of a job; a group that the job no longer has wants none."""
    group = next((item for item in job["TaskGroups"] if item["Name"] == group_name), None)
    wanted = 0 if group is None or job["Stop"] else group["Count"]
    found = Sorted()
    staying: list[Json] = []
    for allocation in allocations:
        if allocation["TaskGroup"] != group_name:
            continue
        if allocation["DesiredStatus"] == "run":
            _sort_one(job, allocation, found, staying, nodes=nodes, now_ns=now_ns)
        elif allocation["ClientStatus"] in {"pending", "running"} and _down(nodes, allocation):
            found.ending.append(allocation)
    staying.sort(key=_number)
    room = max(0, wanted - found.done)
    found.surplus += staying[room:]
    later = {allocation["ID"] for _, allocation in found.due_later}
    surplus = {allocation["ID"] for allocation in found.surplus}
    found.due_later = [pair for pair in found.due_later if pair[1]["ID"] not in surplus]
    found.places = max(0, wanted - found.done - len(staying[:room]))
    for allocation in staying[:room]:
        if _same_version(job, allocation):
            if allocation["ID"] not in later:
                found.unchanged.append(allocation)
            continue
        found.due_later = [pair for pair in found.due_later if pair[1] is not allocation]
        must_go = restarts(allocation["Job"], job, group_name) or _unfit(
            job, group, allocation, nodes
        )
        (found.destructive if must_go else found.in_place).append(allocation)
    return found


def next_number(names: set[str], job_id: str, group_name: str) -> str:
    """Return the first free allocation name, Nomad's `job.group[n]`."""
    number = 0
    while (name := f"{job_id}.{group_name}[{number}]") in names:
        number += 1
    return name


def reschedule_at(allocation: Json, group: Json) -> int | None:
    """Return when a failed allocation may be placed anew (Unix ns), None when never again."""
    policy = group["ReschedulePolicy"]
    earlier = (allocation.get("RescheduleTracker") or {}).get("Events") or []
    if not policy["Unlimited"] and len(earlier) >= policy["Attempts"]:
        return None
    delay: int = policy["Delay"]
    if policy["DelayFunction"] != "constant":
        delay = _grown(policy["DelayFunction"], delay, len(earlier))
        delay = min(delay, policy["MaxDelay"] or delay)
    return finished_at_ns(allocation) + delay


def finished_at_ns(allocation: Json) -> int:
    """Return when the last task ended (Unix ns), or when the allocation last changed."""
    ends = [state["FinishedAt"] for state in (allocation["TaskStates"] or {}).values()]
    if not ends or None in ends:
        return int(allocation["ModifyTime"])
    return max(instant_ns(end) for end in ends)


def _sort_one(
    job: Json,
    allocation: Json,
    found: Sorted,
    staying: list[Json],
    *,
    nodes: Mapping[str, Json],
    now_ns: int,
) -> None:
    status = allocation["ClientStatus"]
    if status == "complete":
        found.done += job["Type"] == "batch"
    elif status == "failed":
        _sort_failed(allocation, found, staying, now_ns=now_ns)
    elif status == "lost":
        pass
    elif _down(nodes, allocation):
        found.lost.append(allocation)
    elif nodes[allocation["NodeID"]]["Drain"] or (allocation["DesiredTransition"] or {}).get(
        "Migrate"
    ):
        found.migrating.append(allocation)
    else:
        staying.append(allocation)


def _down(nodes: Mapping[str, Json], allocation: Json) -> bool:
    node = nodes.get(allocation["NodeID"])
    return node is None or bool(node["Status"] == "down")


def _sort_failed(allocation: Json, found: Sorted, staying: list[Json], *, now_ns: int) -> None:
    if allocation.get("NextAllocation"):
        return
    group = next(
        item for item in allocation["Job"]["TaskGroups"] if item["Name"] == allocation["TaskGroup"]
    )
    due_ns = reschedule_at(allocation, group)
    if due_ns is None:
        staying.append(allocation)
    elif due_ns <= now_ns:
        found.due_again.append(allocation)
    else:
        found.due_later.append((due_ns, allocation))
        staying.append(allocation)


def _same_version(job: Json, allocation: Json) -> bool:
    then = allocation["Job"]
    return bool(then["Version"] == job["Version"] and then["CreateIndex"] == job["CreateIndex"])


def _unfit(job: Json, group: Json | None, allocation: Json, nodes: Mapping[str, Json]) -> bool:
    """Tell whether the node that it runs on would no longer do."""
    node = nodes[allocation["NodeID"]]
    return group is None or not in_datacenter(job, node) or bool(why_unfit(job, group, node))


def _number(allocation: Json) -> tuple[bool, int]:
    """Order by what is given up last: what runs before what failed, then by number."""
    digits = allocation["Name"].rsplit("[", 1)[-1].removesuffix("]")
    return allocation["ClientStatus"] == "failed", int(digits)


def _grown(function: str, delay: int, times: int) -> int:
    if function == "exponential":
        return int(delay * 2**times)
    before, grown = delay, delay
    for _ in range(times):
        before, grown = grown, before + grown
    return grown
