"""What the faces tell of the past: events, revisions, the trash; and how it is made (pure)."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from pydantic import Field

from api.schemas import EXAMPLE_SPEC, EXAMPLE_UID, with_example
from specs.model import SWITCHES, DeploymentSpec, Revision, Shown, TimelineEntry, Trashed

_EXAMPLE_EVENT: Final = {
    "number": 812,
    "time": "2026-11-24T09:31:02Z",
    "type": "Warning",
    "reason": "Drifted",
    "message": "TaskGroups[usergroup].Count was 0, not 1; set right",
    "actor": "reconciler",
    "source": "reconciler",
    "fromPhase": "",
    "toPhase": "",
    "generation": 2,
    "deployment": "train-a",
}


class EventView(Shown):
    """One thing that happened to a deployment; the phases are "" where the phase stayed."""

    number: int
    time: datetime
    type: Literal["Normal", "Warning"]
    reason: str = Field(description="stable CamelCase word")
    message: str
    actor: str = Field(description="a person, a Nomad token's accessor, or reconciler")
    source: str = Field(description="the way in: http, cli, python, git, reconciler or nomad")
    from_phase: str
    to_phase: str
    generation: int
    deployment: str


class EventsMetadata(Shown):
    """The `after` that asks for what follows; "" at the end."""

    continue_: str = Field(alias="continue")


class EventList(Shown):
    """Some of a timeline, oldest first."""

    model_config = with_example({"items": [_EXAMPLE_EVENT], "metadata": {"continue": ""}})

    items: Sequence[EventView]
    metadata: EventsMetadata


class ChangeView(Shown):
    """One field that a revision changed; what is absent was not set."""

    path: str = Field(description="the field of the spec, such as hardware.ram")
    from_: Any = Field(default=None, alias="from")
    to: Any = None


class RevisionView(Shown):
    """What one generation changed in what should run, and who did that."""

    generation: int
    time: datetime
    actor: str
    source: Mapping[str, str]
    pinned_generation: int | None = Field(
        default=None, description="the older generation that a rollback put in place of the wish"
    )
    changes: Sequence[ChangeView]


class RevisionList(Shown):
    """The revisions of a deployment, newest first."""

    model_config = with_example(
        {
            "items": [
                {
                    "generation": 2,
                    "time": "2026-11-24T09:31:00Z",
                    "actor": "local",
                    "source": {"type": "http"},
                    "changes": [{"path": "hardware.ram", "from": 8000, "to": 16000}],
                }
            ]
        }
    )

    items: Sequence[RevisionView]


class TrashedView(Shown):
    """A deleted deployment whose spec can be had back until it expires."""

    name: str
    vo: str
    uid: str
    deleted_at: datetime
    expires_at: datetime
    spec: DeploymentSpec


class TrashList(Shown):
    """The deleted deployments, the latest first."""

    model_config = with_example(
        {
            "items": [
                {
                    "name": "train-a",
                    "vo": "vo.ai4eosc.eu",
                    "uid": EXAMPLE_UID,
                    "deletedAt": "2026-11-24T10:00:00Z",
                    "expiresAt": "2026-12-01T10:00:00Z",
                    "spec": EXAMPLE_SPEC,
                }
            ]
        }
    )

    items: Sequence[TrashedView]


def event_list(entries: Sequence[TimelineEntry], *, limit: int) -> EventList:
    """Return the first `limit` of `entries`; one more among them says that it goes on."""
    shown = entries[:limit]
    continue_ = str(shown[-1].number) if len(entries) > limit else ""
    return EventList(
        items=[event_view(entry) for entry in shown], metadata=EventsMetadata(continue_=continue_)
    )


def event_view(entry: TimelineEntry) -> EventView:
    """Return an event as the API shows it."""
    event = entry.event
    return EventView(
        number=entry.number,
        time=entry.at,
        type=event.kind,
        reason=event.reason,
        message=event.message,
        actor=event.actor,
        source=event.source,
        from_phase=event.from_phase,
        to_phase=event.to_phase,
        generation=entry.generation,
        deployment=entry.name,
    )


def revision_list(revisions: Sequence[Revision]) -> RevisionList:
    """Return revisions, newest first, each with what it changed in what should run.

    The oldest has nothing to be compared with.
    """
    specs = {revision.generation: revision.spec for revision in revisions}
    targets = [_target(revision, specs) for revision in revisions]
    before = [*targets[1:], None]
    return RevisionList(
        items=[
            RevisionView(
                generation=revision.generation,
                time=revision.at,
                actor=revision.actor,
                source=revision.source,
                pinned_generation=revision.pinned_generation,
                changes=spec_changes(earlier, target) if earlier else [],
            )
            for revision, target, earlier in zip(revisions, targets, before, strict=True)
        ]
    )


def spec_changes(before: DeploymentSpec, after: DeploymentSpec) -> list[ChangeView]:
    """Return the fields that differ, in the order of the spec. Secrets are "(set)" in both."""
    old, new = (dict(_leaves(spec.model_dump(mode="json"))) for spec in (before, after))
    return [
        ChangeView(path=path, from_=old.get(path), to=new.get(path))
        for path in old | new
        if old.get(path) != new.get(path)
    ]


def trash_list(trashed: Sequence[Trashed], *, kept_for: timedelta) -> TrashList:
    """Return what is in the trash; each thing is kept so long after its deletion."""
    return TrashList(
        items=[
            TrashedView(
                name=t.deployment.name,
                vo=t.deployment.vo,
                uid=t.deployment.uid,
                deleted_at=t.deleted_at,
                expires_at=t.deleted_at + kept_for,
                spec=t.deployment.spec,
            )
            for t in trashed
        ]
    )


def _target(revision: Revision, specs: Mapping[int, DeploymentSpec]) -> DeploymentSpec:
    """Return what should have run at that revision: a pin leaves the switches to the wish."""
    pinned = specs.get(revision.pinned_generation or 0)
    if pinned is None:
        return revision.spec
    return pinned.model_copy(update={s: getattr(revision.spec, s) for s in SWITCHES})


def _leaves(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value
