"""The JSON Schema of a spec file, with which editors complete and check it (pure).

Draft 7, which editors read. It takes whatever `specs.wish` takes from somebody who is a member of
every VO and has every role; what depends on who asks or on what is stored, the server tells.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from specs import images, metadata
from specs.layout import MAX_SUB
from specs.model import API_VERSION, DNS_LABEL, KIND, SECRET_SET, TTL
from specs.userconf import (
    GROUPS,
    IMAGE_FIELD,
    PASSWORD_FIELD,
    SERVICE_FIELD,
    TAG_FIELD,
    VO_FIELD,
    FormField,
    UserConf,
)
from specs.values import ALIASES, JUPYTER_SERVICE, MIN_PASSWORD
from specs.wish import INSTANT_FORM, MAX_RESTART, POLICIES

Schema: TypeAlias = dict[str, Any]

DIALECT: Final = "http://json-schema.org/draft-07/schema#"

TITLES: Final = {"general": "What runs", "hardware": "What it needs", "storage": "Remote storage"}

LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_DNS_LABEL: Final = DNS_LABEL.strip("^$")
ENTRY_KEY: Final = rf"^(?:{_DNS_LABEL}(?:\.{_DNS_LABEL})*/)?{LABEL}$"
MODULE: Final = r"^[A-Za-z0-9]+(?:(?:\.|_|__|-+)[A-Za-z0-9]+)*$"

MAX_REFERENCE: Final = images.MAX_REPOSITORY + 129
"""Longest image with its tag inside, in characters."""


def spec_schema(conf: UserConf, classes: Collection[str], *, vos: Sequence[str] = ()) -> Schema:
    """Return the schema of one document of a spec file.

    `classes` are the site's priority classes, `vos` those that it serves, none: any. Where the
    form's rules depend on the VO, what one of the VOs takes is taken.
    """
    return {
        "$schema": DIALECT,
        "title": "AI4EOSC deployment",
        "description": "One deployment, as it is declared in a spec file",
        **_closed(
            {
                "apiVersion": {"enum": [API_VERSION]},
                "kind": {"enum": [KIND]},
                "metadata": _metadata(vos),
                "spec": _spec(conf, classes, vos),
            },
            required=["metadata", "spec"],
        ),
    }


def _metadata(vos: Sequence[str]) -> Schema:
    sub = {"type": "string", "minLength": 1, "maxLength": MAX_SUB}
    named = _closed({"iss": {"type": "string"}, "sub": sub}, required=["iss", "sub"])
    value = {"type": "string", "maxLength": metadata.MAX_LABEL, "pattern": rf"^(?:{LABEL})?$"}
    note = {"type": "string", "maxLength": metadata.MAX_ANNOTATION}
    return _closed(
        {
            "name": {
                "type": "string",
                "pattern": DNS_LABEL,
                "description": "1 to 63 of a-z, 0-9 and -; yours alone within the VO",
            },
            "vo": {
                **(_options([*vos, None]) if vos else {"type": ["string", "null"]}),
                "description": "The virtual organization; needed where there are several",
            },
            "owner": {
                "anyOf": [sub, named],
                "description": "Whose it is: a sub, or issuer and sub; in spec files only",
            },
            "labels": _entries(value, "Short words to choose deployments by"),
            "annotations": _entries(note, "Notes that nothing is chosen by"),
        },
        required=["name"],
    )


def _spec(conf: UserConf, classes: Collection[str], vos: Sequence[str]) -> Schema:
    forms = [conf.in_vo(vo) for vo in vos] or [conf, *conf.by_vo.values()]
    groups = {group: _group(group, conf, forms, vos) for group in GROUPS}
    text, ended = {"type": "string"}, ["ttl", "expiresAt"]
    return {
        **_closed({"module": _MODULE, **groups, **_switches(classes)}),
        "not": {"required": ended, "properties": dict.fromkeys(ended, text)},
    }


_MODULE: Final[Schema] = {
    "type": ["string", "null"],
    "pattern": MODULE,
    "description": "A module of the marketplace: its image and what it needs are the defaults",
}


def _switches(classes: Collection[str]) -> Schema:
    return {
        "suspend": {
            "type": "boolean",
            "default": False,
            "description": "true stops the work and keeps the spec",
        },
        "restart": {
            "type": "integer",
            "minimum": 0,
            "maximum": MAX_RESTART,
            "default": 0,
            "description": "A counter: a higher number restarts the work once",
        },
        "ttl": {
            "type": ["string", "null"],
            "pattern": f"^(?:{TTL.pattern})$",
            "description": "How long it lives from its creation on: 90m, 12h, 7d",
        },
        "expiresAt": {
            "type": ["string", "null"],
            "pattern": f"^(?:{INSTANT_FORM})$",
            "description": "When it ends, with its zone: 2027-01-31T18:00:00Z",
        },
        "priorityClass": {
            **_options([*classes, None]),
            "description": "Who goes first where there is no room for all",
        },
        "update": {
            "description": "How a change reaches work that runs",
            **_closed(
                {
                    "policy": {
                        **_options(POLICIES),
                        "default": POLICIES[0],
                        "description": "safe holds a change that would stop the work and find no"
                        " room; queue lets it stand in line",
                    },
                    "rollbackOnFailure": {
                        "type": "boolean",
                        "default": False,
                        "description": "Go back to what last ran well where a change fails",
                    },
                }
            ),
        },
    }


def _group(group: str, conf: UserConf, forms: Sequence[UserConf], vos: Sequence[str]) -> Schema:
    properties = {
        key: _field(field, [form.fields[field.key] for form in forms], vos)
        for field in conf.fields.values()
        for owner, key in [field.key]
        if owner == group
    }
    aliases = ALIASES.get(group, {})
    for alias, key in aliases.items():
        properties[alias] = {**properties[key], "description": f"Another name of {key}"}
    twice = [{"not": {"required": [alias, key]}} for alias, key in aliases.items()]
    rules = twice + ([_LAB_NEEDS_PASSWORD] if group == PASSWORD_FIELD[0] else [])
    return {
        "title": TITLES[group],
        **_closed(properties),
        **({"allOf": rules} if rules else {}),
    }


_LAB_NEEDS_PASSWORD: Final[Schema] = {
    "if": {
        "required": [SERVICE_FIELD[1]],
        "properties": {SERVICE_FIELD[1]: {"enum": [JUPYTER_SERVICE]}},
    },
    "then": {
        "required": [PASSWORD_FIELD[1]],
        "properties": {
            PASSWORD_FIELD[1]: {"anyOf": [{"minLength": MIN_PASSWORD}, {"enum": [SECRET_SET]}]}
        },
    },
}


def _field(field: FormField, variants: Sequence[FormField], vos: Sequence[str]) -> Schema:
    """Return what one of the variants of a field takes; one for each VO."""
    usual = {one.value for one in variants}
    words: Schema = {"title": field.name}
    if field.description:
        words["description"] = field.description
    if len(usual) == 1 and not field.secret and field.key != VO_FIELD:
        words["default"] = usual.pop()
    return {**words, **_rules(field, variants, vos)}


def _rules(field: FormField, variants: Sequence[FormField], vos: Sequence[str]) -> Schema:
    if field.key == VO_FIELD:
        return _options([*vos, ""]) if vos else {"type": "string"}
    low = min(one.bounds[0] for one in variants)
    high = max(one.bounds[1] for one in variants)
    if field.secret:
        # One that is kept is written as `SECRET_SET`, however long secrets must be.
        return {"type": "string", "maxLength": max(high, len(SECRET_SET))}
    options = _all_options(variants)
    if field.key == IMAGE_FIELD:
        return _image(options)
    if options is not None:
        return _options(options)
    if isinstance(field.value, int):
        return {"type": "integer", "minimum": low, "maximum": high}
    tag = {"pattern": f"^(?:{images.TAG})$"} if field.key == TAG_FIELD else {}
    return {"type": "string", "minLength": low, "maxLength": high, **tag}


def _all_options(variants: Sequence[FormField]) -> list[Any] | None:
    """Return every option of every variant; None where one of them takes anything."""
    options: dict[Any, None] = {}
    for one in variants:
        if one.options is None:
            return None
        options |= dict.fromkeys(one.options)
    return list(options)


def _image(options: Iterable[Any] | None) -> Schema:
    """Return what an image may be: its tag may stand inside."""
    repository = images.REPOSITORY
    if options is not None:
        repository = "|".join(re.escape(str(option)) for option in options)
    pattern = f"^(?:{repository})(?:[:@](?:{images.TAG}))?$"
    return {"type": "string", "maxLength": MAX_REFERENCE, "pattern": pattern}


def _entries(value: Schema, description: str) -> Schema:
    return {
        "type": "object",
        "description": description,
        "maxProperties": metadata.MAX_ENTRIES,
        "propertyNames": {"pattern": ENTRY_KEY},
        "additionalProperties": value,
    }


def _options(options: Iterable[Any]) -> Schema:
    return {"enum": list(options)}


def _closed(properties: Mapping[str, Any], *, required: Sequence[str] = ()) -> Schema:
    """Return an object that has no other keys."""
    needed = {"required": list(required)} if required else {}
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": dict(properties),
        **needed,
    }
