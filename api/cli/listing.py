"""What `history`, `events`, `trash` and `plan` print, in each of their formats (pure)."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

from api.cli.choices import ListFormat
from api.cli.show import Column, View, json_text, table, yaml_text
from api.cli.texts import duration, printable

WORK: Final = ("module", "general.", "hardware.", "storage.")
"""Where a change of a spec changes what runs; elsewhere it changes how the work lives."""


SHORT: Final = 12
"""Characters of a commit that tell it from others."""


def listed(
    items: Sequence[View], columns: Sequence[Column], form: ListFormat, *, name: str, now: datetime
) -> str:
    """Return a list as text without an end of line; `name` is the key that names an item."""
    match form:
        case ListFormat.JSON:
            return json_text({"items": list(items)})
        case ListFormat.YAML:
            return yaml_text({"items": list(items)})
        case ListFormat.NAME:
            return "\n".join(printable(str(item[name])) for item in items)
        case ListFormat.TABLE:
            return table(items, columns, now=now)


def planned(name: str, plan: View, form: ListFormat) -> str:
    """Return a plan as text: what would be done, then a line for each field that differs."""
    match form:
        case ListFormat.JSON:
            return json_text(plan)
        case ListFormat.YAML:
            return yaml_text(plan)
        case ListFormat.NAME:
            return "\n".join(printable(change["path"]) for change in plan["changes"])
        case ListFormat.TABLE:
            return "\n".join([_effect(name, plan), *(_field(c) for c in plan["changes"])])


def generation_before(revisions: Sequence[View]) -> int | None:
    """Return the generation before the last change of what runs; None where there is none.

    `revisions` are newest first.
    """
    for revision, earlier in pairwise(revisions):
        if any(change["path"].startswith(WORK) for change in revision["changes"]):
            return int(earlier["generation"])
    return None


def _effect(name: str, plan: View) -> str:
    fits = {True: "; fits now", False: "; does not fit now", None: ""}[plan.get("fits")]
    why = f": {plan['message']}" if plan["message"] else ""
    return printable(f"deployment {name}: {plan['effect']}{fits}{why}")


def _field(change: View) -> str:
    path = change["path"] or "job"
    return printable(f"  {path}: {_value(change, 'actual')} -> {_value(change, 'wanted')}")


def _value(change: View, key: str) -> str:
    return json.dumps(change[key], ensure_ascii=False) if key in change else "nothing"


def _text(key: str, value: str = "") -> Column:
    return (value or key.upper(), lambda item, _: str(item.get(key, "")))


def _age(key: str) -> Column:
    return ("AGE", lambda item, now: duration((now - _instant(item, key)).total_seconds()))


def _instant(item: Mapping[str, Any], key: str) -> datetime:
    return datetime.fromisoformat(item[key])


def _changes(revision: View, _: datetime) -> str:
    pinned = revision.get("pinnedGeneration")
    back = [f"rollback to {pinned}"] if pinned else []
    return "; ".join(
        back
        + [f"{c['path']}: {_value(c, 'from')} -> {_value(c, 'to')}" for c in revision["changes"]]
    )


def _source_state(source: View) -> str:
    if not source["configured"]:
        return "no longer configured"
    if source["error"]:
        return "can't be read"
    return "waits" if source["waits"] or source["held"] else "read"


EVENTS: Final[Sequence[Column]] = (
    _age("time"),
    _text("type"),
    _text("reason"),
    _text("deployment"),
    ("BY", lambda item, _: f"{item['actor']} ({item['source']})"),
    _text("message"),
)
HISTORY: Final[Sequence[Column]] = (
    _text("generation"),
    _age("time"),
    ("BY", lambda item, _: f"{item['actor']} ({item['source'].get('type', '?')})"),
    ("CHANGES", _changes),
)
SOURCES: Final[Sequence[Column]] = (
    _text("id"),
    ("WANTED", lambda item, _: item["wanted"][:SHORT]),
    ("APPLIED", lambda item, _: item["applied"][:SHORT]),
    ("LAG", lambda item, _: duration(item["lagS"])),
    _text("deployments"),
    ("FAULTS", lambda item, _: str(len(item["faults"]) + item["moreFaults"])),
    ("HELD", lambda item, _: str(len(item["held"]))),
    ("STATE", lambda item, _: _source_state(item)),
)
CONTEXTS: Final[Sequence[Column]] = (
    ("IN USE", lambda item, _: "*" if item["current"] else " "),
    _text("name"),
    _text("server"),
    _text("tokenFile", "TOKEN FILE"),
)
MODULES: Final[Sequence[Column]] = (
    _text("name"),
    ("TAGS", lambda item, _: ", ".join(item["keywords"])),
    ("TITLE", lambda item, _: f"fault: {item['fault']}" if "fault" in item else item["title"]),
)
TRASH: Final[Sequence[Column]] = (
    _text("name"),
    _text("vo"),
    _age("deletedAt"),
    (
        "EXPIRES IN",
        lambda item, now: duration((_instant(item, "expiresAt") - now).total_seconds()),
    ),
)
