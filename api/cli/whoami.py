"""What `whoami` and `can-i` print (pure)."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from api.cli.access import Access
from api.cli.choices import Verb, ViewFormat
from api.cli.logins import Login
from api.cli.show import json_text, yaml_text
from api.cli.texts import duration, printable

ROLES: Final[Mapping[Verb, frozenset[str]]] = {
    Verb.CREATE: frozenset({"user"}),
    Verb.EDIT_CATALOGUE: frozenset({"editor"}),
    Verb.SEE_ALL: frozenset({"operator", "auditor"}),
    Verb.OPERATE: frozenset({"operator"}),
}
"""Which role in a VO is enough for what."""

UNITS: Final = {"ram": "ram (MB)", "disk": "disk (MB)"}


def where_allowed(me: Mapping[str, Any], verb: Verb, vo: str | None) -> list[str]:
    """Return the VOs in which the caller may, of `vo` alone where it is given."""
    return [
        str(each["name"])
        for each in me["vos"]
        if vo in {None, each["name"]} and ROLES[verb].intersection(each["roles"])
    ]


def verdict(verb: Verb, vos: Sequence[str], form: ViewFormat) -> str:
    """Return the answer to `can-i` as text without an end of line."""
    match form:
        case ViewFormat.JSON:
            return json_text(_verdict(verb, vos))
        case ViewFormat.YAML:
            return yaml_text(_verdict(verb, vos))
        case ViewFormat.TABLE:
            return printable(f"yes, in {', '.join(vos)}" if vos else "no")


def shown_caller(
    me: Mapping[str, Any],
    quota: Mapping[str, Any],
    *,
    access: Access,
    expires_at: float | None,
    login: Login | None,
    form: ViewFormat,
    now: datetime,
) -> str:
    """Return who the caller is, what they may and what they use, without an end of line.

    `expires_at` is the token's, in seconds since 1970; `login` the kept one, None where the token
    comes from elsewhere.
    """
    renewed = login is not None and login.renewable
    if form is ViewFormat.TABLE:
        token_said = f"{_expiry(expires_at, renewed=renewed, now=now)}, from {access.token_from}"
        server = f"{access.server}, from {access.server_from}"
        return _table(me, quota, server=server, token=token_said)
    ends = None if expires_at is None else datetime.fromtimestamp(expires_at, UTC)
    token = {
        "expiresAt": ends and f"{ends:%Y-%m-%dT%H:%M:%SZ}",
        "renewed": renewed,
        "from": access.token_from,
    }
    server_said = {"url": str(access.server), "from": access.server_from}
    whole = {**me, "server": server_said, "token": token, "quota": quota}
    return json_text(whole) if form is ViewFormat.JSON else yaml_text(whole)


def _verdict(verb: Verb, vos: Sequence[str]) -> Mapping[str, Any]:
    return {"verb": str(verb), "allowed": bool(vos), "vos": list(vos)}


def _table(me: Mapping[str, Any], quota: Mapping[str, Any], *, server: str, token: str) -> str:
    facts = [
        ("name", str(me["name"])),
        ("owner", f"{me['owner']['sub']} at {me['owner']['iss']}"),
        ("server", server),
        ("token", token),
        *((f"in {vo['name']}", ", ".join(map(str, vo["roles"])) or "-") for vo in me["vos"]),
    ]
    if me.get("operator"):
        facts.append(("site", "operator of every VO"))
    rows = [("QUOTA OF", "", "USED", "LIMIT")]
    for whose, book in [("you", quota["user"]), *((vo["name"], vo) for vo in quota["vos"])]:
        rows += [(str(whose), *line) for line in _lines(book)]
    book_lines = ["", *_aligned(rows)] if len(rows) > 1 else []
    return "\n".join([*_aligned(facts), *book_lines])


def _lines(book: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    limits, used = book["limits"], book["used"]
    keys = list(dict.fromkeys([*limits, *used]))
    return [(UNITS.get(key, key), str(used.get(key, 0)), _limit(limits.get(key))) for key in keys]


def _limit(limit: object) -> str:
    return "-" if limit is None else str(limit)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    clean = [[printable(text) for text in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*clean, strict=True)]
    padded = ([t.ljust(w) for t, w in zip(row, widths, strict=True)] for row in clean)
    return ["  ".join(row).rstrip() for row in padded]


def _expiry(expires_at: float | None, *, renewed: bool, now: datetime) -> str:
    how = " (renewed by itself)" if renewed else ""
    if expires_at is None:
        return f"says no end{how}"
    left_s = expires_at - now.timestamp()
    return f"expires in {duration(left_s)}{how}" if left_s > 0 else f"expired{how}"
