"""What pages show of the cluster and of the loop: shapes that the wiring fills in."""

from collections.abc import Sequence
from typing import Protocol


class Room(Protocol):
    """What a node has, and what of it is set aside by what this platform sees."""

    @property
    def name(self) -> str:
        """The node's name."""
        ...

    @property
    def status(self) -> str:
        """Nomad's word: ready, down, disconnected, initializing."""
        ...

    @property
    def eligible(self) -> bool:
        """Whether it takes new work."""
        ...

    @property
    def cpu_mhz(self) -> int:
        """All of its CPU, in MHz."""
        ...

    @property
    def cpu_taken_mhz(self) -> int:
        """The CPU that is set aside, in MHz."""
        ...

    @property
    def memory_mb(self) -> int:
        """All of its memory, in MB."""
        ...

    @property
    def memory_taken_mb(self) -> int:
        """The memory that is set aside, in MB."""
        ...

    @property
    def gpus(self) -> int:
        """How many GPUs it has."""
        ...

    @property
    def gpus_taken(self) -> int:
        """How many of them are held."""
        ...

    @property
    def allocations(self) -> int:
        """How many allocations of this platform it has."""
        ...


class Loop(Protocol):
    """How the loop stands: whether it sees the cluster, and how much work is before it."""

    @property
    def connected(self) -> bool:
        """Whether it sees the cluster."""
        ...

    @property
    def trouble(self) -> str:
        """Why it does not, "" where it does."""
        ...

    @property
    def faults(self) -> Sequence[str]:
        """Why the process should be restarted; empty: it works."""
        ...

    @property
    def waiting(self) -> int:
        """How many deployments wait for a worker."""
        ...

    @property
    def working(self) -> int:
        """How many are being looked at."""
        ...

    @property
    def delayed(self) -> int:
        """How many are to be looked at later."""
        ...

    @property
    def lag_s(self) -> float:
        """For how long the oldest has waited, in seconds."""
        ...

    @property
    def heard_index(self) -> int:
        """The newest of Nomad's indexes that it was told of."""
        ...
