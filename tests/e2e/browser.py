"""Chromium, driven by playwright, and what a person does with it."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.e2e.server import TOKEN

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
SERIOUS = {"serious", "critical"}

SIZE = {"width": 1280, "height": 800}
PHONE = {"width": 360, "height": 740}


@contextmanager
def chromium() -> Iterator[Browser]:
    """Give a running browser; skip where the machine has none."""
    if not CHROMIUM.is_file():
        pytest.skip(f"no {CHROMIUM}: install Debian's chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def somebody(browser: Browser, url: str, **options: Any) -> Iterator[Page]:
    """Give a page of a fresh profile; nothing in it fails or is forbidden unseen."""
    context: BrowserContext = browser.new_context(base_url=url, **({"viewport": SIZE} | options))
    context.set_default_timeout(15_000)
    page = context.new_page()
    told: list[str] = []
    page.on("console", lambda message: told.append(message.text) if is_trouble(message) else None)
    page.on("pageerror", lambda error: told.append(str(error)))
    yield page
    context.close()
    assert not told, told


def is_trouble(message: Any) -> bool:
    """Whether the browser complains of the page, as it does of what its policy forbids."""
    # A refused form is answered 4xx, and a server that stops breaks connections: both are written
    # down as well.
    expected = ("status of 4", "net::ERR", "htmx:sendError", "htmx:afterRequest")
    trouble = message.type in {"error", "warning"}
    return trouble and not any(words in message.text for words in expected)


def log_in(page: Page, token: str = TOKEN) -> None:
    page.goto("/")
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Your deployments")


def make(page: Page, module: str, name: str, **fields: str) -> None:
    """Create a deployment from a module's form."""
    page.goto("/ui/new")
    page.get_by_label("Find a module").fill(module)
    page.locator(f'#found a[href="/ui/new/{module}"]').click()
    page.get_by_label("Name", exact=True).fill(name)
    for label, value in fields.items():
        page.get_by_label(label.replace("_", " "), exact=True).fill(value)
    page.get_by_role("button", name="Create it").click()
    page.wait_for_url(re.compile(r"/ui/d/"))


def findings(page: Page) -> list[str]:
    """Return what axe finds that is serious."""
    found = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {node['html'][:120]} {node['failureSummary']}"
        for one in found
        if one["impact"] in SERIOUS
        for node in one["nodes"]
    ]


def picture(page: Page, name: str) -> None:
    """Keep a picture of the page for the documentation, when that is asked for."""
    if os.environ.get("AI4PAPI_PICTURES") == "1":
        PICTURES.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=PICTURES / f"{name}.png")
