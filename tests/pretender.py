"""An HTTP server that answers what no healthy Nomad does, and the real adapter set against it."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, parse_qsl, urlsplit

from reconciler.cluster.nomad import NomadCluster
from reconciler.jobs import JobRef
from reconciler.nomad_section import NomadSettings

REF = JobRef("ns", "j1")
JOB = {"ID": "j1", "Namespace": "ns"}
STUB = {
    "ID": "j1",
    "Namespace": "ns",
    "JobModifyIndex": 5,
    "ModifyIndex": 6,
    "Stop": False,
    "Status": "running",
}
WRITTEN = {"JobModifyIndex": 9, "Index": 9, "EvalID": "e1"}


class Asked(NamedTuple):
    """One request as it arrived."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: Any


class Answer(NamedTuple):
    """What the pretender answers; a body that is not text or bytes is sent as JSON."""

    body: Any = b""
    status: int = 200
    headers: Mapping[str, str] = {}


@dataclass
class Pretender:
    """An HTTP server that answers as the test says and remembers what it was asked."""

    address: str
    answer: Callable[[Asked], Answer] = lambda _: Answer({})
    asked: list[Asked] = field(default_factory=list)
    gone: threading.Event = field(default_factory=threading.Event)

    def will(self, *answers: Answer) -> None:
        """Give these answers, in this order."""
        left = iter(answers)
        self.answer = lambda _: next(left)


def _read(body: bytes, kind: str) -> Any:
    if kind == "application/x-www-form-urlencoded":
        return dict(parse_qsl(body.decode()))
    return json.loads(body) if body else None


@contextmanager
def pretending(tls: ssl.SSLContext | None = None) -> Iterator[Pretender]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _reply(self) -> None:
            url = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked = Asked(
                self.command,
                url.path,
                parse_qs(url.query),
                dict(self.headers),
                _read(body, self.headers.get("Content-Type", "")),
            )
            pretender.asked.append(asked)
            answer = pretender.answer(asked)
            if callable(answer.body):
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Connection", "close")
                self.end_headers()
                answer.body(self.wfile)
                self.close_connection = True
                return
            body = answer.body
            if not isinstance(body, bytes):
                body = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_DELETE = _reply  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    address = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    pretender = Pretender(address)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield pretender
    finally:
        pretender.gone.set()
        server.shutdown()
        thread.join()
        server.server_close()


def a_cluster(
    server: Pretender, *, namespaces: tuple[str, ...] = ("ns",), **settings: Any
) -> NomadCluster:
    return NomadCluster(NomadSettings(address=server.address, **settings), namespaces)


def a_page(*items: Any, index: int = 10, after: str = "", leader: str = "true") -> Answer:
    headers = {"X-Nomad-Index": str(index), "X-Nomad-KnownLeader": leader}
    if after:
        headers["X-Nomad-NextToken"] = after
    return Answer(list(items), headers=headers)


def says(*parts: bytes) -> Answer:
    """Answer these parts, each sent by itself, and then close."""

    def write(out: Any) -> None:
        for part in parts:
            out.write(part)
            out.flush()

    return Answer(write)
