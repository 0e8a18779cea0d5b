"""What is counted for the quota, and what runs, at one instant; held against each other (pure).

What a job asks for is read from the job itself, so a quota that counts wrongly is not believed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from reconciler.jobs import Json
from specs.quota import Amounts, Scope, total

MHZ_PER_CPU: Final = 100
LIVE: Final = ("pending", "running")


@dataclass(frozen=True, slots=True)
class Counted:
    """What is counted for one record; `scopes` are those of its owner and its VO."""

    uid: str
    scopes: tuple[Scope, Scope]
    amounts: Amounts


@dataclass(frozen=True, slots=True)
class Count:
    """One instant. `used` is what the store says that each scope uses; `limits` are the site's.

    `runs` is what the job of a record asks for, where we were the last to write it and it can run.
    """

    records: Sequence[Counted]
    used: Mapping[Scope, Amounts]
    limits: Mapping[Scope, Amounts]
    runs: Mapping[str, Amounts]


NOTHING_COUNTED: Final = Count((), {}, {}, {})


def miscounts(before: Count, now: Count) -> Iterator[str]:
    """Yield what is counted wrongly, or let in beyond a limit since `before`.

    What a scope uses may exceed a limit that was lowered; then it only becomes less.
    """
    for scope in {scope: None for one in now.records for scope in one.scopes} | now.used:
        counted = total(one.amounts for one in now.records if scope in one.scopes)
        used = now.used.get(scope, {})
        if used != counted:
            yield f"{_name(scope)} is said to use {used}, and its records count {counted}"
        for item, limit in now.limits.get(scope, {}).items():
            amount = counted.get(item, 0)
            if amount > limit and amount > before.used.get(scope, {}).get(item, 0):
                yield f"{_name(scope)} was let in to {amount} {item} with a limit of {limit}"


def uncounted(now: Count) -> Iterator[str]:
    """Yield the records whose job asks for more than is counted for them."""
    for one in now.records:
        for item, amount in now.runs.get(one.uid, {}).items():
            counted = one.amounts.get(item, 0)
            if amount > counted:
                yield f"{one.uid[:8]} runs with {amount} {item}, and {counted} are counted"


def amounts_of_job(job: Json) -> dict[str, int]:
    """Return what a job asks for, by the quota's items."""
    (group,) = job["TaskGroups"]
    resources = next(t for t in group["Tasks"] if t["Name"] == "usertask")["Resources"]
    one = {
        "deployments": 1,
        "cpu_num": resources["CPU"] // MHZ_PER_CPU,
        "gpu_num": sum(device["Count"] for device in resources["Devices"] or ()),
        "ram": resources["MemoryMB"],
    }
    return {item: amount * group["Count"] for item, amount in one.items()}


def can_run(job: Json, allocations: Sequence[Json]) -> bool:
    """Tell whether something of the job runs, or Nomad may start it."""
    return not job["Stop"] or any(a["ClientStatus"] in LIVE for a in allocations)


def _name(scope: Scope) -> str:
    return " ".join(("/".join(part) if isinstance(part, tuple) else part) for part in scope)
