"""One Nomad and as whom we come to it: calls, pages and errors, whatever they are about.

python-nomad carries the calls. What it lacks is done here over the same sessions: a namespace that
is always given (its own `Nomad` class lets the environment redirect every call, so only endpoint
classes are used), verified TLS, quoted ids, index headers, pages, and errors that say what to do.
What does not read as Nomad's never counts as an answer.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar
from urllib.parse import parse_qs, quote, urlsplit

import requests
import urllib3
from nomad.api.base import Requester
from nomad.api.exceptions import BaseNomadException
from pydantic_core import from_json

from reconciler.cluster import decode
from reconciler.cluster.posts import Posts, Refused
from reconciler.cluster.protocol import Listing
from reconciler.cluster.refusals import error_of
from reconciler.cluster.session import (
    CONNECT_S,
    Heard,
    Sessions,
    client_certificate,
    trusted,
    unheard,
)
from reconciler.errors import ClusterError, ClusterForbidden, ClusterUnavailable, JobRejected
from reconciler.jobs import Json
from reconciler.nomad_section import NomadSettings

log = logging.getLogger(__name__)
T = TypeVar("T")

PER_PAGE: Final = 1000
"""Items per page of a list; 1,000 jobs are some 0.6 MB."""


class Access:
    """The way to one Nomad, for everybody who calls it. Safe to use from any thread."""

    def __init__(self, settings: NomadSettings, heard: Heard = unheard) -> None:
        self._sessions = Sessions(settings, heard)
        self._address = settings.address.rstrip("/")
        self._options: dict[str, Any] = {
            "address": self._address,
            "token": settings.token,
            "region": settings.region,
            "timeout": (CONNECT_S, settings.timeout_s),
            "verify": trusted(settings),
            "cert": client_certificate(settings),
        }
        self._posts: dict[tuple[str, str], Posts] = {}
        if settings.skip_verify:
            log.warning("nomad's certificate is not verified: NOMAD_SKIP_VERIFY is set")
            # Said once, here; urllib3 would go on about it at every call.
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)

    @property
    def shown(self) -> str:
        """The address as people may see it, without a password."""
        where = urlsplit(self._address)
        return f"{where.scheme}://{where.netloc.rpartition('@')[2]}"

    def at(self, endpoint: type[Any], namespace: str) -> Any:
        """Return an endpoint of python-nomad that speaks for `namespace` on this thread's session.

        Making one costs two microseconds; the session with its connections is what is kept.
        """
        return endpoint(**self._options, namespace=namespace, session=self._sessions.here())

    def alone(self, endpoint: type[Any], *, silence_s: float) -> Any:
        """Return an endpoint with a connection of its own, for an answer that never ends."""
        options = {**self._options, "timeout": (CONNECT_S, silence_s)}
        return endpoint(**options, session=self._sessions.own())

    def post(self, path: str, namespace: str, body: Json) -> Json:
        """POST `body` where every deployment has to; return the answer.

        Raises: what python-nomad does where Nomad refuses, or where no answer comes.
        """
        posts = self._posts.get((path, namespace))
        if posts is None:
            # Of two threads that come first together each makes one; both are good.
            posts = self._posts[path, namespace] = self._posts_to(path, namespace)
        try:
            return posts.send(body)
        except Refused as refused:
            raise BaseNomadException(refused.answer) from refused

    def _posts_to(self, path: str, namespace: str) -> Posts:
        options, session = self._options, self._sessions.here()
        region, token = options["region"], options["token"]
        asked = requests.Request(
            "POST",
            f"{self._address}/v1/{path}",
            params={"namespace": namespace, **({"region": region} if region else {})},
            headers={"X-Nomad-Token": token} if token else {},
        )
        return Posts(
            session.prepare_request(asked),
            self._sessions.adapter,
            verify=options["verify"],
            cert=options["cert"],
            timeout_s=options["timeout"],
            heard=self._sessions.heard,
        )

    def pages(
        self,
        endpoint: type[Requester],
        read: Callable[[Json], T],
        params: dict[str, str],
        *,
        namespace: str,
        per_page: int = PER_PAGE,
    ) -> Iterator[Listing[T]]:
        """List page by page, each decoded with `read`."""
        token: str | None = None
        while token != "":
            # python-nomad leaves the namespace out of some endpoints where it is not said here.
            place = {"namespace": namespace, "per_page": per_page, "next_token": token}
            response = self.at(endpoint, namespace).request(method="get", params=params | place)
            # This reader gives equal texts as one: a hundred thousand jobs share most of theirs.
            items = [read(item) for item in from_json(response.content)]
            yield Listing(int(response.headers["X-Nomad-Index"]), items)
            token = response.headers.get("X-Nomad-Nexttoken", "")

    def require_list(self, endpoint: type[Requester], *, namespace: str) -> None:
        """List the first of `namespace`, whatever it is. Raises: where our token may not."""
        next(self.pages(endpoint, lambda _: None, {}, namespace=namespace, per_page=1))

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Turn whatever a call can end in into what the caller should do about it."""
        try:
            yield
        except BaseNomadException as error:
            raise self._error(error) from error
        except OSError as error:
            raise self._no_answer(error) from error
        except decode.UNREADABLE as error:
            raise ClusterUnavailable(
                f"the answer from {self._address} is not Nomad's: {type(error).__name__}: {error}"
            ) from error

    def _error(self, error: BaseNomadException) -> ClusterError:
        answer = error.nomad_resp
        if not isinstance(answer, requests.Response):
            return self._no_answer(answer)
        found = error_of(answer.status_code, answer.text)
        if isinstance(found, ClusterForbidden):
            return ClusterForbidden(f"{_asked(answer.request)}: {found}")
        return found

    def _no_answer(self, error: BaseException) -> ClusterUnavailable:
        return ClusterUnavailable(f"no answer from Nomad at {self._address}: {_root(error)}")


def joined(listings: Iterable[Listing[T]]) -> Listing[T]:
    """Return several lists as one, at least as new as the oldest of them."""
    parts = list(listings)
    return Listing(
        min(part.index for part in parts), [item for part in parts for item in part.items]
    )


def segment(text: str) -> str:
    """Quote one segment of a path; python-nomad quotes nothing."""
    if text in {"", ".", ".."}:
        raise JobRejected(f"{text!r} can't be named in a URL: choose another id")
    return quote(text, safe="")


def _asked(request: requests.PreparedRequest) -> str:
    """Return what was asked for, and where: whoever mends a policy needs both."""
    url = urlsplit(request.url or "")
    namespaces = parse_qs(url.query).get("namespace", [])
    return " ".join([f"{request.method} {url.path}", *(f"in namespace {n}" for n in namespaces)])


def _root(error: BaseException) -> BaseException:
    """Return what an error began with: the libraries wrap "connection refused" four times."""
    while (before := error.__cause__ or error.__context__) is not None:
        error = before
    return error
