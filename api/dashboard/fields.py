"""From a module's form to the fields of a page, and from what was sent to a manifest (pure)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from specs.faults import Fault
from specs.model import API_VERSION, KIND, SECRET_FIELDS
from specs.userconf import LINES_FIELD, VO_FIELD

Kind = Literal["number", "text", "lines", "secret", "choice"]

GROUPS: Final = {"general": "What runs", "hardware": "Hardware", "storage": "Storage"}

NAME: Final = "name"
TTL: Final = "ttl"

OF_NAME: Final = "/metadata/name"
OF_TTL: Final = "/spec/ttl"


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a page's form. `low` and `high` bound a number, or a text's length."""

    id: str
    label: str
    kind: Kind
    value: str
    help: str = ""
    options: Sequence[tuple[str, str]] = ()
    low: int | None = None
    high: int | None = None
    faults: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """Fields that belong together. One that is folded has only what most people leave alone."""

    title: str
    folded: bool
    fields: Sequence[Field] = field(default_factory=tuple)


def groups_of(
    form: Mapping[str, Any], given: Mapping[str, str], faults: Sequence[Fault]
) -> Sequence[Group]:
    """Return the fields of a filled-in form, each with what was `given` and what is wrong with it.

    The VO is not among them: it decides on all the others, and is chosen before.
    """
    return [
        Group(
            title,
            folded=group == "storage",
            fields=[
                _field((group, key), entry, given, faults)
                for key, entry in form[group].items()
                if (group, key) != VO_FIELD
            ],
        )
        for group, title in GROUPS.items()
    ]


def manifest_from(
    given: Mapping[str, str], form: Mapping[str, Any], *, module: str, vo: str
) -> dict[str, Any]:
    """Return the manifest that a sent form declares.

    What is no number where one belongs stays a text, to be refused. What says the same as the
    form's own value is left out, so that it stays a default.
    """
    spec: dict[str, Any] = {"module": module}
    for group, key, entry in _entries(form):
        sent = given.get(f"{group}.{key}")
        if sent is None or sent == str(entry["value"]) or (group, key) == VO_FIELD:
            continue
        spec.setdefault(group, {})[key] = _value(sent, entry["value"])
    if given.get(TTL):
        spec[TTL] = given[TTL].strip()
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": given.get(NAME, "").strip(), "vo": vo},
        "spec": spec,
    }


def faults_at(faults: Sequence[Fault], pointer: str) -> Sequence[str]:
    """Return what is wrong with the value at `pointer`."""
    return [fault.message for fault in faults if fault.pointer == pointer]


def loose_faults(faults: Sequence[Fault], groups: Sequence[Group]) -> Sequence[str]:
    """Return what is wrong and stands beside no field of the page."""
    shown = {f"/spec/{f.id.replace('.', '/')}" for group in groups for f in group.fields}
    shown |= {OF_NAME, OF_TTL}
    return [fault.message for fault in faults if fault.pointer not in shown]


def _entries(form: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for group in GROUPS:
        for key, entry in form[group].items():
            yield group, key, entry


def _value(sent: str, usual: object) -> int | str:
    if isinstance(usual, int):
        text = sent.strip()
        if text.isascii() and text.removeprefix("-").isdecimal() and len(text) <= 12:
            return int(text)
    return sent


def _field(
    key: tuple[str, str],
    entry: Mapping[str, Any],
    given: Mapping[str, str],
    faults: Sequence[Fault],
) -> Field:
    name = ".".join(key)
    secret = key in SECRET_FIELDS
    low, high = entry.get("range", (None, None))
    value = given.get(name, str(entry["value"]))
    return Field(
        id=name,
        label=str(entry["name"]),
        kind=_kind(key, entry),
        value="" if secret else value,
        help=str(entry.get("description", "")),
        options=_options(entry, value),
        low=low,
        high=high,
        faults=faults_at(faults, f"/spec/{'/'.join(key)}"),
    )


def _kind(key: tuple[str, str], entry: Mapping[str, Any]) -> Kind:
    if key in SECRET_FIELDS:
        return "secret"
    if entry.get("options"):
        return "choice"
    if isinstance(entry["value"], int):
        return "number"
    return "lines" if key == LINES_FIELD else "text"


def _options(entry: Mapping[str, Any], value: str) -> Sequence[tuple[str, str]]:
    free = entry.get("free", {})
    options = [str(option) for option in entry.get("options", ())]
    # What was sent stays chosen, and is told to be wrong, rather than turned into another value.
    if options and value not in options:
        options.append(value)
    return [(option, _option_word(option, free)) for option in options]


def _option_word(option: str, free: Mapping[str, int]) -> str:
    word = option or "any"
    return f"{word} ({free[option]} free now)" if option in free else word
