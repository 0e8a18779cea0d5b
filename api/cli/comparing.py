"""`ai4papi diff`: what storing the specs of files would change, as the server judges it.

Nothing is stored: each document is sent as a dry run.
"""

import difflib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

from api.cli.client import EVERYBODY, Client
from api.cli.failures import Code, Refused
from api.cli.spec_files import read_spec_files
from api.cli.texts import printable
from specs.faults import Fault
from specs.files import Declared, FileFault, FileRead, Rules, fault_of
from specs.model import SECRET_FIELDS, SECRET_SET, Owner
from specs.pruning import Place
from specs.report import BAD, Finding
from specs.writing import manifest_of_view, manifest_text

SECRET_CHANGED: Final = "(changed)"  # noqa: S105

WAIT_S: Final = 5.0
PATIENCE: Final = 24
"""How often, and how long each time, a comparison waits where the server has enough of it."""

View = Mapping[str, Any]
T = TypeVar("T")


@dataclass(slots=True)
class Comparison:
    """What was found; `not_allowed`: something was not compared as the caller may not see it."""

    findings: list[Finding] = field(default_factory=list)
    not_allowed: bool = False

    @property
    def code(self) -> Code:
        """The exit code: done where nothing differs, failed where something does."""
        verdicts = {finding.verdict for finding in self.findings}
        if self.not_allowed:
            return Code.NOT_ALLOWED
        if verdicts & (BAD - {"held"}):
            return Code.USAGE
        return Code.FAILED if verdicts - {"unchanged"} else Code.DONE


def compare_files(
    client: Client,
    file: str,
    *,
    layout: str = "document",
    source: str | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Comparison:
    """Compare what `file`, or the files of that folder, say with what the server has.

    `source` names the source of spec files whose whole content these are: what belongs to it and is
    in none of them would be deleted. Raises: CommandFailed.
    """
    me = client.whoami()
    reads = read_spec_files(file, _rules(client, me, layout))
    twice = _twice([one for read in reads for one in read.declared])
    asking = _Asking(client, Owner(me["owner"]["iss"], me["owner"]["sub"]), source, sleep)
    comparison = Comparison()
    for read in reads:
        comparison.findings += map(_failed, read.faults)
        for one in read.declared:
            if others := twice.get(one.place):
                message = f"declared more than once: {', '.join(others)}"
                comparison.findings.append(asking.found(one, "failed", message))
            else:
                _judge(comparison, asking, one)
    if source is not None:
        comparison.findings += _absent(client, asking, reads, sees_all=_sees_all(me))
    return comparison


@dataclass(frozen=True, slots=True)
class _Asking:
    """Asks about one document after the other, as `me`."""

    client: Client
    me: Owner
    source: str | None
    sleep: Callable[[float], None]

    def judge(self, one: Declared) -> Finding:
        """Return what storing the document would do. Raises: Refused, NoAnswer."""
        client = self._client_of(one.place.owner)
        before = self._stored(client, one.place)
        after = self._tried(client, one.place.name, one.manifest)
        if after["plan"]["effect"] == "refused":
            message = f"the cluster would refuse it: {after['plan']['message']}"
            return self.found(one, "refused", message)
        details = _difference(one, before, self._masked(client, one, before, after))
        message = "; ".join(filter(None, (_plan_words(after["plan"]), self._manager(before))))
        if not details:
            return self.found(one, "unchanged")
        verdict: Any = "create" if before is None else "change"
        effect = str(after["plan"]["effect"])
        return replace(self.found(one, verdict, message), details=details, effect=effect)

    def found(self, one: Declared, verdict: Any, message: str = "") -> Finding:
        """Return a finding about the document."""
        owner = one.place.owner
        sub = "" if owner == self.me else owner.sub
        return Finding(one.place.name, one.place.vo, sub, one.path, one.line, verdict, message)

    def _client_of(self, owner: Owner) -> Client:
        if owner == self.me:
            return self.client
        # As the server tells the two forms apart.
        whole = owner.iss.startswith("https://")
        return replace(self.client, owner=f"{owner.iss}#{owner.sub}" if whole else owner.sub)

    def _stored(self, client: Client, place: Place) -> View | None:
        try:
            view: View = self._patiently(lambda: client.get(place.name, vo=place.vo))
        except Refused as refusal:
            if refusal.code is Code.NOT_FOUND:
                return None
            raise
        return view

    def _tried(self, client: Client, name: str, manifest: object) -> View:
        view: View = self._patiently(
            lambda: client.put(name, manifest, dry_run=True, take_over=True)
        )
        return view

    def _patiently(self, ask: Callable[[], T]) -> T:
        for _ in range(PATIENCE):
            try:
                return ask()
            except Refused as refusal:
                if refusal.status != 429:
                    raise
                self.sleep(WAIT_S)
        return ask()

    def _masked(self, client: Client, one: Declared, before: View | None, after: View) -> View:
        """Return `after`, where a secret that is not the stored one says so."""
        if before is None or after["plan"]["effect"] == "unchanged":
            return after
        spec = after["spec"]
        for group, key in SECRET_FIELDS:
            said = _text_at(one.manifest, "spec", group, key)
            if said in {"", SECRET_SET} or before["spec"][group][key] != SECRET_SET:
                continue
            if self._is_another(client, before, group, key, said):
                spec = {**spec, group: {**spec[group], key: SECRET_CHANGED}}
        return {**after, "spec": spec}

    def _is_another(self, client: Client, before: View, group: str, key: str, said: str) -> bool:
        """Whether a secret is another than the stored one: only the server can tell."""
        manifest = manifest_of_view(before)
        manifest["spec"][group] = {**manifest["spec"][group], key: said}
        try:
            tried = self._tried(client, before["metadata"]["name"], manifest)
        except Refused:
            return True
        return bool(tried["plan"]["effect"] != "unchanged")

    def _manager(self, before: View | None) -> str:
        """Say who decides over a deployment in place of the source, "" where nobody does."""
        if before is None or self.source is None:
            return ""
        source = before["metadata"].get("source") or {}
        if source.get("id") == self.source:
            return ""
        return f"managed by {source.get('id') or 'people'} now: {self.source} does not get it"


def _judge(comparison: Comparison, asking: _Asking, one: Declared) -> None:
    try:
        comparison.findings.append(asking.judge(one))
    except Refused as refusal:
        if not (refusal.about_document or refusal.status == 403):
            raise
        comparison.not_allowed |= refusal.code is Code.NOT_ALLOWED
        causes = [Fault(c.pointer, "", c.message, c.allowed) for c in refusal.causes]
        details = "\n".join(str(fault_of(one, cause)) for cause in causes)
        finding = asking.found(one, "refused", refusal.message)
        comparison.findings.append(replace(finding, details=details))


def _failed(fault: FileFault) -> Finding:
    message = ": ".join(filter(None, (fault.pointer, fault.message)))
    return Finding("", "", "", fault.path, fault.line, "failed", message, str(fault))


def _rules(client: Client, me: Mapping[str, Any], layout: str) -> Rules:
    owner = Owner(me["owner"]["iss"], me["owner"]["sub"])
    return Rules(
        layout="path" if layout == "path" else "document",
        vos=tuple(str(vo["name"]) for vo in me["vos"]),
        issuer=owner.iss,
        issuers=frozenset({owner.iss, *client.auth_config()["issuers"]}),
        default_owner=owner,
    )


def _twice(declared: Sequence[Declared]) -> dict[Place, list[str]]:
    """Return the places that several documents declare, each with where they stand."""
    count = Counter(one.place for one in declared)
    twice: dict[Place, list[str]] = {}
    for one in declared:
        if count[one.place] > 1:
            twice.setdefault(one.place, []).append(f"{one.path}:{one.line}")
    return twice


def _sees_all(me: Mapping[str, Any]) -> bool:
    return any({"operator", "auditor"}.intersection(vo["roles"]) for vo in me["vos"])


def _absent(
    client: Client, asking: _Asking, reads: Sequence[FileRead], *, sees_all: bool
) -> Iterator[Finding]:
    """Yield what belongs to the source and is in none of the files."""
    declared = {one.place for read in reads for one in read.declared}
    unread = not all(read.readable for read in reads)
    everybody = replace(client, owner=EVERYBODY) if sees_all else client
    for view in everybody.list():
        metadata = view["metadata"]
        source = metadata.get("source") or {}
        owner = Owner(metadata["owner"]["iss"], metadata["owner"]["sub"])
        place = Place(owner, metadata["vo"], metadata["name"])
        if source.get("id") != asking.source or place in declared:
            continue
        if metadata.get("deletionTimestamp"):
            continue
        sub = "" if owner == asking.me else owner.sub
        why = str(metadata.get("deletionHeld") or "")
        if unread and not why:
            why = "in no file that can be read; not deleted while there is one that can't"
        at = (str(source.get("path", "")), _line(source.get("line")))
        message = why or "in none of the files"
        yield Finding(place.name, place.vo, sub, *at, "held" if why else "delete", message)


def _line(text: object) -> int:
    return int(text) if isinstance(text, str) and text.isascii() and text.isdecimal() else 0


def _difference(one: Declared, before: View | None, after: View) -> str:
    old = "" if before is None else manifest_text(manifest_of_view(before))
    new = manifest_text(manifest_of_view(after))
    lines = difflib.unified_diff(
        old.splitlines(), new.splitlines(), "stored", printable(one.path), lineterm=""
    )
    return "\n".join(lines)


def _plan_words(plan: Mapping[str, Any]) -> str:
    effect = str(plan["effect"])
    words = "changes nothing that runs" if effect == "unchanged" else effect
    fits = "does not fit now" if plan.get("fits") is False else ""
    why = str(plan.get("message") or "")
    return "; ".join(filter(None, (words, ": ".join(filter(None, (fits, why))))))


def _text_at(tree: object, *keys: str) -> str:
    for key in keys:
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return tree if isinstance(tree, str) else ""
