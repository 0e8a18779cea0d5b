"""Between rows of the store's tables and values of the model (pure)."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from pydantic import TypeAdapter
from pydantic_core import from_json, to_json

from specs.model import (
    Applied,
    Deployment,
    DeploymentSpec,
    DeploymentStatus,
    Owner,
    Pin,
    Reservation,
)

PIN: Final = TypeAdapter(Pin)


class Row(NamedTuple):
    """One record as the table `deployments` keeps it, but for the numbers of the feeds.

    Instants are RFC 3339 in UTC; `finalizers`, `labels`, `annotations`, `source`, `spec`, `pin`,
    `status` and `module_defaults` are JSON. `status` lacks `observed_at`, so that equal text means
    an equal status.
    """

    uid: str
    owner_iss: str
    owner_sub: str
    owner_name: str
    vo: str
    name: str
    generation: int
    secrets_generation: int
    resource_version: int
    created_at: str
    deletion_requested_at: str | None
    deletion_held: str
    suspended: bool
    finalizers: str
    labels: str
    annotations: str
    source: str
    source_id: str
    spec: str
    pin: str | None
    observed_generation: int
    observed_at: str | None
    phase: str
    applied_generation: int
    applied_secrets_generation: int
    applied_digest: str | None
    applied_index: int
    applied_restart: int
    status: str
    counted: str = "{}"
    asks: str = "{}"
    queued_at: int | None = None
    queue_rank: int = 0
    source_fault: str = ""
    module_defaults: str = "{}"


class Look(NamedTuple):
    """The columns that one look of the reconciler writes."""

    observed_generation: int
    phase: str
    applied_generation: int
    applied_secrets_generation: int
    applied_digest: str | None
    applied_index: int
    applied_restart: int
    status: str


class Head(NamedTuple):
    """The little that a resync needs of every record: there can be a hundred thousand.

    `applied_generation` and `applied_index` are 0 when nothing was applied; `seen_index` is the
    newest Nomad index that the stored status was made from. `wake_at` is when the loop wants to
    look again even if nothing happens, None: never. `adopted`: its job was taken over and carries
    no marker of ours yet. `flow` is whose turn a look at it takes: its owner's.
    """

    uid: str
    vo: str
    generation: int
    observed_generation: int
    applied_generation: int
    applied_index: int
    seen_index: int
    being_deleted: bool
    suspended: bool
    wake_at: datetime | None = None
    adopted: bool = False
    flow: str = ""


def row_of(record: Deployment) -> Row:
    """Return the row that keeps `record`; its applied job is kept apart."""
    look = look_of(record.status, record.applied)
    return Row(
        uid=record.uid,
        owner_iss=record.owner.iss,
        owner_sub=record.owner.sub,
        owner_name=record.owner_name,
        vo=record.vo,
        name=record.name,
        generation=record.generation,
        secrets_generation=record.secrets_generation,
        resource_version=record.resource_version,
        created_at=instant_text(record.created_at),
        deletion_requested_at=optional_instant_text(record.deletion_requested_at),
        deletion_held=record.deletion_held,
        suspended=record.spec.suspend,
        finalizers=json_text(record.finalizers),
        labels=json_text(record.labels),
        annotations=json_text(record.annotations),
        source=json_text(record.source),
        source_id=source_id(record.source),
        spec=record.spec.model_dump_json(),
        pin=None if record.pin is None else PIN.dump_json(record.pin).decode(),
        observed_at=optional_instant_text(record.status.observed_at),
        counted=json_text(record.reservation.counted),
        asks=json_text(record.reservation.asks),
        queued_at=record.reservation.queued_at,
        queue_rank=record.reservation.rank,
        source_fault=record.source_fault,
        module_defaults=defaults_text(record.module_defaults),
        **look._asdict(),
    )


def deployment_of(row: Row, job: str | None) -> Deployment:
    """Return the record that `row` keeps; `job` is the JSON of the applied job, if any."""
    return Deployment(
        uid=row.uid,
        owner=Owner(row.owner_iss, row.owner_sub),
        owner_name=row.owner_name,
        vo=row.vo,
        name=row.name,
        spec=DeploymentSpec.model_validate_json(row.spec),
        generation=row.generation,
        secrets_generation=row.secrets_generation,
        resource_version=row.resource_version,
        created_at=datetime.fromisoformat(row.created_at),
        deletion_requested_at=optional_instant(row.deletion_requested_at),
        deletion_held=row.deletion_held,
        source_fault=row.source_fault,
        pin=None if row.pin is None else PIN.validate_json(row.pin),
        finalizers=tuple(from_json(row.finalizers)),
        labels=from_json(row.labels),
        annotations=from_json(row.annotations),
        source=from_json(row.source),
        module_defaults=defaults_of_text(row.module_defaults),
        reservation=reservation_of_row(row),
        status=status_of_row(row),
        applied=applied_of_row(row, job),
    )


def status_of_row(row: Row) -> DeploymentStatus:
    """Return the status that `row` keeps."""
    status = DeploymentStatus.model_validate_json(row.status)
    if row.observed_at is None:
        return status
    return status.model_copy(update={"observed_at": datetime.fromisoformat(row.observed_at)})


def reservation_of_row(row: Row) -> Reservation:
    """Return what the quota counts of the record that `row` keeps."""
    return Reservation(from_json(row.counted), from_json(row.asks), row.queued_at, row.queue_rank)


def applied_of_row(row: Row, job: str | None) -> Applied | None:
    """Return what was last applied, or None where nothing is."""
    if row.applied_digest is None or job is None:
        return None
    return Applied(
        generation=row.applied_generation,
        secrets_generation=row.applied_secrets_generation,
        digest=row.applied_digest,
        index=row.applied_index,
        job=from_json(job),
        restart=row.applied_restart,
    )


def look_of(status: DeploymentStatus, applied: Applied | None) -> Look:
    """Return what a look that ended in `status` and `applied` writes."""
    return Look(
        observed_generation=status.observed_generation,
        phase=status.phase.value,
        applied_generation=applied.generation if applied else 0,
        applied_secrets_generation=applied.secrets_generation if applied else 0,
        applied_digest=applied.digest if applied else None,
        applied_index=applied.index if applied else 0,
        applied_restart=applied.restart if applied else 0,
        status=status.model_dump_json(by_alias=True, exclude={"observed_at"}),
    )


def source_id(source: Mapping[str, str]) -> str:
    """Return which source's reads decide over a record, "" where people do."""
    return source.get("id", "")


def defaults_text(defaults: Mapping[tuple[str, str], str | int]) -> str:
    """Return values by (group, key) as JSON: a mapping for each group."""
    groups: dict[str, dict[str, str | int]] = {}
    for (group, key), value in defaults.items():
        groups.setdefault(group, {})[key] = value
    return json_text(groups)


def defaults_of_text(text: str) -> dict[tuple[str, str], str | int]:
    """Return the values by (group, key) that `text` keeps."""
    if text == "{}":
        return {}
    return {
        (group, key): value
        for group, values in from_json(text).items()
        for key, value in values.items()
    }


def json_text(value: object) -> str:
    """Return `value` as JSON; ValueError where it holds text that no encoding can carry."""
    # Read-only mappings are no `dict`, and `to_json` knows only that.
    return to_json(value, fallback=dict).decode()


def selects(labels: str, wanted: Mapping[str, str]) -> bool:
    """Tell whether `labels` (JSON) carries every label of `wanted`."""
    if not wanted:
        return True
    carried: Mapping[str, Any] = from_json(labels)
    return all(carried.get(key) == value for key, value in wanted.items())


def instant_text(instant: datetime) -> str:
    """Return an instant as text that sorts as time does: RFC 3339 in UTC, microseconds."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds")


def optional_instant_text(instant: datetime | None) -> str | None:
    """Return `instant_text`, or None for None."""
    return None if instant is None else instant_text(instant)


def optional_instant(text: str | None) -> datetime | None:
    """Return the instant that `text` keeps, or None for None."""
    return None if text is None else datetime.fromisoformat(text)
