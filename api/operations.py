"""What only operators see and do: sources of spec files and orphaned jobs.

Shapes, and the use cases behind them; knows the spec store, and nothing of HTTP.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from pydantic import Field

from api.auth import User
from api.schemas import EXAMPLE_UID, with_example
from specs.faults import Forbidden, NotFound
from specs.model import Deployment, Shown
from specs.source_reports import FaultReport, SourceReport
from specs.store import SpecStore

_EXAMPLE_SOURCE = {
    "id": "https://git.example.org/specs.git@main",
    "kind": "git",
    "url": "https://git.example.org/specs.git",
    "ref": "main",
    "layout": "document",
    "wanted": "5f0c1d7e8a9b4c3d2e1f0a9b8c7d6e5f4a3b2c1d",
    "applied": "5f0c1d7e8a9b4c3d2e1f0a9b8c7d6e5f4a3b2c1d",
    "appliedAt": "2026-11-24T12:00:00Z",
    "readAt": "2026-11-24T12:30:00Z",
    "lagS": 0,
    "waits": "",
    "error": "",
    "files": 41,
    "faults": [
        {
            "file": "deploy/train-b.yaml",
            "line": 7,
            "column": 5,
            "pointer": "/spec/hardware/gpu_num",
            "message": "99 is not a whole number from 0 to 4",
        }
    ],
    "deployments": 40,
    "held": [
        {
            "name": "train-a",
            "owner": "Ada",
            "message": "30 of 40 deployments are gone from the source: a person must confirm",
        }
    ],
}


class HeldView(Shown):
    """A deletion that waits for a person's yes, and why."""

    name: str
    owner: str
    message: str


class SourceView(Shown):
    """One source of spec files: where it stands, what is wrong in it, which deletions are held.

    `wanted` is the commit (of a folder: a digest) that was seen last, `applied` the one that the
    store is at; `lagS` is for how long it has been behind, in seconds (0: it is not). `error` says
    why the source can't be read, `waits` why nothing that is missing in it is deleted now.
    `configured` is false for one that the site no longer has.
    """

    id: str
    configured: bool = True
    kind: Literal["folder", "git"] | None = None
    url: str = ""
    ref: str = ""
    root: str = ""
    layout: str = ""
    wanted: str = ""
    applied: str = ""
    applied_at: datetime | None = None
    read_at: datetime | None = None
    lag_s: float = 0
    error: str = ""
    waits: str = ""
    files: int = 0
    faults: Sequence[FaultReport] = ()
    more_faults: int = 0
    deployments: int
    held: Sequence[HeldView]


class SourceList(Shown):
    """Every source of spec files."""

    model_config = with_example({"items": [_EXAMPLE_SOURCE]})

    items: Sequence[SourceView]


class Confirmed(Shown):
    """How many held deletions were let through."""

    model_config = with_example({"deleted": 3})

    deleted: int


class Asked(Shown):
    """How many sources are read now."""

    model_config = with_example({"asked": 1})

    asked: int


class OrphanView(Shown):
    """A job with this platform's marker that no record knows; it is left alone."""

    namespace: str
    job_id: str = Field(alias="jobID")


class OrphanList(Shown):
    """The orphaned jobs."""

    model_config = with_example({"items": [{"namespace": "ai4eosc", "jobID": EXAMPLE_UID}]})

    items: Sequence[OrphanView]


def source_view(
    source: str,
    report: SourceReport | None,
    *,
    deployments: int,
    held: Sequence[Deployment],
    now: datetime,
) -> SourceView:
    """Return a source as the API shows it; `report` None: the site no longer has it."""
    known = {} if report is None else dict(report)
    since = known.pop("behind_since", None)
    return SourceView(
        id=source,
        configured=report is not None,
        lag_s=0 if since is None else max(0, round((now - since).total_seconds())),
        deployments=deployments,
        held=[HeldView(name=d.name, owner=d.owner_name, message=d.deletion_held) for d in held],
        **known,
    )


@dataclass(frozen=True, slots=True)
class Operations:
    """What only operators may see and do; `find_orphans` asks the cluster."""

    store: SpecStore
    find_orphans: Callable[[], Sequence[OrphanView]]
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def sources(self, user: User) -> SourceList:
        """Return the sources of spec files, with the deletions that are held.

        Raises `Forbidden`.
        """
        _refuse_all_but_operators(user)
        states = {state.source: state for state in self.store.sources()}
        reports = self.store.source_reports()
        return SourceList(
            items=[
                source_view(
                    source,
                    reports.get(source),
                    deployments=states[source].deployments if source in states else 0,
                    held=self.store.held_deletions(source) if source in states else (),
                    now=self.now(),
                )
                for source in sorted(states.keys() | reports.keys())
            ]
        )

    def pushed(
        self,
        meant: Callable[[Mapping[str, str]], Sequence[str]],
        is_about: Callable[[Iterable[str]], bool],
    ) -> Asked:
        """Have those git sources read now that are `meant`, by id, out of all with their URLs.

        So is the catalogue, all of it, where the push `is_about` one of its addresses.
        """
        states = [state for state in self.store.catalog_states() if state.kind != "folder"]
        modules = self.store.catalog().modules.values()
        asks = is_about([state.url for state in states] + [module.url for module in modules])
        if states and asks:
            self.store.ask_catalogs()
        urls = {
            source: report.url
            for source, report in self.store.source_reports().items()
            if report.kind == "git"
        }
        asked = sum(self.store.ask_source(source) for source in meant(urls))
        return Asked(asked=asked + (len(states) if asks else 0))

    def sync(self, user: User, source_id: str) -> Asked:
        """Have a source read now. Raises `Forbidden`, `NotFound`."""
        _refuse_all_but_operators(user)
        if not self.store.ask_source(source_id):
            raise NotFound(f"no source {source_id!r}")
        return Asked(asked=1)

    def confirm_deletions(self, user: User, source_id: str) -> Confirmed:
        """Let the held deletions of a source through. Raises `Forbidden`, `NotFound`."""
        _refuse_all_but_operators(user)
        if all(state.source != source_id for state in self.store.sources()):
            raise NotFound(f"no source {source_id!r}")
        return Confirmed(deleted=self.store.confirm_deletions(source_id, actor=user.name))

    def orphans(self, user: User) -> OrphanList:
        """Return the jobs of ours that no record knows. Raises `Forbidden`."""
        _refuse_all_but_operators(user)
        return OrphanList(items=self.find_orphans())


def _refuse_all_but_operators(user: User) -> None:
    if not user.operator:
        raise Forbidden("only operators may do this")
