"""What `explain` prints of a field of a spec file, from the server's JSON Schema (pure)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from api.cli.choices import ViewFormat
from api.cli.failures import Code, CommandFailed
from api.cli.show import json_text, yaml_text
from api.cli.texts import closest, printable

Schema = Mapping[str, Any]
"""The JSON Schema of a spec file, or the part of it that is about one field."""

MAX_OPTIONS: Final = 20
"""Options that a text lists; `-o json` has all of them."""

MAX_DEPTH: Final = 16
"""Fields within fields; the schema comes from a server, which may be any."""

_LIMITS: Final = (("minimum", "maximum", ""), ("minLength", "maxLength", " characters"))


def explained(schema: Schema, form: Mapping[str, Any] | None, path: str, output: ViewFormat) -> str:
    """Return what a field is, as text without an end of line; path "": the whole file.

    `form`: a module's, whose defaults and options come first. Raises: CommandFailed (NOT_FOUND).
    """
    keys, field = find_field(of_module(schema, form) if form else schema, path)
    told = told_of(field, keys)
    match output:
        case ViewFormat.JSON:
            return json_text(told)
        case ViewFormat.YAML:
            return yaml_text(told)
        case ViewFormat.TABLE:
            return "\n".join(printable(line) for line in _lines(told))


def find_field(schema: Schema, path: str) -> tuple[Sequence[str], Schema]:
    """Return where a field stands and its schema; what is not at the top is looked for in `spec`.

    Raises: CommandFailed (NOT_FOUND), with the closest path that there is.
    """
    keys = tuple(key for key in path.split(".") if key)
    for whole in (keys, ("spec", *keys)):
        if (found := _at(schema, whole)) is not None:
            return whole, found
    known = [".".join(each) for each in _paths(schema)]
    near = closest(path, [*known, *(each.removeprefix("spec.") for each in known)])
    raise CommandFailed(
        Code.NOT_FOUND,
        f"a spec file has no field {path!r}",
        hint=f"Did you mean {near}?" if near else "",
        next_command=f"ai4papi explain {near}".rstrip(),
    )


def of_module(schema: Schema, form: Mapping[str, Any]) -> Schema:
    """Return the schema with the defaults, options and ranges of a module's form."""
    spec = schema["properties"]["spec"]
    groups = dict(spec["properties"])
    for group, fields in form.items():
        if group in groups:
            known = groups[group]["properties"]
            filled = {
                key: _filled(known[key], field) for key, field in fields.items() if key in known
            }
            groups[group] = {**groups[group], "properties": {**known, **filled}}
    filled_spec = {**spec, "properties": groups}
    return {**schema, "properties": {**schema["properties"], "spec": filled_spec}}


def _filled(field: Schema, said: Mapping[str, Any]) -> Schema:
    more: dict[str, Any] = {"default": said["value"]} if said.get("value") != "" else {}
    if said.get("options"):
        more["enum"] = said["options"]
    if said.get("range"):
        low, high, _ = _LIMITS[isinstance(said["value"], str)]
        more |= dict(zip((low, high), said["range"], strict=True))
    if said.get("description"):
        more["description"] = said["description"]
    return {**field, **more}


def told_of(field: Schema, keys: Sequence[str]) -> dict[str, Any]:
    """Return what a schema says of the field at `keys`, and in short of each field within it."""
    told = {"path": ".".join(keys), **_said(field)}
    required = field.get("required") or ()
    if properties := field.get("properties"):
        told["fields"] = [
            {"name": key, "required": key in required, **_said(part)}
            for key, part in properties.items()
        ]
    return told


def _said(field: Schema) -> dict[str, Any]:
    said: dict[str, Any] = {"type": _type(field)}
    said |= {key: field[key] for key in ("title", "description", "default") if key in field}
    if "enum" in field:
        said["options"] = [option for option in field["enum"] if option is not None]
    for low, high, unit in _LIMITS:
        if low in field or high in field:
            said["range"] = [field.get(low), field.get(high)]
            said |= {"unit": unit.strip()} if unit else {}
    return said | ({"pattern": field["pattern"]} if "pattern" in field else {})


def _type(field: Schema) -> str:
    if parts := field.get("anyOf"):
        return " or ".join(_type(part) for part in parts)
    if "type" not in field and field.get("enum"):
        kinds = {type(option) for option in field["enum"] if option is not None}
        return "string" if kinds == {str} else "choice"
    named = field.get("type", "any")
    kinds_named = [named] if isinstance(named, str) else [kind for kind in named if kind != "null"]
    values = field.get("additionalProperties")
    if kinds_named == ["object"] and isinstance(values, dict):
        return f"map of {_type(values)}"
    return " or ".join(kinds_named)


def _lines(told: Mapping[str, Any]) -> Iterator[str]:
    facts = (
        ("field", told["path"] or "a spec file"),
        ("type", told["type"]),
        ("default", _value(told)),
        ("allowed", _allowed(told)),
        ("pattern", told.get("pattern", "")),
        ("title", told.get("title", "")),
    )
    yield from (f"{key.ljust(7)}  {value}" for key, value in facts if value)
    if told.get("description"):
        yield from ("", str(told["description"]))
    if rows := [_row(field) for field in told.get("fields", ())]:
        rows.insert(0, ("FIELD", "TYPE", "DEFAULT", "ALLOWED", "ABOUT"))
        widths = [max(len(row[at]) for row in rows) for at in range(4)]
        yield ""
        for row in rows:
            cells = (text.ljust(width) for text, width in zip(row, widths, strict=False))
            yield "  ".join((*cells, row[-1])).rstrip()


def _row(field: Mapping[str, Any]) -> tuple[str, ...]:
    about = str(field.get("title") or field.get("description") or "")
    needed = " (needed)" if field["required"] else ""
    default, allowed = (cell or "-" for cell in (_value(field), _short(_allowed(field))))
    return (f"{field['name']}{needed}", field["type"], default, allowed, about)


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."


def _value(said: Mapping[str, Any]) -> str:
    if "default" not in said:
        return ""
    return repr(said["default"]) if said["default"] == "" else _word(said["default"])


def _allowed(said: Mapping[str, Any]) -> str:
    if options := said.get("options"):
        words = [repr(option) if option == "" else _word(option) for option in options]
        more = len(words) - MAX_OPTIONS
        return ", ".join(words[:MAX_OPTIONS]) + (f" and {more} more" if more > 0 else "")
    return _limits(*said["range"], unit=said.get("unit", "")) if "range" in said else ""


def _limits(low: object, high: object, *, unit: str) -> str:
    if high is None:
        words = f"{low} or more"
    elif low is None or (low == 0 and unit):
        words = f"up to {high}"
    else:
        words = f"{low} to {high}"
    return f"{words} {unit}".rstrip()


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _at(schema: Schema, keys: Sequence[str]) -> Schema | None:
    for key in keys:
        within = schema.get("properties") or {}
        if key not in within:
            return None
        schema = within[key]
    return schema


def _paths(schema: Schema, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, part in (schema.get("properties") or {}).items():
        yield (*above, key)
        if len(above) < MAX_DEPTH:
            yield from _paths(part, (*above, key))
