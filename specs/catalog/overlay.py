"""What an editor sets of a module's metadata, over what its source says (pure).

An overlay has whole fields, and only those that differ from the source's: what a source says anew
of all others is shown. It restores nothing and loses nothing: take it away, and the source's stand.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from specs.catalog.fields import FIELDS, field_faults, usual_form
from specs.catalog.metadata import Metadata, shown
from specs.faults import Fault
from specs.shapes import refuse
from specs.texts import near, pointer
from specs.texts import shown as in_words

SETTABLE: Final = ", ".join(FIELDS)


def overlay_of(body: object, source: Metadata) -> dict[str, Any]:
    """Return the fields of an editor's `body` that differ from what `source` says.

    What is shown of a module may be sent back whole: fields that stay as they are say nothing, nor
    does null. Links, dates and resources are replaced whole.

    Raises:
        InvalidSpec: with a pointer to everything that is wrong.
    """
    if not isinstance(body, Mapping):
        refuse([Fault("", "WrongType", f"must be an object, not {in_words(body)}", "an object")])
        return {}
    given = {field: _given(field, body[field], source) for field in FIELDS if field in body}
    given = {field: value for field, value in given.items() if value is not None}
    faults = list(_other_faults(body, source))
    for field, value in given.items():
        faults += field_faults(field, value, pointer("", field))
    if given.get("title") == "":
        faults.append(Fault("/title", "WrongLength", "must not be empty", "a text"))
    refuse(faults)
    said = _own_fields(source)
    return {field: value for field, value in given.items() if value != said[field]}


def overlaid(source: Metadata, fields: Mapping[str, Any]) -> Metadata:
    """Return the metadata with the overlay's fields in place of the source's.

    A field that the rules of today do not take is left out.
    """
    taken = {
        field: value
        for field, value in fields.items()
        if field in FIELDS and not list(field_faults(field, value, ""))
    }
    extra = {key: value for key, value in source.extra.items() if key not in taken}
    return Metadata(name=source.name, extra=extra, **{**_own_fields(source), **taken})


def _own_fields(source: Metadata) -> dict[str, Any]:
    fields = source.model_dump(mode="json", include=set(FIELDS))
    return fields | {"resources": source.resources.model_dump(exclude_none=True)}


def _given(field: str, value: Any, source: Metadata) -> Any:
    if field != "resources" or not isinstance(value, Mapping):
        return usual_form(field, value)
    kept = source.extra.get("resources", {})
    return {
        key: least
        for key, least in value.items()
        if least is not None and not (key in kept and kept[key] == least)
    }


def _other_faults(body: Mapping[str, Any], source: Metadata) -> Iterator[Fault]:
    """Say which fields of the body are not an editor's to change, but for those left as shown."""
    stands = shown(source)
    for key, value in body.items():
        if key in FIELDS or (key in stands and stands[key] == value):
            continue
        hint = "" if key in stands else near(key, FIELDS)
        message = f"{in_words(key)} can't be set here: {hint or f'there are {SETTABLE}'}"
        yield Fault(pointer("", key), "UnknownKey", message, SETTABLE)
