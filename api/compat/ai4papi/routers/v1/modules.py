"""The modules of the marketplace from Python: the same use cases, checks and shapes as over HTTP.

Works on the store that the environment names, and shows what the server on it last read from the
site's sources: nothing is fetched here. Only a change needs `authorization`, which is anything with
the token in `.credentials`.

Raises what the use cases raise: `specs.faults.SpecError` kinds and `api.auth.NotAuthenticated`.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from ai4papi.routers.v1.deployments import Authorization, _open
from api.auth import Authenticator
from api.catalog import Catalog, names_of, summaries_of, whole


def get_modules_list(tags: Sequence[str] = (), words: Sequence[str] = ()) -> list[str]:
    """Return the names of the modules that have all the tags and all the words, sorted."""
    return list(names_of(_desk()[0].look().found(words, tags)))


def get_modules_summary(
    tags: Sequence[str] = (), words: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Return name, title, summary and keywords of those modules, sorted by name."""
    return list(summaries_of(_desk()[0].look().found(words, tags)))


def get_module_metadata(module_name: str) -> dict[str, Any]:
    """Return all that is known of a module."""
    return whole(_desk()[0].look().module(module_name))


def update_module_metadata(
    module_name: str, metadata: Mapping[str, Any], *, authorization: Authorization
) -> dict[str, Any]:
    """Lay fields over what a module's source says, as an editor; return all that is known then."""
    desk, authenticate = _desk()
    user = authenticate(authorization.credentials)
    return whole(desk.put(user, module_name, metadata))


@cache
def _desk() -> tuple[Catalog, Authenticator]:
    deployments, authenticate = _open()
    return Catalog(deployments.store), authenticate
