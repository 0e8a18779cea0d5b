"""Small texts of the command line: what may reach a terminal, durations, names (pure)."""

import re
from collections.abc import Collection
from typing import Final

NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
"""A deployment's name, as in `specs.model` (which costs too much to import here)."""

_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_ESCAPE: Final = re.compile(
    "\x1b(?:"
    r"\[[0-?]*[ -/]*[@-~]"
    "|\\][^\x07\x1b]*(?:\x07|\x1b\\\\)?"
    "|[PX^_][^\x1b]*(?:\x1b\\\\)?"
    "|[ -/]*[0-~])"
)
"""Control sequences of ECMA-48: CSI, OSC, other strings, and the short ones."""

_DURATION: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(s|m|h)?", re.ASCII)
_UNIT_S: Final = {"s": 1, "m": 60, "h": 3600}


def is_name(text: object) -> bool:
    """Return whether `text` can name a deployment."""
    return isinstance(text, str) and NAME.fullmatch(text) is not None


def closest(word: str, known: Collection[str]) -> str:
    """Return which of `known` somebody may have meant who typed `word`, "" where none is close."""
    from difflib import get_close_matches  # noqa: PLC0415 - for failures alone

    return next(iter(get_close_matches(word, known, n=1)), "")


def printable(text: str) -> str:
    r"""Return `text` without what could drive a terminal: control characters become `\xNN`.

    A deployment's texts and Nomad's messages come from other people.
    """
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


def printable_json(text: str) -> str:
    """Return JSON `text` with those characters escaped, so that it means the same."""
    return _CONTROL.sub(
        lambda found: found[0] if found[0] == "\n" else f"\\u{ord(found[0]):04x}", text
    )


def harmless(text: str) -> str:
    """Return lines of a log without what could drive a terminal; tabs and line ends stay.

    Whole escape sequences go, such as colours; what is left of control characters becomes `\\xNN`.
    """
    plain = _ESCAPE.sub("", text.replace("\r\n", "\n"))
    return _CONTROL.sub(
        lambda found: found[0] if found[0] in "\n\t" else repr(found[0])[1:-1], plain
    )


def seconds_of(text: str) -> float:
    """Return the seconds in `90`, `90s`, `10m` or `2h`. Raises: ValueError."""
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not a duration such as 90s, 10m or 2h")
    return float(found[1]) * _UNIT_S[found[2] or "s"]


def duration(seconds: float) -> str:
    """Return a length of time in at most two units: `9s`, `4m12s`, `3h5m`, `2d4h`."""
    whole = max(0, int(seconds))
    for unit_s, unit, part_s, part in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "m"),
        (60, "m", 1, "s"),
    ):
        if whole >= unit_s:
            rest = whole % unit_s // part_s
            return f"{whole // unit_s}{unit}" + (f"{rest}{part}" if rest else "")
    return f"{whole}s"
