"""A webhook's receiver and an SMTP server in this process, which can be told to misbehave.

`with Receiver() as receiver` and `with MailServer() as server`; each has `port`, and what it got in
`got`. They speak on loopback and need no library.
"""

import socketserver
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Post:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """Answers each POST with what `answer` says: a status, or a call on the handler."""

    def __init__(self) -> None:
        self.got: list[Post] = []
        self.answer: Callable[[Post], int | Callable[[PostHandler], None]] = lambda _: 204
        self.ended = threading.Event()
        self._server = _Threads(("127.0.0.1", 0), PostHandler)
        self._server.receiver = self
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def __enter__(self) -> "Receiver":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Threads(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    receiver: Any

    def handle_error(self, *_: Any) -> None:
        """A client that hangs up is part of the tests."""


class PostHandler(BaseHTTPRequestHandler):
    """One connection of a webhook."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Threads

    def do_POST(self) -> None:
        receiver = self.server.receiver
        body = self.rfile.read(int(self.headers["Content-Length"]))
        post = Post(self.path, dict(self.headers), body)
        receiver.got.append(post)
        answer = receiver.answer(post)
        if callable(answer):
            answer(self)
        else:
            self.say(answer)

    def say(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def hangs(handler: PostHandler) -> None:
    """Answer nothing until the test is over."""
    handler.server.receiver.ended.wait()
    handler.close_connection = True


@dataclass
class Mail:
    """One mail as it came: the envelope, the raw bytes, and what a reader sees."""

    sender: str
    to: list[str]
    raw: bytes
    login: str = ""
    tls: bool = False
    message: EmailMessage = field(init=False)

    def __post_init__(self) -> None:
        read = message_from_bytes(self.raw, policy=default)
        assert isinstance(read, EmailMessage)
        self.message = read

    @property
    def text(self) -> str:
        return self.message.get_content()


class MailServer:
    """An SMTP server. `replies` maps a command to what is said instead, such as `550 no`.

    With `context` it offers STARTTLS, and a login once that is done.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.got: list[Mail] = []
        self.replies: dict[str, str] = {}
        self.refused: dict[str, str] = {}
        self.context = context
        self.connections = 0
        self._server = _MailThreads(("127.0.0.1", 0), _Conversation)
        self._server.mail = self
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> "MailServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _MailThreads(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    mail: MailServer

    def handle_error(self, *_: Any) -> None:
        """A client that hangs up is part of the tests."""


class _Conversation(socketserver.BaseRequestHandler):
    server: _MailThreads

    def handle(self) -> None:
        self.server.mail.connections += 1
        self._talk_over(self.request)
        self.sender, self.to, self.login, self.tls = "", [], "", False
        self._say("220 tests")
        try:
            while line := self._file.readline():
                command, _, rest = line.decode().strip().partition(" ")
                if not self._obey(command.upper(), rest):
                    return
        finally:
            self._file.close()
            self._connection.close()

    def _talk_over(self, connection: Any) -> None:
        self._connection = connection
        self._file = connection.makefile("rb")

    def _say(self, line: str) -> None:
        self._connection.sendall(line.encode() + b"\r\n")

    def _obey(self, command: str, rest: str) -> bool:
        mail = self.server.mail
        if command in mail.replies:
            if mail.replies[command]:
                self._say(mail.replies[command])
            return mail.replies[command] != ""  # "": hang up without a word
        match command:
            case "EHLO":
                offers = "AUTH PLAIN" if self.tls or not mail.context else "STARTTLS"
                self._say(f"250-tests\r\n250 {offers}")
            case "STARTTLS" if mail.context:
                self._say("220 go on")
                self._talk_over(mail.context.wrap_socket(self._connection, server_side=True))
                self.tls = True
            case "AUTH":
                self.login = rest
                self._say("235 welcome")
            case "MAIL":
                self.sender, self.to = _path(rest), []
                self._say("250 ok")
            case "RCPT":
                self.to.append(_path(rest))
                self._say(mail.refused.get(_path(rest), "250 ok"))
            case "DATA":
                self._say("354 go on")
                raw = self._lines()
                mail.got.append(Mail(self.sender, self.to, raw, self.login, self.tls))
                self._say("250 taken")
            case "QUIT":
                self._say("221 bye")
                return False
            case _:
                self._say("250 ok")
        return True

    def _lines(self) -> bytes:
        lines = []
        while (line := self._file.readline()) not in {b".\r\n", b""}:
            lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
        return b"".join(lines)


def _path(rest: str) -> str:
    return rest.partition("<")[2].partition(">")[0]
