"""Which version of this program runs."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version


@cache
def own_version() -> str:
    """Return the version of this program."""
    try:
        return version("ai4papi")
    except PackageNotFoundError:  # a checkout that is not installed
        return "0"
