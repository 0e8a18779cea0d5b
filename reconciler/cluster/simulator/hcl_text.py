"""Texts and durations as HCL writes them (pure)."""

import re
from typing import Any, Final

from reconciler.cluster.simulator.refusal import Refusal

_HEREDOC: Final = re.compile(r"<<(-?)\s*(\w+)[ \t]*\n(.*?)[ \t]*\2$", re.DOTALL)
_ESCAPE: Final = re.compile(r'\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[nrt"\\])')
_ESCAPED: Final = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}
_COMPUTED: Final = re.compile(r"(?<!\$)\$\{\s*(?:var|local)\.")
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_UNITS_NS: Final = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}


def plain(text: str) -> str:
    """Return the value of a quoted text, a heredoc or a bare name as python-hcl2 hands it over.

    `${attr…}` and its like stay as they are: Nomad expands them when the task starts.
    Raises `Refusal` 400 for an expression: the simulator computes none.
    """
    if not (len(text) >= 2 and text[0] == text[-1] == '"'):
        if re.fullmatch(r"[\w.\-/]+", text):
            return text
        raise Refusal(400, f"Failed to parse job: input.hcl: expression not simulated: {text[:80]}")
    inner = text[1:-1]
    if _COMPUTED.search(inner):
        raise Refusal(400, "Failed to parse job: input.hcl: variables are not simulated")
    heredoc = _HEREDOC.fullmatch(inner)
    if heredoc:
        body = heredoc[3]
        return _untemplated(_dedented(body) if heredoc[1] else body)
    return _untemplated(_ESCAPE.sub(_unescape, inner))


def plain_tree(value: Any) -> Any:
    """Return a value with every text in it made plain."""
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, list):
        return [plain_tree(item) for item in value]
    if isinstance(value, dict):
        return {plain(key): plain_tree(item) for key, item in value.items()}
    return value


def parse_duration_ns(text: str) -> int:
    """Return a Go duration such as "1h30m" or "250ms" in nanoseconds.

    Raises `ValueError` for anything else.
    """
    sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text)
    if digits == "0":
        return 0
    parts = _DURATION.findall(digits)
    if not parts or "".join(number + unit for number, unit in parts) != digits:
        raise ValueError(f"no duration: {text!r}")
    return sign * round(sum(float(number) * _UNITS_NS[unit] for number, unit in parts))


def _unescape(match: re.Match[str]) -> str:
    code = match[1]
    return _ESCAPED[code] if code in _ESCAPED else chr(int(code[1:], 16))


def _untemplated(text: str) -> str:
    return text.replace("$${", "${").replace("%%{", "%{")


def _dedented(body: str) -> str:
    lines = body.split("\n")
    margins = [len(line) - len(line.lstrip(" ")) for line in lines if line.strip()]
    margin = min(margins, default=0)
    return "\n".join(line[margin:] for line in lines)
