"""What only operators see and do: sources of spec files and orphaned jobs.

Shapes, and the use cases behind them; knows the spec store, and nothing of HTTP.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydantic import Field

from api.auth import User
from api.schemas import EXAMPLE_UID, with_example
from specs.faults import Forbidden, NotFound
from specs.model import Deployment, Shown
from specs.ownership import SourceState
from specs.store import SpecStore

_EXAMPLE_SOURCE = {
    "id": "https://git.example.org/specs.git@main",
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
    """One source of spec files: how many deployments come from it, which deletions are held."""

    id: str
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


class OrphanView(Shown):
    """A job with this platform's marker that no record knows; it is left alone."""

    namespace: str
    job_id: str = Field(alias="jobID")


class OrphanList(Shown):
    """The orphaned jobs."""

    model_config = with_example({"items": [{"namespace": "ai4eosc", "jobID": EXAMPLE_UID}]})

    items: Sequence[OrphanView]


def source_view(state: SourceState, held: Sequence[Deployment]) -> SourceView:
    """Return a source as the API shows it."""
    return SourceView(
        id=state.source,
        deployments=state.deployments,
        held=[HeldView(name=d.name, owner=d.owner_name, message=d.deletion_held) for d in held],
    )


@dataclass(frozen=True, slots=True)
class Operations:
    """What only operators may see and do; `find_orphans` asks the cluster."""

    store: SpecStore
    find_orphans: Callable[[], Sequence[OrphanView]]

    def sources(self, user: User) -> SourceList:
        """Return the sources of spec files, with the deletions that are held.

        Raises `Forbidden`.
        """
        _refuse_all_but_operators(user)
        return SourceList(
            items=[
                source_view(state, self.store.held_deletions(state.source) if state.held else ())
                for state in self.store.sources()
            ]
        )

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
