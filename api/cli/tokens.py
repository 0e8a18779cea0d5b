"""What may be a token, and what one says of itself (pure; read for people, never trusted)."""

import base64
import binascii
import json
import math
from typing import Final

MAX_TOKEN: Final = 16_000
"""Longest token in characters; what is longer is something else."""


def is_token(text: object) -> bool:
    """Return whether `text` is one word of visible ASCII characters."""
    return (
        isinstance(text, str) and 0 < len(text) <= MAX_TOKEN and all("!" <= c <= "~" for c in text)
    )


def expiry_of(token: str) -> float | None:
    """Return when a JWT says that it expires, in seconds since 1970; None where it says nothing."""
    try:
        _, payload, _ = token.split(".")
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return None
    return instant(claims.get("exp")) if isinstance(claims, dict) else None


def instant(value: object) -> float | None:
    """Return `value` where it is a positive number that a clock can show, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and 0 < value < 1e11 else None
