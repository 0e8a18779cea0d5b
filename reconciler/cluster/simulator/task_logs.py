"""What the tasks of a pretend client have written (pure).

`mock_driver` says in its configuration what it writes, as the real one does. Other tasks write a
few lines, which say that nothing really runs.
"""

from typing import Any, Final

from reconciler.cluster.simulator.refusal import Refusal
from reconciler.cluster.simulator.world import Json

KINDS: Final = ("stdout", "stderr")


def written(allocation: Json | None, task: str, kind: str) -> bytes:
    """Return all that a task has written so far. Raises `Refusal`, in Nomad's words."""
    if allocation is None:
        raise Refusal(404, "Unknown allocation")
    if kind not in KINDS:
        raise Refusal(400, "must provide log type (stdout/stderr)")
    tasks = {task["Name"]: task for task in _tasks(allocation)}
    if task not in tasks:
        raise Refusal(400, f'unknown task name "{task}"')
    state = (allocation["TaskStates"] or {}).get(task)
    if state is None or state["StartedAt"] is None:
        raise Refusal(404, f'task "{task}" not started yet. No logs available')
    driver, config = tasks[task]["Driver"], tasks[task]["Config"] or {}
    if driver == "mock_driver":
        return _mock(config, kind) if kind == "stdout" else b""
    if kind == "stderr":
        return b""
    lines = [
        f"simulated: nothing really runs on {allocation['NodeName']}",
        f"simulated: {task} started at {state['StartedAt']} (start {state['Restarts'] + 1})",
    ]
    if state["State"] == "dead":
        lines.append(f"simulated: {task} ended at {state['FinishedAt']}")
    return ("\n".join(lines) + "\n").encode()


def _mock(config: Json, kind: str) -> bytes:
    text, repeat = str(config.get(f"{kind}_string", "")), int(config.get(f"{kind}_repeat", 0))
    return (text * max(1, repeat)).encode()


def _tasks(allocation: Json) -> list[Any]:
    groups = allocation["Job"]["TaskGroups"]
    return next(group["Tasks"] for group in groups if group["Name"] == allocation["TaskGroup"])
