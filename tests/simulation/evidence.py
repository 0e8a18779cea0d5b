"""What oracles judge: everything that was wished, done and told in one history, as plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from reconciler.jobs import Json
from specs.model import Deployment
from specs.quota import NO_QUOTAS, Quotas
from tests.simulation.journal import Entry


@dataclass(frozen=True, slots=True)
class Wished:
    """One answered write of a wish. `number` orders it among the journal's entries."""

    number: int
    at: datetime
    what: str
    record: Deployment
    secrets: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SourcePass:
    """One pass of a file source: what was read, and which names it had and deleted."""

    complete: bool
    read: frozenset[str]
    before: frozenset[str]
    deleted: frozenset[str]


@dataclass(frozen=True, slots=True)
class Evidence:
    """One finished history.

    `hands` counts, by job id, what people did to it by hand in Nomad. `theirs` are the jobs of the
    platform before this one, with their Meta. `restored_at` are the
    journal's numbers at which Nomad was restored from a snapshot. `registers` counts, by job id,
    our calls that reached Nomad, `kills` the deaths of processes. `surprises` and `told` are
    violations that showed at once, as are `miscounts` and `uncounted`, of what the quota counts.
    `quiet_after_s` None: it never became quiet.
    """

    wishes: Sequence[Wished]
    journal: Sequence[Entry]
    records: Mapping[str, Deployment]
    trash: Mapping[str, Deployment]
    jobs: Mapping[str, Json]
    allocations: Mapping[str, Sequence[Json]]
    nodes: Mapping[str, Json]
    variables: Mapping[str, Mapping[str, str]]
    secrets: Mapping[str, Mapping[str, str]]
    passes: Sequence[SourcePass] = ()
    hands: Mapping[str, int] = field(default_factory=dict)
    theirs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    restored_at: Sequence[int] = ()
    registers: Mapping[str, int] = field(default_factory=dict)
    kills: int = 0
    surprises: Sequence[str] = ()
    told: Sequence[str] = ()
    miscounts: Sequence[str] = ()
    uncounted: Sequence[str] = ()
    quotas: Quotas = NO_QUOTAS
    quiet_after_s: float | None = None
    now: datetime | None = None

    def wishes_of(self, uid: str) -> Sequence[Wished]:
        """Return the answered wishes of one deployment, oldest first."""
        return [wished for wished in self.wishes if wished.record.uid == uid]
