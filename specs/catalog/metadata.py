"""The one model of a module's metadata, and what it is made of in either format (pure).

| here | `metadata.json` (v1) | `ai4-metadata.yml` (v2) |
|---|---|---|
| `name` | the source's name of it | the source's name of it |
| `title`, `summary`, `license` | the same | the same |
| `description` | a text, or a list of its lines | a text |
| `keywords` | `keywords`, a list or one text with commas | `tags` |
| `dates` | `created`: `date_creation` | `dates` |
| `links` | `source_code`: `sources.code`; `dockerfile`: `sources.dockerfile_repo`; | `links` |
| | `weights`: `sources.pre_trained_weights`; `dataset`: `dataset_url`; | |
| | `citation`: `cite_url`; `training_files`: `training_files_url`; | |
| | `build`: `continuous_integration.build_status_url` | |
| `docker_image` | `sources.docker_registry_repo` | `links.docker_image` |
| `resources.cpu_num` | - | `resources.inference.cpu` |
| `resources.gpu_num` | - | `resources.inference.gpu` |
| `resources.ram` (MB) | - | `resources.inference.memory_MB` |
| `resources.disk` (MB) | - | `resources.inference.storage_MB` |

Both columns are looked for in every document, this model's own keys first: a document of one format
in the other's file is understood too. Null says nothing. A tag in the image's name is dropped.
Whatever else a document says is kept as it stands, and so are v1's own fields, which clients read;
only `tags` and `links.docker_image` move.

Schemas: github.com/ai4os/ai4-metadata, `schemata/ai4-apps-v2.3.0.json`; v1 as deephdc's modules
have it.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from specs.catalog.fields import FIELDS, MAX_WORD, RESOURCES, field_faults, usual_form
from specs.catalog.reads import ModuleRead
from specs.faults import Fault
from specs.model import Frozen
from specs.texts import clean, pointer, printable
from specs.texts import shown as in_words
from specs.userconf import IMAGE_FIELD, FieldKey, Value, module_defaults

MAX_DEPTH: Final = 16
MAX_SIZE: Final = 200_000
"""Most that one document may hold: characters of texts and keys, and 8 for every value."""

MAX_TOLD: Final = 5
"""Faults of one document that are told."""

MAX_WORDS: Final = 1000
"""Longest that is said of one document, in characters."""

PLACES: Final[Mapping[str, Sequence[tuple[str, ...]]]] = {
    "title": [("title",)],
    "summary": [("summary",)],
    "description": [("description",)],
    "license": [("license",)],
    "keywords": [("keywords",), ("tags",)],
    "docker_image": [
        ("docker_image",),
        ("links", "docker_image"),
        ("sources", "docker_registry_repo"),
    ],
}
"""Where a field's value stands; the first that says something counts."""

PARTS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "dates": {"created": ("date_creation",)},
    "links": {
        "source_code": ("sources", "code"),
        "dockerfile": ("sources", "dockerfile_repo"),
        "weights": ("sources", "pre_trained_weights"),
        "dataset": ("dataset_url",),
        "citation": ("cite_url",),
        "training_files": ("training_files_url",),
        "build": ("continuous_integration", "build_status_url"),
    },
    "resources": {
        "cpu_num": ("resources", "inference", "cpu"),
        "gpu_num": ("resources", "inference", "gpu"),
        "ram": ("resources", "inference", "memory_MB"),
        "disk": ("resources", "inference", "storage_MB"),
    },
}
"""Where a field's parts stand beside the mapping of its own name, which comes first."""

MAPPINGS: Final = (("sources",), ("continuous_integration",), ("resources", "inference"))
"""What has to be a mapping where it is there, beside the fields themselves."""

MOVED: Final = frozenset({"name", "tags", *FIELDS})
"""Fields of a document that are not kept beside what was made of them."""


class BadMetadata(Exception):
    """A document can't be used. `str()` says to people what is wrong with it, and where."""


class Minimum(Frozen):
    """What a module needs at least; None: it says nothing. `ram` and `disk` are MB."""

    cpu_num: int | None = None
    gpu_num: int | None = None
    ram: int | None = None
    disk: int | None = None


class Metadata(Frozen):
    """What is known of a module. Texts may hold Markdown, and HTML that nobody checked.

    `docker_image` has no tag; "": the module names none. `extra` are the fields of its document
    that this model does not have, as they stood.
    """

    name: str
    title: str
    summary: str = ""
    description: str = ""
    keywords: tuple[str, ...] = ()
    license: str = ""
    dates: Mapping[str, str] = {}
    links: Mapping[str, str] = {}
    docker_image: str = ""
    resources: Minimum = Minimum()
    extra: Mapping[str, Any] = {}


def metadata_of(read: ModuleRead) -> Metadata:
    """Understand what was read of a module, in either format.

    Control characters are dropped from its texts.

    Raises:
        BadMetadata: there is no document, or something in it has the wrong type or is too long.
    """
    if read.document is None:
        raise BadMetadata(read.fault or "there is no document")
    document = readable(read.document)
    fields = {field: found for field in FIELDS if (found := _found(field, document))}
    faults = [
        fault
        for field, (value, places) in fields.items()
        for fault in _placed(field_faults(field, value, pointer("", field)), places)
    ]
    faults += [f"{'.'.join(place)}: must be a mapping" for place in _misshapen(document)]
    if not fields.get("title", ("",))[0]:
        faults.insert(0, "title: is missing")
    if faults:
        more = f"; {len(faults) - MAX_TOLD} more faults" if len(faults) > MAX_TOLD else ""
        raise BadMetadata(printable("; ".join(faults[:MAX_TOLD]) + more, MAX_WORDS))
    values = {field: value for field, (value, _) in fields.items()}
    return Metadata(name=read.name, extra=_extra(document), **values)


def readable(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document without the characters that nobody can read, fit to be kept as JSON.

    Raises:
        BadMetadata: it is too deep or too big, or no JSON.
    """
    _refuse_unbounded(document)
    return {clean(key): _cleaned(value) for key, value in document.items()}


def nothing_known(name: str) -> Metadata:
    """Return the metadata of a module whose document can't be used."""
    return Metadata(name=name, title=name)


def shown(metadata: Metadata) -> dict[str, Any]:
    """Return what people are shown: the model's own fields, then the document's others.

    What a module does not say of `resources` is left out.
    """
    own = metadata.model_dump(mode="json", exclude={"extra"})
    needs = metadata.resources.model_dump(exclude_none=True)
    own["resources"] = {**metadata.extra.get("resources", {}), **needs}
    return {**own, **{key: v for key, v in metadata.extra.items() if key not in own}}


def defaults_of(metadata: Metadata) -> Mapping[FieldKey, Value]:
    """Return what a deployment of the module has where it says nothing: its image, its minimum.

    A module that names no image has the one of its own name.
    """
    image = {IMAGE_FIELD: metadata.docker_image} if metadata.docker_image else {}
    needs = metadata.resources.model_dump(exclude_none=True)
    minimum = {("hardware", key): least for key, least in needs.items()}
    return {**module_defaults(metadata.name), **image, **minimum}


def _found(field: str, document: Mapping[str, Any]) -> tuple[Any, Mapping[str, str]] | None:
    """Return a field's value and, by pointer, where its parts stand; None where nothing does."""
    if field in PLACES:
        for place in PLACES[field]:
            value = _at(document, place)
            if value is not None:
                return usual_form(field, value), {pointer("", field): ".".join(place)}
        return None
    parts = _own_parts(field, document.get(field))
    if not isinstance(parts, dict):
        return parts, {}
    places = {}
    for part, place in PARTS[field].items():
        value = _at(document, place)
        if parts.get(part) is None and value is not None:
            parts[part] = value
            places[pointer("", field, part)] = ".".join(place)
    return (parts, places) if parts else None


def _own_parts(field: str, value: object) -> Any:
    """Return the parts that stand under a field's own name; what is no mapping as it is."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        return value
    if field == "resources":
        return {key: value[key] for key in RESOURCES if value.get(key) is not None}
    return {
        key: text
        for key, text in value.items()
        if text is not None and (field, key) != ("links", "docker_image")
    }


def _at(document: Mapping[str, Any], place: Sequence[str]) -> Any:
    """Return what stands at `place`, None where nothing does; what is no mapping has nothing."""
    value: Any = document
    for key in place:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _misshapen(document: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    for place in MAPPINGS:
        if not isinstance(_at(document, place), dict | None):
            yield place


def _extra(document: Mapping[str, Any]) -> dict[str, Any]:
    extra = {key: value for key, value in document.items() if key not in MOVED}
    needs = document.get("resources")
    if isinstance(needs, dict):
        rest = {key: value for key, value in needs.items() if key not in RESOURCES}
        extra |= {"resources": rest} if rest else {}
    return extra


def _placed(faults: Iterator[Fault], places: Mapping[str, str]) -> Iterator[str]:
    """Say the faults in words, each with where it stands in the document."""
    for fault in faults:
        field = next((at for at in places if f"{fault.pointer}/".startswith(f"{at}/")), "")
        where = places.get(field, "") + fault.pointer[len(field) :]
        yield f"{where.strip('/').replace('/', '.')}: {fault.message}"


def _refuse_unbounded(document: Mapping[str, Any]) -> None:
    """Refuse what is too deep or too big to be kept, or no JSON."""
    left: list[tuple[str, int, object]] = [("", 0, document)]
    size = 0
    while left:
        at, depth, value = left.pop()
        if depth > MAX_DEPTH:
            raise BadMetadata(f"the document is nested deeper than {MAX_DEPTH} levels")
        if isinstance(value, Mapping):
            size += sum(len(key) for key in value if isinstance(key, str))
            left += [(_below(at, key), depth + 1, inner) for key, inner in value.items()]
        elif isinstance(value, list | tuple):
            left += [(at, depth + 1, inner) for inner in value]
        elif reason := _no_json(value):
            raise BadMetadata(f"{at}: {reason}")
        size += 8 + (len(value) if isinstance(value, str) else 0)
        if size > MAX_SIZE:
            raise BadMetadata(f"the document is bigger than {MAX_SIZE} characters")


def _below(at: str, key: object) -> str:
    if not isinstance(key, str):
        raise BadMetadata(f"{at or 'the document'}: the key {in_words(key)} is no text")
    word = printable(key, MAX_WORD)
    return f"{at}.{word}" if at else word


def _no_json(value: object) -> str:
    """Say why a value that holds no others can't stand in JSON, or ""."""
    if isinstance(value, float) and not math.isfinite(value):
        return "must be a finite number"
    if isinstance(value, int) and value.bit_length() > 64:
        return "must be a number of at most 64 bits"
    if value is None or isinstance(value, str | int | float):
        return ""
    return f"must be a value that JSON has, not {in_words(value)}"


def _cleaned(value: Any) -> Any:
    """Return the tree without the characters that nobody can read; its depth is bounded."""
    match value:
        case str():
            return clean(value)
        case Mapping():
            return {clean(key): _cleaned(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_cleaned(inner) for inner in value]
    return value
