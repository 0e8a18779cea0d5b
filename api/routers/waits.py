"""How a caller asks to wait for a status: the parameters of the one route that reads its own."""

from typing import Any, Final, Literal

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

WAIT_PATTERN: Final = "^([0-9]|[1-5][0-9]|60)s$"
"""A whole number of seconds; the longest is below what proxies cut off."""


def seconds_of(wait: str) -> float:
    """Return the seconds of a text that matches `WAIT_PATTERN`."""
    return float(wait.removesuffix("s"))


class StatusQuery(BaseModel):
    """What may stand in the query of a status."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    vo: str | None = Field(
        default=None,
        max_length=253,
        description="Needed where you have the name in several VOs.",
    )
    owner: str | None = Field(
        default=None,
        min_length=1,
        max_length=512,
        description="Whose it is, for operators and auditors of its VO.",
    )
    wait: str = Field(
        default="0s",
        pattern=WAIT_PATTERN,
        description="Wait at most so long, up to 60s, for a change since If-None-Match or for what"
        " `for` names, whichever comes first.",
        examples=["30s"],
    )
    until: Literal["Ready", "Deleted"] | None = Field(
        default=None,
        alias="for",
        description="Ready also ends where it can't get ready by itself; Deleted ends in 404.",
    )

    @property
    def wait_s(self) -> float:
        """How long to wait, in seconds."""
        return seconds_of(self.wait)


NO_QUERY: Final = StatusQuery()


def status_query(request: Request) -> StatusQuery:
    """Return the query of a request. Raises `RequestValidationError`."""
    if not request.scope["query_string"]:
        return NO_QUERY
    given = request.query_params
    faults: list[dict[str, Any]]
    twice = [key for key in given if len(given.getlist(key)) > 1]
    if twice:
        faults = [
            {"loc": (key,), "type": "given_twice", "msg": "must be given once"} for key in twice
        ]
    else:
        try:
            return StatusQuery.model_validate(dict(given))
        except ValidationError as error:
            faults = [{**fault} for fault in error.errors(include_url=False)]
    raise RequestValidationError([fault | {"loc": ("query", *fault["loc"])} for fault in faults])


def _parameters() -> list[dict[str, Any]]:
    properties = StatusQuery.model_json_schema()["properties"]
    query = [{"name": name, "in": "query", "schema": schema} for name, schema in properties.items()]
    text = {"type": "string"}
    return [
        {"name": "name", "in": "path", "required": True, "schema": text},
        *query,
        {"name": "If-None-Match", "in": "header", "schema": text},
    ]


STATUS_PARAMETERS: Final = _parameters()
