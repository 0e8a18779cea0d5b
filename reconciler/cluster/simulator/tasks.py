"""What happens to the tasks of an allocation over time, in Nomad's JSON (pure).

Every function takes an allocation and returns the changed one; times are Unix nanoseconds.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from reconciler.cluster.simulator.hcl_text import parse_duration_ns

Json = Mapping[str, Any]
_KEPT_EVENTS: Final = 10


class Exit(NamedTuple):
    """When a task ends by itself, counted from its start, and with what code."""

    after_ns: int
    code: int


def own_end(job: Json, group_name: str) -> Exit | None:
    """Return when the group's first task to end does, None when all run until they are stopped.

    Only `mock_driver` says so: its tasks end after `run_for` with `exit_code`.
    """
    ends = [_mock_end(task["Config"] or {}) for task in _tasks(job, group_name) if _mocked(task)]
    return min(ends, default=None)


def reads_variable(job: Json, group_name: str) -> bool:
    """Tell whether a template of the group reads Variables."""
    return any(
        "nomadVar" in template["EmbeddedTmpl"]
        for task in _tasks(job, group_name)
        for template in task["Templates"] or ()
    )


def restarts_so_far(allocation: Json) -> int:
    """Return how often the allocation's tasks were started again."""
    return sum(state["Restarts"] for state in (allocation["TaskStates"] or {}).values())


def received(allocation: Json, now_ns: int) -> dict[str, Any]:
    """The client has it: tasks are being set up."""
    states = {
        name: {
            "State": "pending",
            "Failed": False,
            "Restarts": 0,
            "LastRestart": None,
            "StartedAt": None,
            "FinishedAt": None,
            "Paused": "",
            "Events": [
                _event("Received", "Task received by client", now_ns),
                _event("Task Setup", "Building Task Directory", now_ns),
            ],
        }
        for name in allocation["AllocatedResources"]["Tasks"]
    }
    return {**allocation, "TaskStates": states}


def waiting(allocation: Json, message: str, now_ns: int) -> dict[str, Any]:
    """A template waits for its data: the tasks stay pending."""
    return _tasks_now(allocation, {}, _event("Template", message, now_ns))


def started(allocation: Json, now_ns: int) -> dict[str, Any]:
    """All tasks run."""
    changes = {"State": "running", "StartedAt": timestamp(now_ns), "FinishedAt": None}
    running = _tasks_now(allocation, changes, _event("Started", "Task started by client", now_ns))
    return {**running, "ClientStatus": "running", "ClientDescription": "Tasks are running"}


def told_to_restart(allocation: Json, why: str, now_ns: int) -> dict[str, Any]:
    """The tasks were told to end, and will start again on this node at once."""
    signalled = _tasks_now(allocation, {}, _event("Restart Signaled", why, now_ns))
    return restarting(signalled, Exit(0, 0), 0, now_ns)


def restarting(allocation: Json, ended: Exit, delay_ns: int, now_ns: int) -> dict[str, Any]:
    """The tasks ended, and will start again on this node after a delay."""
    terminated = _tasks_now(allocation, {}, _terminated(ended, now_ns))
    text = f"Task restarting in {delay_ns / 10**9:g}s"
    again = _tasks_now(
        terminated,
        {"State": "pending", "LastRestart": timestamp(now_ns)},
        _event("Restarting", text, now_ns),
    )
    states = {
        name: {**state, "Restarts": state["Restarts"] + 1}
        for name, state in again["TaskStates"].items()
    }
    return {**again, "TaskStates": states, "ClientStatus": "pending"}


def ended(allocation: Json, end: Exit, *, failed: bool, now_ns: int) -> dict[str, Any]:
    """The tasks ended for good."""
    changes = {"State": "dead", "Failed": failed, "FinishedAt": timestamp(now_ns)}
    dead = _tasks_now(allocation, changes, _terminated(end, now_ns))
    if failed:
        event = _event("Not Restarting", "Policy allows no restarts", now_ns)
        dead = _tasks_now(dead, {}, {**event, "FailsTask": True})
    return {
        **dead,
        "ClientStatus": "failed" if failed else "complete",
        "ClientDescription": "Failed tasks" if failed else "All tasks have completed",
    }


def killed(allocation: Json, now_ns: int) -> dict[str, Any]:
    """Nomad stopped the tasks."""
    changes = {"State": "dead", "FinishedAt": timestamp(now_ns)}
    dying = _tasks_now(
        allocation, {}, _event("Killing", "Sent interrupt. Waiting 5s before force killing", now_ns)
    )
    terminated = _tasks_now(dying, changes, _terminated(Exit(0, 0), now_ns))
    dead = _tasks_now(terminated, {}, _event("Killed", "Task successfully killed", now_ns))
    return {
        **dead,
        "ClientStatus": "complete",
        "ClientDescription": "All tasks have completed",
    }


def timestamp(at_ns: int) -> str:
    """Return an instant as Go prints it in JSON."""
    seconds, rest_ns = divmod(at_ns, 10**9)
    whole = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{rest_ns:09d}Z"


def instant_ns(text: str) -> int:
    """Return the Unix nanoseconds of an instant as `timestamp` prints it."""
    whole, _, rest = text.removesuffix("Z").partition(".")
    seconds = int(datetime.fromisoformat(f"{whole}+00:00").timestamp())
    return seconds * 10**9 + int(rest or 0)


def _tasks(job: Json, group_name: str) -> list[Json]:
    return [
        task
        for group in job["TaskGroups"]
        if group["Name"] == group_name
        for task in group["Tasks"]
    ]


def _mocked(task: Json) -> bool:
    return bool(task["Driver"] == "mock_driver")


def _mock_end(config: Json) -> Exit:
    try:
        after_ns = parse_duration_ns(str(config.get("run_for", "0")))
    except ValueError:
        after_ns = 0
    return Exit(after_ns, int(config.get("exit_code", 0)))


def _tasks_now(allocation: Json, changes: Json, event: Json) -> dict[str, Any]:
    states = {
        name: {**state, **changes, "Events": [*state["Events"], event][-_KEPT_EVENTS:]}
        for name, state in (allocation["TaskStates"] or {}).items()
    }
    return {**allocation, "TaskStates": states}


def _event(kind: str, message: str, now_ns: int, *, exit_code: int = 0) -> dict[str, Any]:
    return {
        "Type": kind,
        "Time": now_ns,
        "Message": message,
        "DisplayMessage": message,
        "Details": {},
        "ExitCode": exit_code,
        "Signal": 0,
        "FailsTask": False,
    }


def _terminated(end: Exit, now_ns: int) -> dict[str, Any]:
    details = {"exit_code": str(end.code), "signal": "0", "oom_killed": "false"}
    event = _event("Terminated", f"Exit Code: {end.code}", now_ns, exit_code=end.code)
    return {**event, "Details": details}
