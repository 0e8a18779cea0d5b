"""The routes of Variables and namespaces."""

from reconciler.cluster.simulator.asked import Answer, Asked
from reconciler.cluster.simulator.refusal import not_found
from reconciler.cluster.simulator.state import SimulatedNomad


def list_variables(nomad: SimulatedNomad, asked: Asked, _: str) -> Answer:
    """`GET /v1/vars`."""
    held = nomad.variables.listed(asked.namespace, asked.query.get("prefix", ""))
    with nomad.reading() as world:
        return Answer(held, world.latest_index("variables"))


def read_variable(nomad: SimulatedNomad, asked: Asked, path: str) -> Answer:
    """`GET /v1/var/:path`."""
    held = nomad.variables.read(asked.namespace, path)
    return Answer(held, held["ModifyIndex"])


def put_variable(nomad: SimulatedNomad, asked: Asked, path: str) -> Answer:
    """`PUT /v1/var/:path`, with `cas` a compare-and-set."""
    stored = nomad.variables.put(
        asked.namespace, path, asked.json().get("items"), if_index=_compare_index(asked)
    )
    return Answer(stored, stored["ModifyIndex"])


def delete_variable(nomad: SimulatedNomad, asked: Asked, path: str) -> Answer:
    """`DELETE /v1/var/:path`."""
    nomad.variables.delete(asked.namespace, path, if_index=_compare_index(asked))
    with nomad.reading() as world:
        return Answer(index=world.index, status=204)


def _compare_index(asked: Asked) -> int | None:
    text = asked.query.get("cas", "")
    wrong = f'can not parse cas: strconv.ParseUint: parsing "{text}": invalid syntax'
    return asked.number("cas", wrong=wrong)


def list_namespaces(nomad: SimulatedNomad, _: Asked, __: str) -> Answer:
    """`GET /v1/namespaces`."""
    with nomad.reading() as world:
        listed = [world.namespaces[name] for name in sorted(world.namespaces)]
        return Answer(listed, world.latest_index("namespaces"))


def read_namespace(nomad: SimulatedNomad, _: Asked, name: str) -> Answer:
    """`GET /v1/namespace/:name`."""
    with nomad.reading() as world:
        found = world.namespaces.get(name)
    if found is None:
        raise not_found("Namespace")
    return Answer(found, found["ModifyIndex"])


def put_namespace(nomad: SimulatedNomad, asked: Asked, name: str) -> Answer:
    """`POST /v1/namespace/:name`."""
    body = asked.json()
    nomad.put_namespace(
        name or body.get("name", ""), body.get("description", ""), body.get("capabilities")
    )
    with nomad.reading() as world:
        return Answer(index=world.index)


def delete_namespace(nomad: SimulatedNomad, _: Asked, name: str) -> Answer:
    """`DELETE /v1/namespace/:name`."""
    nomad.delete_namespace(name)
    with nomad.reading() as world:
        return Answer(index=world.index)
