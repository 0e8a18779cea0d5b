"""The form that users fill in, `etc/userconf.yaml`: fields, defaults, allowed values (pure).

The operator sets names, defaults, options and ranges, and other ones for single VOs; which groups
and keys exist, and which of them are texts, numbers or secrets, is fixed by `specs.model`.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import BaseModel

from specs import images
from specs.faults import Fault
from specs.model import SECRET_FIELDS, General, Hardware, Storage
from specs.shapes import mapping_at, mapping_faults
from specs.texts import control, expansion, no_text, pointer, shown

GROUPS: Final[Mapping[str, type[BaseModel]]] = {
    "general": General,
    "hardware": Hardware,
    "storage": Storage,
}
VO_FIELD: Final = ("general", "virtual_organization")
IMAGE_FIELD: Final = ("general", "docker_image")
TAG_FIELD: Final = ("general", "docker_tag")
SERVICE_FIELD: Final = ("general", "service")
PASSWORD_FIELD: Final = ("general", "jupyter_password")
LINES_FIELD: Final = ("general", "desc")

RULE_KEYS: Final = ("value", "options", "range")
"""What a field's entry may say otherwise for one VO."""

ENTRY_KEYS: Final = ("name", *RULE_KEYS, "description", "vo")

MAX_TEXT: Final = 512
MAX_SECRET: Final = 1024
MAX_NUMBER: Final = 2**31 - 1

Value = str | int
FieldKey = tuple[str, str]


@dataclass(frozen=True, slots=True)
class FormField:
    """One field of the form. `range` is inclusive; on a text it bounds the characters."""

    key: FieldKey
    name: str
    value: Value
    options: tuple[Value, ...] | None = None
    range: tuple[int, int] | None = None
    description: str = ""

    @property
    def secret(self) -> bool:
        """Whether the value is never shown."""
        return self.key in SECRET_FIELDS

    @property
    def bounds(self) -> tuple[int, int]:
        """The range, or what stands for it where the operator gave none."""
        if self.range is not None:
            return self.range
        if isinstance(self.value, int):
            return (0, MAX_NUMBER)
        return (0, MAX_SECRET if self.secret else MAX_TEXT)

    def faults(self, value: object, at: str) -> Iterator[Fault]:
        """Say all that is wrong with a value that stands at pointer `at`."""
        if isinstance(self.value, int):
            yield from self._number_faults(value, at)
        elif not isinstance(value, str):
            said = "" if self.secret else f", not {shown(value)}"
            yield Fault(at, "WrongType", f"must be a text{said}", "a text")
        else:
            yield from self._text_faults(value, at)

    def shown(self) -> dict[str, Any]:
        """Return the field as the form shows it."""
        optional = {
            "options": None if self.options is None else list(self.options),
            "range": None if self.range is None else list(self.range),
            "description": self.description or None,
        }
        given = {key: value for key, value in optional.items() if value is not None}
        return {"name": self.name, "value": self.value} | given

    def _number_faults(self, value: object, at: str) -> Iterator[Fault]:
        low, high = self.bounds
        allowed = f"a whole number from {low} to {high}"
        if type(value) is not int:  # a bool is an int to Python, and 1.0 equals 1
            yield Fault(at, "WrongType", f"must be {allowed}, not {shown(value)}", allowed)
        elif not low <= value <= high:
            yield Fault(at, "OutOfRange", f"{shown(value)} is not {allowed}", allowed)
        else:
            yield from self._option_faults(value, at)

    def _text_faults(self, value: str, at: str) -> Iterator[Fault]:
        low, high = self.bounds
        if not low <= len(value) <= high:
            allowed = f"{low} to {high} characters"
            yield Fault(at, "WrongLength", f"has {len(value)} characters, not {allowed}", allowed)
            return
        if reason := no_text(value):
            yield Fault(at, "NoText", reason, "Unicode text without NUL")
        if self.secret:
            return
        lines = self.key == LINES_FIELD
        if reason := control(value, lines=lines):
            allowed = f"printable characters{', newline and tab' if lines else ''}"
            yield Fault(at, "ControlCharacter", f"{shown(value)} {reason}", allowed)
        if reason := expansion(value):
            yield Fault(at, "Expansion", f"{shown(value)} {reason}", "a text without ${ and %{")
        yield from _grammar_faults(self.key, value, at)
        yield from self._option_faults(value, at)

    def _option_faults(self, value: Value, at: str) -> Iterator[Fault]:
        # Which VOs there are to choose from depends on who asks: `specs.wish` looks.
        if self.options is not None and value not in self.options and self.key != VO_FIELD:
            allowed = f"one of {', '.join(shown(option) for option in self.options)}"
            yield Fault(at, "NotAnOption", f"{shown(value)} is not {allowed}", allowed)


@dataclass(frozen=True, slots=True)
class UserConf:
    """The parsed form: every field, in the order of the file.

    `by_vo` has the whole form of each VO that has rules of its own.
    """

    fields: Mapping[FieldKey, FormField]
    by_vo: Mapping[str, "UserConf"] = field(default_factory=dict)

    def in_vo(self, vo: str) -> "UserConf":
        """Return the form that deployments in `vo` are checked with."""
        return self.by_vo.get(vo, self)

    def form(
        self, *, vos: Sequence[str] = (), vo: str | None = None, module: str | None = None
    ) -> dict[str, Any]:
        """Return {group: {key: {name, value, options?, range?, description?}}}.

        `vos` are the caller's, offered as options; `vo` is the one of them whose rules are shown,
        None: the one that a deployment without a VO goes to. `module` fills in its own image.
        """
        usual = self.fields[VO_FIELD].value
        chosen = vo or next((str(known) for known in (usual, *vos) if known in vos), "")
        form: dict[str, Any] = {group: {} for group in GROUPS}
        for (group, key), shown_field in self.in_vo(chosen).fields.items():
            form[group][key] = shown_field.shown()
        form[VO_FIELD[0]][VO_FIELD[1]] |= {"value": chosen or usual, "options": list(vos)}
        for (group, key), value in module_defaults(module).items():
            form[group][key]["value"] = value
        return form


def module_defaults(module: object) -> Mapping[FieldKey, Value]:
    """Return what a marketplace module sets instead of the form's defaults: its own image."""
    image = f"deephdc/{module.lower()}" if isinstance(module, str) else ""
    return {IMAGE_FIELD: image} if is_module(module) else {}


def is_module(module: object) -> bool:
    """Whether the text can be a module's name, which is the last part of its image's name too."""
    return (
        isinstance(module, str)
        and "/" not in module
        and ":" not in module
        and images.is_repository(f"deephdc/{module.lower()}")
    )


def read_userconf(tree: object) -> UserConf:
    """Read the tree of `userconf.yaml`. Raises `ValueError` listing every fault."""
    faults = list(userconf_faults(tree))
    if faults:
        raise ValueError("; ".join(f"{fault.pointer}: {fault.message}" for fault in faults))
    entries = {
        (group, key): entry for group in GROUPS for key, entry in mapping_at(tree, group).items()
    }
    fields = {key: _field(key, entry) for key, entry in entries.items()}
    by_vo: dict[str, dict[FieldKey, FormField]] = {}
    for key, entry in entries.items():
        for vo, own in mapping_at(entry, "vo").items():
            by_vo.setdefault(vo, {})[key] = _field(key, {**entry, **own})
    return UserConf(fields, {vo: UserConf({**fields, **own}) for vo, own in by_vo.items()})


def userconf_faults(tree: object, vos: Collection[str] | None = None) -> Iterator[Fault]:
    """Say all that is wrong with the tree of `userconf.yaml`.

    `vos` are those that it may have rules for, None: any.
    """
    yield from mapping_faults(tree, GROUPS, "", required=GROUPS)
    for group, model in GROUPS.items():
        if not isinstance(tree, Mapping) or group not in tree:
            continue
        kinds = {key: info.annotation for key, info in model.model_fields.items()}
        yield from mapping_faults(tree[group], kinds, pointer("", group), required=kinds)
        for key, entry in mapping_at(tree, group).items():
            if key in kinds:
                yield from _entry_faults((group, key), entry, kinds[key], vos=vos)


def _entry_faults(
    key: FieldKey, entry: object, kind: object, *, vos: Collection[str] | None
) -> Iterator[Fault]:
    at = pointer("", *key)
    shape = list(mapping_faults(entry, ENTRY_KEYS, at, required=("name", "value")))
    yield from shape
    if shape or not isinstance(entry, Mapping):
        return
    for word in ("name", "description"):
        if not isinstance(entry.get(word, ""), str):
            message = f"must be a text, not {shown(entry[word])}"
            yield Fault(pointer(at, word), "WrongType", message)
    rules = list(_rule_faults(key, entry, kind, at))
    yield from rules
    if "vo" in entry and not rules:
        yield from _vo_faults(key, entry, kind, vos=vos)


def _vo_faults(
    key: FieldKey, entry: Mapping[str, Any], kind: object, *, vos: Collection[str] | None
) -> Iterator[Fault]:
    at = pointer("", *key, "vo")
    if key == VO_FIELD:
        yield Fault(at, "UnknownKey", "which VO there is to choose does not depend on the VO")
        return
    known = mapping_at(entry, "vo") if vos is None else vos
    yield from mapping_faults(entry["vo"], known, at)
    for vo, own in mapping_at(entry, "vo").items():
        shape = list(mapping_faults(own, RULE_KEYS, pointer(at, vo)))
        yield from shape or _rule_faults(key, {**entry, **own}, kind, pointer(at, vo))


def _rule_faults(key: FieldKey, entry: Mapping[str, Any], kind: object, at: str) -> Iterator[Fault]:
    """Check `RULE_KEYS` together: the default keeps to the options and the range."""
    limits = list(_limit_faults(entry, kind, at))
    yield from limits
    if limits:
        return
    if key in SECRET_FIELDS and entry["value"] != "":
        message = 'must be "": a secret that everybody shares is none'
        yield Fault(pointer(at, "value"), "NotAnOption", message)
    yield from _field(key, entry).faults(entry["value"], pointer(at, "value"))


def _limit_faults(entry: Mapping[str, Any], kind: object, at: str) -> Iterator[Fault]:
    if type(entry["value"]) is not kind:
        word = "a whole number" if kind is int else "a text"
        message = f"must be {word}, not {shown(entry['value'])}"
        yield Fault(pointer(at, "value"), "WrongType", message)
    options, span = entry.get("options", []), entry.get("range", [0, 0])
    if not isinstance(options, list) or any(type(option) is not kind for option in options):
        message = "must be a list of values of the field's type"
        yield Fault(pointer(at, "options"), "WrongType", message)
    if (
        not isinstance(span, list)
        or [type(end) for end in span] != [int, int]
        or not 0 <= span[0] <= span[1] <= MAX_NUMBER
    ):
        message = f"must be [lowest, highest], whole numbers from 0 to {MAX_NUMBER}"
        yield Fault(pointer(at, "range"), "WrongType", message)


def _field(key: FieldKey, entry: Mapping[str, Any]) -> FormField:
    span = entry.get("range")
    return FormField(
        key=key,
        name=entry["name"],
        value=entry["value"],
        options=tuple(entry["options"]) if "options" in entry else None,
        range=(span[0], span[1]) if span else None,
        description=entry.get("description", ""),
    )


def _grammar_faults(key: FieldKey, value: str, at: str) -> Iterator[Fault]:
    if key == IMAGE_FIELD and not images.is_repository(value):
        allowed = "a lower-case repository such as deephdc/name or registry:5000/name"
        yield Fault(at, "BadImage", f"{shown(value)} is not {allowed}", allowed)
    if key == TAG_FIELD and not images.is_tag(value):
        allowed = "a tag of 1 to 128 letters, digits, _ . - or a sha256 digest"
        yield Fault(at, "BadTag", f"{shown(value)} is not {allowed}", allowed)
