"""`ai4papi apply`: make the deployments what the manifests say."""

import shlex
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import typer

from api.cli.choices import Goal
from api.cli.client import Client
from api.cli.failures import Code, CommandFailed, Refused
from api.cli.manifests import read_manifests, shown_name
from api.cli.options import ask
from api.cli.paint import EFFECTS, show
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
    client: Client, file: str, *, dry_run: bool, take_over: bool, asking: bool = False
) -> tuple[list[Applied], list[CommandFailed]]:
    """Apply every document of `file`, and say of each what became of it.

    A document that is refused doesn't keep the others from being applied. `asking`: first say what
    would become of each, and go on after a yes with those that changed something.
    Raises: CommandFailed where nothing could be read, the server can't be asked, or it was a no.
    """
    documents = read_manifests(file)
    failures: list[CommandFailed] = []
    if asking:
        previews, failures = _each(
            client, documents, file, dry_run=True, take_over=take_over, say=foretold
        )
        if question := question_of([done for _, done in previews]):
            ask(question, next_command=f"ai4papi apply -f {shlex.quote(file)} -y")
        else:
            return [done for _, done in previews], failures
        documents = [document for document, _ in previews]
    say = tried if dry_run else became
    done, refusals = _each(client, documents, file, dry_run=dry_run, take_over=take_over, say=say)
    if dry_run:
        refusals += [_told(each) for _, one in done if (each := would_be_refused(one))]
    return [each for _, each in done], failures + refusals


def question_of(previews: Sequence[Applied]) -> str:
    """Return what to ask before these are applied, "" where they change nothing."""
    words = Counter(each.word for each in previews if each.word != "unchanged")
    if not words:
        return ""
    counted = " and ".join(
        f"{verb} {words[word]}"
        for word, verb in (("created", "create"), ("configured", "change"))
        if words[word]
    )
    effects = [each.view["plan"] for each in previews]
    warnings = [
        f"{count} {what}"
        for count, what in (
            (sum(plan["effect"] == "restarts" for plan in effects), "with a restart"),
            (sum(plan["effect"] == "stops" for plan in effects), "with a stop"),
            (sum(plan["effect"] == "refused" for plan in effects), "that the cluster refuses"),
            (sum(plan.get("fits") is False for plan in effects), "without room now"),
        )
        if count
    ]
    return (
        f"{counted[0].upper()}{counted[1:]}{' (' + ', '.join(warnings) + ')' if warnings else ''}?"
    )


def would_be_refused(done: Applied) -> CommandFailed | None:
    """Return the failure of a dry run that the cluster refuses, None of another."""
    if done.view["plan"]["effect"] != "refused":
        return None
    return CommandFailed(Code.FAILED, f"deployment {done.name}: the cluster would refuse it")


def _each(
    client: Client,
    documents: Sequence[Document],
    file: str,
    *,
    dry_run: bool,
    take_over: bool,
    say: Callable[[Applied], str],
) -> tuple[list[tuple[Document, Applied]], list[CommandFailed]]:
    taken: list[tuple[Document, Applied]] = []
    failures: list[CommandFailed] = []
    for document in documents:
        try:
            done = _apply(client, document, dry_run=dry_run, take_over=take_over)
        except Refused as refusal:
            if not refusal.about_document:
                raise
            failures.append(_told(_placed(refusal, document, file)))
        else:
            colour = EFFECTS.get(done.view["plan"]["effect"], "") if dry_run else ""
            show([(printable(say(done)), colour)])
            taken.append((document, done))
    return taken, failures


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


def became(applied: Applied) -> str:
    """Return what became of a manifest."""
    return f"deployment {applied.name} {applied.word}"


def tried(applied: Applied) -> str:
    """Return what a dry run says of a manifest."""
    return f"{became(applied)} (dry run): {_planned(applied)}"


def foretold(applied: Applied) -> str:
    """Return what is said of a manifest before the question."""
    if applied.word == "unchanged":
        return became(applied)
    return f"deployment {applied.name} would be {applied.word}: {_planned(applied)}"


def _planned(applied: Applied) -> str:
    plan = applied.view["plan"]
    fits = {True: "; fits now", False: "; does not fit now", None: ""}[plan.get("fits")]
    why = f": {plan['message']}" if plan["message"] else ""
    return f"{plan['effect']}{fits}{why}"


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
