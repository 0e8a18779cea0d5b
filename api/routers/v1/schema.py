"""The JSON Schema of a spec file. Open to everybody: editors and CI fetch it without a token."""

from typing import Annotated, Final

from fastapi import APIRouter, Header, Request, Response

from api.routers.requests import is_unchanged, refuse_unknown_parameters, schema_of
from api.spec_schema import MEDIA_TYPE, PATH

CACHE: Final = "public, max-age=300"
"""An operator's change of the form reaches editors within five minutes."""

router = APIRouter(tags=["meta"])


class SchemaResponse(Response):
    """A JSON Schema."""

    media_type = MEDIA_TYPE


EXAMPLE: Final = {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}


@router.get(
    PATH,
    operation_id="readDeploymentSchema",
    summary="Read the JSON Schema of a spec file",
    response_class=SchemaResponse,
    responses={
        200: {"content": {MEDIA_TYPE: {"schema": {"type": "object", "examples": [EXAMPLE]}}}},
        304: {"description": "Unchanged since If-None-Match"},
    },
    openapi_extra={"security": []},
)
def read_deployment_schema(
    request: Request, if_none_match: Annotated[str | None, Header()] = None
) -> Response:
    """Return what a spec file may hold on this site, with options, ranges and defaults.

    Editors complete and check a file that starts with
    `# yaml-language-server: $schema=<this address>`.
    """
    refuse_unknown_parameters(request)
    schema = schema_of(request)
    headers = {"ETag": schema.etag, "Cache-Control": CACHE}
    if is_unchanged(schema.etag, if_none_match):
        return Response(status_code=304, headers=headers)
    return SchemaResponse(schema.body, headers=headers)
