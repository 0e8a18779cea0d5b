"""How the loop of one process stands, as one value for pages and metrics."""

from collections.abc import Sequence
from dataclasses import dataclass

from reconciler.mirror import Mirror
from reconciler.queue import QueueState, together


@dataclass(frozen=True, slots=True)
class LoopState:
    """Whether the loop sees every cluster, and how much work is before it.

    `trouble` says why it does not see it ("": it does), `faults` why the process should be
    restarted. `lag_s` is for how long the oldest due deployment has waited for a worker.
    """

    connected: bool
    trouble: str
    faults: Sequence[str]
    waiting: int
    working: int
    delayed: int
    lag_s: float
    heard_index: int


def loop_state(
    clusters: Sequence[tuple[str, Mirror, QueueState]], faults: Sequence[str]
) -> LoopState:
    """Return how the loops of a process stand together, each with its cluster's name."""
    queues = together(queue for _, _, queue in clusters)
    troubles = [(name, mirror.trouble) for name, mirror, _ in clusters if mirror.trouble]
    several = len(clusters) > 1
    return LoopState(
        connected=not troubles,
        trouble="; ".join(f"{name}: {said}" if several else said for name, said in troubles),
        faults=faults,
        waiting=queues.waiting,
        working=queues.working,
        delayed=queues.delayed,
        lag_s=queues.oldest_s,
        heard_index=max((mirror.heard_index for _, mirror, _ in clusters), default=0),
    )
