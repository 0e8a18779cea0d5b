"""The tags of images: asked of Docker Hub and of registries (OCI distribution, API v2), and kept.

A form must not wait for them: what is too old is shown while it is asked for anew, and who finds
nothing waits for a moment only. Credentials are never sent; a registry that wants a token gets the
anonymous one that it offers.
"""

import logging
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final
from urllib.parse import quote, urlencode, urljoin, urlsplit

from reconciler.catalog.hosts import Refused
from reconciler.catalog.http import Answer, Http, Unreachable
from specs.faults import InvalidSpec
from specs.images import is_digest, is_repository, is_tag, split_reference
from specs.json_text import UnreadableJson, read_json
from specs.timed import Deadline

log = logging.getLogger(__name__)

MAX_IMAGES: Final = 1_000
MAX_TAGS: Final = 1_000
MAX_PAGES: Final = 10
PAGE: Final = 100

ASKING: Final = 4
"""Images that are asked for at the same time."""

WAITING: Final = 64
"""Images that wait for that; of more nothing new is learnt now."""

FAILED_S: Final = 30.0
"""How long an image is not asked for again after a failure."""

PATIENCE: Final = 4
"""How many times longer than a form waits an answer may take: the next form has it."""

DOCKER_HUB: Final = "docker.io"

_CHALLENGE: Final = re.compile(r'(realm|service)="([!#-~ ]{1,1000})"')
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/=-]{1,16384}", re.ASCII)
_NEXT: Final = re.compile(r'<([!-;=?-~]{1,2000})>\s*;\s*rel="?next"?')


@dataclass(frozen=True, slots=True)
class _Known:
    """The tags of an image, and until when they need not be asked for."""

    tags: Sequence[str]
    until: float


class Registry:
    """Knows the tags of images. Safe to use from any thread.

    `hub` is the address of Docker Hub's own API, None: it is asked as any registry is. `mirrors`
    are the addresses of registries by their names in images, where that is not https://<name>.
    """

    def __init__(
        self,
        open_http: Callable[[], Http],
        *,
        hub: str | None,
        mirrors: Mapping[str, str],
        cache_s: float,
        timeout_s: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open_http = open_http
        self._hub = hub.rstrip("/") if hub else None
        self._mirrors = mirrors
        self._cache_s = cache_s
        self._timeout_s = timeout_s
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._asking: dict[str, Future[Sequence[str]]] = {}
        self._pool = ThreadPoolExecutor(ASKING, thread_name_prefix="registry")

    def tags(self, image: str) -> Sequence[str]:
        """Return the tags of an image in its registry's order, none where that can't be known now.

        Docker Hub's order is the newest first. It takes at most `timeout_s`.
        """
        repository, _ = split_reference(image)
        if not is_repository(repository):
            return ()
        with self._lock:
            known = self._known.get(repository)
            if known is not None:
                self._known.move_to_end(repository)
                if self._monotonic() < known.until:
                    return known.tags
            asked = self._asking.get(repository) or self._ask(repository)
        if asked is None or (known is not None and known.tags):
            return known.tags if known else ()
        with suppress(TimeoutError):
            return asked.result(self._timeout_s)
        return ()

    def close(self) -> None:
        """Ask nobody any more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _ask(self, repository: str) -> Future[Sequence[str]] | None:
        """Have the image asked for; None where too many are. The lock is held."""
        if len(self._asking) >= ASKING + WAITING:
            return None
        try:
            asked = self._pool.submit(self._learn, repository)
        except RuntimeError:  # it is closed
            return None
        self._asking[repository] = asked
        return asked

    def _learn(self, repository: str) -> Sequence[str]:
        tags: Sequence[str] | None = None
        until = self._monotonic() + FAILED_S
        try:
            tags, until = self._fetched(repository), self._monotonic() + self._cache_s
        except (Refused, Unreachable, _NoTags) as error:
            log.warning("tags not read", extra={"image": repository, "error": str(error)})
        except Exception:  # the top of the thread: whoever waits gets an answer
            log.exception("tags not read", extra={"image": repository})
        with self._lock:
            before = self._known.get(repository)
            if tags is None:
                tags = before.tags if before else ()
            self._known[repository] = _Known(tags, until)
            self._known.move_to_end(repository)
            while len(self._known) > MAX_IMAGES:
                self._known.popitem(last=False)
            self._asking.pop(repository, None)
        return tags

    def _fetched(self, repository: str) -> Sequence[str]:
        deadline = Deadline(self._timeout_s * PATIENCE, self._monotonic)
        host, path = registry_and_path(repository)
        with self._open_http() as http:
            if host == DOCKER_HUB and self._hub is not None:
                found = _from_hub(http, self._hub, path, deadline)
            else:
                base = self._mirrors.get(host, f"https://{host}").rstrip("/")
                found = _from_registry(http, base, path, deadline)
            named = (tag for tag in found if isinstance(tag, str) and is_tag(tag))
            good = (tag for tag in named if not is_digest(tag))
            return tuple(dict.fromkeys(islice(good, MAX_TAGS)))


class _NoTags(Exception):
    """The registry answers, but not with tags."""


def registry_and_path(repository: str) -> tuple[str, str]:
    """Return a repository's registry and its path there, as `docker pull` understands it."""
    first, slash, rest = repository.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        host, path = first, rest
    else:
        host, path = DOCKER_HUB, repository
    if host in {DOCKER_HUB, "index.docker.io"}:
        return DOCKER_HUB, path if "/" in path else f"library/{path}"
    return host, path


def _from_hub(http: Http, hub: str, path: str, deadline: Deadline) -> Iterator[object]:
    url: object = f"{hub}/v2/repositories/{path}/tags?page_size={PAGE}"
    for page in range(MAX_PAGES):
        if not isinstance(url, str) or (page and not _same_origin(url, hub)):
            return
        tree = _tree(http.get(url, deadline))
        for result in _list(tree, "results"):
            yield result.get("name") if isinstance(result, dict) else None
        url = tree.get("next")


def _from_registry(http: Http, base: str, path: str, deadline: Deadline) -> Iterator[object]:
    url, token = f"{base}/v2/{path}/tags/list?n={PAGE}", ""
    for _ in range(MAX_PAGES):
        answer = http.get(url, deadline, token=token)
        if answer.status == 401 and not token:
            token = _anonymous(http, answer, path, deadline)
            answer = http.get(url, deadline, token=token)
        yield from _list(_tree(answer), "tags")
        following = _NEXT.search(answer.headers.get("link", ""))
        if following is None:
            return
        url = urljoin(url, following[1])
        if not _same_origin(url, base):
            return


def _anonymous(http: Http, answer: Answer, path: str, deadline: Deadline) -> str:
    """Return the token that anybody gets for reading the repository.

    What the registry says decides only whom to ask, among the allowed, and in whose name.
    """
    challenge = answer.headers.get("www-authenticate", "")
    found = dict(_CHALLENGE.findall(challenge))
    if not challenge.lower().startswith("bearer ") or "realm" not in found:
        raise _NoTags("it wants a login")
    asked = {"service": found.get("service", ""), "scope": f"repository:{path}:pull"}
    realm = found["realm"]
    url = f"{realm}{'&' if '?' in realm else '?'}{urlencode(asked, quote_via=quote)}"
    tree = _tree(http.get(url, deadline))
    token = tree.get("token") or tree.get("access_token")
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise _NoTags("it gives no token to read with")
    return token


def _tree(answer: Answer) -> Mapping[str, Any]:
    if answer.status != 200:
        raise _NoTags(f"it answers {answer.status}")
    try:
        tree: Any = read_json(answer.body, "the answer")
    except (UnreadableJson, InvalidSpec):
        raise _NoTags("it answers no JSON") from None
    if not isinstance(tree, dict):
        raise _NoTags("it answers no JSON object")
    return tree


def _list(tree: Mapping[str, Any], key: str) -> Sequence[object]:
    value = tree.get(key)
    return value if isinstance(value, list) else ()


def _same_origin(url: str, base: str) -> bool:
    try:
        return urlsplit(url)[:2] == urlsplit(base)[:2]
    except ValueError:
        return False
