"""One HTTP request to the server, by the standard library alone (it is imported quickly).

No redirect is ever followed, so the token reaches exactly the server that was named. Certificates
are checked against the system's, or those in SSL_CERT_FILE. Proxies are not used: on plain http one
would read the token.
"""

import http.client
import json
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode

from api.cli.access import Access, Server
from api.cli.failures import Code, CommandFailed, NoAnswer, refused

TIMEOUT_S: Final = 30.0
"""How long the server may stay silent, beyond what it was asked to wait."""

EVERYBODY: Final = "*"
"""The owner of a list that holds everybody's deployments."""

OURS: Final = "Start a server, or name one with --server or AI4PAPI_SERVER."


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server answered; `body` is None where nothing changed since the given ETag."""

    body: Any
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class Client:
    """Asks one server with one token; holds no connection.

    `owner` says whose deployments are meant, by `sub` or `iss#sub`; None: the caller's own. For a
    list, `EVERYBODY`.
    """

    access: Access
    timeout_s: float = TIMEOUT_S
    owner: str | None = None

    def get(self, name: str, *, vo: str | None = None) -> Any:
        """Return the deployment `name`."""
        return self._ask("GET", path_of(name), query={"vo": vo}).body

    def list(self, *, vo: str | None = None) -> Iterator[Any]:
        """Yield all of the owner's deployments, newest first, page by page."""
        continue_: str | None = None
        while continue_ != "":
            page = self._ask("GET", "/v1/specs", query={"vo": vo, "continue": continue_}).body
            yield from page["items"]
            continue_ = page["metadata"].get("continue", "")

    def put(
        self, name: str, manifest: object, *, dry_run: bool = False, take_over: bool = False
    ) -> Any:
        """Create or replace the deployment `name`; return what is stored, or would be.

        `take_over`: also what belongs to a source of spec files.
        """
        query = {"dryRun": _flag(dry_run), "takeOver": _flag(take_over)}
        return self._ask("PUT", path_of(name), query=query, body=manifest).body

    def try_nameless(self, manifest: object) -> Any:
        """Have a manifest that names no deployment judged; nothing is stored."""
        return self.ask("POST", "/v1/specs", query={"dryRun": "true"}, body=manifest).body

    def delete(self, name: str, *, vo: str | None = None, take_over: bool = False) -> Any:
        """Ask for the end of the deployment `name`; return its record."""
        query = {"vo": vo, "takeOver": _flag(take_over)}
        return self._ask("DELETE", path_of(name), query=query).body

    def patch(
        self, name: str, patch: object, *, vo: str | None = None, take_over: bool = False
    ) -> Any:
        """Change parts of the deployment `name` (RFC 7396); return its record."""
        query = {"vo": vo, "takeOver": _flag(take_over)}
        return self._ask("PATCH", path_of(name), query=query, body=patch).body

    def events(self, name: str | None, *, vo: str | None = None) -> Iterator[Any]:
        """Yield what happened to one deployment, None: to all, oldest first, page by page."""
        path = "/v1/events" if name is None else path_of(name) + "/events"
        after: str | None = None
        while after != "":
            page = self._ask("GET", path, query={"vo": vo, "after": after}).body
            yield from page["items"]
            after = page["metadata"].get("continue", "")

    def history(self, name: str, *, vo: str | None = None) -> Sequence[Any]:
        """Return the revisions of the deployment `name`, newest first."""
        revisions: Sequence[Any] = self._about(name, "history", vo=vo)["items"]
        return revisions

    def rollback(self, name: str, generation: int, *, vo: str | None = None) -> Any:
        """Run an older generation of the deployment `name`; return its record."""
        path, body = path_of(name) + "/rollback", {"generation": generation}
        return self._ask("POST", path, query={"vo": vo}, body=body).body

    def undelete(self, name: str, *, vo: str | None = None) -> Any:
        """Take the deletion of `name` back; return its record."""
        return self._ask("POST", path_of(name) + "/undelete", query={"vo": vo}).body

    def trash(self) -> Sequence[Any]:
        """Return the owner's deleted deployments, the latest first."""
        deleted: Sequence[Any] = self._ask("GET", "/v1/trash", query={}).body["items"]
        return deleted

    def plan(self, name: str, *, vo: str | None = None) -> Any:
        """Return how what runs differs from what should, and what would be done about it."""
        return self._about(name, "plan", vo=vo)

    def sources(self) -> Sequence[Any]:
        """Return the sources of spec files."""
        sources: Sequence[Any] = self.ask("GET", "/v1/sources", query={}).body["items"]
        return sources

    def sync_source(self, source: str) -> None:
        """Have a source of spec files read now."""
        self.ask("POST", f"/v1/sources/{quote(source, safe='')}/sync", query={})

    def confirm_deletions(self, source: str) -> int:
        """Let the held deletions of a source through; return how many."""
        path = f"/v1/sources/{quote(source, safe='')}/confirm"
        return int(self.ask("POST", path, query={}).body["deleted"])

    def auth_config(self) -> Any:
        """Return how people log in to this server."""
        return self.ask("GET", "/v1/auth/config", query={}).body

    def schema(self) -> Any:
        """Return the JSON Schema of a spec file."""
        return self.ask("GET", "/v1/schema/deployment.json", query={}).body

    def modules(self, words: Sequence[str], *, tags: Sequence[str]) -> Sequence[Any]:
        """Return the modules in short that have all the words and all the tags."""
        query = {"q": " ".join(words) or None, "tags": ",".join(tags) or None}
        found: Sequence[Any] = self.ask("GET", "/v1/modules/summary", query=query).body
        return found

    def module(self, name: str) -> Any:
        """Return all that is known of a module."""
        return self.ask("GET", f"/v1/modules/metadata/{quote(name, safe='')}", query={}).body

    def form(self, module: str, *, vo: str | None = None) -> Any:
        """Return the form of a module, as the caller may fill it in in `vo`."""
        path = f"/v1/info/conf/{quote(module, safe='')}"
        return self.ask("GET", path, query={"vo": vo}).body

    def whoami(self) -> Any:
        """Return who the token is, with their roles by VO."""
        return self.ask("GET", "/v1/whoami", query={}).body

    def quota(self) -> Any:
        """Return what the caller and their VOs use, and how much they may."""
        return self.ask("GET", "/v1/quota", query={}).body

    def _about(self, name: str, part: str, *, vo: str | None) -> Any:
        return self._ask("GET", f"{path_of(name)}/{part}", query={"vo": vo}).body

    def status(
        self, name: str, *, vo: str | None, goal: str, etag: str | None, wait_s: int
    ) -> Answer:
        """Return the small status, waiting up to `wait_s` for one newer than `etag`."""
        query = {"vo": vo, "wait": f"{wait_s}s", "for": goal}
        path = path_of(name) + "/status"
        return self._ask("GET", path, query=query, etag=etag, patience_s=wait_s)

    def _ask(
        self, method: str, path: str, *, query: Mapping[str, str | None], **more: Any
    ) -> Answer:
        return self.ask(method, path, query={**query, "owner": self.owner}, **more)

    def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | None],
        body: object = None,
        etag: str | None = None,
        patience_s: float = 0,
    ) -> Answer:
        """Send one request. Raises: NoAnswer, Refused, CommandFailed."""
        server, headers = self.access.server, self._headers("application/json")
        raw = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            raw = json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
        if etag is not None:
            headers["If-None-Match"] = etag
        connection = connect(server, self.timeout_s + patience_s)
        try:
            connection.request(method, self._target(path, query), raw, headers)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise no_answer(error, server, hint=OURS, next_command=self._start_command()) from error
        finally:
            connection.close()
        return _answer(response, content, server=str(server))

    @contextmanager
    def stream(
        self,
        path: str,
        *,
        query: Mapping[str, str | None],
        accept: str,
        silence_s: float | None = None,
        last_event_id: str | None = None,
    ) -> Iterator[http.client.HTTPResponse]:
        """Give an answer that is read as it comes; `silence_s` is how long it may say nothing.

        Raises: NoAnswer, also where it breaks off; Refused, CommandFailed.
        """
        server, headers = self.access.server, self._headers(accept)
        if last_event_id:
            headers["Last-Event-ID"] = last_event_id
        query = {**query, "owner": self.owner}
        connection = connect(server, self.timeout_s)
        try:
            connection.request("GET", self._target(path, query), None, headers)
            response = connection.getresponse()
            if response.status != 200:
                _answer(response, response.read(), server=str(server))
            if connection.sock is not None:
                connection.sock.settimeout(silence_s)
            yield response
        except (OSError, http.client.HTTPException) as error:
            raise no_answer(error, server, hint=OURS, next_command=self._start_command()) from error
        finally:
            connection.close()

    def _headers(self, accept: str) -> dict[str, str]:
        headers = {"Accept": accept}
        if token := self.access.token:
            headers["Authorization"] = f"Bearer {token}"
        return headers

    def _target(self, path: str, query: Mapping[str, str | None]) -> str:
        said = urlencode({key: value for key, value in query.items() if value is not None})
        return self.access.server.prefix + path + (f"?{said}" if said else "")

    def _start_command(self) -> str:
        return "ai4papi run" if self.access.server.on_this_machine else ""


def connect(server: Server, timeout_s: float) -> http.client.HTTPConnection:
    """Return a connection that is opened when it is used, and closed by whoever asked for it."""
    if server.scheme == "http":
        return http.client.HTTPConnection(server.host, server.port, timeout=timeout_s)
    context = ssl.create_default_context()
    return http.client.HTTPSConnection(server.host, server.port, timeout=timeout_s, context=context)


def no_answer(
    error: Exception, server: Server, *, hint: str = "", next_command: str = ""
) -> NoAnswer:
    """Return the failure that an exception of a connection tells of."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return NoAnswer(
            Code.FAILED,
            f"the certificate of {server} is not trusted: {error.verify_message}",
            hint="Where it is your own authority's, name its certificate.",
            next_command="export SSL_CERT_FILE=/path/to/ca.pem",
        )
    why = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return NoAnswer(
        Code.FAILED,
        f"{server} does not answer: {why or type(error).__name__}",
        hint=hint,
        next_command=next_command,
    )


def _flag(value: bool) -> str | None:
    return "true" if value else None


def path_of(name: str) -> str:
    """Return the path of the deployment `name`."""
    return f"/v1/specs/{quote(name, safe='')}"


def _answer(response: http.client.HTTPResponse, content: bytes, *, server: str) -> Answer:
    status, etag = response.status, response.getheader("ETag")
    if status == 304:
        return Answer(None, etag)
    if 300 <= status < 400:
        raise CommandFailed(
            Code.FAILED,
            f"{server} answered {status}: it points to another address, which is not followed",
            hint="Name the address that it serves with --server or AI4PAPI_SERVER.",
        )
    decoded = _decoded(content)
    if status >= 400:
        raise refused(status, decoded, server=server)
    if decoded is None:
        raise CommandFailed(
            Code.FAILED,
            f"{server} answered {status} with something that is not JSON",
            hint="Is it an ai4papi server? Name it with --server or AI4PAPI_SERVER.",
        )
    return Answer(decoded, etag)


def _decoded(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None
