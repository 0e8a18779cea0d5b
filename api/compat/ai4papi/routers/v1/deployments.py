"""A user's deployments from Python: the same use cases, checks and shapes as over HTTP.

Works on the store that the environment names, as the server does. What is written here is made to
run by the server on that store; `authorization` is anything with the token in `.credentials`.

Raises what the use cases raise: `specs.faults.SpecError` kinds and `api.auth.NotAuthenticated`.
"""

import os
from functools import cache
from typing import Any, Protocol

from api.auth import Authenticator, User
from api.deployments import Deployments
from api.schemas import Created, Done
from api.serve import authenticator, read_settings
from api.views import seed_view
from reconciler.runtime import open_store
from specs.userconf import read_userconf


class Authorization(Protocol):
    """Who asks, as FastAPI's `HTTPAuthorizationCredentials` or the seed's `SimpleNamespace` say."""

    credentials: str


def get_deployments(authorization: Authorization) -> list[dict[str, Any]]:
    """Return all your deployments, newest first."""
    desk, user = _enter(authorization)
    return [seed_view(d).model_dump(exclude_unset=True) for d in desk.all(user)]


def get_deployment(deployment_uuid: str, authorization: Authorization) -> dict[str, Any]:
    """Return one of your deployments."""
    desk, user = _enter(authorization)
    return seed_view(desk.find_uid(user, deployment_uuid)).model_dump(exclude_unset=True)


def create_deployment(
    conf: dict[str, Any] | None = None, *, authorization: Authorization
) -> dict[str, Any]:
    """Write the spec of a new deployment; what `conf` leaves out takes its default."""
    desk, user = _enter(authorization)
    made = desk.create_from_conf(user, {} if conf is None else conf)
    return Created(job_ID=made.uid).model_dump()


def delete_deployment(deployment_uuid: str, authorization: Authorization) -> dict[str, Any]:
    """Ask for the end of one of your deployments."""
    desk, user = _enter(authorization)
    desk.delete_uid(user, deployment_uuid)
    return Done().model_dump()


def _enter(authorization: Authorization) -> tuple[Deployments, User]:
    desk, authenticate = _open()
    return desk, authenticate(authorization.credentials)


@cache
def _open() -> tuple[Deployments, Authenticator]:
    settings = read_settings(os.environ)
    authenticate = authenticator(settings)
    store = open_store(settings)
    store.migrate()
    conf = read_userconf(settings.userconf)
    return Deployments(store, conf, source={"type": "python"}), authenticate
