"""Where a document of a spec file stands: its owner, its VO and its name (pure).

By the layout `document` the document says all three. By the layout `path` the file's path does,
`<vo>/<owner>/<name>.yaml`, and what the document says as well must agree.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import unquote_to_bytes

from specs.faults import Fault
from specs.metadata import is_name
from specs.model import Owner
from specs.pruning import Place
from specs.shapes import mapping_at, mapping_faults
from specs.texts import control, near, no_text, pointer, shown
from specs.trees import SUFFIXES
from specs.userconf import VO_FIELD
from specs.values import Given

MAX_SUB: Final = 255
"""Longest `sub`, in characters (OpenID Connect Core 1.0, section 2)."""

LAYOUT: Final = "<vo>/<owner>/<name>.yaml"
OWNER_AT: Final = "/metadata/owner"
VO_AT: Final = "/metadata/vo"

_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class Rules:
    """How owner and VO of a document are told.

    `vos` are those that the source may declare for. A `sub` alone belongs to `issuer`, None: no
    owner may be named so. `{iss, sub}` may name `issuer` and the `issuers`. A document that says no
    owner is `default_owner`'s, None: it must say one. In the layout `path` the path always does.
    """

    layout: Literal["document", "path"] = "document"
    vos: Sequence[str] = ()
    issuer: str | None = None
    issuers: Collection[str] = ()
    default_owner: Owner | None = None


@dataclass(frozen=True, slots=True)
class Named:
    """What a path says."""

    vo: str
    sub: str
    name: str


def named_by(path: str) -> Named | Fault:
    """Read a path of the layout `path`.

    `%XX` in the owner's part stands for a byte of UTF-8, as in a URL: what no file name can have
    (`/`), what hides a file (a leading `.`), and `%` itself are written so.
    """
    parts = path.split("/")
    if len(parts) != 3:
        message = f"specs stand at {LAYOUT} here, and this path has {len(parts)} parts, not 3"
        return Fault("", "WrongLayout", message, LAYOUT)
    vo, owner, file = parts
    sub = _decoded(owner)
    if sub is None or _sub_faults(sub, ""):
        allowed = "a sub, with %XX (bytes of UTF-8) for what a file name can't have and for %"
        return Fault("", "BadOwner", f"the path's {shown(owner)} is not {allowed}", allowed)
    suffix = next((s for s in SUFFIXES if file.lower().endswith(s)), "")
    name = file.removesuffix(file[len(file) - len(suffix) :])
    if not is_name(name):
        allowed = "a DNS label: 1 to 63 of a-z, 0-9 and -, with no - at either end"
        return Fault("", "BadName", f"the path's {shown(name)} is not {allowed}", allowed)
    return Named(vo, sub, name)


def place_of(
    document: Mapping[str, Any], rules: Rules, named: Named | None
) -> Place | Sequence[Fault]:
    """Return where a document stands, or why that can't be told.

    `named` is what the path says in the layout `path`, None in the layout `document`. The name's
    own grammar is for `specs.metadata` to tell: in `document`, a wrong one leaves no fault here.
    """
    metadata = mapping_at(document, "metadata")
    vo, faults = _vo(_said_vos(document, named), rules.vos)
    owner, owner_faults = _owner(metadata.get("owner"), rules, named)
    name = metadata.get("name", named and named.name)
    faults = [*faults, *owner_faults]
    if named and name != named.name:
        faults.append(_contradiction(Given(name, "/metadata/name"), "name", named.name))
    if owner is None or faults or not is_name(name):
        return faults
    return Place(owner, vo, name)


def _said_vos(document: Mapping[str, Any], named: Named | None) -> Sequence[Given]:
    """Return the VO from everywhere where it is said; the path comes first, its pointer is ""."""
    group, key = VO_FIELD
    said = [
        Given(named and named.vo, ""),
        Given(mapping_at(document, "metadata").get("vo"), VO_AT),
        # "" in the form's own field leaves the choice open.
        Given(
            mapping_at(mapping_at(document, "spec"), group).get(key) or None,
            pointer("/spec", *VO_FIELD),
        ),
    ]
    return [given for given in said if given.value is not None]


def _vo(said: Sequence[Given], vos: Sequence[str]) -> tuple[str, Sequence[Fault]]:
    allowed = f"one of the VOs of this source: {', '.join(vos) or 'none'}"
    if foreign := [given for given in said if given.value not in vos]:
        return "", [_not_one_of(given, vos, allowed) for given in foreign]
    if not said and len(vos) != 1:
        return "", [Fault(VO_AT, "Required", f"must say {allowed}", allowed)]
    if not said:
        return vos[0], []
    first, *others = said
    return str(first.value), [
        _contradiction(given, "VO", first.value, at=first.at)
        for given in others
        if given.value != first.value
    ]


def _owner(said: object, rules: Rules, named: Named | None) -> tuple[Owner | None, Sequence[Fault]]:
    owner = None if said is None else _said_owner(said, rules)
    if owner is not None and not isinstance(owner, Owner):
        return None, owner
    if named is None:
        owner = owner or rules.default_owner
        return owner, [] if owner else [_owner_needed(rules)]
    if owner is None and rules.issuer is None:
        return None, [_owner_needed(rules)]
    first = Owner(rules.issuer or (owner.iss if owner else ""), named.sub)
    if owner is None or owner == first:
        return first, []
    word = ("owner", owner.sub, first.sub)
    if owner.sub == first.sub:
        # The path says no issuer, so it means the one that a sub alone belongs to.
        word = ("issuer", owner.iss, first.iss)
    return None, [_contradiction(Given(word[1], OWNER_AT), word[0], word[2])]


def _said_owner(said: object, rules: Rules) -> Owner | Sequence[Fault]:
    """Read `metadata.owner`."""
    if isinstance(said, Mapping):
        faults = list(mapping_faults(said, Owner._fields, OWNER_AT, required=Owner._fields))
        return faults or _full_owner(said, rules)
    faults = _sub_faults(said, OWNER_AT)
    if faults or rules.issuer is None:
        return faults or [_owner_needed(rules)]
    return Owner(rules.issuer, str(said))


def _full_owner(said: Mapping[str, Any], rules: Rules) -> Owner | Sequence[Fault]:
    issuers = list(dict.fromkeys([*([rules.issuer] if rules.issuer else []), *rules.issuers]))
    allowed = f"one of the issuers that are trusted here: {', '.join(issuers) or 'none'}"
    faults = _sub_faults(said["sub"], f"{OWNER_AT}/sub")
    if said["iss"] not in issuers:
        faults.append(_not_one_of(Given(said["iss"], f"{OWNER_AT}/iss"), issuers, allowed))
    return faults or Owner(said["iss"], said["sub"])


def _owner_needed(rules: Rules) -> Fault:
    allowed = "{iss, sub}" if rules.issuer is None else "the owner's sub, or {iss, sub}"
    return Fault(OWNER_AT, "Required", f"must say whose it is: {allowed}", allowed)


def _sub_faults(sub: object, at: str) -> list[Fault]:
    allowed = f"a sub: a text of 1 to {MAX_SUB} characters"
    if not isinstance(sub, str):
        hint = "; put the number in quotes" if isinstance(sub, int | float) else ""
        return [Fault(at, "WrongType", f"must be {allowed}, not {shown(sub)}{hint}", allowed)]
    if not 0 < len(sub) <= MAX_SUB:
        message = f"has {len(sub)} characters, not 1 to {MAX_SUB}"
        return [Fault(at, "WrongLength", message, allowed)]
    if reason := no_text(sub) or control(sub):
        return [Fault(at, "ControlCharacter", f"{shown(sub)} {reason}", allowed)]
    return []


def _decoded(text: str) -> str | None:
    """Return the text without its percent-encoding, or None where that is broken."""
    if _PERCENT.search(text):
        return None
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeError:
        return None


def _not_one_of(given: Given, words: Collection[str], allowed: str) -> Fault:
    hint = near(given.value, words)
    where = "" if given.at else "the path's "
    message = f"{where}{shown(given.value)} is not {allowed}{hint and '; ' + hint}"
    return Fault(given.at, "NotAnOption", message, allowed)


def _contradiction(given: Given, what: str, first: object, *, at: str = "") -> Fault:
    message = f"{shown(given.value)} is not the {what} that {at or 'the path'} says, {shown(first)}"
    return Fault(given.at, "Contradiction", message, shown(first))
