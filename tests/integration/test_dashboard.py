"""The page over HTTP: who sees what, what forms do, and that nobody's text ever runs."""

from urllib.parse import quote

import httpx
import pytest

from api.operations import OrphanView
from api.schemas import ComparisonView, FieldView
from specs.catalog.reads import CatalogRead, ModuleRead
from specs.intake import DeletionBudget, SourcedWish, SourceRead, take_in
from specs.model import AllocationStatus, Event, JobStatus, Phase
from specs.wish import wish_of_manifest
from tests.integration.conftest import VOS
from tests.pages import Page, dangers

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
ATTACK = "\"><script>alert(1)</script><img src=x onerror=alert(2)>'{{7*7}}"
PATHS = ["/", "/ui/new", "/ui/nodes", "/ui/usage", "/ui/events", "/ui/trash"]
OPERATORS = ["/ui/reconciler", "/ui/sources", "/?owner=*", "/ui/events?owner=*"]


class Browser:
    """A browser with its own cookies, logged in or not."""

    def __init__(self, url: str, token: str = "") -> None:
        self.client = httpx.Client(
            base_url=url, trust_env=False, headers=HTML | {"Sec-Fetch-Site": "same-origin"}
        )
        if token:
            answer = self.client.post("/login", data={"token": token})
            assert answer.status_code == 303, answer.text

    def get(self, path: str, status: int = 200, **options) -> Page:
        answer = self.client.get(path, **options)
        assert answer.status_code == status, answer.text
        return shown(answer)

    def send(self, page: Page, action: str, **fields: str) -> httpx.Response:
        """Send a form of a page, with some of its fields changed."""
        return self.client.post(action, data=page.forms[action] | fields)


def shown(answer: httpx.Response) -> Page:
    page = Page(answer.text)
    assert dangers(page) == []
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return page


@pytest.fixture
def browse(server):
    """Give a browser in which `caller` is logged in; without one, in which nobody is."""
    browsers = []

    def opened(caller=None):
        browser = Browser(server.url, caller.token if caller else "")
        browsers.append(browser)
        return browser

    yield opened
    for browser in browsers:
        browser.client.close()


@pytest.fixture
def browser(browse, me):
    return browse(me)


@pytest.fixture
def made(me, manifest):
    """Create a deployment of `me`; return its uid."""

    def make(name="train-a", **spec):
        answer = me.post("/v1/specs", json=manifest(name, **spec))
        assert answer.status_code == 201, answer.text
        return answer.json()["metadata"]["uid"]

    return make


def test_the_root_is_a_page_for_browsers_and_json_for_everybody_else(server, browser):
    assert "Your deployments" in browser.get("/").text
    for accept in [
        "*/*",
        "application/json",
        "text/html;q=0.5,application/json",
        "",
        "text/html;q=x",
    ]:
        answer = browser.client.get("/", headers={"Accept": accept})
        assert answer.json()["versions"] == ["v1"], accept
        assert "Accept" in answer.headers["vary"]


def test_a_page_gets_its_own_parts_from_the_root_too(browser):
    answer = browser.client.get("/", headers={"Accept": "*/*", "HX-Request": "true"})
    assert "Your deployments" in shown(answer).text


def test_a_part_for_who_is_not_logged_in_any_more_leads_to_the_login(browse):
    answer = browse().client.get("/", headers={"HX-Request": "true"})
    assert (answer.status_code, answer.headers["hx-redirect"]) == (204, "/login")


@pytest.mark.parametrize("path", [*PATHS, *OPERATORS])
def test_who_is_not_logged_in_is_sent_to_do_that_and_back(browse, path):
    answer = browse().client.get(path)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/login?next=")
    assert "location" in answer.headers
    assert answer.content == b""


@pytest.mark.parametrize("path", [*PATHS, *OPERATORS, "/login", "/ui/nothing"])
def test_every_page_forbids_what_is_not_ours_and_has_nothing_inline(browse, server, path):
    browser = browse(server.caller(operator=True))
    answer = browser.client.get(path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert {"frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} <= {
        part.strip() for part in policy.split(";")
    }
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert answer.headers["cache-control"] == "no-store"
    page = shown(answer)
    for asset in [*page.all("script"), *page.all("link")]:
        address = asset.get("src") or asset["href"]
        found = browser.client.get(address)
        assert found.status_code == 200
        assert "immutable" in found.headers["cache-control"]


def test_the_pages_are_not_in_the_openapi_document(server):
    paths = server.client.get("/openapi.json").json()["paths"]
    assert not [path for path in paths if path.startswith(("/ui", "/login", "/auth", "/logout"))]


def test_a_wrong_token_lets_nobody_in_and_is_not_repeated(browse):
    answer = browse().client.post("/login", data={"token": "somebody-else"})
    assert answer.status_code == 401
    assert "somebody-else" not in answer.text
    assert "set-cookie" not in answer.headers


def test_the_session_is_a_cookie_that_no_script_reads(browse, me):
    answer = browse().client.post("/login", data={"token": me.token})
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "Path=/", "SameSite=lax"} <= {p.strip() for p in cookie.split(";")}
    assert me.token not in cookie


def test_no_page_shows_the_token(browser, me, made):
    made()
    for path in [*PATHS, f"/ui/d/{VOS[0]}/train-a"]:
        text = browser.client.get(path).text
        # The name of these users is their token: it stands there as their name only.
        assert f'value="{me.token}"' not in text


def test_who_logged_out_is_out(browser):
    page = browser.get("/")
    assert browser.send(page, "/logout").status_code == 303
    assert browser.client.get("/").status_code == 303


def test_a_session_that_was_changed_is_none(browser, browse):
    (name, value), *_ = browser.client.cookies.items()
    other = browse().client
    other.cookies.set(name, value[:-4] + "AAAA")
    assert other.get("/").status_code == 303
    other.cookies.set(name, "9~" + value)
    assert other.get("/").status_code == 303


def test_a_deployment_says_in_words_how_it_is(server, browser, made):
    uid = made(general={"title": "Birds"})
    server.tell(uid, Phase.QUEUED, message="needs 2 GPUs of model X; 3 nodes have it, none is free")
    row = browser.get("/").text
    assert "Queued train-a Birds · vo.ai4eosc.eu needs 2 GPUs of model X" in row
    page = browser.get(f"/ui/d/{VOS[0]}/train-a")
    assert "needs 2 GPUs of model X" in page.text


def test_endpoints_open_when_it_is_ready_and_only_as_web_addresses(server, browser, made):
    uid = made()
    doors = {"deepaas": "http://192.0.2.1:5000", "lab": "javascript:alert(1)", "x": "//evil"}
    server.tell(uid, Phase.STARTING, endpoints=doors)
    links = [a["href"] for a in browser.get("/").all("a")]
    assert "http://192.0.2.1:5000" not in links
    server.tell(uid, Phase.RUNNING, ready=True, endpoints=doors)
    outside = [a for a in browser.get("/").all("a") if not a["href"].startswith(("/", "#"))]
    assert [a["href"] for a in outside] == ["http://192.0.2.1:5000"]
    assert outside[0]["rel"] == "noopener noreferrer"


def test_what_somebody_wrote_is_shown_and_never_runs(server, browser, me, manifest, made):
    uid = made(general={"title": ATTACK[:45], "desc": ATTACK})
    patch = {"metadata": {"annotations": {"note": ATTACK}}}
    headers = {"Content-Type": "application/merge-patch+json"}
    assert me.patch("/v1/specs/train-a", json=patch, headers=headers).status_code == 200
    server.tell(uid, Phase.DEGRADED, message=ATTACK, hint=ATTACK, reason=ATTACK)
    status = server.store.get(uid).status
    event = Event(ATTACK, ATTACK, kind="Warning", actor=ATTACK, source=ATTACK)
    assert server.store.put_status(uid, status, applied=None, seen_index=2, events=[event])
    one = f"/ui/d/{VOS[0]}/train-a"
    for path in ["/", one, "/ui/events"]:
        assert ATTACK in browser.get(path).text, path
    browser.get(f"{one}/delete")


def test_what_a_module_says_is_shown_and_never_runs(server, browser):
    document = {"title": ATTACK, "summary": ATTACK, "keywords": [ATTACK]}
    broken = ModuleRead("broken", "v1", "1", fault=ATTACK)
    reads = [ModuleRead("attack", "v1", "1", document), broken]
    server.store.put_catalog("attacks", CatalogRead(reads), rank=0)
    server.app.state.catalog._good_until = 0.0
    try:
        page = browser.get("/ui/new?q=alert")
        assert ATTACK in page.text
        assert page.forms["/ui/new"]["q"] == "alert"
        assert ATTACK in browser.get("/ui/new/attack").text
        browser.get(f"/ui/new?q={quote(ATTACK)}")
    finally:
        server.store.put_catalog("attacks", CatalogRead([]), rank=0)
        server.app.state.catalog._good_until = 0.0


def test_a_page_that_is_not_there_says_so_as_a_page(browser):
    assert "there is no such page" in browser.get("/ui/nothing", 404).text
    browser.get(f"/ui/d/{VOS[0]}/none", 404)
    browser.get("/ui/u/none", 404)


def test_other_peoples_are_not_found(browse, someone_else, made):
    uid = made()
    other = browse(someone_else)
    for path in [f"/ui/d/{VOS[0]}/train-a", f"/ui/d/{VOS[0]}/train-a/diff", f"/ui/u/{uid}"]:
        other.get(path, 404)
    assert "train-a" not in other.get("/").text
    assert other.client.get("/?owner=*").status_code == 403
    assert other.client.get("/ui/events?owner=*").status_code == 403
    for path in ["/ui/reconciler", "/ui/reconciler/now", "/ui/sources"]:
        assert other.client.get(path).status_code == 403


def test_operators_reach_everybodys(browse, server, me, made):
    uid = made()
    operator = browse(server.caller(operator=True))
    page = operator.get("/?owner=*")
    assert me.token in page.text
    path = operator.client.get(f"/ui/u/{uid}").headers["location"]
    one = operator.get(path)
    (suspend,) = [action for action in one.forms if "/suspend" in action]
    assert operator.send(one, suspend).status_code == 303
    assert me.get("/v1/specs/train-a").json()["spec"]["suspend"] is True


def test_an_auditor_reads_and_no_more(browse, server, made):
    uid = made()
    auditor = browse(server.caller(auditor=True))
    one = auditor.get(auditor.client.get(f"/ui/u/{uid}").headers["location"])
    assert [action for action in one.forms if action.startswith("/ui/d/")] == []


def test_the_buttons_do_what_they_say(browser, me, made, manifest):
    made()
    path = f"/ui/d/{VOS[0]}/train-a"

    def press(action, **fields):
        answer = browser.send(browser.get(path), f"{path}/{action}", **fields)
        assert (answer.status_code, answer.headers["location"]) == (303, path)
        return me.get("/v1/specs/train-a").json()

    assert press("suspend")["spec"]["suspend"] is True
    assert press("resume")["spec"]["suspend"] is False
    assert press("restart")["spec"]["restart"] == 1
    assert press("restart")["spec"]["restart"] == 2
    assert press("reconcile")["spec"]["restart"] == 2
    me.put("/v1/specs/train-a", json=manifest(hardware={"ram": 9000}))
    rolled = press("rollback", generation="1")
    assert rolled["metadata"]["pinnedGeneration"] == 1


def test_a_deletion_is_asked_for_twice_and_can_be_taken_back(server, browser, me, made):
    uid = made()
    path = f"/ui/d/{VOS[0]}/train-a"
    asked = browser.get(f"{path}/delete")
    assert "stays in the trash for 7 days" in asked.text
    assert "deletionTimestamp" not in me.get("/v1/specs/train-a").json()["metadata"]
    assert browser.send(asked, f"{path}/delete").status_code == 303
    assert "Deleting" in browser.get(path).text
    server.finish_deletion(uid)
    browser.get(path, 404)
    trash = browser.get("/ui/trash")
    assert "train-a" in trash.text
    answer = browser.send(trash, f"/ui/trash/{VOS[0]}/train-a/undelete")
    assert (answer.status_code, answer.headers["location"]) == (303, path)
    browser.get(path)


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "SELF"},
    ],
)
def test_what_another_sites_page_sends_is_refused(server, browser, me, made, headers):
    made()
    path = f"/ui/d/{VOS[0]}/train-a"
    form = browser.get(path).forms[f"{path}/suspend"]
    headers = {k: server.url if v == "SELF" else v for k, v in headers.items()}
    answer = browser.client.post(f"{path}/suspend", data=form, headers=headers)
    assert answer.status_code == 403
    assert me.get("/v1/specs/train-a").json()["spec"]["suspend"] is False
    assert (
        browser.client.post("/login", data={"token": me.token}, headers=headers).status_code == 403
    )


def test_where_the_browser_says_no_site_the_origin_decides(server, browser, made):
    made()
    path = f"/ui/d/{VOS[0]}/train-a"
    form = browser.get(path).forms[f"{path}/suspend"]
    del browser.client.headers["Sec-Fetch-Site"]
    for origin, status in [("https://evil.example", 403), ("null", 403), (server.url, 303)]:
        answer = browser.client.post(f"{path}/suspend", data=form, headers={"Origin": origin})
        assert answer.status_code == status, origin


@pytest.mark.parametrize("proof", [None, "", "x", "of-another"])
def test_a_form_without_the_sessions_proof_does_nothing(browse, me, made, proof, someone_else):
    made()
    path = f"/ui/d/{VOS[0]}/train-a"
    browser = browse(me)
    form = dict(browser.get(path).forms[f"{path}/suspend"])
    form["proof-that-was"] = form.pop("proof")
    if proof == "of-another":
        proof = browse(someone_else).get("/").forms["/logout"]["proof"]
    if proof is not None:
        form["proof"] = proof
    assert browser.client.post(f"{path}/suspend", data=form).status_code == 403
    assert me.get("/v1/specs/train-a").json()["spec"]["suspend"] is False


def test_a_get_changes_nothing(browser, me, made):
    made()
    path = f"/ui/d/{VOS[0]}/train-a"
    for action in ["suspend", "resume", "restart", "rollback", "reconcile"]:
        assert browser.client.get(f"{path}/{action}").status_code in (404, 405)
    assert me.get("/v1/specs/train-a").json()["metadata"]["generation"] == 1


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{}", "application/json", 415),
        (b"proof=%ff", "application/x-www-form-urlencoded", 422),
        ("proof=ü".encode(), "application/x-www-form-urlencoded", 422),
        (b"&".join(b"a%d=1" % n for n in range(300)), "application/x-www-form-urlencoded", 422),
        (b"", "application/x-www-form-urlencoded", 403),
    ],
)
def test_what_is_no_form_is_refused_in_words(browser, content, kind, status):
    answer = browser.client.post("/logout", content=content, headers={"Content-Type": kind})
    assert answer.status_code == status
    shown(answer)


def test_a_form_creates_what_it_shows(server, browser, me):
    path = "/ui/new/some-module"
    page = browser.get(path)
    action = f"{path}?vo={VOS[0]}"
    assert page.forms[action]["hardware.ram"] == "8000"
    fields = {
        "name": "birds",
        "general.title": "Birds & bees",
        "hardware.cpu_num": "2",
        "ttl": "7d",
    }
    answer = browser.send(page, action, **fields)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/ui/d/{VOS[0]}/birds")
    spec = me.get("/v1/specs/birds").json()["spec"]
    assert spec["general"]["title"] == "Birds & bees"
    assert (spec["hardware"]["cpu_num"], spec["module"], spec["ttl"]) == (2, "some-module", "7d")


def test_faults_stand_beside_their_fields_and_what_was_typed_stays(browser, me):
    path = "/ui/new/some-module"
    action = f"{path}?vo={VOS[0]}"
    bad = {"name": "Bad Name", "hardware.ram": "lots", "hardware.gpu_num": "99", "ttl": "soon"}
    answer = browser.send(browser.get(path), action, **bad)
    assert answer.status_code == 422
    page = shown(answer)
    wrong = {e["name"]: e["value"] for e in page.all("input") if "aria-invalid" in e}
    assert wrong == {
        "name": "Bad Name",
        "hardware.ram": "lots",
        "hardware.gpu_num": "99",
        "ttl": "soon",
    }
    for element in page.all("input"):
        for described in element.get("aria-describedby", "").split():
            assert f'id="{described}"' in answer.text


def test_a_secret_that_was_typed_is_not_sent_back(browser):
    path = "/ui/new/some-module"
    fields = {"name": "Bad Name", "general.jupyter_password": "hunter2hunter2"}
    answer = browser.send(browser.get(path), f"{path}?vo={VOS[0]}", **fields)
    assert answer.status_code == 422
    assert "hunter2" not in answer.text


def test_whether_it_would_fit_is_said_and_nothing_is_stored(told, browser, me):
    path = "/ui/new/some-module"
    form = browser.get(path).forms[f"{path}?vo={VOS[0]}"]

    def fit(**fields):
        answer = browser.client.post(f"{path}/fit?vo={VOS[0]}", data=form | fields)
        assert answer.status_code == 200
        return shown(answer).text

    told["plan"] = told["plan"].model_copy(update={"fits": True})
    assert "It would start now" in fit()
    told["plan"] = told["plan"].model_copy(update={"fits": False, "message": "no GPU is free"})
    assert "It would wait" in fit()
    assert "no GPU is free" in fit()
    assert "Not like this" in fit(**{"hardware.ram": "1"})
    assert me.get("/v1/specs").json()["items"] == []


def test_the_difference_is_asked_for_and_shown(told, browser, made):
    made()
    path = f"/ui/d/{VOS[0]}/train-a/diff"
    assert "What runs is what should run" in browser.get(path).text
    changes = (FieldView(path="Count", wanted=ATTACK, actual=2),)
    told["comparison"] = ComparisonView(effect="restarts", fits=True, changes=changes)
    page = browser.get(path)
    assert "restarts" in page.text
    assert ATTACK in page.text


def test_a_log_is_shown_as_text(server, browser, made, monkeypatch):
    uid = made()

    def read(*which, **how):
        yield f"\x1b[31m{ATTACK}\x1b[0m\n</pre>\n".encode()

    monkeypatch.setattr(server.app.state.logs, "_read", read)
    allocation = AllocationStatus(id="a1", client_status="complete")
    server.tell(uid, Phase.RUNNING, nomad=JobStatus(allocations=(allocation,)))
    path = f"/ui/d/{VOS[0]}/train-a/log"
    page = browser.get(path)
    assert f"{ATTACK} </pre>" in page.text
    assert "\x1b" not in page.text
    headers = {"Accept": "text/event-stream"}
    followed = browser.client.get(f"{path}/follow", headers=headers)
    assert followed.headers["content-type"].startswith("text/event-stream")
    assert ATTACK in followed.text


def test_a_log_that_is_not_there_says_so_and_other_peoples_is_not_found(
    browser, browse, someone_else, made
):
    made()
    path = f"/ui/d/{VOS[0]}/train-a/log"
    assert "has not started anywhere yet" in browser.get(path, 404).text
    other = browse(someone_else)
    other.get(path, 404)
    other.get(f"{path}/follow", 404)


def test_held_deletions_wait_for_an_operator(server, browse, me, manifest, etc_conf):
    def read(*names):
        wishes = [
            SourcedWish(
                owner=me.owner,
                owner_name=me.token,
                wish=wish_of_manifest(manifest(name), etc_conf, vos=(VOS[0],)),
                provenance={"file": f"{name}.yaml"},
            )
            for name in names
        ]
        none_free = DeletionBudget(count=0, percent=0)
        take_in(server.store, SourceRead("pages/held", complete=True, wishes=wishes), none_free)

    read("held-a", "held-b")
    read("held-b")
    page = browse(me).get(f"/ui/d/{VOS[0]}/held-a")
    assert "its deletion is held" in page.text
    operator = browse(server.caller(operator=True))
    sources = operator.get("/ui/sources")
    assert "held-a of" in sources.text
    answer = operator.send(sources, "/ui/sources/confirm", source="pages/held")
    assert answer.status_code == 303
    assert "deletionTimestamp" in me.get("/v1/specs/held-a").json()["metadata"]
    mine = browse(me)
    proof = mine.get("/").forms["/logout"]["proof"]
    form = {"proof": proof, "source": "pages/held"}
    assert mine.client.post("/ui/sources/confirm", data=form).status_code == 403


def test_operators_see_orphans_and_drift(server, told, browse):
    told["orphans"] = [OrphanView(namespace="ai4eosc", job_id="lost-1")]
    page = browse(server.caller(operator=True)).get("/ui/reconciler")
    assert "ai4eosc/lost-1" in page.text
    assert "runs no loop" in page.text


def test_pages_of_the_past_lead_on(server, browser, made):
    made()
    page = browser.get("/ui/events?before=1")
    assert "Nothing has happened yet" in page.text
    assert browser.client.get("/ui/events?before=x").status_code == 422
