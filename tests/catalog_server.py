"""A catalogue in this process: lists, and a repository's raw files for every module.

`with CatalogServer(500) as server`. `faults` maps a module to what answers for it instead; `files`
holds what else is served, by path. `seen` are the paths that were asked for.
"""

import gzip
import json
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Fault = Callable[["Handler"], None]


def name_of(number: int) -> str:
    return f"module-{number:03}"


def early(name: str) -> dict[str, Any]:
    """Return a module's metadata in the early form, with all keys that it has."""
    return {
        "title": f"Recognise {name}",
        "summary": f"Tells what is in a picture, by {name}",
        "description": ["A first line.", "A second one."],
        "keywords": ["docker", "inference", name],
        "license": "Apache 2.0",
        "date_creation": "2021-03-04",
        "sources": {
            "dockerfile_repo": f"https://git.example.org/team/{name}",
            "docker_registry_repo": f"team/{name}",
            "code": f"https://git.example.org/team/{name}-code",
        },
    }


def today(name: str) -> str:
    """Return a module's metadata in today's form."""
    return (
        "metadata_version: 2.0.0\n"
        f"title: Recognise {name}\n"
        "summary: Tells what is in a picture\n"
        "description: |-\n  A first line.\n  A second one.\n"
        'dates:\n  created: "2021-03-04"\n  updated: "2024-05-06"\n'
        f"links:\n  docker_image: team/{name}\n  source_code: https://git.example.org/team/{name}\n"
        "tags: [vision]\n"
        "resources:\n  inference:\n    cpu: 2\n    memory_MB: 4000\n"
    )


class CatalogServer:
    """The running server. `delay_s` holds every answer back: for measuring only."""

    def __init__(self, modules: int = 3, *, delay_s: float = 0.0) -> None:
        self.names = [name_of(number) for number in range(modules)]
        self.metadata: dict[str, bytes] = {
            name: json.dumps(early(name)).encode() for name in self.names
        }
        self.faults: dict[str, Fault] = {}
        self.files: dict[str, bytes | Fault] = {}
        self.branches: dict[str, str] = {}
        self.delay_s = delay_s
        self.down = False
        self.seen: list[str] = []
        self.headers: list[Mapping[str, str]] = []
        self.ended = threading.Event()
        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.catalog = self
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> "CatalogServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def origin(self) -> str:
        return f"http://{self.host}"

    @property
    def templates(self) -> dict[str, str]:
        return {self.host: self.origin + "/raw/{path}/{branch}/{file}"}

    def modules_yml(self) -> bytes:
        return "".join(f"- module: {self.origin}/team/{name}\n" for name in self.names).encode()

    def gitmodules(self) -> bytes:
        return "".join(
            f'[submodule "{name}"]\n\tpath = {name}\n\turl = {self.origin}/team/{name}.git\n'
            + (f"\tbranch = {self.branches[name]}\n" if name in self.branches else "")
            for name in self.names
        ).encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    catalog: CatalogServer

    def handle_error(self, *_: Any) -> None:
        """A client that hangs up is part of the tests."""


class Handler(BaseHTTPRequestHandler):
    """One connection; faults answer through it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        catalog = self.server.catalog
        catalog.seen.append(self.path)
        catalog.headers.append(dict(self.headers))
        if catalog.delay_s:
            time.sleep(catalog.delay_s)
        if catalog.down:
            self.answer(503)
            return
        parts = self.path.strip("/").split("/")
        name = parts[2] if len(parts) == 5 else ""
        wanted = catalog.faults.get(name) or self._file(parts, name)
        if wanted is None:
            self.answer(404)
        elif isinstance(wanted, bytes):
            self.document(wanted)
        else:
            wanted(self)

    def _file(self, parts: list[str], name: str) -> bytes | Fault | None:
        catalog = self.server.catalog
        if self.path == "/MODULES.yml":
            return catalog.files.get(self.path, catalog.modules_yml())
        if self.path == "/.gitmodules":
            return catalog.files.get(self.path, catalog.gitmodules())
        if name and parts[3] == catalog.branches.get(name, "master"):
            return {"metadata.json": catalog.metadata, "ai4-metadata.yml": _todays(name)}[
                parts[4]
            ].get(name)
        return catalog.files.get(self.path)

    def document(self, body: bytes) -> None:
        """Answer with a document and its tag, or that it is as the asker knows it."""
        etag = f'"{hash(body) & 0xFFFFFFFF:08x}"'
        if self.headers.get("If-None-Match") == etag:
            self.answer(304, ETag=etag)
        else:
            self.answer(200, body, ETag=etag)

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Answer; `_` in names of headers stands for `-`."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def _todays(name: str) -> dict[str, bytes]:
    return {name: today(name).encode()}


def says(body: bytes) -> Fault:
    """Answer with this instead."""
    return lambda handler: handler.answer(200, body)


def fails(status: int) -> Fault:
    return lambda handler: handler.answer(status)


def sends_to(location: str) -> Fault:
    """Redirect there; `{path}` stands for the path that was asked for."""
    return lambda h: h.answer(302, Location=location.replace("{path}", h.path))


def hangs(handler: Handler) -> None:
    """Answer nothing until the test is over."""
    handler.server.catalog.ended.wait()
    handler.close_connection = True


def trickles(handler: Handler) -> None:
    """Begin an answer and send a blank now and then, for ever."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    with suppress(OSError):
        while not handler.server.catalog.ended.wait(0.02):
            handler.wfile.write(b" ")
    handler.close_connection = True


def breaks_off(handler: Handler) -> None:
    """Promise more than is sent."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b"{}")
    handler.close_connection = True


def bomb(handler: Handler) -> None:
    """Answer with 50 MB of zeros that are 50 KB on the wire."""
    handler.answer(200, gzip.compress(b"0" * 50_000_000, 9), Content_Encoding="gzip")


def is_no_http(handler: Handler) -> None:
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n")
    handler.close_connection = True
