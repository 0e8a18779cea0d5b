"""The evaluations that wait for room, grouped so that looking at them again is cheap."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from reconciler.cluster.simulator.world import JobKey

_ASKED = ("Priority", "Constraints", "Affinities", "Datacenters", "Type")
_GROUP_ASKED = ("Constraints", "Affinities", "Networks", "EphemeralDisk", "Count")
_TASK_ASKED = ("Constraints", "Affinities", "Driver", "Resources")


class Ask(NamedTuple):
    """What some jobs ask for, and the classes of nodes that were found never to do for it."""

    text: str
    unfit: frozenset[str]


class Blocked:
    """Jobs whose evaluation is blocked: one each, in the order they came.

    Jobs that ask for the very same are kept together: where the first finds no room, none does.
    """

    def __init__(self) -> None:
        self._by_ask: dict[Ask, dict[JobKey, str]] = {}
        self._asks: dict[JobKey, Ask] = {}

    def put(
        self,
        key: JobKey,
        eval_id: str,
        job: Mapping[str, Any],
        *,
        runs: bool,
        unfit: frozenset[str],
    ) -> None:
        """Note the job's blocked evaluation. One that `runs` may make its own room: it is alone."""
        self.take(key)
        ask = Ask(f"{key}" if runs else _ask(job), unfit)
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

    def block_again(self, ask: Ask, unfit: frozenset[str]) -> Ask:
        """Note what was found when these were looked at in vain; return what they ask now."""
        again = Ask(ask.text, unfit)
        waiting = self._by_ask.pop(ask)
        self._by_ask.setdefault(again, {}).update(waiting)
        self._asks |= dict.fromkeys(waiting, again)
        return again

    def snapshot(self) -> Mapping[Ask, Mapping[JobKey, str]]:
        """Return a copy, to be given to `restore`."""
        return {ask: dict(waiting) for ask, waiting in self._by_ask.items()}

    def restore(self, waiting: Mapping[Ask, Mapping[JobKey, str]]) -> None:
        """Let wait what waited then."""
        self._by_ask = {ask: dict(jobs) for ask, jobs in waiting.items()}
        self._asks = {key: ask for ask, jobs in waiting.items() for key in jobs}

    def heads(self) -> Iterator[tuple[Ask, JobKey, str]]:
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
