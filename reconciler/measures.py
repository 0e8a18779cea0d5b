"""What is counted and timed for operators, as Prometheus' client keeps it.

One `Measures` is made with the wiring and told from few places; nothing is global. Labels have few
values, all known beforehand: no name, owner or text of a user is ever one.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from time import monotonic
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import generate_latest

from reconciler.errors import ClusterError, ClusterForbidden, JobConflict
from reconciler.logs import about
from reconciler.phase import Look
from specs.model import Deployment, DeploymentStatus, Event

PREFIX: Final = "ai4papi"

SHORT_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
LONG_S: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200)
"""Seconds: from a change that is there at once to an image of many GB, or a place in line."""

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

NOMAD_KINDS: Final = frozenset(
    {
        "agent",
        "allocation",
        "allocations",
        "client",
        "deployments",
        "evaluations",
        "job",
        "jobs",
        "namespace",
        "namespaces",
        "node",
        "nodes",
        "validate",
        "var",
        "vars",
    }
)
"""First segments of the paths that are called; what else there may be counts as `other`."""

OUTCOMES: Final = ("ok", "conflict", "unavailable", "forbidden", "failed")
STAGES: Final = ("registered", "ready")
DRIFTS: Final = {"DriftRepaired": "repaired", "DriftReported": "reported"}
"""Reasons in the timeline, which tells each drift once."""

Taken = Callable[[Deployment], datetime | None]
"""Tells when the present wish of a deployment was taken; None: nobody knows any more."""


class Measures:
    """The counters and timers of one process. Safe to use from any thread."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._convergence = self._timer(
            "convergence_seconds",
            "From a wish that was taken to its job in Nomad, and to its work being ready.",
            ["stage"],
            buckets=LONG_S,
        )
        self._looks = self._counter(
            "looks_total", "Looks at deployments; all but ok come back after a back-off.", "outcome"
        )
        self._look_s = self._timer("look_duration_seconds", "How long one look took.")
        self._actions = self._counter("actions_total", "Steps taken in Nomad, by kind.", "action")
        self._drift = self._counter(
            "drift_total", "Jobs that somebody else changed, and what was done.", "handled"
        )
        self._holds = self._counter(
            "holds_total", "Changes that began to wait, by reason.", "reason"
        )
        self._nomad = self._counter(
            "nomad_requests_total",
            "Calls to Nomad; status 0: no answer.",
            "method",
            "kind",
            "status",
        )
        self._nomad_s = self._timer(
            "nomad_request_duration_seconds", "How long calls to Nomad took.", ["kind"]
        )
        self._store_s = self._timer(
            "store_duration_seconds",
            "How long a connection to the spec store was needed, waiting for it included.",
            ["kind"],
        )
        self._store_errors = self._counter(
            "store_errors_total", "Times that the spec store was out of reach or full.", "kind"
        )
        self._http = self._counter(
            "http_requests_total", "Requests answered.", "method", "operation", "status"
        )
        self._http_s = self._timer(
            "http_request_duration_seconds",
            "From a request to the end of its answer; long polls wait.",
            ["method", "operation"],
        )
        self._waits = Gauge(
            f"{PREFIX}_http_waits", "Requests that wait for a change.", registry=self.registry
        )
        self.heard_at_s: float | None = None
        self._prepare()

    def page(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)

    @contextmanager
    def look(self, uid: str) -> Iterator[None]:
        """Time one look, and count how it ended; its log lines tell whom it is about."""
        began_s, outcome = monotonic(), "failed"
        with about(uid=uid):
            try:
                yield
                outcome = "ok"
            except ClusterError as error:
                outcome = _outcome(error)
                raise
            finally:
                self._looks.labels(outcome).inc()
                self._look_s.observe(monotonic() - began_s)

    def looked(
        self,
        deployment: Deployment,
        look: Look,
        after: DeploymentStatus,
        told: Sequence[Event],
        *,
        taken: Taken,
    ) -> None:
        """Take what one look saw and did, and what it told the timeline."""
        for action in look.plan.actions if look.plan and look.error is None else ():
            self._actions.labels(type(action).__name__).inc()
        for event in told:
            if event.reason in DRIFTS:
                self._drift.labels(DRIFTS[event.reason]).inc()
        held = after.condition("Held")
        if held is not None and held.status == "True" and not _was_held(deployment, held.reason):
            self._holds.labels(held.reason).inc()
        for stage in stages_reached(deployment, look, after):
            at = taken(deployment)
            if at is not None and after.observed_at is not None:
                waited_s = max(0.0, (after.observed_at - at).total_seconds())
                self._convergence.labels(stage).observe(waited_s)

    def called(self, method: str, path: str, status: int, seconds: float) -> None:
        """Take one call to Nomad."""
        kind = nomad_kind(path)
        self._nomad.labels(_method(method), kind, str(status)).inc()
        self._nomad_s.labels(kind).observe(seconds)

    def stored(self, kind: str, seconds: float, failed: bool) -> None:
        """Take one use of the spec store; `kind` is read or write."""
        self._store_s.labels(kind).observe(seconds)
        if failed:
            self._store_errors.labels(kind).inc()

    def answered(self, method: str, operation: str, status: int, seconds: float) -> None:
        """Take one answer; `operation` is the id in the OpenAPI document, or "unmatched"."""
        self._http.labels(_method(method), operation, str(status)).inc()
        self._http_s.labels(_method(method), operation).observe(seconds)

    def count_waits(self, count: Callable[[], int]) -> None:
        """Ask `count` at each scrape how many requests wait."""
        self._waits.set_function(count)

    def heard(self) -> None:
        """Take a message of Nomad's event stream, a heartbeat among them."""
        self.heard_at_s = monotonic()

    def silent_s(self) -> float | None:
        """Return for how many seconds the stream has said nothing; None: it never did."""
        return None if self.heard_at_s is None else monotonic() - self.heard_at_s

    def _prepare(self) -> None:
        # A rate over a series that begins with its first fault would miss that fault.
        for outcome in OUTCOMES:
            self._looks.labels(outcome)
        for stage in STAGES:
            self._convergence.labels(stage)
        for handled in DRIFTS.values():
            self._drift.labels(handled)
        for kind in ("read", "write"):
            self._store_errors.labels(kind)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"{PREFIX}_{name}", text, labels, registry=self.registry)

    def _timer(
        self,
        name: str,
        text: str,
        labels: list[str] | None = None,
        buckets: tuple[float, ...] = SHORT_S,
    ) -> Histogram:
        return Histogram(
            f"{PREFIX}_{name}", text, labels or (), buckets=buckets, registry=self.registry
        )


def stages_reached(deployment: Deployment, look: Look, after: DeploymentStatus) -> list[str]:
    """Return what the present wish came to with this look, each only once in its life (pure)."""
    before, generation = deployment.applied, deployment.generation
    stages = []
    known = before.generation if before is not None else 0
    if look.error is None and look.applied is not None and known < generation:
        stages += ["registered"] if look.applied.generation == generation else []
    if deployment.status.ready_generation < generation <= after.ready_generation:
        stages.append("ready")
    return stages


def nomad_kind(path: str) -> str:
    """Return which part of Nomad a path is about, "other" for what we never call (pure)."""
    parts = path.partition("?")[0].split("/")
    kind = parts[2] if len(parts) > 2 else ""
    return kind if kind in NOMAD_KINDS else "other"


def _method(method: str) -> str:
    return method if method in METHODS else "other"


def _outcome(error: ClusterError) -> str:
    if isinstance(error, ClusterForbidden):
        return "forbidden"
    return "conflict" if isinstance(error, JobConflict) else "unavailable"


def _was_held(deployment: Deployment, reason: str) -> bool:
    held = deployment.status.condition("Held")
    return held is not None and (held.status, held.reason) == ("True", reason)
