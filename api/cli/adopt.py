"""`ai4papi adopt`: shows what the platform before this one started, and takes it over."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import typer

from api.auth import LOCAL_OWNER
from api.cli.choices import ReportFormat
from api.cli.failures import Code, CommandFailed
from api.cli.options import ask
from api.cli.show import Column, json_text, table
from api.cli.texts import printable
from reconciler.adoption import Found
from reconciler.errors import ClusterError
from reconciler.logs import start_logging
from reconciler.runtime import Runtime, open_runtime
from reconciler.settings import Settings, SettingsFault, load_settings
from reconciler.takeover import Takeover
from specs.faults import StoreUnavailable

ACTOR: Final = "operator"
WARNINGS_ONLY: Final = 30

COLUMNS: Final[tuple[Column, ...]] = (
    ("JOB", lambda one, _: one["id"]),
    ("NAMESPACE", lambda one, _: one["namespace"]),
    ("OWNER", lambda one, _: one["owner"]),
    ("TITLE", lambda one, _: one["title"]),
    ("IMAGE", lambda one, _: one["image"]),
    ("CPU", lambda one, _: _cpu(one["resources"])),
    ("MEMORY", lambda one, _: f"{one['resources']['memory_mb']} MB"),
    ("GPU", lambda one, _: str(one["resources"]["devices"])),
    ("THEN", lambda one, _: one["then"]),
)


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which jobs are meant: empty and None are all. `issuer` is the provider of their owners."""

    ids: Sequence[str] = ()
    owner: str | None = None
    namespace: str | None = None
    issuer: str | None = None


def adopt(chosen: Chosen, form: ReportFormat, *, dry_run: bool, yes: bool) -> None:
    """Show the chosen jobs and what would follow; take them over where a person says yes.

    Raises: CommandFailed.
    """
    if form is ReportFormat.JSON and not (yes or dry_run):
        raise CommandFailed(Code.USAGE, "-o json asks nobody: add -y or --dry-run")
    start_logging(level=WARNINGS_ONLY)
    try:
        runtime = open_runtime(load_settings(os.environ))
    except SettingsFault as fault:
        raise CommandFailed(Code.USAGE, str(fault)) from fault
    try:
        _adopt(runtime, chosen, form, dry_run=dry_run, yes=yes)
    except (ClusterError, StoreUnavailable) as error:
        raise CommandFailed(Code.FAILED, str(error)) from error
    finally:
        runtime.stop()


def _adopt(
    runtime: Runtime, chosen: Chosen, form: ReportFormat, *, dry_run: bool, yes: bool
) -> None:
    issuers = _issuers(runtime.settings, chosen.issuer)
    there = [
        (over, one)
        for over in _takeovers(runtime, issuers)
        for one in over.find(ids=chosen.ids, owner=chosen.owner, namespace=chosen.namespace)
    ]
    found = [one for _, one in there]
    able = [(over, one) for over, one in there if one.record is not None]
    if form is ReportFormat.TABLE:
        _show(found)
    if able and not (dry_run or yes):
        ask(f"Take over {len(able)} jobs as they run?", next_command="ai4papi adopt -y")
    taken = [] if dry_run else [over.take(one, actor=ACTOR) for over, one in able]
    _tell(found, taken, form)
    _fail_on(chosen, found, taken)


def _takeovers(runtime: Runtime, issuers: tuple[str, ...]) -> Iterator[Takeover]:
    """Yield what takes over in each of the site's clusters. Raises: CommandFailed; ClusterError."""
    for target in runtime.targets:
        target.cluster.ensure_namespaces()
        if trouble := target.guard.check():
            raise CommandFailed(Code.POLICY, trouble)
        yield Takeover(target.cluster, runtime.store, target.reconciler.site, issuers)


def _issuers(settings: Settings, issuer: str | None) -> tuple[str, ...]:
    known = (LOCAL_OWNER.iss,) if settings.auth_mode == "local" else settings.auth.OP
    if issuer is None:
        return tuple(known)
    if issuer not in known:
        raise CommandFailed(Code.USAGE, f"{issuer!r} is none of auth.OP: {', '.join(known)}")
    return (issuer,)


def _show(found: Sequence[Found]) -> None:
    if not found:
        typer.echo("There is nothing to take over.", err=True)
        return
    typer.echo(table([_view(one) for one in found], COLUMNS, now=datetime.now(UTC)))


def _tell(found: Sequence[Found], taken: Sequence[Found], form: ReportFormat) -> None:
    told = {one.ref: one for one in taken}
    if form is ReportFormat.JSON:
        views = [_view(told.get(one.ref, one), taken=one.ref in told) for one in found]
        typer.echo(json_text({"items": views}))
        return
    for one in taken:
        done = f"was not taken over: {one.why_not}" if one.why_not else "taken over, runs on"
        typer.echo(printable(f"job {one.ref.id}: {done}"))


def _fail_on(chosen: Chosen, found: Sequence[Found], taken: Sequence[Found]) -> None:
    absent = sorted(set(chosen.ids) - {one.ref.id for one in found})
    if absent:
        raise CommandFailed(
            Code.NOT_FOUND,
            f"no job to take over: {', '.join(absent)}",
            hint="It may be a deployment already, stopped, or no job of the platform before.",
        )
    if any(one.why_not for one in taken):
        raise CommandFailed(Code.CONFLICT, "not every job was taken over", hint="Look again.")
    if any(one.why_not for one in found):
        raise CommandFailed(Code.POLICY, "not every job can be taken over: see why in the list")


def _view(one: Found, *, taken: bool = False) -> dict[str, Any]:
    return {
        "id": one.ref.id,
        "namespace": one.ref.namespace,
        "name": one.name,
        "owner": one.owner,
        "title": one.title,
        "image": one.image,
        "resources": dict(one.resources),
        "restarts": False,
        "adopted": taken and not one.why_not,
        "whyNot": one.why_not,
        "leftOut": list(one.left_out),
        "then": _then(one),
    }


def _then(one: Found) -> str:
    if one.why_not:
        return f"left alone: {one.why_not}"
    lost = f", then without its {'; '.join(one.left_out)}" if one.left_out else ""
    return f"no restart; the first change of what runs restarts it{lost}"


def _cpu(resources: dict[str, Any]) -> str:
    return f"{resources['cores']} cores" if resources["cores"] else f"{resources['cpu_mhz']} MHz"
