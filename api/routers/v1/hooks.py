"""The route that git hosts call when something was pushed."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Request, Security
from fastapi.concurrency import run_in_threadpool
from fastapi.security import APIKeyHeader

from api.hooks import is_about, refuse_unsigned, sources_meant
from api.operations import Asked
from api.problems import documented
from api.routers.requests import json_body, operations_of, services_of

# Declares the header; `refuse_unsigned` reads it, and those of other hosts.
_signature = APIKeyHeader(
    name="X-Hub-Signature-256",
    scheme_name="signature",
    auto_error=False,
    description="`sha256=` and the HMAC of the body with the site's secret. Also taken:"
    " X-Hub-Signature, X-Gitea-Signature, and the secret itself in X-Gitlab-Token.",
)

router = APIRouter(tags=["operations"], responses=documented(401, 403))


@router.post(
    "/hooks/git",
    operation_id="receiveGitHook",
    summary="Have git sources read now",
    status_code=202,
    responses=documented(400, 413, 415),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"type": "object"},
                    "example": {
                        "repository": {"clone_url": "https://git.example.org/team/specs.git"}
                    },
                }
            },
        },
    },
)
async def receive_git_hook(
    request: Request, _declared: Annotated[object, Security(_signature)]
) -> Asked:
    """Take the webhook of a push: GitHub's, GitLab's, Gitea's, Forgejo's or Bitbucket's.

    It must be signed with AI4PAPI_HOOK_SECRET. The sources of that repository are read at once; all
    git sources where the payload names none of them. So is the catalogue, where its lists or one of
    its modules stand in that repository.
    """
    refuse_unsigned(request.headers, await request.body(), services_of(request).hook_secret)
    payload = await json_body(request)
    return await run_in_threadpool(
        operations_of(request).pushed, partial(sources_meant, payload), partial(is_about, payload)
    )
