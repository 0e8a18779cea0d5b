"""What somebody else changed in a job of ours, who it was, and how fast to set it right (pure)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from reconciler.diff import FieldChange, diff_job
from reconciler.jobs import Json
from specs.model import Condition, DeploymentStatus

NO_JOB: Final = FieldChange("", "a job", None)
"""The job itself is gone."""

STOPPED: Final = FieldChange("Stop", wanted=False, actual=True)

SHOWN_CHANGES: Final = 5

FIGHT_WINDOW_S: Final = 600.0
FIGHT_REPAIRS: Final = 3
"""So many repairs within the window are a fight between two writers."""

FIRST_WAIT_S: Final = 6.0
LAST_WAIT_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class Drift:
    """What is not as we wrote it, and what is done about it.

    `by` is the accessor of the Nomad token that registered the job, "" where Nomad does not say: a
    stop, a scale, a purge, ACLs off. `submitted_at` is when the version that was found came to be.
    """

    changes: tuple[FieldChange, ...]
    by: str = ""
    submitted_at: datetime | None = None
    handled: Literal["repaired", "reported", "waits"] = "repaired"

    @property
    def paths(self) -> str:
        """The changed fields in short, for people."""
        return ", ".join(c.path or "the job" for c in self.changes[:SHOWN_CHANGES])

    @property
    def sentence(self) -> str:
        """What was found, with values, when it was submitted and by which token."""
        found = "; ".join(_told(change) for change in self.changes[:SHOWN_CHANGES])
        more = len(self.changes) - SHOWN_CHANGES
        rest = f" and {more} more" if more > 0 else ""
        by = f", by the Nomad token {self.by}" if self.by else ""
        at = f", submitted {self.submitted_at:%Y-%m-%dT%H:%M:%SZ}" if self.submitted_at else ""
        return f"{found}{rest}{at}{by}"


def found_in(live: Json, wanted: Json) -> Drift | None:
    """Return how the job that is there differs from the `wanted` one, None where it does not.

    A count that the job hands over (`diff.with_live_counts`) must be in `wanted` already.
    """
    edited = diff_job(wanted, live)
    changes = (STOPPED, *edited) if live.get("Stop") else edited
    if not changes:
        return None
    submitted_ns = live.get("SubmitTime") or 0
    submitted_at = datetime.fromtimestamp(submitted_ns // 10**9, UTC) if submitted_ns else None
    # A stop and a scale leave the token of the register before them in place.
    registered = any(not change.path.endswith(".Count") for change in edited)
    by = (live.get("NomadTokenID") or "") if registered else ""
    return Drift(changes, by=by, submitted_at=submitted_at)


def left_as_found(status: DeploymentStatus) -> Condition | None:
    """Return the condition that tells of drift which the site's policy left as it was found.

    None: there is none, or not any more.
    """
    drifted = status.condition("Drifted")
    left = drifted is not None and (drifted.status, drifted.reason) == ("True", "LeftAsFound")
    return drifted if left else None


def repair_wait_s(repairs: Sequence[datetime], now: datetime) -> float:
    """Return how long to wait before the next repair; 0 to repair now.

    The first repairs are immediate. From `FIGHT_REPAIRS` within the window on, the wait since the
    last one triples each time, up to `LAST_WAIT_S`.
    """
    recent = recent_repairs(repairs, now)
    if len(recent) < FIGHT_REPAIRS:
        return 0.0
    whole_s = min(LAST_WAIT_S, FIRST_WAIT_S * 3.0 ** (len(recent) - FIGHT_REPAIRS))
    return max(0.0, whole_s - (now - recent[-1]).total_seconds())


def recent_repairs(repairs: Sequence[datetime], now: datetime) -> tuple[datetime, ...]:
    """Return those repairs that count for a fight, oldest first."""
    return tuple(at for at in repairs if (now - at).total_seconds() < FIGHT_WINDOW_S)


def _told(change: FieldChange) -> str:
    if change == NO_JOB:
        return "the job is gone"
    if change == STOPPED:
        return "the job is stopped"
    return f"{change.path} is {_short(change.actual)}, not {_short(change.wanted)}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "…"
