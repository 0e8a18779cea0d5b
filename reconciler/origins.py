"""Which web pages an operator may let call the API: exact origins (pure)."""

import re
from typing import Final

from specs.loopback import is_loopback

_ORIGIN: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:]+\])(:\d{1,5})?"
)


def checked_origin(text: str) -> str:
    """Return `text` if it is an origin as browsers send it; else raise `ValueError`."""
    match = _ORIGIN.fullmatch(text)
    if match is None:
        raise ValueError(
            "must be one origin as browsers send it, such as https://dashboard.example.org: small"
            " letters, no path, no slash at the end, no *"
        )
    if match["scheme"] == "http" and not is_loopback(match["host"].strip("[]")):
        raise ValueError("must begin with https://; http:// is for this machine only")
    return text
