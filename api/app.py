"""The ASGI application: routes, refusals and the outermost layer, put together.

`create_app` needs nothing but `Services`; what fills them in is `api.serve`'s business.
`python -m api.app` prints the OpenAPI document that is committed as `docs/openapi.json`.
"""

import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import Any, Final

from anyio import CapacityLimiter
from fastapi import FastAPI, Request
from fastapi.concurrency import contextmanager_in_threadpool
from fastapi.openapi.utils import get_openapi
from starlette.middleware.cors import CORSMiddleware

from api import reference
from api.auth import NotAuthenticated
from api.catalog import Catalog
from api.dashboard import pages as dashboard
from api.dashboard.html import STATIC_PATH, page_files
from api.dashboard.session import Sessions
from api.deployments import Deployments
from api.edge import (
    CORS_ANSWER_HEADERS,
    CORS_METHODS,
    CORS_REQUEST_HEADERS,
    Edge,
    Gate,
    address_of,
)
from api.forms import Forms
from api.history import History
from api.limits import Limits
from api.logs import Logs
from api.operations import Operations
from api.problems import Problem, TooManyRequests, answer_with_problems
from api.routers import health, v1
from api.routers.requests import LOGIN_THREADS
from api.routers.streams import Streams
from api.seed_list import SeedList
from api.services import Services
from api.spec_schema import schema_document
from api.waiting import Changes
from specs.json_schema import spec_schema

API_TITLE = "AI4EOSC Platform API"
API_TEXT = (
    "Write down what should run; the platform keeps it running. Errors are RFC 9457 problems.\n\n"
    "**Your token.** `GET /v1/auth/config` names the providers whose access tokens are taken and"
    " the scopes to ask for; `ai4papi login` or oidc-agent (`oidc-token NAME`) gets one. In local"
    " mode it is in the file that the server names when it starts. Press *Authorize* and paste it,"
    " without the word Bearer."
)

SOURCE: Final = {"type": "http"}
"""What records and events say of the way in."""


def create_app(
    services: Services, *, running: Callable[[], AbstractContextManager[None]] = nullcontext
) -> FastAPI:
    """Return the application on top of `services`; `running` is entered while it serves."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        changes = app.state.changes = Changes(services.store)
        async with contextmanager_in_threadpool(running()):
            changes.start()
            services.measures.count_waits(changes.waits)
            try:
                yield
            finally:
                app.state.streams.end()
                app.state.logs.close()
                await changes.stop()

    app = routes(lifespan=lifespan)
    app.state.parameters = {}
    app.state.services = services
    app.state.login_threads = CapacityLimiter(LOGIN_THREADS)
    app.state.deployments = Deployments(
        store=services.store,
        conf=services.conf,
        priorities=services.priorities,
        preview=services.preview,
        source=SOURCE,
    )
    app.state.seed_list = SeedList(services.store)
    app.state.history = History(services.store, compare=services.compare, source=SOURCE)
    app.state.logs = Logs(services.store, services.read_log, services.tasks_of)
    app.state.operations = Operations(services.store, find_orphans=services.orphans)
    app.state.catalog = Catalog(services.store)
    app.state.forms = Forms(
        conf=services.conf,
        quotas=services.store.quotas,
        catalog=app.state.catalog,
        gpus=services.gpus,
        image_tags=services.image_tags,
    )
    app.state.schema = schema_document(
        spec_schema(services.conf, services.priorities, vos=services.login.vos)
    )
    app.state.streams = Streams()
    app.state.limits = Limits(services.limits, clock=time.monotonic)
    app.state.sessions = Sessions(services.session_keys)
    _surround(app, services)
    return app


def _surround(app: FastAPI, services: Services) -> None:
    # The last one added is the outermost.
    app.add_middleware(
        Gate,
        max_body_bytes=services.max_body_bytes,
        max_header_bytes=services.max_header_bytes,
        body_s=services.body_s,
        local_only=services.local_only,
    )
    if services.cors:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=services.cors,
            allow_methods=CORS_METHODS,
            allow_headers=CORS_REQUEST_HEADERS,
            expose_headers=CORS_ANSWER_HEADERS,
        )
    app.add_middleware(Edge, answered=services.measures.answered)


def routes(**options: Any) -> FastAPI:
    """Return the routes and the refusals, with nothing behind them."""
    app = FastAPI(
        title=API_TITLE,
        description=API_TEXT,
        version="1",
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        **options,
    )
    answer_with_problems(app, judge=_count_failures)
    # First what programs ask for again and again: routes are tried in turn.
    app.include_router(v1.router)
    app.mount(STATIC_PATH, page_files())
    app.include_router(dashboard.router)
    app.include_router(health.router)
    app.include_router(reference.router)
    app.mount(reference.PAGES_PATH, reference.page_files())
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _count_failures(request: Request, error: Exception) -> Exception:
    # Only who fails is told to wait. A good token is never refused for a bad one from the same
    # address, which may be that of a whole institute; and no valid token can be guessed.
    if not isinstance(error, NotAuthenticated):
        return error
    try:
        request.app.state.limits.fail(address_of(request.scope))
    except TooManyRequests as too_many:
        return too_many
    return error


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
            license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        )
        # Problems are answered by handlers, which FastAPI does not document by itself.
        document["components"]["schemas"]["Problem"] = Problem.model_json_schema(
            ref_template="#/components/schemas/{model}"
        )
        definitions = document["components"]["schemas"]["Problem"].pop("$defs")
        document["components"]["schemas"] |= definitions
        app.openapi_schema = document
    return app.openapi_schema


if __name__ == "__main__":
    json.dump(routes().openapi(), sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")
