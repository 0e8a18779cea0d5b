"""The tags of images: Docker Hub, registries, and what they must not make us do."""

import json
import ssl
import threading
from functools import partial

import pytest

from reconciler.catalog.hosts import Hosts
from reconciler.catalog.http import Http
from reconciler.catalog.registry import FAILED_S, MAX_IMAGES, Registry, registry_and_path
from tests.catalog_server import CatalogServer, fails, hangs, says, sends_to, trickles
from tests.provider import Trap

HUB = "/v2/repositories/team/plants/tags?page_size=100"
LIST = "/v2/team/plants/tags/list?n=100"


class Site:
    """A registry's server, and whoever asks it; time stands still but for the test."""

    def __init__(self, server):
        self.server = server
        self.now = 0.0
        self.registry = self.asking()

    def asking(self, *, timeout_s=20.0, clock=True):
        return Registry(
            partial(Http, Hosts([self.server.host]), ssl.create_default_context()),
            hub=self.server.origin,
            mirrors={"registry.example.org": self.server.origin},
            cache_s=3600,
            timeout_s=timeout_s,
            **({"monotonic": lambda: self.now} if clock else {}),
        )

    def settle(self):
        """Wait for what is asked in the background."""
        for asked in list(self.registry._asking.values()):
            asked.result()


@pytest.fixture
def site():
    with CatalogServer(0) as server:
        site = Site(server)
        yield site
        server.ended.set()
        site.registry.close()


def hub(*names, following=None):
    page = {"next": following, "results": [{"name": name} for name in names]}
    return says(json.dumps(page).encode())


def listed(*names):
    return json.dumps({"name": "team/plants", "tags": names}).encode()


def test_docker_hub_is_asked_page_by_page_and_its_order_stays(site):
    site.server.files[HUB] = hub("gpu", "latest", following=f"{site.server.origin}/next")
    site.server.files["/next"] = hub("cpu", "latest")
    assert site.registry.tags("team/plants") == ("gpu", "latest", "cpu")
    assert site.registry.tags("docker.io/team/plants:gpu") == ("gpu", "latest", "cpu")


def test_a_registry_is_asked_page_by_page(site):
    more = '</v2/team/plants/tags/list?n=100&last=b>; rel="next"'
    site.server.files[LIST] = lambda h: h.answer(200, listed("a", "b"), Link=more)
    site.server.files["/v2/team/plants/tags/list?n=100&last=b"] = listed("c")
    assert site.registry.tags("registry.example.org/team/plants") == ("a", "b", "c")


def test_a_registry_that_wants_a_token_gets_the_anonymous_one(site):
    origin = site.server.origin

    def guarded(handler):
        if handler.headers.get("Authorization") == "Bearer any.one":
            handler.answer(200, listed("a"))
        else:
            asks = f'Bearer realm="{origin}/token",service="reg",scope="repository:other:push"'
            handler.answer(401, WWW_Authenticate=asks)

    site.server.files[LIST] = guarded
    wanted = "/token?service=reg&scope=repository%3Ateam%2Fplants%3Apull"
    site.server.files[wanted] = b'{"token": "any.one"}'
    assert site.registry.tags("registry.example.org/team/plants") == ("a",)


@pytest.mark.parametrize(
    "challenge",
    [
        'Bearer realm="http://127.0.0.1:{port}/token"',
        'Bearer realm="http://169.254.169.254/latest/meta-data/"',
        'Bearer realm="file:///etc/passwd"',
        'Basic realm="x"',
        "Bearer",
        "",
    ],
)
def test_a_challenge_leads_nowhere_else(site, challenge):
    with Trap() as trap:
        asks = challenge.replace("{port}", str(trap.port))
        site.server.files[LIST] = lambda h: h.answer(401, WWW_Authenticate=asks)
        assert site.registry.tags("registry.example.org/team/plants") == ()
        assert not trap.caught


@pytest.mark.parametrize("token", [b'{"token": "a\\r\\nX: y"}', b'{"token": 5}', b"{}", b"["])
def test_a_token_that_is_none_is_not_sent(site, token):
    asks = f'Bearer realm="{site.server.origin}/token"'
    site.server.files[LIST] = lambda h: h.answer(401, WWW_Authenticate=asks)
    site.server.files["/token?service=&scope=repository%3Ateam%2Fplants%3Apull"] = says(token)
    assert site.registry.tags("registry.example.org/team/plants") == ()
    assert not any({"X", "Authorization"} & headers.keys() for headers in site.server.headers)


@pytest.mark.parametrize(
    "fault",
    [
        *(fails(404), fails(429), fails(500), says(b""), says(b"[]"), says(b"{"), says(b"5")),
        *(says(b'{"results": 5}'), says(b'{"results": [5, {"name": 5}, {"name": "a b"}]}')),
        *(says(b'{"results": [{"name": "sha256:' + b"0" * 64 + b'"}]}'), sends_to("{path}")),
        *(sends_to("http://10.0.0.1/"), says(b"x" * 2_000_000)),
    ],
)
def test_no_tags_are_no_failure(site, fault):
    site.server.files[HUB] = fault
    assert site.registry.tags("team/plants") == ()


def test_a_next_page_elsewhere_is_not_asked(site):
    with Trap() as trap:
        site.server.files[HUB] = hub("a", following=f"http://127.0.0.1:{trap.port}/")
        assert site.registry.tags("team/plants") == ("a",)
        assert not trap.caught


def test_pages_without_end_end(site):
    site.server.files[HUB] = hub("a", following=site.server.origin + HUB)
    assert site.registry.tags("team/plants") == ("a",)
    assert len(site.server.seen) == 10


@pytest.mark.parametrize("image", ["evil.net/a", "127.0.0.1:4646/v1/jobs", "localhost/a"])
def test_c20_a_registry_that_is_not_named_is_not_asked(site, image):
    assert site.registry.tags(image) == ()
    assert site.server.seen == []


@pytest.mark.parametrize("image", ["", "../a", "a/../b", "https://a/b", "A B", "a?x=1", "a" * 300])
def test_what_is_no_image_is_not_asked_for(site, image):
    assert site.registry.tags(image) == ()
    assert site.server.seen == []


@pytest.mark.parametrize("fault", [hangs, trickles])
def test_a_form_does_not_wait_long(site, fault):
    site.server.files[HUB] = fault
    registry = site.asking(timeout_s=0.05, clock=False)
    assert registry.tags("team/plants") == ()
    registry.close()


def test_what_is_too_old_is_shown_while_it_is_asked_for(site):
    site.server.files[HUB] = hub("old")
    assert site.registry.tags("team/plants") == ("old",)
    site.server.files[HUB] = hub("new")
    assert site.registry.tags("team/plants") == ("old",)
    assert len(site.server.seen) == 1
    site.now = 3601
    assert site.registry.tags("team/plants") == ("old",)
    site.settle()
    assert site.registry.tags("team/plants") == ("new",)


def test_a_failure_leaves_what_is_known_and_is_not_repeated_at_once(site):
    site.server.files[HUB] = hub("old")
    site.registry.tags("team/plants")
    site.server.files[HUB] = fails(500)
    site.now = 3601
    for _ in range(3):
        assert site.registry.tags("team/plants") == ("old",)
        site.settle()
    assert len(site.server.seen) == 2
    site.now += FAILED_S
    site.registry.tags("team/plants")
    site.settle()
    assert len(site.server.seen) == 3


def test_many_who_ask_at_once_are_one_question(site):
    begun, go = threading.Event(), threading.Event()

    def slow(handler):
        begun.set()
        go.wait(20)
        hub("a")(handler)

    site.server.files[HUB] = slow
    found = []
    asking = [
        threading.Thread(target=lambda: found.append(site.registry.tags("team/plants")))
        for _ in range(8)
    ]
    for thread in asking:
        thread.start()
    begun.wait(20)
    go.set()
    for thread in asking:
        thread.join()
    assert found == [("a",)] * 8
    assert len(site.server.seen) == 1


def test_what_is_kept_is_bounded(site):
    for number in range(MAX_IMAGES + 10):
        site.registry._known[f"team/x{number}"] = None
    site.server.files[HUB] = hub("a")
    site.registry.tags("team/plants")
    assert len(site.registry._known) == MAX_IMAGES


def test_images_are_understood_as_docker_does():
    assert registry_and_path("python") == ("docker.io", "library/python")
    assert registry_and_path("team/a") == ("docker.io", "team/a")
    assert registry_and_path("index.docker.io/team/a") == ("docker.io", "team/a")
    assert registry_and_path("ghcr.io/team/a") == ("ghcr.io", "team/a")
    assert registry_and_path("localhost/a") == ("localhost", "a")
    assert registry_and_path("host:5000/a/b") == ("host:5000", "a/b")
