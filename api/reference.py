"""The API reference in the browser, `/docs` and `/redoc`, with scripts of our own server only."""

from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

PAGES: Final = Path(__file__).parent / "pages"
"""What the pages load; where it comes from is said in its README."""

PAGES_PATH: Final = "/pages"
OPENAPI_PATH: Final = "/openapi.json"
ICON: Final = f"{PAGES_PATH}/swagger-ui/favicon-32x32.png"

router = APIRouter(include_in_schema=False)


@router.get("/docs")
def read_docs(request: Request) -> HTMLResponse:
    """Show Swagger UI; Authorize takes the bearer token."""
    return get_swagger_ui_html(
        openapi_url=OPENAPI_PATH,
        title=request.app.title,
        swagger_js_url=f"{PAGES_PATH}/swagger-ui/swagger-ui-bundle.js",
        swagger_css_url=f"{PAGES_PATH}/swagger-ui/swagger-ui.css",
        swagger_favicon_url=ICON,
    )


@router.get("/redoc")
def read_redoc(request: Request) -> HTMLResponse:
    """Show the reference for reading."""
    return get_redoc_html(
        openapi_url=OPENAPI_PATH,
        title=request.app.title,
        redoc_js_url=f"{PAGES_PATH}/redoc/redoc.standalone.js",
        redoc_favicon_url=ICON,
        with_google_fonts=False,
    )


def page_files() -> StaticFiles:
    """Return the application that serves what the pages load."""
    return StaticFiles(directory=PAGES)
