"""What Nomad's refusals mean (pure).

Status codes alone don't say: conflicts, bad jobs and faults are all 500, and a namespace that does
not exist looks like a missing job.
"""

from typing import Final

from reconciler.errors import (
    ClusterError,
    ClusterForbidden,
    ClusterUnavailable,
    JobConflict,
    JobRejected,
)

CONFLICT: Final = "Enforcing job modify index"
"""Begins every refusal of a register that came with an index."""

TYPE_CHANGE: Final = "cannot update job from type"
"""Begins the refusal of a register that would change a job's type, a stopped job's too. Validation
finds nothing wrong with such a job and a plan answers as if it could be written."""

NOTHING_TO_RESTART: Final = ("Unknown allocation", "restart of an alloc that should not run")
"""Nomad's words where a restart comes too late: the allocation is gone, or has ended."""

NO_LOG: Final = (
    "Unknown allocation",
    "not started yet",
    "No path to node",
    "Unknown node",
    "no such file or directory",
)
"""Nomad's words where a log can't be read: the allocation is forgotten, its node is away or cleaned
up, or the task has not begun."""

NO_JOB: Final = "job not found"
"""All that Nomad says of a job that it does not have; the status may be 500 or 404."""

NO_NAMESPACE: Final = ("nonexistent namespace", "Namespace not found")
"""Nomad's words for a namespace that it does not have; the status may be 500 or 404."""

WORDS_MAX: Final = 2000
"""Characters kept of Nomad's words: a proxy's error page is no use to anybody."""


def error_of(status: int, text: str) -> ClusterError:
    """Return the error that an answer with this status (300 and above) and body stands for.

    A 404 is only given here where it does not mean absence. A 500 that says nothing we know is
    `ClusterUnavailable`; whether the job is at fault only Nomad's validation can tell.
    """
    words = words_of(text)
    said = f"Nomad answered {status}: {words}" if words else f"Nomad answered {status}"
    if status in {401, 403}:
        return ClusterForbidden(f"{said}. Check NOMAD_TOKEN and its policies")
    if _from_proxy(text):
        return ClusterUnavailable(f"{said}. This is not Nomad's own answer: check NOMAD_ADDR")
    if any(known in text for known in NO_NAMESPACE):
        return ClusterForbidden(f"{said}. Create the namespace or correct nomad.namespaces")
    if status == 409:
        # The body is the Variable as it is now, secrets and all.
        return JobConflict("it is no longer at the index that was read")
    if CONFLICT in text:
        return JobConflict(words)
    if status in {400, 413, 422} or TYPE_CHANGE in text:
        return JobRejected(words)
    return ClusterUnavailable(said)


def no_log(status: int, text: str) -> bool:
    """Tell whether a refused read of a log means that there is no such log, or not any more."""
    return status in {400, 404} or any(known in text for known in NO_LOG)


def nothing_to_restart(text: str) -> bool:
    """Tell whether a refused restart means that nothing is there that could restart."""
    return any(known in text for known in NOTHING_TO_RESTART)


def nothing_to_evaluate(text: str) -> bool:
    """Tell whether a refused evaluation means that there is no such job."""
    return text.strip() == NO_JOB


def words_of(text: str) -> str:
    """Return Nomad's words as one readable line of bounded length."""
    return " ".join(text.split())[:WORDS_MAX]


def _from_proxy(text: str) -> bool:
    # The second is Go's own answer where plain HTTP is spoken to a TLS port: a 400 before any job.
    return text.lstrip().startswith("<") or "HTTP request to an HTTPS server" in text
