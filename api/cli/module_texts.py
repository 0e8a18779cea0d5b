"""What `modules show` and `new` print of a module (pure, but for the password that `new` makes)."""

import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from textwrap import wrap
from typing import Any, Final

from api.cli.choices import ViewFormat
from api.cli.show import json_text, yaml_text
from api.cli.texts import NAME, printable

MAX_OPTIONS: Final = 12
"""Options of a field that its comment lists: an image may have hundreds of tags."""

MAX_COMMENT: Final = 500
COMMENT_WIDTH: Final = 90

GROUPS: Final = ("general", "hardware", "storage")
VO_FIELD: Final = ("general", "virtual_organization")
PASSWORD_FIELD: Final = ("general", "jupyter_password")
LAB: Final = "jupyterlab"

UNITS: Final = {"ram": " MB", "disk": " MB"}

SWITCHES: Final = (
    "# ttl: 7d  # the work ends so long after the creation: 90m, 12h, 7d; its spec is kept",
    "# suspend: true  # stops the work and keeps the spec",
)


def shown_module(module: Mapping[str, Any], form: ViewFormat) -> str:
    """Return a module as text without an end of line."""
    match form:
        case ViewFormat.JSON:
            return json_text(module)
        case ViewFormat.YAML:
            return yaml_text(module)
        case ViewFormat.TABLE:
            return "\n".join(_lines(module))


def spec_file(module: Mapping[str, Any], form: Mapping[str, Any], *, server: str) -> str:
    """Return a spec file that can be applied as it is: the form's values, each with a comment.

    A password is there only where the service needs one; it is made anew each time.
    """
    name = str(module["name"])
    lines = [
        f"# yaml-language-server: $schema={server}/v1/schema/deployment.json",
        *_comment(module.get("title") or name),
        *_comment(module.get("summary")),
        *_comment(_fault(module)),
        "apiVersion: ai4papi/v1",
        "kind: Deployment",
        "metadata:",
        "  # Yours alone within the VO: 1 to 63 of a-z, 0-9 and -.",
        f"  {_entry('name', label_of(name))}",
        *_indented(_vo(form[VO_FIELD[0]][VO_FIELD[1]]), 2),
        "spec:",
        "  # What is left out below is as the module or the site sets it.",
        f"  {_entry('module', name)}",
    ]
    for group in GROUPS:
        lines += [f"  {group}:", *_indented(_fields(group, form[group]), 4)]
    lines += _indented(SWITCHES, 2)
    return "\n".join(lines) + "\n"


def label_of(name: str) -> str:
    """Return a name for a deployment that is as close as can be to a module's."""
    label = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:63].rstrip("-")
    return label if NAME.fullmatch(label) else "my-deployment"


def _lines(module: Mapping[str, Any]) -> Iterator[str]:
    facts = [
        ("name", module["name"]),
        ("fault", module.get("fault")),
        ("title", module.get("title")),
        ("summary", module.get("summary")),
        ("tags", ", ".join(map(str, module.get("keywords") or ()))),
        ("license", module.get("license")),
        ("image", module.get("docker_image")),
        ("needs", _needs(module.get("resources") or {})),
        *((module.get("dates") or {}).items()),
        *((module.get("links") or {}).items()),
    ]
    said = [(str(key), str(value)) for key, value in facts if value]
    width = max(len(key) for key, _ in said)
    yield from (printable(f"{key.ljust(width)}  {value}") for key, value in said)
    if description := module.get("description"):
        yield ""
        yield from (printable(line) for line in str(description).splitlines())


def _needs(resources: Mapping[str, Any]) -> str:
    keys = ("cpu_num", "gpu_num", "ram", "disk")
    return ", ".join(
        f"{key} {resources[key]}{UNITS.get(key, '')}" for key in keys if key in resources
    )


def _fault(module: Mapping[str, Any]) -> str:
    fault = module.get("fault")
    return f"The catalogue has only this of the module: {fault}" if fault else ""


def _vo(field: Mapping[str, Any]) -> Iterator[str]:
    options = field.get("options") or ()
    if not options:
        yield "# vo: one of yours; the first of them where it is left out"
    elif field["value"]:
        yield from _comment(f"Where it runs: {_one_of(options)}.")
        yield _entry("vo", field["value"])


def _fields(group: str, fields: Mapping[str, Any]) -> Iterator[str]:
    lab = fields.get("service", {}).get("value") == LAB
    for key, field in fields.items():
        if (group, key) == VO_FIELD:
            continue
        yield from _comment(_told(key, field))
        needed = (group, key) == PASSWORD_FIELD and lab
        if needed:
            yield "# Made for this file alone; choose your own where others read the file."
        yield _entry(key, secrets.token_urlsafe(12) if needed else field["value"])


def _told(key: str, field: Mapping[str, Any]) -> str:
    """Return in words what a field is and what it may be."""
    said = [str(field["name"])]
    if field.get("description"):
        said.append(str(field["description"]))
    if field.get("options"):
        said.append(f"Options: {_one_of(field['options'])}")
    if field.get("range"):
        low, high = field["range"]
        unit = " characters" if isinstance(field["value"], str) else UNITS.get(key, "")
        said.append(f"{low} to {high}{unit}")
    if field.get("free"):
        free = ", ".join(f"{count} of {model}" for model, count in field["free"].items())
        said.append(f"Free when this was written: {free}")
    return ". ".join(part.rstrip(".") for part in said) + "."


def _one_of(options: Sequence[Any]) -> str:
    words = [repr(option) if option == "" else str(option) for option in options]
    more = len(words) - MAX_OPTIONS
    return ", ".join(words[:MAX_OPTIONS]) + (f" and {more} more" if more > 0 else "")


def _comment(text: object) -> Iterator[str]:
    words = printable(str(text or "")[:MAX_COMMENT])
    # YAML knows characters that not even a comment may hold.
    words = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in words)
    yield from (f"# {line}" for line in wrap(words, COMMENT_WIDTH))


def _entry(key: str, value: object) -> str:
    """Return a key and its value on one line of YAML, read alike by every reader."""
    import yaml  # noqa: PLC0415 - a fifth of what the whole command may cost

    plain = not isinstance(value, str) or value.isprintable()
    style = None if plain else '"'
    text = yaml.safe_dump({key: value}, allow_unicode=plain, width=10**9, default_style=style)
    return text.rstrip("\n")


def _indented(lines: Iterator[str] | Sequence[str], spaces: int) -> Iterator[str]:
    return (" " * spaces + line for line in lines)
