"""What `get` prints, in each of its formats (pure)."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias

from api.cli.choices import Format
from api.cli.failures import Code, CommandFailed
from api.cli.follow import sight_of
from api.cli.texts import duration, printable, printable_json

View: TypeAlias = Mapping[str, Any]
"""A deployment, or an item of another list, as the API answers it."""


def shown(
    views: Sequence[View], form: Format, *, alone: bool, now: datetime, owners: bool = False
) -> str:
    """Return deployments as text without an end of line; `alone`: the one that was named.

    `owners`: a table says whose they are, as `--owner` takes it from somebody at their provider.
    """
    whose = [OWNER] if owners else []
    whole: object = views[0] if alone else {"items": list(views)}
    match form:
        case Format.JSON:
            return json_text(whole)
        case Format.YAML:
            return yaml_text(whole)
        case Format.NAME:
            return "\n".join(view["metadata"]["name"] for view in views)
        case Format.WIDE:
            return _with_hint(table(views, [*whose, *WIDE], now=now), views[0], alone=alone)
        case Format.TABLE:
            return _with_hint(table(views, [*whose, *PLAIN], now=now), views[0], alone=alone)


def table(views: Sequence[View], columns: Sequence["Column"], *, now: datetime) -> str:
    """Return a table without borders; the last column is as long as it is."""
    rows = [[title for title, _ in columns]]
    rows += [[printable(cell(view, now)) or "-" for _, cell in columns] for view in views]
    widths = [max(len(row[i]) for row in rows) for i in range(len(columns))]
    lines = ("  ".join(text.ljust(w) for text, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def endpoint_lines(endpoints: Mapping[str, str]) -> list[str]:
    """Return one indented line per endpoint: its name and its address."""
    width = max(map(len, endpoints), default=0)
    return [printable(f"  {name.ljust(width)}  {url}") for name, url in endpoints.items()]


def chosen_endpoint(view: View, wanted: str | None) -> str:
    """Return the web address of an endpoint, None: of the service in the spec.

    Raises: CommandFailed where there is none, or it is not ready.
    """
    name, endpoints = view["metadata"]["name"], view["status"]["endpoints"]
    key = wanted or view["spec"]["general"]["service"]
    url = str(endpoints.get(key, ""))
    if not url:
        known = ", ".join(endpoints) or "none yet"
        raise CommandFailed(
            Code.NOT_FOUND,
            f"deployment {name} has no endpoint {key!r}; it has: {known}",
            hint=f"It is {view['status']['phase']}: {view['status']['message']}".rstrip(": "),
            next_command=f"ai4papi wait {name} --for Ready",
        )
    if not url.startswith(("http://", "https://")) or printable(url) != url:
        raise CommandFailed(Code.FAILED, f"the endpoint {key} of {name} is no web address: {url}")
    return url


Cell: TypeAlias = Callable[[View, datetime], str]
Column: TypeAlias = tuple[str, Cell]


def _name(view: View, _: datetime) -> str:
    return str(view["metadata"]["name"])


def _owner(view: View, _: datetime) -> str:
    return str(view["metadata"]["owner"]["sub"])


def _vo(view: View, _: datetime) -> str:
    return str(view["metadata"]["vo"])


def _phase(view: View, _: datetime) -> str:
    deleted_at = view["metadata"].get("deletionTimestamp")
    return sight_of({**view["status"], "deletionTimestamp": deleted_at}).phase


def _age(view: View, now: datetime) -> str:
    made_at = datetime.fromisoformat(view["metadata"]["creationTimestamp"])
    return duration((now - made_at).total_seconds())


def _image(view: View, _: datetime) -> str:
    general = view["spec"]["general"]
    image, tag = general["docker_image"], general["docker_tag"]
    return f"{image}:{tag}" if tag else str(image)


def _gpus(view: View, _: datetime) -> str:
    return str(view["spec"]["hardware"]["gpu_num"])


def _node(view: View, _: datetime) -> str:
    allocations = view["status"]["nomad"]["allocations"]
    return next((a["nodeName"] for a in allocations if a["clientStatus"] == "running"), "")


def _endpoint(view: View, _: datetime) -> str:
    endpoints = view["status"]["endpoints"]
    return str(
        endpoints.get(view["spec"]["general"]["service"]) or next(iter(endpoints.values()), "")
    )


def _message(view: View, _: datetime) -> str:
    return str(view["status"]["message"])


OWNER: Final[Column] = ("OWNER", _owner)
PLAIN: Final[Sequence[Column]] = (
    ("NAME", _name),
    ("PHASE", _phase),
    ("AGE", _age),
    ("MESSAGE", _message),
)
WIDE: Final[Sequence[Column]] = (
    ("NAME", _name),
    ("VO", _vo),
    ("PHASE", _phase),
    ("AGE", _age),
    ("GPUS", _gpus),
    ("NODE", _node),
    ("IMAGE", _image),
    ("ENDPOINT", _endpoint),
    ("MESSAGE", _message),
)


def _with_hint(text: str, view: View, *, alone: bool) -> str:
    if not alone:
        return text
    hint = view["status"].get("hint")
    hints = [f"hint: {printable(hint)}"] if hint else []
    return "\n".join([text, *_source_lines(view), *hints])


def _source_lines(view: View) -> list[str]:
    """Say what is the matter with the spec file, where one declares the deployment."""
    told = {
        (c["type"], c["status"], c["reason"]): c["message"] for c in view["status"]["conditions"]
    }
    troubles = (
        ("file", told.get(("SourceValid", "False", "InvalidFile"))),
        ("deletion held", told.get(("Held", "True", "DeletionHeld"))),
    )
    return [printable(f"{word}: {message}") for word, message in troubles if message]


def json_text(whole: object) -> str:
    """Return an answer of the API as JSON that no terminal stumbles over."""
    return printable_json(json.dumps(whole, ensure_ascii=False, indent=2))


def yaml_text(whole: object) -> str:
    """Return an answer of the API as YAML that no terminal stumbles over."""
    import yaml  # noqa: PLC0415 - a fifth of what the whole command may cost

    text = yaml.safe_dump(whole, allow_unicode=True, sort_keys=False)
    if printable(text.replace("\n", "")) != text.replace("\n", ""):
        # YAML takes a turned writing direction for a letter like any other.
        text = yaml.safe_dump(whole, allow_unicode=False, sort_keys=False)
    return text.rstrip("\n")
