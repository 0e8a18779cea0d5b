"""`ai4papi apply`: make the deployments what the manifests say."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import typer

from api.cli.choices import Goal
from api.cli.client import Client
from api.cli.failures import Code, CommandFailed, Refused
from api.cli.manifests import read_manifests, shown_name
from api.cli.texts import is_name, printable
from api.cli.waiting import wait_for
from specs.texts import shown
from specs.yaml_text import Document


@dataclass(frozen=True, slots=True)
class Applied:
    """One manifest that the server took, as it answered."""

    view: Mapping[str, Any]
    word: str

    @property
    def name(self) -> str:
        """The deployment's name."""
        return str(self.view["metadata"]["name"])


def apply_file(
    client: Client, file: str, *, dry_run: bool, take_over: bool
) -> tuple[list[Applied], list[CommandFailed]]:
    """Apply every document of `file`, and say of each what became of it.

    A document that is refused doesn't keep the others from being applied.
    Raises: CommandFailed where nothing could be read, or the server can't be asked.
    """
    applied: list[Applied] = []
    failures: list[CommandFailed] = []
    for document in read_manifests(file):
        try:
            done = _apply(client, document, dry_run=dry_run, take_over=take_over)
        except Refused as refusal:
            if not refusal.about_document:
                raise
            failures.append(_told(_placed(refusal, document, file)))
        else:
            typer.echo(printable(sentence(done, dry_run=dry_run)))
            applied.append(done)
            if dry_run and done.view["plan"]["effect"] == "refused":
                message = f"deployment {done.name}: the cluster would refuse it"
                failures.append(_told(CommandFailed(Code.FAILED, message)))
    return applied, failures


def wait_for_all(
    client: Client, applied: Sequence[Applied], *, until: float
) -> list[CommandFailed]:
    """Wait for one after the other, all of them until the same instant of `time.monotonic`."""
    failures = []
    for done in applied:
        metadata = done.view["metadata"]
        try:
            wait_for(
                client,
                done.name,
                Goal.READY,
                timeout_s=max(0.0, until - time.monotonic()),
                vo=metadata["vo"],
                uid=metadata["uid"],
                may_rest=done.view["spec"]["suspend"],
            )
        except CommandFailed as failure:
            failures.append(_told(failure))
    return failures


def sentence(applied: Applied, *, dry_run: bool) -> str:
    """Return what became of a manifest; on a dry run, what would."""
    if not dry_run:
        return f"deployment {applied.name} {applied.word}"
    plan = applied.view["plan"]
    fits = {True: "; fits now", False: "; does not fit now", None: ""}[plan.get("fits")]
    why = f": {plan['message']}" if plan["message"] else ""
    return f"deployment {applied.name} {applied.word} (dry run): {plan['effect']}{fits}{why}"


def change_word(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> str:
    """Return `created`, `configured` or `unchanged`, from the metadata before and after."""
    if before is None or before["uid"] != after["uid"]:
        return "created"
    same = all(before[key] == after[key] for key in ("generation", "labels", "annotations"))
    return "unchanged" if same else "configured"


def _apply(client: Client, document: Document, *, dry_run: bool, take_over: bool) -> Applied:
    name, vo = _text_at(document.tree, "metadata", "name"), _said_vo(document.tree)
    if not is_name(name):
        # The server says everything that is wrong with it, the name included.
        client.try_nameless(document.tree)
        raise CommandFailed(Code.FAILED, "the server took a manifest without a usable name")
    client, manifest = _for_owner(client, document.tree)
    before = _before(client, name, vo)
    view = client.put(name, manifest, dry_run=dry_run, take_over=take_over)
    return Applied(view, change_word(before and before["metadata"], view["metadata"]))


def _for_owner(client: Client, tree: Any) -> tuple[Client, Any]:
    """Ask in the name of the owner that a spec file says; the manifest itself says none."""
    owner = tree["metadata"].get("owner")
    if isinstance(owner, dict) and owner.keys() == {"iss", "sub"}:
        owner = f"{owner['iss']}#{owner['sub']}"
    if not isinstance(owner, str):
        return client, tree
    if client.owner not in (None, owner):
        message = f"the file declares it for {shown(owner)}, and --owner says {client.owner}"
        raise CommandFailed(Code.USAGE, message)
    metadata = {key: value for key, value in tree["metadata"].items() if key != "owner"}
    return replace(client, owner=owner), {**tree, "metadata": metadata}


def _before(client: Client, name: str, vo: str | None) -> Any:
    try:
        return client.get(name, vo=vo)
    except Refused as refusal:
        # Where it can't be told which one is meant, the write itself says so, and better.
        if refusal.code is Code.NOT_FOUND or refusal.status == 422:
            return None
        raise


def _placed(refusal: Refused, document: Document, file: str) -> Refused:
    """Return the refusal with the file and the line of each thing that is wrong."""
    name = _text_at(document.tree, "metadata", "name")
    what = f"deployment {name}: " if is_name(name) else ""
    placed = tuple(
        replace(c, place="{}:{}:{}".format(shown_name(file), *document.place(c.pointer)))
        if document.places
        else c
        for c in refusal.causes
    )
    return Refused(
        refusal.code,
        what + refusal.message,
        status=refusal.status,
        reason=refusal.reason,
        causes=placed,
        hint=refusal.hint,
        next_command=refusal.next_command or f"ai4papi apply -f {file} --dry-run",
    )


def _said_vo(tree: object) -> str | None:
    return (
        _text_at(tree, "metadata", "vo")
        or _text_at(tree, "spec", "general", "virtual_organization")
        or None
    )


def _told(failure: CommandFailed) -> CommandFailed:
    typer.echo("\n".join(failure.lines()), err=True)
    return failure


def _text_at(tree: object, *keys: str) -> str:
    for key in keys:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree if isinstance(tree, str) else ""
