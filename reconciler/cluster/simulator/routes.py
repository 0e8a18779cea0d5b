"""The slice of Nomad's HTTP API that the simulator speaks: one function per route.

Reads come back with the index they are at; waiting for a newer one is the server's part (`http`).
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import unquote

from reconciler.cluster.simulator import answers, job_routes, variable_routes
from reconciler.cluster.simulator.asked import Answer, Asked
from reconciler.cluster.simulator.nodes import VERSION
from reconciler.cluster.simulator.pages import BY_AGE, BY_ID, cut
from reconciler.cluster.simulator.refusal import Refusal, not_found
from reconciler.cluster.simulator.state import SimulatedNomad
from reconciler.cluster.simulator.world import Json

Route = Callable[[SimulatedNomad, Asked, str], Answer]
_UUID_LENGTH: Final = 36


def answer(nomad: SimulatedNomad, asked: Asked) -> Answer:
    """Answer a request. Raises `Refusal`, 404 without a text where there is no such path."""
    known = False
    for pattern, methods in _ROUTES:
        match = pattern.fullmatch(asked.path)
        if match is None:
            continue
        known = True
        method = "POST" if asked.method == "PUT" else asked.method
        route = methods.get(method)
        if route is not None:
            name = unquote(match[1]) if match.groups() else ""
            return route(nomad, asked, name)
    raise Refusal(405, "Invalid method") if known else Refusal(404, "")


def in_namespace(item: Mapping[str, Any], asked: Asked) -> bool:
    """Tell whether an object is in the namespace that is asked about."""
    return asked.namespace in {"*", item["Namespace"]}


def _list_allocations(nomad: SimulatedNomad, asked: Asked, _: str) -> Answer:
    with nomad.reading() as world:
        page = cut(
            [item for item in world.allocs.values() if in_namespace(item, asked)],
            asked.query,
            BY_AGE,
        )
        index = world.latest_index("allocs")
    resources = asked.flag("resources")
    stubs = [answers.alloc_stub(item, resources=resources) for item in page.items]
    return Answer(stubs, index, page.next_token)


def _read_allocation(nomad: SimulatedNomad, _: Asked, alloc_id: str) -> Answer:
    with nomad.reading() as world:
        found = _by_id(world.allocs, alloc_id, "alloc")
    return Answer(answers.whole_alloc(found), found["ModifyIndex"])


def _stop_allocation(nomad: SimulatedNomad, _: Asked, alloc_id: str) -> Answer:
    written = nomad.machines.stop_allocation(alloc_id)
    return Answer(written, written["Index"])


def _restart_allocation(nomad: SimulatedNomad, _: Asked, alloc_id: str) -> Answer:
    nomad.machines.restart_allocation(alloc_id)
    return Answer({"Index": 0})


def _list_evaluations(nomad: SimulatedNomad, asked: Asked, _: str) -> Answer:
    status, job = asked.query.get("status"), asked.query.get("job")
    with nomad.reading() as world:
        chosen = [
            item
            for item in world.evals.values()
            if in_namespace(item, asked)
            and status in {None, item["Status"]}
            and job in {None, item["JobID"]}
        ]
        page = cut(chosen, asked.query, BY_AGE)
        return Answer(page.items, world.latest_index("evals"), page.next_token)


def _read_evaluation(nomad: SimulatedNomad, _: Asked, eval_id: str) -> Answer:
    with nomad.reading() as world:
        found = _by_id(world.evals, eval_id, "eval")
    return Answer(found, found["ModifyIndex"])


def _allocations_of_evaluation(nomad: SimulatedNomad, _: Asked, eval_id: str) -> Answer:
    return _chosen_allocations(nomad, "EvalID", eval_id)


def _list_rollouts(nomad: SimulatedNomad, asked: Asked, _: str) -> Answer:
    with nomad.reading() as world:
        chosen = [item for item in world.rollouts.values() if in_namespace(item, asked)]
        page = cut(chosen, asked.query, BY_AGE)
        return Answer(page.items, world.latest_index("deployment"), page.next_token)


def _read_rollout(nomad: SimulatedNomad, _: Asked, rollout_id: str) -> Answer:
    with nomad.reading() as world:
        found = _by_id(world.rollouts, rollout_id, "deployment")
    return Answer(found, found["ModifyIndex"])


def _allocations_of_rollout(nomad: SimulatedNomad, _: Asked, rollout_id: str) -> Answer:
    return _chosen_allocations(nomad, "DeploymentID", rollout_id)


def _list_nodes(nomad: SimulatedNomad, asked: Asked, _: str) -> Answer:
    with nomad.reading() as world:
        page = cut(list(world.nodes.values()), asked.query, BY_ID)
        index = world.latest_index("nodes")
    resources = asked.flag("resources")
    stubs = [answers.node_stub(item, resources=resources) for item in page.items]
    return Answer(stubs, index, page.next_token)


def _read_node(nomad: SimulatedNomad, _: Asked, node_id: str) -> Answer:
    with nomad.reading() as world:
        found = _by_id(world.nodes, node_id, "node")
    return Answer(found, found["ModifyIndex"])


def _allocations_of_node(nomad: SimulatedNomad, _: Asked, node_id: str) -> Answer:
    with nomad.reading() as world:
        chosen = [item for item in world.allocs.values() if item["NodeID"] == node_id]
        return Answer([answers.whole_alloc(item) for item in chosen], world.latest_index("allocs"))


def _drain_node(nomad: SimulatedNomad, asked: Asked, node_id: str) -> Answer:
    if asked.json().get("drainspec"):
        nomad.machines.drain_node(node_id)
    else:
        nomad.machines.return_node(node_id)
    return _node_written(nomad, node_id)


def _set_eligibility(nomad: SimulatedNomad, asked: Asked, node_id: str) -> Answer:
    eligible = asked.json().get("eligibility") == "eligible"
    nomad.machines.set_eligibility(node_id, eligible=eligible)
    return _node_written(nomad, node_id)


def _node_written(nomad: SimulatedNomad, node_id: str) -> Answer:
    with nomad.reading() as world:
        index = world.nodes[node_id]["ModifyIndex"]
    return Answer(
        {"EvalCreateIndex": 0, "EvalIDs": None, "NodeModifyIndex": index, "Index": index}, index
    )


def _search(nomad: SimulatedNomad, asked: Asked, _: str) -> Answer:
    body = asked.json()
    prefix, context = body.get("prefix", ""), body.get("context", "all")
    with nomad.reading() as world:
        tables: dict[str, list[str]] = {
            "jobs": [job["ID"] for job in world.jobs.values() if in_namespace(job, asked)],
            "allocs": list(world.allocs),
            "evals": list(world.evals),
            "deployment": list(world.rollouts),
            "nodes": list(world.nodes),
            "namespaces": list(world.namespaces),
        }
        index = world.index
    matches = {
        table: [name for name in names if name.startswith(prefix)][:20]
        for table, names in tables.items()
        if context in {"all", table}
    }
    return Answer({"Matches": matches, "Truncations": dict.fromkeys(matches, False)}, index)


def _agent(_: SimulatedNomad, __: Asked, ___: str) -> Answer:
    about = {
        "config": {
            "Version": {"Version": VERSION, "Revision": "simulated", "VersionPrerelease": ""},
            "Region": "global",
            "Datacenter": "dc1",
            "ACL": {"Enabled": False},
            "UI": {"Enabled": False},
        },
        "member": {"Name": "simulated.global", "Status": "alive", "Tags": {"build": VERSION}},
        "stats": {"nomad": {"leader": "true", "server": "true", "simulated": "true"}},
    }
    return Answer(about)


def _health(_: SimulatedNomad, __: Asked, ___: str) -> Answer:
    fine = {"ok": True, "message": "ok (simulated)"}
    return Answer({"client": fine, "server": fine})


def _nothing_runs(_: SimulatedNomad, __: Asked, ___: str) -> Answer:
    raise Refusal(404, "simulated: nothing runs here")


def _constant(body: Any) -> Route:
    return lambda _, __, ___: Answer(body)


def _by_id(table: Mapping[str, Json], item_id: str, word: str) -> Json:
    found = table.get(item_id)
    if found is not None:
        return found
    if len(item_id) != _UUID_LENGTH:
        raise Refusal(500, f"{word} lookup failed: index error: UUID must be 36 characters")
    raise not_found(word)


def _chosen_allocations(nomad: SimulatedNomad, name: str, value: str) -> Answer:
    with nomad.reading() as world:
        chosen = [item for item in world.allocs.values() if item.get(name) == value]
        return Answer([answers.alloc_stub(item) for item in chosen], world.latest_index("allocs"))


_ADDRESS: Final = "127.0.0.1:4647"
_TABLE: Final[dict[str, dict[str, Route]]] = {
    "/v1/jobs": {"GET": job_routes.list_jobs, "POST": job_routes.register},
    "/v1/jobs/parse": {"POST": job_routes.parse},
    "/v1/jobs/statuses": {"GET": job_routes.statuses, "POST": job_routes.statuses},
    "/v1/validate/job": {"POST": job_routes.validate},
    "/v1/job/(.+)/plan": {"POST": job_routes.plan},
    "/v1/job/(.+)/versions": {"GET": job_routes.versions},
    "/v1/job/(.+)/submission": {"GET": job_routes.submission},
    "/v1/job/(.+)/allocations": {"GET": job_routes.allocations},
    "/v1/job/(.+)/evaluations": {"GET": job_routes.evaluations},
    "/v1/job/(.+)/deployments": {"GET": job_routes.rollouts},
    "/v1/job/(.+)/deployment": {"GET": job_routes.latest_rollout},
    "/v1/job/(.+)/summary": {"GET": job_routes.summary},
    "/v1/job/(.+)/scale": {"GET": job_routes.scale_status, "POST": job_routes.scale},
    "/v1/job/(.+)/revert": {"POST": job_routes.revert},
    "/v1/job/(.+)/evaluate": {"POST": job_routes.evaluate},
    "/v1/job/(.+)/actions": {"GET": _constant([])},
    "/v1/job/(.+)/services": {"GET": _constant([])},
    "/v1/job/(.+)": {
        "GET": job_routes.read,
        "POST": job_routes.register,
        "DELETE": job_routes.deregister,
    },
    "/v1/allocations": {"GET": _list_allocations},
    "/v1/allocation/([^/]+)/stop": {"POST": _stop_allocation},
    "/v1/allocation/([^/]+)/checks": {"GET": _constant({})},
    "/v1/allocation/([^/]+)/services": {"GET": _constant([])},
    "/v1/allocation/([^/]+)": {"GET": _read_allocation},
    "/v1/evaluations": {"GET": _list_evaluations},
    "/v1/evaluation/([^/]+)/allocations": {"GET": _allocations_of_evaluation},
    "/v1/evaluation/([^/]+)": {"GET": _read_evaluation},
    "/v1/deployments": {"GET": _list_rollouts},
    "/v1/deployment/allocations/([^/]+)": {"GET": _allocations_of_rollout},
    "/v1/deployment/([^/]+)": {"GET": _read_rollout},
    "/v1/nodes": {"GET": _list_nodes},
    "/v1/node/([^/]+)/allocations": {"GET": _allocations_of_node},
    "/v1/node/([^/]+)/drain": {"POST": _drain_node},
    "/v1/node/([^/]+)/eligibility": {"POST": _set_eligibility},
    "/v1/node/([^/]+)": {"GET": _read_node},
    "/v1/vars": {"GET": variable_routes.list_variables},
    "/v1/var/(.+)": {
        "GET": variable_routes.read_variable,
        "POST": variable_routes.put_variable,
        "DELETE": variable_routes.delete_variable,
    },
    "/v1/namespaces": {
        "GET": variable_routes.list_namespaces,
        "POST": variable_routes.put_namespace,
    },
    "/v1/namespace/?": {"POST": variable_routes.put_namespace},
    "/v1/namespace/([^/]+)": {
        "GET": variable_routes.read_namespace,
        "POST": variable_routes.put_namespace,
        "DELETE": variable_routes.delete_namespace,
    },
    "/v1/client/allocation/([^/]+)/restart": {"POST": _restart_allocation},
    "/v1/client/.+": {"GET": _nothing_runs},
    "/v1/search": {"POST": _search},
    "/v1/agent/self": {"GET": _agent},
    "/v1/agent/health": {"GET": _health},
    "/v1/status/leader": {"GET": _constant(_ADDRESS)},
    "/v1/status/peers": {"GET": _constant([_ADDRESS])},
    "/v1/regions": {"GET": _constant(["global"])},
}
_ROUTES: Final = [(re.compile(pattern, re.DOTALL), methods) for pattern, methods in _TABLE.items()]
