"""The page in a real Chromium, on a simulated cluster: what people do, and that all of them can."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.browser import PHONE, chromium, findings, log_in, make, picture, somebody
from tests.e2e.server import Server

pytestmark = pytest.mark.e2e

MODULE = "deep-oc-image-classification-tf"
VO = "vo.ai4eosc.eu"
READ = ["/", "/ui/new", f"/ui/new/{MODULE}", "/ui/nodes", "/ui/usage", "/ui/events", "/ui/trash"]
OPERATE = ["/ui/sources", "/ui/reconciler", "/?owner=*"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the site watches for spec files."""
    return tmp_path_factory.mktemp("specs")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, specs: Path) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("server")
    environ = {"AI4PAPI_CLUSTER": "simulated", "PATH": "/usr/bin:/bin", "AI4PAPI_SPECS": str(specs)}
    with Server(home, environ) as running:
        yield running


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    with somebody(browser, server.url) as page:
        log_in(page)
        yield page


def badge(page: Page, word: str) -> None:
    expect(page.locator("h1 .badge")).to_have_text(word)


def test_somebody_creates_watches_and_deletes_without_reloading(page: Page, server: Server) -> None:
    make(page, MODULE, "birds", Deployment_title="Birds of Aragón")
    page.evaluate("window.untouched = true")
    badge(page, "Running")
    expect(page.locator(".doors a")).to_have_count(3)
    page.get_by_role("button", name="Suspend").click()
    badge(page, "Suspended")
    expect(page.locator(".doors a")).to_have_count(0)
    page.get_by_role("button", name="Resume").click()
    badge(page, "Running")
    page.evaluate("window.untouched = true")
    code, _ = server.call(
        "PATCH",
        "/v1/specs/birds",
        {"spec": {"hardware": {"ram": 9000}}},
        content_type="application/merge-patch+json",
    )
    assert code == 200
    expect(page.locator("dl")).to_contain_text("9 GB")
    expect(page.locator("#said")).to_contain_text("birds: ")
    assert page.evaluate("window.untouched") is True
    page.get_by_role("link", name="Follow the output").click()
    expect(page.locator("#log")).not_to_be_empty()
    expect(page.locator("#revisions")).to_contain_text("hardware.ram")
    assert page.evaluate("window.untouched") is True
    page.evaluate("scrollTo(0, 0)")
    picture(page, "deployment")
    page.get_by_role("link", name="Delete…").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Delete birds?")
    picture(page, "delete")
    page.get_by_role("button", name="Delete it").click()
    # Once it is gone there is nothing to show but where it can be had back from.
    page.wait_for_url(re.compile("/ui/trash$"), timeout=20_000)
    page.get_by_role("button", name="Take back birds").click()
    page.wait_for_url(re.compile(f"/ui/d/{VO}/birds"))
    badge(page, "Running")


def test_the_list_moves_by_itself(page: Page, server: Server) -> None:
    page.goto("/")
    expect(page.locator("#live")).to_have_text("live")
    body = {"metadata": {"name": "by-api"}, "spec": {"module": MODULE}}
    assert server.call("POST", "/v1/specs", body)[0] == 201
    row = page.get_by_role("row", name=re.compile("by-api"))
    expect(row).to_contain_text("Running")
    expect(row.get_by_role("link", name="deepaas")).to_have_attribute("rel", "noopener noreferrer")


def test_the_form_says_whether_it_would_fit(page: Page) -> None:
    page.goto(f"/ui/new/{MODULE}")
    fit = page.locator("#fit")
    expect(fit).to_contain_text("It would start now")
    picture(page, "new")
    page.get_by_label("Number of GPUs", exact=True).fill("8")
    page.get_by_label("Number of GPUs", exact=True).blur()
    expect(fit).to_contain_text("It would wait")
    page.get_by_label("Number of CPUs", exact=True).fill("99")
    page.get_by_label("Number of CPUs", exact=True).blur()
    expect(fit).to_contain_text("Not like this")


def test_what_is_not_here_any_more_says_so(page: Page) -> None:
    answer = page.goto(f"/ui/d/{VO}/never")
    assert answer is not None
    assert answer.status == 404
    expect(page.get_by_role("link", name="Back to the deployments")).to_be_visible()


def test_a_held_deletion_is_confirmed_by_an_operator(page: Page, specs: Path) -> None:
    for number in range(8):
        text = f"metadata: {{name: held-{number}, owner: local}}\nspec: {{module: {MODULE}}}\n"
        head = "apiVersion: ai4papi/v1\nkind: Deployment\n"
        (specs / f"held-{number}.yaml").write_text(head + text)
    page.goto("/ui/sources")
    page.get_by_role("button", name="Read now").click()
    page.goto("/")
    expect(page.get_by_role("row", name=re.compile("held-7"))).to_be_visible(timeout=30_000)
    for number in range(7):
        (specs / f"held-{number}.yaml").unlink()
    page.goto("/ui/sources")
    page.get_by_role("button", name="Read now").click()
    until = time.monotonic() + 30
    while not page.get_by_role("button", name="Confirm: delete").count():
        assert time.monotonic() < until
        page.goto("/ui/sources")
    picture(page, "sources")
    page.get_by_role("button", name="Confirm: delete").click()
    page.goto("/")
    expect(page.locator("#live-part")).not_to_contain_text("held-0", timeout=20_000)
    expect(page.get_by_role("row", name=re.compile("held-7"))).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser: Browser, server: Server, scheme: str) -> None:
    with somebody(browser, server.url, color_scheme=scheme) as page:
        page.goto("/login")
        assert findings(page) == []
        log_in(page)
        make(page, MODULE, f"axe-{scheme}")
        badge(page, "Running")
        one = page.url
        page.goto("/")
        picture(page, f"deployments-{scheme}")
        for path in [*READ, *OPERATE, one, f"{one}/diff", f"{one}/delete", "/ui/nothing"]:
            page.goto(path)
            assert findings(page) == [], path
        page.goto("/ui/nodes")
        picture(page, f"nodes-{scheme}")
        page.goto(f"/ui/new/{MODULE}")
        page.get_by_label("Name", exact=True).evaluate("e => { e.removeAttribute('pattern'); }")
        page.get_by_label("Name", exact=True).fill("No Name")
        page.get_by_role("button", name="Create it").click()
        expect(page.get_by_role("alert")).to_contain_text("can't be created")
        assert findings(page) == []


def test_the_keyboard_is_enough(page: Page) -> None:
    page.goto("/")
    page.keyboard.press("Tab")
    skip = page.locator(":focus")
    expect(skip).to_have_text("Skip to the content")
    page.keyboard.press("Enter")
    tabbed_to(page, "New deployment")
    page.keyboard.press("Enter")
    page.wait_for_url("**/ui/new")
    tabbed_to(page, "Image classification (TensorFlow)")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/ui/new/{MODULE}")
    tabbed_to(page, "Name")
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("by-keys")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/ui/d/.*/by-keys"))
    badge(page, "Running")
    tabbed_to(page, "Delete…")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/by-keys/delete"))
    tabbed_to(page, "Delete it")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/ui/trash$"), timeout=20_000)
    page.goto("/")
    expect(page.locator("#live-part")).not_to_contain_text("by-keys", timeout=20_000)


def tabbed_to(page: Page, word: str) -> None:
    """Press Tab until what has the focus is called `word`, and is seen to have it."""
    for _ in range(60):
        page.keyboard.press("Tab")
        name = page.evaluate(
            "() => { const e = document.activeElement;"
            " return (e.labels && e.labels[0] ? e.labels[0] : e).textContent.trim(); }"
        )
        if name == word:
            style = page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
            assert style != "none"
            return
    raise AssertionError(f"no {word!r} within 60 steps")


def test_without_javascript_pages_are_read_and_forms_are_sent(
    browser: Browser, server: Server
) -> None:
    with somebody(browser, server.url, java_script_enabled=False) as page:
        log_in(page)
        make(page, MODULE, "plain")
        expect(page.locator("h1")).to_contain_text("plain")
        server.wait_for("plain", "Running")
        page.reload()
        badge(page, "Running")
        page.get_by_role("link", name="Compare now").click()
        expect(page.locator("#diff")).to_contain_text("What runs is what should run")
        page.get_by_role("button", name="Suspend").click()
        server.wait_for("plain", "Suspended")
        page.get_by_role("link", name="Delete…").click()
        page.get_by_role("button", name="Delete it").click()
        for path in [*READ, *OPERATE]:
            answer = page.goto(path)
            assert answer is not None
            assert answer.status == 200


def test_a_phone_shows_all_of_it_in_one_column(browser: Browser, server: Server) -> None:
    with somebody(browser, server.url, viewport=PHONE) as page:
        log_in(page)
        make(page, MODULE, "pocket")
        badge(page, "Running")
        one = page.url
        for path in [*READ, *OPERATE, one, f"{one}/delete"]:
            page.goto(path)
            wide = page.evaluate("() => document.documentElement.scrollWidth")
            assert wide <= PHONE["width"], path
        page.goto("/")
        picture(page, "phone")


def test_who_logs_out_is_out(page: Page) -> None:
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in")
    page.goto("/ui/usage")
    expect(page).to_have_url(re.compile(r"/login\?next="))


def test_a_stopped_server_is_seen_and_its_return_too(page: Page, server: Server) -> None:
    page.goto("/")
    light = page.locator("#live")
    expect(light).to_have_text("live")
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 10
    expect(light).to_have_text("not live")
    server.start()
    expect(light).to_have_text("live", timeout=20_000)
