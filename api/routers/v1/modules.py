"""The Exchange API: the modules of the marketplace. Reading is open to everybody."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError

from api.catalog import Document, Sight, etag_of, json_bytes, whole
from api.catalog_views import (
    EXAMPLE_FIELDS,
    METADATA,
    CatalogSourceList,
    ModuleMetadata,
    ModuleNames,
    ModuleSummary,
    VersionList,
    source_view,
    version_view,
)
from api.problems import documented
from api.routers.requests import (
    Caller,
    IfMatch,
    JsonBody,
    catalog_of,
    is_unchanged,
    matches,
    refuse_unknown_parameters,
    takes,
)
from specs.catalog.shelf import Stored
from specs.faults import Forbidden

MAX_QUERY: Final = 1000
"""Most characters of what is looked for."""

KEPT_S: Final = 60
"""For how long an answer may be kept: an editor's change reaches caches that much later."""

router = APIRouter(tags=["modules"])

_TEXT: Final = {"type": "string", "maxLength": MAX_QUERY}
_IF_NONE_MATCH: Final = {"name": "If-None-Match", "in": "header", "schema": {"type": "string"}}
_SEARCH: Final[list[dict[str, Any]]] = [
    {
        "name": "q",
        "in": "query",
        "description": "Words; all must be there, in name, title, summary or keywords.",
        "schema": {**_TEXT, "examples": ["image train"]},
    },
    {
        "name": "tags",
        "in": "query",
        "description": "Keywords, separated by commas or given one by one; all must be there.",
        "schema": {"type": "array", "items": _TEXT, "examples": [["tensorflow"]]},
    },
    _IF_NONE_MATCH,
]
_NAME: Final = {"name": "module_name", "in": "path", "required": True, "schema": {"type": "string"}}
_HEADERS: Final[Mapping[str, Any]] = {
    "ETag": {"schema": {"type": "string"}},
    "Cache-Control": {"schema": {"type": "string"}},
    "Age": {
        "description": "Seconds since it was read from its source; of several the oldest",
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
    "X-Catalog-Stale": {
        "description": "`true` where the source can't be read and the answer is over its time",
        "schema": {"type": "string"},
    },
}
_CACHED: Final[dict[int | str, dict[str, Any]]] = {
    200: {"headers": _HEADERS},
    304: {"description": "Unchanged since If-None-Match"},
}

ModuleName = Annotated[str, Path(description="As GET /v1/modules lists it.")]


@router.get(
    "/modules",
    operation_id="listModules",
    summary="List the names of all modules",
    response_model=ModuleNames,
    responses=_CACHED,
    openapi_extra={"parameters": _SEARCH, "security": []},
)
async def list_modules(request: Request) -> Response:
    """List the names of the modules, sorted; those whose metadata can't be used as well."""
    return await _listed(request, lambda sight: sight.names, Sight.chosen_names)


@router.get(
    "/modules/summary",
    operation_id="listModuleSummaries",
    summary="List all modules in short",
    response_model=list[ModuleSummary],
    responses=_CACHED,
    openapi_extra={"parameters": _SEARCH, "security": []},
)
async def list_module_summaries(request: Request) -> Response:
    """List name, title, summary and keywords of the modules, sorted by name."""
    return await _listed(request, lambda sight: sight.summaries, Sight.chosen_summaries)


@router.get(
    "/modules/sources",
    operation_id="listModuleSources",
    summary="List where modules come from",
    responses=documented(401, 403),
)
def list_module_sources(request: Request, user: Caller) -> CatalogSourceList:
    """List the sources of modules and what is wrong in each. For operators."""
    if not user.operator:
        raise Forbidden("only operators may do this")
    sight = catalog_of(request).look()
    modules = sight.catalog.modules.values()
    return CatalogSourceList(items=[source_view(s, modules) for s in sight.states.values()])


@router.get(
    "/modules/metadata/{module_name}",
    operation_id="readModule",
    summary="Read the metadata of a module",
    response_model=ModuleMetadata,
    responses={**_CACHED, **documented(404)},
    openapi_extra={"parameters": [_NAME, _IF_NONE_MATCH], "security": []},
)
async def read_module(request: Request) -> Response:
    """Read all that is known of a module.

    Where its metadata can't be used the answer is its name and the fault, so that its people see
    what to correct.
    """
    if request.scope["query_string"]:
        refuse_unknown_parameters(request)
    name, sight = request.path_params["module_name"], await _sight(request)
    if name not in sight.catalog.modules:
        # Looking for the likely name takes a while.
        await run_in_threadpool(sight.module, name)
    return _answer(request, sight.metadata(name))


@router.put(
    "/modules/metadata/{module_name}",
    operation_id="updateModule",
    summary="Update the metadata of a module",
    response_model=ModuleMetadata,
    responses=documented(400, 401, 403, 404, 412, 413, 415),
    openapi_extra=takes("application/json", METADATA, EXAMPLE_FIELDS),
)
def update_module(
    request: Request,
    user: Caller,
    module_name: ModuleName,
    *,
    body: JsonBody,
    if_match: IfMatch = None,
) -> Response:
    """Lay fields over what the source says, in place of any that were laid before. For editors.

    It is shown at once and outlives the source's changes; running deployments stay as they are.
    """
    desk = catalog_of(request)
    return _written(desk.put(user, module_name, body, expected=_expected(if_match)))


@router.delete(
    "/modules/metadata/{module_name}",
    operation_id="restoreModule",
    summary="Restore the metadata of a module",
    response_model=ModuleMetadata,
    responses=documented(401, 403, 404, 412),
)
def restore_module(
    request: Request, user: Caller, module_name: ModuleName, if_match: IfMatch = None
) -> Response:
    """Take off what editors set: the module is as its source has it. The same again is the same."""
    desk = catalog_of(request)
    return _written(desk.restore(user, module_name, expected=_expected(if_match)))


@router.get(
    "/modules/metadata/{module_name}/versions",
    operation_id="listModuleVersions",
    summary="List what editors set of a module",
    responses=documented(401, 403, 404),
)
def list_module_versions(request: Request, user: Caller, module_name: ModuleName) -> VersionList:
    """List what editors set of a module, by whom and when, newest first. For editors."""
    versions = catalog_of(request).versions(user, module_name)
    return VersionList(items=[version_view(version) for version in versions])


async def _listed(
    request: Request,
    everything: Callable[[Sight], Document],
    chosen: Callable[[Sight, list[str], list[str]], Document],
) -> Response:
    # Everybody's first call: no dependencies and parameters for FastAPI to solve, and no trip to
    # the thread pool while the last look at the store is good.
    if not request.scope["query_string"]:
        return _answer(request, everything(await _sight(request)))
    words, tags = _search(request)
    sight = await _sight(request)
    if not (words or tags):
        return _answer(request, everything(sight))
    return _answer(request, await run_in_threadpool(chosen, sight, words, tags))


async def _sight(request: Request) -> Sight:
    desk = catalog_of(request)
    known = desk.known()
    return known if known is not None else await run_in_threadpool(desk.look)


def _search(request: Request) -> tuple[list[str], list[str]]:
    """Return the words and the tags that are looked for. Raises: RequestValidationError."""
    given = request.query_params
    faults = [
        {"loc": ("query", key), "type": "unknown_parameter", "msg": "this route takes q, tags"}
        for key in dict.fromkeys(given)
        if key not in {"q", "tags"}
    ]
    if len(given.getlist("q")) > 1:
        faults.append({"loc": ("query", "q"), "type": "given_twice", "msg": "must be given once"})
    tags = ",".join(given.getlist("tags"))
    faults += [
        {
            "loc": ("query", key),
            "type": "string_too_long",
            "msg": f"must have at most {MAX_QUERY} characters, not {len(text)}",
        }
        for key, text in (("q", given.get("q", "")), ("tags", tags))
        if len(text) > MAX_QUERY
    ]
    if faults:
        raise RequestValidationError(faults)
    return given.get("q", "").split(), [tag.strip() for tag in tags.split(",") if tag.strip()]


def _answer(request: Request, document: Document) -> Response:
    now = catalog_of(request).now()
    age_s = document.fresh.age_s(now)
    headers = {
        "ETag": document.etag,
        "Age": str(age_s),
        # What is kept counts from when the source was read (RFC 9111, section 4.2.3).
        "Cache-Control": f"public, max-age={age_s + KEPT_S}",
    }
    if document.fresh.stale(now):
        headers["X-Catalog-Stale"] = "true"
    if is_unchanged(document.etag, request.headers.get("if-none-match")):
        return Response(status_code=304, headers=headers)
    return Response(document.body, headers=headers, media_type="application/json")


def _expected(if_match: str | None) -> Callable[[str], bool] | None:
    return None if if_match is None else lambda etag: matches(etag, if_match)


def _written(module: Stored) -> Response:
    headers = {"ETag": etag_of(module)}
    return Response(json_bytes(whole(module)), headers=headers, media_type="application/json")
