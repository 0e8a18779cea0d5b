"""What was wished over time, and whether Nomad was told just that: for servers that are killed."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tests.e2e.deployments import NS
from tests.e2e.server import Server
from tests.real import DevAgent


@dataclass(frozen=True)
class Wish:
    """What tells one wish for a deployment from the next, in our words and in Nomad's."""

    title: str
    ram: int


@dataclass(frozen=True)
class Step:
    """What somebody asks for; without a wish it is the deletion."""

    name: str
    wish: Wish | None


def a_history(kinds: Sequence[str], chance: random.Random) -> Sequence[Step]:
    """Return creates, updates and deletes in a random order that makes sense."""
    kinds = chance.sample(kinds, k=len(kinds))
    present: dict[str, Wish] = {}
    steps = []
    for number, kind in enumerate(kinds):
        title = f"wish {number}"
        if kind == "create" or not present:
            name, wish = f"kill-{number}", Wish(title, ram=300)
        else:
            name = chance.choice(sorted(present))
            ram = present[name].ram + chance.choice((0, 16))
            wish = None if kind == "delete" else Wish(title, ram)
        if wish is None:
            del present[name]
        else:
            present[name] = wish
        steps.append(Step(name, wish))
    return steps


def wishes_by_name(steps: Sequence[Step]) -> dict[str, list[Wish | None]]:
    told: dict[str, list[Wish | None]] = {}
    for step in steps:
        told.setdefault(step.name, []).append(step.wish)
    return told


def listed(server: Server) -> list[dict]:
    code, page = server.call("GET", "/v1/specs?limit=500")
    assert code == 200, page
    return list(page["items"])


def settled(server: Server, alive: set[str]) -> bool:
    """Whether exactly these are left, and the latest wish of each is registered and waits."""
    items = listed(server)
    return {item["metadata"]["name"] for item in items} == alive and all(
        item["status"]["phase"] == "Queued"
        and item["status"]["observedGeneration"] == item["metadata"]["generation"]
        for item in items
    )


def versions_of(agent: DevAgent, uid: str) -> list[Wish]:
    """Return what each version of the job that Nomad keeps (six) asked for, the oldest first."""
    answer = agent.call("GET", f"/v1/job/{uid}/versions?{NS}")
    newest_first = sorted(answer["Versions"], key=lambda version: -version["Version"])
    return [
        Wish(v["UI"]["Description"], v["TaskGroups"][0]["Tasks"][0]["Resources"]["MemoryMB"])
        for v in reversed(newest_first)
    ]


def assert_written_as_wished(written: Sequence[Wish], wished: Sequence[Wish | None]) -> None:
    """Every version is a wish, each at most once and in order, and the last is the last."""
    places = [wished.index(wish) if wish in wished else -1 for wish in written]
    assert -1 not in places, f"nobody wished one of {written}; wished were {wished}"
    assert places == sorted(set(places)), f"written twice or out of order: {written}"
    assert written[-1] == wished[-1], f"{written[-1]} was written last, not {wished[-1]}"
