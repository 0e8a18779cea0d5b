"""Every refusal as RFC 9457 `application/problem+json`: one table from exception to answer."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match

from api.auth import InvalidToken, NoMembership, NotAuthenticated, ProviderUnavailable
from api.catalog import UnknownModule
from api.hooks import BadSignature
from api.logs import NoLog, TooManyFollowers
from specs.faults import (
    AlreadyExists,
    Expired,
    Fault,
    Forbidden,
    InvalidSpec,
    ManagedBySource,
    NotAMember,
    NotFound,
    QuotaExceeded,
    SpecError,
    StoreBroken,
    StoreFull,
    StoreUnavailable,
    VersionConflict,
)
from specs.json_text import UnreadableJson

MEDIA_TYPE: Final = "application/problem+json"

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")

SHOWN_CAUSES: Final = 100
"""Most causes that one answer lists; a megabyte of wrong keys is not sent back."""


class RequestError(Exception):
    """The request itself can't be answered, whatever it is about."""


class UnsupportedMedia(RequestError):
    """The body is of a kind that this route does not read."""


class BodyTooLarge(RequestError):
    """The body is longer than the operator's limit. Nothing of it was used."""


class HeadersTooLarge(RequestError):
    """Address and headers together are longer than the operator's limit."""


class BodyTooSlow(RequestError):
    """The body did not arrive in time. Nothing of it was used, and the connection is closed."""

    headers: Final[Mapping[str, str]] = {"Connection": "close"}


class TooManyRequests(RequestError):
    """More was asked than the site's limits allow; nothing was done."""

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class NotLocal(RequestError):
    """Local authentication serves this machine only."""


class MetricsRefused(RequestError):
    """Metrics are for the operator's monitoring only."""


class ClusterSilent(RequestError):
    """The cluster, which alone knows, does not answer now."""


class NotHealthy(RequestError):
    """The server does not do its work; `faults` say what is wrong."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(faults))


@dataclass(frozen=True, slots=True)
class Kind:
    """What all problems of one kind share. An empty `detail` takes the exception's own words.

    `retry_after_s` is said in the header where the same request may succeed later.
    """

    status: int
    reason: str
    title: str
    hint: str = ""
    detail: str = ""
    retry_after_s: int | None = None


KINDS: Final[Mapping[type[Exception], Kind]] = {
    InvalidSpec: Kind(
        422,
        "InvalidSpec",
        "The spec breaks a rule",
        "Change what each cause points at; all are listed.",
    ),
    NotAMember: Kind(
        403,
        "NotMember",
        "You are no member of this VO",
        "Name one of yours (GET /v1/whoami), or ask that VO's manager to let you in.",
    ),
    QuotaExceeded: Kind(
        422,
        "QuotaExceeded",
        "The quota has no room for it",
        "Ask for less, or suspend or delete something; GET /v1/quota says what is in use.",
    ),
    NotFound: Kind(
        404,
        "NotFound",
        "Not found",
        "List yours with GET /v1/specs or GET /v1/deployments.",
    ),
    UnknownModule: Kind(
        404, "NoSuchModule", "No such module", "GET /v1/modules lists the modules."
    ),
    Forbidden: Kind(403, "Forbidden", "You may not do this", "Ask your VO's manager for the role."),
    NoLog: Kind(
        404,
        "NoLog",
        "There is no log to read",
        "GET /v1/specs/NAME says where it stands; previous=true asks for the run before.",
    ),
    TooManyFollowers: Kind(
        503,
        "TooManyFollowers",
        "Too many logs are followed",
        "Read it without follow, or try again in a moment.",
        retry_after_s=10,
    ),
    AlreadyExists: Kind(
        409, "AlreadyExists", "The name is taken", "PUT changes a spec; POST needs a free name."
    ),
    ManagedBySource: Kind(
        409,
        "ManagedBySource",
        "A spec file declares it",
        "Change the file; or take the deployment over from it for good, with takeOver=true.",
    ),
    VersionConflict: Kind(
        412, "VersionConflict", "It moved since you read it", "Read it again, then decide again."
    ),
    Expired: Kind(
        410,
        "Expired",
        "That version is too old, or none of ours",
        "Read the list again, and watch from its resourceVersion.",
    ),
    StoreUnavailable: Kind(
        503,
        "StoreUnavailable",
        "The store does not answer",
        "Nothing was written; try again in a moment.",
        retry_after_s=5,
    ),
    StoreFull: Kind(
        507,
        "StoreFull",
        "The store has no room left",
        "Nothing was written; tell the operator.",
        retry_after_s=60,
    ),
    StoreBroken: Kind(
        503,
        "StoreBroken",
        "The store is damaged",
        "Nothing was written; tell the operator: a backup is to be restored.",
        retry_after_s=60,
    ),
    NotAuthenticated: Kind(
        401,
        "NotAuthenticated",
        "Who are you?",
        "Send `Authorization: Bearer <token>`; in local mode the token is in the file that the"
        " server names when it starts.",
    ),
    BadSignature: Kind(
        401,
        "BadSignature",
        "The webhook is not signed",
        "Give the git host the secret in AI4PAPI_HOOK_SECRET, and application/json as the type.",
    ),
    ProviderUnavailable: Kind(
        503,
        "ProviderUnavailable",
        "The identity provider does not answer",
        "Your token may well be good: try again in a moment, there is no need to log in again.",
        retry_after_s=5,
    ),
    UnreadableJson: Kind(400, "UnreadableBody", "The body can't be read", "Send JSON in UTF-8."),
    UnsupportedMedia: Kind(
        415,
        "UnsupportedMediaType",
        "Not a body for this route",
        "Send Content-Type: application/json.",
    ),
    BodyTooLarge: Kind(
        413, "BodyTooLarge", "The body is too large", "A spec needs a few kilobytes."
    ),
    HeadersTooLarge: Kind(
        431, "HeadersTooLarge", "The headers are too large", "Send a shorter address and headers."
    ),
    BodyTooSlow: Kind(
        408, "BodyTooSlow", "The body came too slowly", "Nothing was done; send it again."
    ),
    TooManyRequests: Kind(
        429, "TooManyRequests", "Too many requests", "Wait as long as Retry-After says."
    ),
    NotLocal: Kind(403, "NotLocal", "This server serves its own machine only", "Use 127.0.0.1."),
    MetricsRefused: Kind(
        403,
        "MetricsRefused",
        "Metrics are not for this address",
        "The operator names those that may read them: metrics.allow in etc/main_conf.yaml.",
    ),
    ClusterSilent: Kind(
        503,
        "ClusterUnavailable",
        "The cluster does not answer",
        "Try again in a moment; specs are taken all the same.",
        retry_after_s=10,
    ),
    NotHealthy: Kind(503, "NotHealthy", "The server is not well", "See the server's log."),
    RequestValidationError: Kind(
        422, "InvalidParameter", "A parameter breaks a rule", "See /docs.", "see the causes"
    ),
}

HTTP_KINDS: Final[Mapping[int, Kind]] = {
    404: Kind(
        404, "NoSuchRoute", "No such route", "See GET /v1 and /docs.", "nothing is served here"
    ),
    405: Kind(
        405,
        "MethodNotAllowed",
        "Not a method of this route",
        "See the Allow header.",
        "the route exists, but not with this method",
    ),
}

CHALLENGES: Final[Mapping[type[Exception], str]] = {
    InvalidToken: 'Bearer error="invalid_token"',
    NotAuthenticated: "Bearer",
    NoMembership: 'Bearer error="insufficient_scope"',
}
"""What `WWW-Authenticate` says (RFC 6750, section 3.1)."""

INTERNAL: Final = Kind(
    500,
    "InternalError",
    "Something broke here",
    "Try again; if it stays, give the requestId to the operator.",
    "the request could not be answered; the server's log has the reason",
)


class Cause(BaseModel):
    """One thing that is wrong, and where."""

    model_config = ConfigDict(extra="forbid")

    pointer: str = Field(description="JSON pointer into the body; /query/NAME for a parameter")
    code: str = Field(description="stable CamelCase word")
    message: str = Field(description="what is wrong with which value")
    allowed: str = Field(default="", description="what would be accepted, in words")


class Problem(BaseModel):
    """A refusal, for people and scripts alike (RFC 9457)."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:ai4papi:problem:InvalidSpec",
                    "title": "The spec breaks a rule",
                    "status": 422,
                    "detail": "/spec/hardware/ram: -5 is not a whole number from 256 to 1000000",
                    "instance": "/v1/specs/train-a",
                    "reason": "InvalidSpec",
                    "causes": [
                        {
                            "pointer": "/spec/hardware/ram",
                            "code": "OutOfRange",
                            "message": "-5 is not a whole number from 256 to 1000000",
                            "allowed": "a whole number from 256 to 1000000",
                        }
                    ],
                    "hint": "Change what each cause points at; all are listed.",
                    "requestId": "5f0c2a41d2f94c4f8f0a6a2f6d1f3b7e",
                }
            ]
        },
    )

    type: str
    title: str
    status: int
    detail: str
    instance: str
    reason: str = Field(description="stable CamelCase word; scripts branch on this")
    causes: list[Cause]
    hint: str
    requestId: str = Field(description="also in the X-Request-ID header and the server's log")  # noqa: N815


def problem_of(error: Exception, *, instance: str, request_id: str) -> Problem:
    """Return the problem that tells of `error`; what is in no table is an internal error."""
    kind = _kind(error)
    return Problem(
        type=f"urn:ai4papi:problem:{kind.reason}",
        title=kind.title,
        status=kind.status,
        detail=_printable(kind.detail or str(error), at_most=2000),
        instance=_printable(instance, at_most=200),
        reason=kind.reason,
        causes=_causes(error)[:SHOWN_CAUSES],
        hint=kind.hint,
        requestId=request_id,
    )


def response_of(error: Exception, *, instance: str, request_id: str) -> Response:
    """Return the HTTP answer that tells of `error`."""
    problem = problem_of(error, instance=instance, request_id=request_id)
    headers = dict(getattr(error, "headers", None) or {})
    challenge = next((CHALLENGES[c] for c in type(error).__mro__ if c in CHALLENGES), None)
    if challenge is not None:
        headers["WWW-Authenticate"] = challenge
    retry_after_s = getattr(error, "retry_after_s", _kind(error).retry_after_s)
    if retry_after_s is not None:
        headers["Retry-After"] = str(retry_after_s)
    body = json.dumps(problem.model_dump(), ensure_ascii=False).encode()
    return Response(body, problem.status, headers, MEDIA_TYPE)


def reason_of(error: Exception) -> str:
    """Return the stable word for `error`."""
    return _kind(error).reason


def answer_with_problems(
    app: FastAPI, *, judge: Callable[[Request, Exception], Exception] = lambda _, error: error
) -> None:
    """Make every refusal of `app` a problem; `judge` may tell another one in its place."""

    async def answer(request: Request, error: Exception) -> Response:
        error = judge(request, error)
        request.state.reason = reason_of(error)
        if isinstance(error, HTTPException) and error.status_code == 405:
            error = HTTPException(405, headers={"Allow": ", ".join(_allowed(request))})
        return response_of(error, instance=request.url.path, request_id=request.state.request_id)

    for kind in (SpecError, RequestError, HTTPException, *KINDS):
        app.add_exception_handler(kind, answer)


def documented(*reasons: int) -> dict[int | str, dict[str, Any]]:
    """Return OpenAPI's `responses` for these statuses, for a route's decorator."""
    titles = {kind.status: kind.title for kind in (*HTTP_KINDS.values(), *KINDS.values())}
    titles |= {
        422: "The spec or a parameter breaks a rule",
        403: "You may not do this",
        503: "Not now: try again later",
    }
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {"description": titles.get(status, INTERNAL.title), "content": content}
        for status in reasons
    }


def _allowed(request: Request) -> list[str]:
    # Starlette names the methods of the first route at this path only.
    routes = request.app.routes
    return [
        "GET, HEAD" if method == "GET" else method
        for method in METHODS
        if any(r.matches({**request.scope, "method": method})[0] is Match.FULL for r in routes)
    ]


def _kind(error: Exception) -> Kind:
    if isinstance(error, HTTPException):
        return HTTP_KINDS.get(error.status_code, INTERNAL)
    return next((KINDS[c] for c in type(error).__mro__ if c in KINDS), INTERNAL)


def _causes(error: Exception) -> list[Cause]:
    match error:
        case InvalidSpec():
            return [_cause(fault) for fault in error.faults]
        case RequestValidationError():
            return [
                Cause(
                    pointer="/" + "/".join(_printable(str(part), at_most=60) for part in e["loc"]),
                    code="".join(word.title() for word in e["type"].split("_")),
                    message=_printable(e["msg"], at_most=500),
                )
                for e in error.errors()
            ]
        case NotHealthy():
            return [Cause(pointer="", code="Fault", message=text) for text in error.faults]
        case _:
            return []


def _cause(fault: Fault) -> Cause:
    return Cause(
        pointer=_printable(fault.pointer, at_most=500),
        code=fault.code,
        message=_printable(fault.message, at_most=1000),
        allowed=_printable(fault.allowed, at_most=1000),
    )


def _printable(text: str, *, at_most: int) -> str:
    # Half a surrogate pair, echoed, would make the answer itself impossible to encode.
    short = text if len(text) <= at_most else text[:at_most] + "…"
    return short.encode("utf-8", "backslashreplace").decode()
