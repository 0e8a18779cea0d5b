"""What routes read from a request: the caller, the body, the conditions."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Final, cast

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import Depends, Header, Query, Request, Response, Security
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from pydantic import BaseModel

from api.auth import ProviderUnavailable, User, bearer_token
from api.catalog import Catalog
from api.deployments import Deployments, Precondition
from api.forms import Forms
from api.history import History
from api.limits import Limits
from api.operations import Operations
from api.problems import UnsupportedMedia
from api.seed_list import SeedList
from api.services import Services
from api.spec_schema import SchemaDocument
from api.waiting import Changes
from specs.faults import Fault, InvalidSpec
from specs.json_text import read_json
from specs.model import Deployment, Owner

MAX_NAME: Final = 253

LOGIN_THREADS: Final = 32
MAX_LOGINS_WAITING: Final = 256
"""Logins that wait for a thread; who comes later is told to come back."""

READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})

_JSON: Final = re.compile(r"application/(merge-patch\+)?json(\s*;\s*charset=\"?utf-8\"?)?\s*", re.I)
_TAG: Final = re.compile(r'\s*(W/)?"([^"]*)"\s*(?:,|$)')

# Declares the scheme, so that /docs has its Authorize button; the header is read by `bearer_token`,
# which is stricter than FastAPI and answers 401.
_bearer = HTTPBearer(auto_error=False, scheme_name="bearer", description="An access token.")


def services_of(request: Request) -> Services:
    """Return the parts behind the routes."""
    return cast("Services", request.app.state.services)


def deployments_of(request: Request) -> Deployments:
    """Return the use cases."""
    return cast("Deployments", request.app.state.deployments)


def seed_list_of(request: Request) -> SeedList:
    """Return the seed's list."""
    return cast("SeedList", request.app.state.seed_list)


def history_of(request: Request) -> History:
    """Return the use cases of the past and the present."""
    return cast("History", request.app.state.history)


def catalog_of(request: Request) -> Catalog:
    """Return the use cases of the modules."""
    return cast("Catalog", request.app.state.catalog)


def forms_of(request: Request) -> Forms:
    """Return what fills in forms."""
    return cast("Forms", request.app.state.forms)


def operations_of(request: Request) -> Operations:
    """Return the operators' use cases."""
    return cast("Operations", request.app.state.operations)


def schema_of(request: Request) -> SchemaDocument:
    """Return the JSON Schema of a spec file."""
    return cast("SchemaDocument", request.app.state.schema)


def limits_of(request: Request) -> Limits:
    """Return what callers may ask for, and how much of it is used up."""
    return cast("Limits", request.app.state.limits)


def changes_of(request: Request) -> Changes:
    """Return the news of the store."""
    return cast("Changes", request.app.state.changes)


async def _token(request: Request, _declared: Annotated[object, Security(_bearer)]) -> str:
    token = bearer_token(request.headers.getlist("authorization"))
    # Here, so that who has no token at all is told that first.
    refuse_unknown_parameters(request)
    return token


async def _user(request: Request, token: Annotated[str, Depends(_token)]) -> User:
    return await authenticated(request, token)


async def authenticated(request: Request, token: str) -> User:
    """Return who sent the request, which is counted as theirs.

    Raises: NotAuthenticated; ProviderUnavailable; Forbidden; TooManyRequests.
    """
    user = services_of(request).auth.known(token)
    if user is None:
        if _login_threads(request).statistics().tasks_waiting >= MAX_LOGINS_WAITING:
            raise ProviderUnavailable("too many logins wait for the identity provider")
        user = await recognised(request, token)
    request.state.owner = user.owner
    limits_of(request).admit(user, writes=request.method not in READS)
    return user


async def recognised(request: Request, token: str) -> User:
    """Return whose the token is now; nothing is counted as theirs. For answers that go on.

    Raises: NotAuthenticated; ProviderUnavailable; Forbidden.
    """
    auth = services_of(request).auth
    if (user := auth.known(token)) is not None:
        return user
    return await run_sync(auth.__call__, token, limiter=_login_threads(request))


def _login_threads(request: Request) -> CapacityLimiter:
    # Threads of their own: a provider that hangs must not take those that answer everybody.
    return cast("CapacityLimiter", request.app.state.login_threads)


async def _guest(request: Request) -> User | None:
    headers = request.headers.getlist("authorization")
    refuse_unknown_parameters(request)
    if not headers:
        return None
    return await authenticated(request, bearer_token(headers))


async def json_body(request: Request) -> Any:
    """Return the JSON that was sent. Raises: UnsupportedMedia; UnreadableJson; InvalidSpec."""
    kind = request.headers.get("content-type", "")
    if not _JSON.fullmatch(kind):
        raise UnsupportedMedia(f"the Content-Type is {kind[:60]!a}, not application/json")
    return read_json(await request.body())


async def _conf_body(request: Request) -> Any:
    return await json_body(request) if await request.body() else {}


def owner_of(text: str, user: User) -> Owner:
    """Return whom `owner=` names: a `sub` of the caller's own provider, or `<iss>#<sub>`."""
    iss, mark, sub = text.partition("#")
    return Owner(iss, sub) if mark and iss.startswith("https://") else Owner(user.owner.iss, text)


def refuse_unknown_parameters(request: Request) -> None:
    """Refuse parameters that the route does not have: a misspelt dryRun must not write."""
    known = _parameters(request)
    given = [name for name, _ in request.query_params.multi_items()]
    allowed = ", ".join(sorted(known)) or "no parameter"
    faults = [
        {"loc": ("query", name), "type": "unknown_parameter", "msg": f"this route takes {allowed}"}
        for name in dict.fromkeys(given)
        if name not in known
    ] + [
        {"loc": ("query", name), "type": "given_twice", "msg": "must be given once"}
        for name in known
        if given.count(name) > 1
    ]
    if faults:
        raise RequestValidationError(faults)


def _parameters(request: Request) -> frozenset[str]:
    route = cast("APIRoute", request.scope["route"])
    by_route: dict[str, frozenset[str]] = request.app.state.parameters
    if route.unique_id not in by_route:
        by_route[route.unique_id] = frozenset(_query_names(route.dependant))
    return by_route[route.unique_id]


def _query_names(dependant: Dependant) -> Iterator[str]:
    yield from (param.alias for param in dependant.query_params)
    for inner in dependant.dependencies:
        yield from _query_names(inner)


def precondition(if_match: str | None, if_none_match: str | None) -> Precondition:
    """Read If-Match and If-None-Match of a write; weak or foreign tags match no version."""
    must_not_exist = if_none_match is not None and if_none_match.strip() == "*"
    if if_match is None:
        return Precondition(must_not_exist=must_not_exist)
    if if_match.strip() == "*":
        return Precondition(frozenset(), must_not_exist=must_not_exist)
    strong = [tag for weak, tag in _TAG.findall(if_match) if not weak]
    versions = frozenset(int(t) for t in strong if t.isascii() and t.isdecimal() and len(t) < 20)
    # -1 is no version: tags were named, and none of them can match.
    return Precondition(versions or frozenset({-1}), must_not_exist=must_not_exist)


def etag_of(deployment: Deployment) -> str:
    """Return the strong ETag of a record as it is now."""
    return f'"{deployment.resource_version}"'


def is_unchanged(etag: str, if_none_match: str | None) -> bool:
    """Whether the caller already has what `etag` names (RFC 9110: a weak comparison)."""
    if if_none_match is None:
        return False
    known = [f'"{tag}"' for _, tag in _TAG.findall(if_none_match)]
    return if_none_match.strip() == "*" or etag in known


def matches(etag: str, if_match: str) -> bool:
    """Whether If-Match names `etag` (RFC 9110: a strong comparison)."""
    strong = [f'"{tag}"' for weak, tag in _TAG.findall(if_match) if not weak]
    return if_match.strip() == "*" or etag in strong


def labels_of(selector: str) -> dict[str, str]:
    """Read `key=value,key2==value2`. Raises `InvalidSpec`; only equality is understood."""
    labels = {}
    for part in filter(None, (p.strip() for p in selector.split(","))):
        key, equals, value = part.replace("==", "=", 1).partition("=")
        if not equals or not key.strip() or key.endswith("!") or "=" in value:
            message = f"{part[:60]!a} is not key=value"
            allowed = "key=value pairs, separated by commas"
            raise InvalidSpec([Fault("/query/labelSelector", "Selector", message, allowed)])
        labels[key.strip()] = value.strip()
    return labels


def answer(view: BaseModel, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a view as JSON without its absent fields, straight from pydantic."""
    body = view.model_dump_json(by_alias=True, exclude_none=True)
    return Response(body, status, headers, "application/json")


def takes(media_type: str, schema: dict[str, Any], example: object) -> dict[str, Any]:
    """Return OpenAPI's words for a body that a route reads by itself."""
    content = {media_type: {"schema": schema, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


Caller = Annotated[User, Depends(_user)]
Whose = Annotated[
    str | None,
    Query(
        alias="owner",
        min_length=1,
        max_length=512,
        description="Whose it is, for operators and auditors of its VO: the `sub` of somebody at"
        " your own provider, or `<iss>#<sub>`. Yours where it is left out.",
    ),
]


async def _reader(user: Caller, owner: Whose = None) -> User:
    return user if owner is None else user.looking_at(owner_of(owner, user))


async def _writer(user: Caller, owner: Whose = None) -> User:
    return user if owner is None else user.acting_for(owner_of(owner, user))


Reader = Annotated[User, Depends(_reader)]
Writer = Annotated[User, Depends(_writer)]
Guest = Annotated[User | None, Depends(_guest)]
JsonBody = Annotated[Any, Depends(json_body)]
ConfBody = Annotated[Any, Depends(_conf_body)]
Vo = Annotated[
    str | None,
    Query(max_length=MAX_NAME, description="Needed where you have the name in several VOs."),
]
DryRun = Annotated[
    bool, Query(alias="dryRun", description="Store nothing; say what would be stored and done.")
]
TakeOver = Annotated[
    bool,
    Query(
        alias="takeOver",
        description="Take the deployment over from the spec file that declares it: people decide"
        " over it from then on.",
    ),
]
IfMatch = Annotated[str | None, Header(description="The ETag that the write is based on.")]
IfNoneMatch = Annotated[str | None, Header()]
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="Sent again, the first answer's deployment is returned and nothing is made.",
    ),
]
