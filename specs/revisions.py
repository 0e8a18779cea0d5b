"""What a write makes of a record, and when it is refused (pure)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NoReturn

from specs.faults import AlreadyExists, Fault, InvalidSpec, NotFound, VersionConflict
from specs.model import (
    JOB_FINALIZER,
    SECRET_FIELDS,
    SECRET_SET,
    SWITCHES,
    Deployment,
    DeploymentSpec,
    DeploymentStatus,
    Owner,
    Pin,
    Reservation,
    Revision,
    secret_name,
)
from specs.wish import Wish


def new_record(
    wish: Wish,
    *,
    uid: str,
    owner: Owner,
    owner_name: str,
    source: Mapping[str, str],
    version: int,
    now: datetime,
) -> Deployment:
    """Return the first record of `wish`, at generation 1."""
    return Deployment(
        uid=uid,
        owner=owner,
        owner_name=owner_name,
        vo=wish.vo,
        name=wish.name,
        spec=wish.spec,
        generation=1,
        secrets_generation=1 if wish.secrets else 0,
        resource_version=version,
        created_at=now,
        labels=dict(wish.labels),
        annotations=dict(wish.annotations),
        source=dict(source),
        module_defaults=dict(wish.module_defaults),
    )


def revised(
    kept: Deployment,
    wish: Wish,
    *,
    new_secrets: bool,
    owner_name: str,
    source: Mapping[str, str],
    version: int,
) -> Deployment:
    """Return `kept` as `wish` wants it: `kept` itself where they agree.

    A changed spec or secret makes a new generation, changed labels or annotations only a new
    `resource_version`. `new_secrets` says whether the wish's secrets differ from the stored ones.
    What is pinned stays so until something else is to run. Nobody deletes what is wished.
    """
    wished_anew = new_secrets or kept.spec != wish.spec
    labelled_anew = (kept.labels, kept.annotations) != (wish.labels, wish.annotations)
    if not wished_anew and not labelled_anew:
        return kept
    generation = kept.generation + wished_anew
    secrets_generation = generation if new_secrets else kept.secrets_generation
    return replace(
        kept,
        owner_name=owner_name,
        spec=wish.spec,
        generation=generation,
        secrets_generation=secrets_generation if wish.secrets else 0,
        resource_version=version,
        labels=dict(wish.labels),
        annotations=dict(wish.annotations),
        source=dict(source),
        module_defaults=dict(wish.module_defaults),
        pin=kept.pin if runs_the_same(kept.spec, wish.spec) and not new_secrets else None,
        deletion_held="",
        source_fault="",
    )


def runs_the_same(one: DeploymentSpec, other: DeploymentSpec) -> bool:
    """Whether both say the same of what runs; they may differ in how it lives (`SWITCHES`)."""
    return one == other.model_copy(update={s: getattr(one, s) for s in SWITCHES})


def says_the_same(record: Deployment, wish: Wish) -> bool:
    """Whether `wish` says what `record` does; which values its secrets have is left open."""
    kept = (record.spec, record.labels, record.annotations)
    return kept == (wish.spec, wish.labels, wish.annotations)


def as_wished(record: Deployment, wish: Wish, stored: Mapping[str, str]) -> bool:
    """Whether `record` with the secrets `stored` is just what `wish` wants.

    Raises:
        InvalidSpec: the wish keeps a secret that was never set.
    """
    wanted = resolved_secrets(wish.secrets, stored)
    return says_the_same(record, wish) and stored == wanted


def pinned(kept: Deployment, revision: Revision, *, by: str, version: int) -> Deployment:
    """Return `kept` with `revision` running in place of the wish: `kept` itself where it does.

    A revision that is the wish lifts the pin.
    """
    if runs_the_same(kept.target, revision.spec):
        return kept
    lifted = runs_the_same(kept.spec, revision.spec)
    return replace(
        kept,
        generation=kept.generation + 1,
        resource_version=version,
        pin=None if lifted else Pin(revision.generation, revision.spec, by),
    )


def marked_for_deletion(kept: Deployment, *, version: int, now: datetime) -> Deployment:
    """Return `kept` as it is while the reconciler deletes it."""
    return replace(
        kept,
        generation=kept.generation + 1,
        resource_version=version,
        deletion_requested_at=now,
        deletion_held="",
        source_fault="",
        reservation=Reservation(kept.reservation.counted),
    )


def undeleted(kept: Deployment, *, source: Mapping[str, str], version: int) -> Deployment:
    """Return `kept` as it is when the deletion is called off.

    It belongs to `source` from now on: the one that deleted it must not do so again.
    """
    return replace(
        kept,
        generation=kept.generation + 1,
        resource_version=version,
        deletion_requested_at=None,
        finalizers=tuple(dict.fromkeys((JOB_FINALIZER, *kept.finalizers))),
        source=dict(source),
        source_fault="",
    )


def without_a_past(record: Deployment) -> Deployment:
    """Return a record from the trash as it is before anybody looked at it: nothing of it runs."""
    return replace(record, status=DeploymentStatus(), applied=None, reservation=Reservation())


def lost_secrets(revision: Revision, stored: Mapping[str, str]) -> list[Fault]:
    """Return a fault for each secret that `revision` needs and that is no longer stored."""
    message = f"generation {revision.generation} needs a value that is no longer stored"
    return [
        Fault(f"/spec/{group}/{key}", "NothingToKeep", message, "a new spec that sets it")
        for group, key in SECRET_FIELDS
        if getattr(getattr(revision.spec, group), key) == SECRET_SET
        and secret_name(group, key) not in stored
    ]


def resolved_secrets(wished: Mapping[str, str], stored: Mapping[str, str]) -> dict[str, str]:
    """Return the secrets that a wish ends with, `SECRET_SET` replaced by the stored value.

    Raises:
        InvalidSpec: there is no stored value to keep.
    """
    missing = [name for name, value in wished.items() if value == SECRET_SET and name not in stored]
    if missing:
        raise InvalidSpec([nothing_to_keep(name) for name in missing])
    return {name: stored[name] if value == SECRET_SET else value for name, value in wished.items()}


def nothing_to_keep(name: str) -> Fault:
    """Return the fault of a wish that keeps the secret `name` where none is stored."""
    return Fault(
        pointer="/spec/" + name.replace(".", "/"),
        code="NothingToKeep",
        message=f"{SECRET_SET!r} keeps the stored value, and none is stored",
        allowed="the value itself",
    )


def refuse_other_wish(record: Deployment, wish: Wish, stored: Mapping[str, str]) -> None:
    """Do nothing where `record` with the secrets `stored` is just what `wish` wants.

    Raises:
        AlreadyExists: it is not.
    """
    if not as_wished(record, wish, stored):
        raise AlreadyExists(
            f"{wish.name!r} is there already in {wish.vo} with another spec: "
            "change it with PUT or PATCH, or choose another name"
        )


def refuse_while_being_deleted(record: Deployment) -> None:
    """Do nothing where `record` is there to stay.

    Raises:
        AlreadyExists: it is being deleted.
    """
    if record.being_deleted:
        raise AlreadyExists(
            f"{record.name!r} in {record.vo} is being deleted: "
            "wait until it is gone, or choose another name"
        )


def refuse_stale(record: Deployment | None, name: str, if_version: int | None) -> None:
    """Do nothing where the caller named no version, or the one that `record` has.

    Raises:
        VersionConflict: the record moved on, or there is none.
    """
    if if_version is None or (record is not None and record.resource_version == if_version):
        return
    now = "there is none" if record is None else f"it is at {record.resource_version}"
    raise VersionConflict(
        f"{name!r} was to be at version {if_version}, and {now}: read it again, then decide again"
    )


def refuse_absent(name: str) -> NoReturn:
    """Raise NotFound for a name or uid that the caller has no record of."""
    raise NotFound(f"no deployment {name!r}")


def refuse_ambiguous(name: str, vos: Sequence[str]) -> NoReturn:
    """Raise InvalidSpec for a name that the caller uses in several VOs."""
    raise InvalidSpec(
        [
            Fault(
                pointer="/metadata/vo",
                code="Ambiguous",
                message=f"{name!r} is there in more than one VO: say which",
                allowed=", ".join(vos),
            )
        ]
    )


def cursor_of(token: str | None) -> int | None:
    """Return the place that a page's `continue_` stands for; None is the start.

    Raises:
        InvalidSpec: no page ended in that token.
    """
    if token is None:
        return None
    if token.isascii() and token.isdigit() and len(token) <= len(str(2**62)) - 1:
        return int(token)
    raise InvalidSpec(
        [
            Fault(
                pointer="/continue",
                code="BadContinue",
                message=f"{token[:40]!r} is no place in the list",
                allowed="`metadata.continue` of the page before, or nothing",
            )
        ]
    )
