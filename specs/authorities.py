"""Whose certificates are trusted: one answer for everybody whom this program asks over TLS."""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from requests.utils import DEFAULT_CA_BUNDLE_PATH

CA_VARIABLES: Final = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
"""Name a file (or the first also a folder) of the certificate authorities that are trusted."""


class NoAuthorities(Exception):
    """The environment names what can't be read. `str()` says which variable, and what to do."""


def trust(environ: Mapping[str, str]) -> ssl.SSLContext:
    """Return the TLS settings: certificates are checked against every authority that is named.

    Where the environment names none: against the system's and those that came with `requests`.

    Raises: NoAuthorities.
    """
    named = {variable: environ[variable] for variable in CA_VARIABLES if environ.get(variable)}
    if not named:
        context = ssl.create_default_context()
        context.load_verify_locations(DEFAULT_CA_BUNDLE_PATH)
        return context
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for variable, place in named.items():
        try:
            _load(context, Path(place))
        except OSError as error:
            raise NoAuthorities(
                f"{variable} names {place}, and no certificates can be read there: set it to a"
                " PEM file or unset it"
            ) from error
    return context


def _load(context: ssl.SSLContext, place: Path) -> None:
    if place.is_dir():
        context.load_verify_locations(capath=place)
    else:
        context.load_verify_locations(cafile=place)
