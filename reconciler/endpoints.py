"""Where a running deployment answers (pure).

Without a domain, at its node: `http://<host address>:<port>` per port label. With the operator's
load balancer in front, at `<scheme>://<label>-<uid>.<domain>`; the rules for that stand in
`etc/job.nomad`.
"""

from dataclasses import dataclass

from reconciler.jobs import Allocation


@dataclass(frozen=True, slots=True)
class Endpoints:
    """How URLs are made; `domain` None: from the allocation's own addresses."""

    scheme: str = "http"
    domain: str | None = None

    def of(self, uid: str, allocation: Allocation | None) -> dict[str, str]:
        """Return label -> URL for every port of `allocation`; empty where there is none."""
        if allocation is None:
            return {}
        if self.domain is not None:
            return {
                label: f"{self.scheme}://{label}-{uid}.{self.domain}" for label in allocation.ports
            }
        return {
            label: f"{self.scheme}://{_bracketed(host)}:{port}"
            for label, (host, port) in allocation.ports.items()
        }


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
