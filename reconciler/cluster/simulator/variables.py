"""Nomad's Variables: small maps of text at a path, with compare-and-set."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from reconciler.cluster.simulator.clients import Clients
from reconciler.cluster.simulator.refusal import Refusal, not_found
from reconciler.cluster.simulator.timers import Timers
from reconciler.cluster.simulator.turns import Turns
from reconciler.cluster.simulator.world import Json

_MOST_BYTES: Final = 64 * 1024
_PATH: Final = re.compile(r"[a-zA-Z0-9\-_~/]{1,128}")
_OF_A_JOB: Final = "nomad/jobs/"


class Variables:
    """Read and write Variables. Nomad takes them in any namespace, known or not."""

    def __init__(self, turns: Turns, timers: Timers, clients: Clients) -> None:
        self._turns = turns
        self._timers = timers
        self._clients = clients

    def read(self, namespace: str, path: str) -> Json:
        """Return a Variable. Raises `Refusal` 404 where there is none."""
        with self._turns.turn() as world:
            held = world.variables.get((namespace, path))
        if held is None:
            raise not_found("variable")
        return held

    def listed(self, namespace: str, prefix: str) -> list[Json]:
        """Return the Variables of a namespace ("*": all) below a prefix, without their items."""
        with self._turns.turn() as world:
            return [
                {name: value for name, value in held.items() if name != "Items"}
                for (where, path), held in sorted(world.variables.items())
                if namespace in {"*", where} and path.startswith(prefix)
            ]

    def put(self, namespace: str, path: str, items: object, *, if_index: int | None = None) -> Json:
        """Write a Variable if it is at `if_index` (0: absent, None: no matter).

        Raises `Refusal` 409 with what is held where it is not, 400 where the items are no good.
        """
        checked = _checked(path, items)
        with self._turns.turn() as world:
            held = world.variables.get((namespace, path))
            _enforce(held, namespace, path, if_index)
            index, now_ns = world.next_index(), self._timers.now_ns()
            world.touch("variables")
            stored = {
                "Namespace": namespace,
                "Path": path,
                "Items": checked,
                "CreateIndex": held["CreateIndex"] if held else index,
                "CreateTime": held["CreateTime"] if held else now_ns,
                "ModifyIndex": index,
                "ModifyTime": now_ns,
            }
            world.variables[namespace, path] = stored
            if held is not None and held["Items"] != checked and path.startswith(_OF_A_JOB):
                self._clients.restart_for_variable((namespace, path.removeprefix(_OF_A_JOB)))
            return stored

    def delete(self, namespace: str, path: str, *, if_index: int | None = None) -> None:
        """Remove a Variable; a missing one is fine. Raises `Refusal` 409 as `put` does."""
        with self._turns.turn() as world:
            _enforce(world.variables.get((namespace, path)), namespace, path, if_index)
            world.next_index()
            world.touch("variables")
            world.variables.pop((namespace, path), None)


def _enforce(held: Json | None, namespace: str, path: str, if_index: int | None) -> None:
    if if_index is not None and if_index != (held["ModifyIndex"] if held else 0):
        nothing = {"Namespace": namespace, "Path": path, "Items": None, "ModifyIndex": 0}
        raise Refusal(409, json.dumps(held or nothing))


def _checked(path: str, items: object) -> dict[str, str]:
    """Return the items of a write, or raise `Refusal` 400 with Nomad's words."""
    if not isinstance(items, Mapping) or not items:
        raise Refusal(400, "variable missing required Items object")
    for value in items.values():
        if not isinstance(value, str):
            raise Refusal(400, _mistyped(value))
    if not _PATH.fullmatch(path):
        raise Refusal(400, f'RPC Error:: 400,invalid path "{path}"')
    if path.startswith("nomad/") and not path.startswith(("nomad/jobs", "nomad/job-templates")):
        raise Refusal(
            400,
            'RPC Error:: 400,only paths at "nomad/jobs" or "nomad/job-templates" and below'
            ' are valid paths under the top-level "nomad" directory',
        )
    size = sum(len(key.encode()) + len(value.encode()) for key, value in items.items())
    if size > _MOST_BYTES:
        raise Refusal(400, "RPC Error:: 400,variables are limited to 64KiB in total size")
    return dict(items)


def _mistyped(value: Any) -> str:
    word = "number" if isinstance(value, int | float) else type(value).__name__
    return (
        f"json: cannot unmarshal {word} into Go struct field VariableDecrypted.Items of type string"
    )
