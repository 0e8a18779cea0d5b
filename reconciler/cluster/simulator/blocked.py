"""The evaluations that wait for room, grouped so that looking at them again is cheap."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from reconciler.cluster.simulator.world import JobKey

_ASKED = ("Priority", "Constraints", "Affinities", "Datacenters", "Type")
_GROUP_ASKED = ("Constraints", "Affinities", "Networks", "EphemeralDisk", "Count")
_TASK_ASKED = ("Constraints", "Affinities", "Driver", "Resources")


class Blocked:
    """Jobs whose evaluation is blocked: one each, in the order they came.

    Jobs that ask for the very same are kept together: where the first finds no room, none does.
    """

    def __init__(self) -> None:
        self._by_ask: dict[str, dict[JobKey, str]] = {}
        self._asks: dict[JobKey, str] = {}

    def put(self, key: JobKey, eval_id: str, job: Mapping[str, Any], *, runs: bool) -> None:
        """Note the job's blocked evaluation. One that `runs` may make its own room: it is alone."""
        self.take(key)
        ask = f"{key}" if runs else _ask(job)
        self._asks[key] = ask
        self._by_ask.setdefault(ask, {})[key] = eval_id

    def take(self, key: JobKey) -> str | None:
        """Remove and return the job's blocked evaluation, None when there is none."""
        ask = self._asks.pop(key, None)
        if ask is None:
            return None
        waiting = self._by_ask[ask]
        eval_id = waiting.pop(key)
        if not waiting:
            del self._by_ask[ask]
        return eval_id

    def heads(self) -> Iterator[tuple[str, JobKey, str]]:
        """Yield the first of each kind of ask: (ask, job, evaluation id)."""
        for ask, waiting in list(self._by_ask.items()):
            for key, eval_id in waiting.items():
                yield ask, key, eval_id
                break


def _ask(job: Mapping[str, Any]) -> str:
    return json.dumps(
        [
            [job[name] for name in _ASKED],
            [
                [
                    [group[name] for name in _GROUP_ASKED],
                    [[task[name] for name in _TASK_ASKED] for task in group["Tasks"]],
                ]
                for group in job["TaskGroups"]
            ],
        ],
        sort_keys=True,
    )
