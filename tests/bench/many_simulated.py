"""A store and a pretend Nomad with many deployments that agree: `python -m
tests.bench.many_simulated FOLDER COUNT` fills the one in FOLDER, serves the other and says where.

One deployment is declared and brought to rest by the loop itself; the others are its copies, row by
row and object by object. Lists are answered from what was listed before, for as long as nothing
changed: how long the simulator takes over them is no part of any figure.
"""

import gc
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from reconciler.cluster.nomad import NomadCluster
from reconciler.cluster.simulator import http
from reconciler.cluster.simulator.asked import Answer, Asked
from reconciler.cluster.simulator.nodes import node
from reconciler.cluster.simulator.routes import answer
from reconciler.cluster.simulator.state import SimulatedNomad, Snapshot
from reconciler.cluster.simulator.world import Tables
from reconciler.nomad_section import NomadSettings
from reconciler.runtime import Runtime
from tests.bench.clones import Clone, clone, clone_uid
from tests.bench.site import OWNER, fill, open_site
from tests.real import NAMESPACES, wait_until

Json = dict[str, Any]

PER_NODE: Final = 1000
SIZE: Final = {"cores": 800, "memory_mb": 16_000_000, "disk_mb": 40_000_000}
"""Room for twice what runs on a node."""

LISTS: Final = {
    "/v1/jobs": "jobs",
    "/v1/allocations": "allocs",
    "/v1/evaluations": "evals",
    "/v1/deployments": "deployment",
}
"""The lists that grow with the deployments, and their tables."""

OWN_TABLES: Final = ("allocs", "evals", "rollouts")


@dataclass(slots=True)
class KeptLists:
    """The lists as they were last answered, cut into the pages that are asked for."""

    kept: dict[tuple[object, ...], Answer] = field(default_factory=dict)

    def __call__(self, nomad: SimulatedNomad, asked: Asked) -> Answer:
        """Answer a request, a list from what is kept where its table did not move."""
        table = LISTS.get(asked.path)
        if table is None or asked.method != "GET" or "per_page" not in asked.query:
            return answer(nomad, asked)
        paging = {"per_page", "next_token"}
        query = {name: value for name, value in asked.query.items() if name not in paging}
        key = asked.path, *sorted(query.items())
        with nomad.reading() as world:
            index = world.latest_index(table)
        whole = self.kept.get(key)
        if whole is None or whole.index != index:
            whole = self.kept[key] = answer(nomad, Asked("GET", asked.path, query))
        begin, size = int(asked.query.get("next_token") or 0), int(asked.query["per_page"])
        more = begin + size < len(whole.body)
        token = str(begin + size) if more else ""
        return Answer(whole.body[begin : begin + size], whole.index, token)


def main(folder: Path, count: int) -> None:
    """Fill and serve; say where whenever the lists are ready, again for each line that is read."""
    nodes = [node(f"bench-{n}", **SIZE) for n in range(-(-count // PER_NODE))]
    nomad = SimulatedNomad(nodes=nodes)
    served = http.serve(nomad)
    with open_site(folder, served.address) as runtime:
        (uid,) = fill(runtime, 1, prefix="many")
        runtime.start()
        wait_until(lambda: _is_at_rest(runtime, nomad, uid), within_s=120, every_s=0.5)
    # Millions of objects that all stay: to look for garbage among them takes most of the time.
    gc.disable()
    before = nomad.snapshot()
    clones = [_clone(before.tables, uid, number) for number in range(1, count)]
    clone(f"sqlite:///{folder}/ai4papi.db", uid, clones)
    nomad.restore(Snapshot(_grown(before.tables, clones), before.blocked, before.to_come))
    http.answer = KeptLists()  # type: ignore[assignment]
    # With all the time that it takes to make them.
    patient = NomadCluster(NomadSettings(address=served.address, timeout_s=600), NAMESPACES)
    while True:
        patient.list_jobs()
        patient.list_allocations()
        patient.list_evaluations()
        patient.list_rollouts()
        print(served.address, flush=True)
        if not sys.stdin.readline():
            return


def _is_at_rest(runtime: Runtime, nomad: SimulatedNomad, uid: str) -> bool:
    deployment, queue = runtime.store.get(uid), runtime.targets[0].queue.state()
    if deployment is None or queue.waiting or queue.working:
        return False
    with nomad.reading() as world:
        rollouts = [rollout["Status"] for rollout in world.rollouts.values()]
    return set(rollouts) == {"successful"} and runtime.targets[0].resync.run_once() == 0


def _clone(tables: Tables, uid: str, number: int) -> Clone:
    """Name the copy: its own ids, and a node of the many."""
    texts = {uid: clone_uid(number), "many-0": f"many-{number}"}
    for at, name in enumerate(OWN_TABLES, start=1):
        for item_id in tables.by_name[name]:
            texts[item_id] = clone_uid((at << 40) + number)
    (allocation,) = tables.by_name["allocs"].values()
    nodes = list(tables.by_name["nodes"].values())
    there = nodes[number // PER_NODE]
    texts |= {allocation["NodeID"]: there["ID"], allocation["NodeName"]: there["Name"]}
    return Clone(texts[uid], OWNER, texts)


def _grown(tables: Tables, clones: Sequence[Clone]) -> Tables:
    """Return the tables with the copies; what no copy says differently is shared by all."""
    (key,) = tables.by_name["jobs"]
    job, by_name = tables.by_name["jobs"][key], {n: dict(t) for n, t in tables.by_name.items()}
    named = {id(job): _named(job, clones[0].texts)}
    for name in OWN_TABLES:
        for item in tables.by_name[name].values():
            named[id(item)] = _named(item, clones[0].texts)
    for copy in clones:
        ours, texts = (key[0], copy.uid), copy.texts
        own_job = by_name["jobs"][ours] = _renamed(job, texts, named[id(job)])
        by_name["versions"][ours] = (own_job,)
        for name in OWN_TABLES:
            for item_id, item in tables.by_name[name].items():
                by_name[name][texts[item_id]] = own = _renamed(item, texts, named[id(item)])
                if "Job" in own:
                    own["Job"] = own_job
            own_ids = [texts[item_id] for item_id in tables.by_name[f"{name}_of"][key]]
            by_name[f"{name}_of"][ours] = dict.fromkeys(own_ids)
        for alloc_id, claim in tables.by_name["claims"].items():
            by_name["claims"][texts[alloc_id]] = claim
    return Tables(tables.at_index, by_name, tables.purged)


def _named(item: Json, texts: Mapping[str, str]) -> list[str]:
    """Return the fields in which any of these texts stands."""
    return [name for name, value in item.items() if _with(value, texts) is not value]


def _renamed(item: Json, texts: Mapping[str, str], named: Sequence[str]) -> Json:
    return item | {name: _with(item[name], texts) for name in named if name != "Job"}


def _with(value: Any, texts: Mapping[str, str]) -> Any:
    """Return `value` with these texts in the place of others; the same object where none is in."""
    if isinstance(value, str):
        for there, ours in texts.items():
            if there in value:
                value = value.replace(there, ours)
        return value
    if isinstance(value, dict):
        own = {name: _with(part, texts) for name, part in value.items()}
        return own if any(own[name] is not value[name] for name in own) else value
    if isinstance(value, list):
        parts = [_with(part, texts) for part in value]
        same = all(own is there for own, there in zip(parts, value, strict=True))
        return value if same else parts
    return value


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
