"""What was given for the fields of the form, laid over the defaults (pure).

Between `userconf`, which knows what each field may hold, and `wish`, which knows the bodies that
people send: other names of keys, the tag inside an image's name, what one field demands of another,
and what the module needs at least.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from specs import images
from specs.faults import Fault
from specs.model import SECRET_FIELDS, SECRET_SET, Deployment, secret_name
from specs.shapes import mapping_at, mapping_faults
from specs.texts import pointer, shown
from specs.userconf import (
    GROUPS,
    IMAGE_FIELD,
    PASSWORD_FIELD,
    SERVICE_FIELD,
    TAG_FIELD,
    FieldKey,
    FormField,
    UserConf,
    Value,
)

ALIASES: Final[Mapping[str, Mapping[str, str]]] = {"hardware": {"gpu": "gpu_num"}}
"""Other names of keys: the seed's own example says `gpu`."""

JUPYTER_SERVICE: Final = "jupyterlab"
MIN_PASSWORD: Final = 9
"""Shortest Jupyter password; the images refuse to start the lab with less."""


class Given(NamedTuple):
    """A value that somebody gave, and the pointer to it."""

    value: Any
    at: str


@dataclass(frozen=True, slots=True)
class Values:
    """What was given for the fields of the form; `root` points to where the groups stand.

    `least` is what the module needs at least.
    """

    given: Mapping[FieldKey, Given]
    defaults: Mapping[FieldKey, Any]
    root: str
    least: Mapping[FieldKey, int] = field(default_factory=dict)

    def value(self, key: FieldKey) -> Any:
        """Return the given value, else the default."""
        return self.given[key].value if key in self.given else self.defaults[key]

    def at(self, key: FieldKey) -> str:
        """Return the pointer to the value, or to where it would stand."""
        return self.given[key].at if key in self.given else pointer(self.root, *key)

    def groups(self) -> dict[str, dict[str, Any]]:
        """Return {group: {key: value}}, complete, with `SECRET_SET` where a secret is set."""
        groups: dict[str, dict[str, Any]] = {group: {} for group in GROUPS}
        for group, key in self.defaults:
            value = self.value((group, key))
            secret = (group, key) in SECRET_FIELDS and value != ""
            groups[group][key] = SECRET_SET if secret else value
        return groups

    def secrets(self) -> dict[str, str]:
        """Return the secrets that are set, by their `secret_name`."""
        found = {secret_name(*key): self.value(key) for key in SECRET_FIELDS}
        return {name: value for name, value in found.items() if value != ""}


def read_values(
    groups: Mapping[str, Any], conf: UserConf, root: str, *, module: Mapping[FieldKey, Value]
) -> Values:
    """Find every field's value in `groups`, by any of its names; `module` are its module's own."""
    given = {}
    for group, key in conf.fields:
        words = [key, *(alias for alias, real in ALIASES.get(group, {}).items() if real == key)]
        for word in words:
            if word in mapping_at(groups, group):
                at = pointer(root, group, word)
                given[group, key] = Given(groups[group][word], at)
                break
    image = given.get(IMAGE_FIELD)
    if image and isinstance(image.value, str):
        repository, tag = images.split_reference(image.value)
        given[IMAGE_FIELD] = Given(repository, image.at)
        if tag:
            given.setdefault(TAG_FIELD, Given(tag, image.at))
    least = {key: value for key, value in module.items() if isinstance(value, int)}
    return Values(given, default_values(conf, module), root, least)


def default_values(conf: UserConf, module: Mapping[FieldKey, Value]) -> dict[FieldKey, Value]:
    """Return what each field has where nothing is given: the module's text, the higher number."""
    values = {key: form_field.value for key, form_field in conf.fields.items()}
    for key, own in module.items():
        usual = values.get(key, own)
        values[key] = max(own, usual) if isinstance(own, int) and isinstance(usual, int) else own
    return values


def value_faults(
    groups: Mapping[str, Any], values: Values, conf: UserConf, *, kept: Deployment | None
) -> Iterator[Fault]:
    """Say all that is wrong with the groups.

    `kept` is the record that they replace: its secrets may be kept, and what stands in it may stay
    where the operator's rules have become narrower since.
    """
    for group in GROUPS:
        if group in groups:
            keys = [key for owner, key in conf.fields if owner == group]
            yield from _group_faults(groups[group], group, keys, pointer(values.root, group))
    for key, form_field in conf.fields.items():
        yield from _field_faults(form_field, values, stands=_stands(kept, key, values.value(key)))
    yield from _tag_faults(groups, values)
    yield from _kept_faults(values, kept)
    yield from _password_faults(values, kept)


def _field_faults(form_field: FormField, values: Values, *, stands: bool) -> Iterator[Fault]:
    """Check one value, also where nothing was given: a module's default is none of the form's.

    What `stands` may stay where the form no longer takes it, but not under another module.
    """
    key, value = form_field.key, values.value(form_field.key)
    (low, most), least = form_field.bounds, values.least.get(key, 0)
    if type(value) is int and low <= value < least:
        allowed = f"at least {least}, or the image without spec.module"
        message = f"{value} is less than the module needs, {least}"
        yield Fault(values.at(key), "BelowMinimum", message, allowed)
    elif not stands and key not in values.given and least > most:
        message = f"the module needs {least}, and {most} is the most that is allowed here"
        yield Fault(values.at(key), "ModuleTooBig", message, "another module, or another VO")
    elif not stands:
        yield from form_field.faults(value, values.at(key))


def _stands(kept: Deployment | None, key: FieldKey, value: object) -> bool:
    if kept is None:
        return False
    stored = getattr(getattr(kept.spec, key[0]), key[1])
    return type(value) is type(stored) and value == stored  # true and 1.0 equal 1 in Python


def _group_faults(body: object, group: str, keys: Sequence[str], at: str) -> Iterator[Fault]:
    aliases = ALIASES.get(group, {})
    if not isinstance(body, Mapping):
        yield from mapping_faults(body, keys, at)
        return
    yield from mapping_faults({k: v for k, v in body.items() if k not in aliases}, keys, at)
    for alias, key in aliases.items():
        if alias in body and key in body:
            message = f"{alias} is another name of {key}: give one of them"
            yield Fault(pointer(at, alias), "GivenTwice", message)


def _tag_faults(groups: Mapping[str, Any], values: Values) -> Iterator[Fault]:
    image, tag = (mapping_at(groups, group).get(key) for group, key in (IMAGE_FIELD, TAG_FIELD))
    inside = images.split_reference(image)[1] if isinstance(image, str) else ""
    if inside and isinstance(tag, str) and tag != inside:
        message = f"{shown(tag)} is not the tag inside docker_image, {shown(inside)}: give one"
        yield Fault(values.at(TAG_FIELD), "Contradiction", message, shown(inside))


def _kept_faults(values: Values, kept: Deployment | None) -> Iterator[Fault]:
    for group, key in SECRET_FIELDS:
        stored = kept and getattr(getattr(kept.spec, group), key) == SECRET_SET
        if values.value((group, key)) == SECRET_SET and not stored:
            message = f"{SECRET_SET!r} keeps the stored secret, and there is none"
            yield Fault(values.at((group, key)), "NothingKept", message, "the secret itself")


def _password_faults(values: Values, kept: Deployment | None) -> Iterator[Fault]:
    password = values.value(PASSWORD_FIELD)
    if values.value(SERVICE_FIELD) != JUPYTER_SERVICE or not isinstance(password, str):
        return
    allowed = f"at least {MIN_PASSWORD} characters where the service is {JUPYTER_SERVICE}"
    if password == SECRET_SET:
        # How long a stored secret is nobody sees any more; it was checked if it served the lab.
        if kept and kept.spec.general.service != JUPYTER_SERVICE:
            message = f"must be given again, with {allowed}"
            yield Fault(values.at(PASSWORD_FIELD), "WrongLength", message, allowed)
    elif len(password) < MIN_PASSWORD:
        message = f"has {len(password)} characters, not {allowed}"
        yield Fault(values.at(PASSWORD_FIELD), "WrongLength", message, allowed)
