"""What a text from outside may hold, and how a value is shown back to people (pure).

Nomad expands `${…}` and `%{…}` in whatever it places into a job, and knows no escape for them, so
they are refused where a text ends in one. What is no text at all (NUL, lone surrogates) is refused
everywhere: no database and no environment can carry it.
"""

import difflib
import re
from collections.abc import Iterable
from typing import Final

SHOWN_CHARS: Final = 60

_NO_TEXT: Final = re.compile("[\x00\ud800-\udfff]")
# The invisible ones that reorder or break a line for its reader count as control characters too.
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_CONTROL_IN_LINES: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)
_PLAIN_KEY: Final = re.compile(r"\w+", re.ASCII)
_EXPANDED: Final = re.compile(r"[$%]\{")


def no_text(text: str) -> str:
    """Say what makes the text impossible to store or deliver, or "" where nothing does."""
    found = _NO_TEXT.search(text)
    if found is None:
        return ""
    kind = "the NUL character" if found[0] == "\0" else "half of a surrogate pair"
    return f"holds {kind} at position {found.start()}"


def control(text: str, *, lines: bool = False) -> str:
    """Say which control character the text holds, or ""; `lines` allows newline and tab."""
    found = (_CONTROL_IN_LINES if lines else _CONTROL).search(text)
    return f"holds the control character {found[0]!a} at position {found.start()}" if found else ""


def clean(text: str) -> str:
    """Return the text without what makes it impossible to store or deceives its reader.

    Newlines and tabs stay.
    """
    return _NO_TEXT.sub("", _CONTROL_IN_LINES.sub("", text))


def expansion(text: str) -> str:
    """Say which part of the text Nomad would expand, or ""."""
    found = _EXPANDED.search(text)
    return (
        f"holds {found[0]} at position {found.start()}, which Nomad would expand" if found else ""
    )


def shown(value: object) -> str:
    """Return a value as a message may show it: short, printable, of any type and depth."""
    match value:
        case None | bool():
            return {None: "nothing (null)", True: "true", False: "false"}[value]
        case str():
            return repr(value if len(value) <= SHOWN_CHARS else value[:SHOWN_CHARS] + "…")
        case int() if value.bit_length() > 64:
            # Python refuses to print integers of more than 4300 digits.
            return "a number beyond 64 bits"
        case int() | float():
            return repr(value)
    return {"dict": "a mapping", "list": "a list"}.get(type(value).__name__, "something else")


def printable(text: str, limit: int) -> str:
    """Return the text on one line of at most `limit` characters; what can't be seen is escaped."""
    seen = text[:limit]
    if not seen.isprintable():
        seen = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in seen)
    return seen if len(seen) <= limit and len(text) <= limit else seen[: limit - 1] + "…"


def pointer(at: str, *keys: object) -> str:
    """Return the RFC 6901 pointer `at` extended by keys, cut and made printable where needed."""
    for key in keys:
        at += f"/{_token(key)}"
    return at


def near(word: object, allowed: Iterable[str]) -> str:
    """Return `did you mean X?` for the likeliest of the allowed words, or ""."""
    if not isinstance(word, str) or len(word) > SHOWN_CHARS:
        return ""
    found = difflib.get_close_matches(word, list(allowed), n=1, cutoff=0.6)
    return f"did you mean {found[0]!r}?" if found else ""


def _token(key: object) -> str:
    if type(key) is str and len(key) <= SHOWN_CHARS and _PLAIN_KEY.fullmatch(key):
        return key
    text = key if isinstance(key, str) else shown(key)
    cut = text[:SHOWN_CHARS].encode("utf-8", "backslashreplace").decode()
    return cut.replace("~", "~0").replace("/", "~1")
