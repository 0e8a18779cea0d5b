"""The pretend Nomad at a port: for curl, for Nomad's own CLI, and for the real adapter's tests.

A thread per connection, HTTP/1.1, plain text; it says that it is simulated in every answer.
"""

import json
import socket
import threading
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from reconciler.cluster.simulator.asked import Answer, Asked
from reconciler.cluster.simulator.hcl_text import parse_duration_ns
from reconciler.cluster.simulator.nodes import VERSION
from reconciler.cluster.simulator.refusal import Refusal
from reconciler.cluster.simulator.routes import answer
from reconciler.cluster.simulator.state import SimulatedNomad
from reconciler.cluster.simulator.task_logs import written
from reconciler.cluster.simulator.world import Message, World

HEARTBEAT_S: Final = 10.0
"""How often a silent event stream says `{}`; Nomad's own does at least every 30 s."""

LOGS: Final = "/v1/client/fs/logs/"

_STOP_CHECK_S: Final = 0.2
_WAIT_S: Final = 300.0
"""How long a blocking query waits when it does not say; Nomad's default."""

_WAIT_MOST_S: Final = 600.0
_BODY_MOST: Final = 10 * 2**20


def serve(nomad: SimulatedNomad, host: str = "127.0.0.1", port: int = 0) -> "Served":
    """Serve a pretend Nomad from now on; port 0 takes a free one. Close what is returned."""
    return Served(nomad, host, port)


class Served:
    """A port at which a pretend Nomad answers, until `close`."""

    def __init__(self, nomad: SimulatedNomad, host: str, port: int) -> None:
        self._server = _Server((host, port), nomad)
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.05},
            name="simulated-nomad",
            daemon=True,
        )
        self._thread.start()

    @property
    def address(self) -> str:
        """Where it answers, as `NOMAD_ADDR` has it."""
        host, port = self._server.server_address[:2]
        named = host.decode() if isinstance(host, bytes | bytearray) else host
        return f"http://{named}:{port}"

    def close(self) -> None:
        """Stop answering; open connections are cut."""
        self._server.stopping.set()
        self._server.shutdown()
        self._server.cut_connections()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], nomad: SimulatedNomad) -> None:
        self.nomad = nomad
        self.stopping = threading.Event()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection, so that it can be cut."""
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection that ended."""
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def cut_connections(self) -> None:
        """End every open connection: a waiting read returns at once."""
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that hangs up is no fault of ours."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = f"Nomad/{VERSION}"
    sys_version = ""
    wbufsize = 1 << 16
    disable_nagle_algorithm = True
    server: _Server

    def _serve(self) -> None:
        try:
            asked = self._asked()
            if asked.path == "/v1/event/stream":
                self._stream(asked)
            elif asked.path.startswith(LOGS):
                self._log(asked)
            else:
                self._send(_awaited(self.server, asked))
        except Refusal as refusal:
            self._send_text(refusal)

    do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = do_HEAD = _serve  # noqa: N815

    def _asked(self) -> Asked:
        url = urlsplit(self.path)
        query = {
            name: values[-1] for name, values in parse_qs(url.query, keep_blank_values=True).items()
        }
        length = int(self.headers.get("Content-Length") or 0)
        if length > _BODY_MOST or self.headers.get("Transfer-Encoding"):
            self.close_connection = True
            raise Refusal(413, "http: request body too large")
        body = self.rfile.read(length) if length else b""
        return Asked(self.command, url.path, query, body)

    def _send(self, told: Answer) -> None:
        headers = {"Content-Type": "application/json"}
        if told.index is not None:
            headers |= {
                "X-Nomad-Index": str(told.index),
                "X-Nomad-Knownleader": "true",
                "X-Nomad-Lastcontact": "0",
            }
        if told.next_token:
            headers["X-Nomad-Nexttoken"] = told.next_token
        empty = told.status == 204
        body = b"" if empty else json.dumps(told.body, separators=(",", ":")).encode()
        self._write(told.status, headers, body)

    def _send_text(self, refusal: Refusal) -> None:
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        self._write(refusal.status, headers, refusal.text.encode("utf-8", "replace"))

    def _write(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value.encode("ascii", "backslashreplace").decode())
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def _stream(self, asked: Asked) -> None:
        index = asked.number("index", wrong="Unable to parse index") or 0
        wanted = [_topic(text) for text in parse_qs(urlsplit(self.path).query).get("topic", ["*"])]
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self._send_line({})
        nomad = self.server.nomad
        with nomad.reading() as world:
            restored = world.restored
        position, quiet_since = nomad.position_at(index), monotonic()
        while not self.server.stopping.is_set() and not self._restored_since(restored):
            for message in nomad.messages_after(position, timeout_s=_STOP_CHECK_S):
                position = message.position
                events = _chosen(message, wanted, asked.namespace)
                if events:
                    self._send_line({"Index": message.at_index, "Events": events})
                    quiet_since = monotonic()
            if monotonic() - quiet_since > HEARTBEAT_S:
                self._send_line({})
                quiet_since = monotonic()
        self.wfile.write(b"0\r\n\r\n")

    def _log(self, asked: Asked) -> None:
        """Send frames with what a task has written; follow until the client hangs up."""
        follow = asked.query.get("follow") == "true"
        tail, told = int(asked.query.get("offset") or 0), 0
        text = self._written(asked)
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while not self.server.stopping.is_set():
            new = text[max(told, len(text) - tail) :]
            told = len(text)
            self._send_line({"Data": b64encode(new).decode(), "Offset": told} if new else {})
            if not follow:
                break
            self.server.stopping.wait(_STOP_CHECK_S)
            text = self._written(asked)
        self.wfile.write(b"0\r\n\r\n")

    def _written(self, asked: Asked) -> bytes:
        with self.server.nomad.reading() as world:
            allocation = world.allocs.get(asked.path.removeprefix(LOGS))
            return written(allocation, asked.query.get("task", ""), asked.query.get("type", ""))

    def _restored_since(self, restored: int) -> bool:
        """Tell whether the servers were restored: every stream from before then has ended."""
        with self.server.nomad.reading() as world:
            return world.restored != restored

    def _send_line(self, message: Mapping[str, Any]) -> None:
        line = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Keep quiet: the port is a toy's, and its answers are the log."""


def _awaited(server: _Server, asked: Asked) -> Answer:
    """Answer; a blocking query only once there is something newer, or its time is up."""
    after = asked.number("index", wrong="Invalid index")
    told = answer(server.nomad, asked)
    if asked.method != "GET" or not after or told.index is None:
        return told
    end_s = monotonic() + _wait_s(asked)
    while told.index <= after and monotonic() < end_s and not server.stopping.is_set():
        with server.nomad.reading() as world:
            seen = world.index
        timeout_s = min(_STOP_CHECK_S, end_s - monotonic())
        server.nomad.wait_for(_moved_from(seen), timeout_s=timeout_s)
        told = answer(server.nomad, asked)
        if told.index is None:
            break
    return told


def _moved_from(index: int) -> Callable[[World], bool]:
    return lambda world: world.index != index


def _wait_s(asked: Asked) -> float:
    text = asked.query.get("wait")
    if not text:
        return _WAIT_S
    try:
        return min(parse_duration_ns(text) / 10**9, _WAIT_MOST_S)
    except ValueError as error:
        raise Refusal(400, "Invalid wait time") from error


def _topic(text: str) -> tuple[str, str]:
    name, _, key = text.partition(":")
    return name, key or "*"


def _chosen(
    message: Message, wanted: Sequence[tuple[str, str]], namespace: str
) -> list[Mapping[str, Any]]:
    return [
        event
        for event in message.events
        if event["Namespace"] in {"", namespace} or namespace == "*"
        if any(
            topic in {"*", event["Topic"]}
            and key in {"*", event["Key"], *(event["FilterKeys"] or ())}
            for topic, key in wanted
        )
    ]
