"""Git repositories for tests: made here, and served over HTTP and SSH on loopback.

`GitServer` is `git http-backend` behind a small server that can ask for a password, hang, send
elsewhere and fail. `SshServer` is an OpenSSH server of this run's own, with keys of its own.
"""

import base64
import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from tests.real import wait_until

NOBODYS: Final = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}
"""Keeps the settings of who runs the tests out of the repositories of the tests."""

SSHD: Final = shutil.which("sshd") or "/usr/sbin/sshd"


class Origin:
    """A bare repository at `path`, in which commits are made without a work tree."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True)
        self.git("init", "--bare", "--quiet", "--initial-branch=main")
        # As hosting services allow: whoever knows a commit may fetch it.
        self.git("config", "uploadpack.allowAnySHA1InWant", "true")
        self._clock = 1_700_000_000

    def git(self, *arguments: str, stdin: bytes = b"", **variables: str) -> str:
        """Run git in the repository and return what it prints, stripped."""
        run = subprocess.run(
            ["git", f"--git-dir={self.path}", *arguments],
            input=stdin,
            capture_output=True,
            env={"PATH": os.environ["PATH"], "HOME": str(self.path)} | NOBODYS | variables,
            check=False,
        )
        assert run.returncode == 0, run.stderr.decode("utf-8", "replace")
        return run.stdout.decode("utf-8", "replace").strip()

    def blob(self, content: str | bytes) -> str:
        """Store a content and return its id."""
        data = content if isinstance(content, bytes) else content.encode()
        return self.git("hash-object", "-w", "--stdin", stdin=data)

    def commit(
        self,
        files: Mapping[str, str | bytes | None] | None = None,
        *,
        branch: str = "main",
        author: str = "Ada",
        parents: tuple[str, ...] | None = None,
        raw: Mapping[bytes, tuple[str, str]] | None = None,
    ) -> str:
        """Commit files on top of the branch, or of `parents`; None removes, return the commit.

        `raw` maps paths to a mode and an object, for what no ordinary file is.
        """
        if parents is None:
            tip = self.tip(branch)
            parents = (tip,) if tip else ()
        entries: dict[bytes, tuple[str, str] | None] = {
            path.encode(): None if content is None else ("100644", self.blob(content))
            for path, content in (files or {}).items()
        }
        tree = self._tree(parents[0] if parents else "", entries | dict(raw or {}))
        commit = self.commit_tree(tree, parents, author=author)
        self.point(branch, commit)
        return commit

    def commit_tree(self, tree: str, parents: tuple[str, ...] = (), *, author: str = "Ada") -> str:
        """Make a commit of a tree, a minute after the last one, and return its id."""
        self._clock += 60
        who = {
            f"GIT_{role}_{part}": value
            for role in ("AUTHOR", "COMMITTER")
            for part, value in (
                ("NAME", author if role == "AUTHOR" else "Merger"),
                ("EMAIL", "who@example.org"),
                ("DATE", f"{self._clock} +0000"),
            )
        }
        given = [word for parent in parents for word in ("-p", parent)]
        return self.git("commit-tree", tree, *given, "-m", "change", **who)

    def point(self, branch: str, commit: str) -> None:
        """Let a branch be at a commit, as a forced push would."""
        self.git("update-ref", f"refs/heads/{branch}", commit)

    def tip(self, branch: str = "main") -> str:
        """Return the commit of a branch, or "" where there is none."""
        return self.git("for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}")

    def _tree(self, start: str, entries: Mapping[bytes, tuple[str, str] | None]) -> str:
        index = self.path / "index-of-the-test"
        index.unlink(missing_ok=True)
        at = {"GIT_INDEX_FILE": str(index)}
        if start:
            self.git("read-tree", start, **at)
        lines = b"".join(
            (b"0 " + b"0" * 40 if entry is None else f"{entry[0]} {entry[1]}".encode())
            + b"\t"
            + path
            + b"\0"
            for path, entry in entries.items()
        )
        self.git("update-index", "-z", "--index-info", stdin=lines, **at)
        return self.git("write-tree", **at)


class GitServer:
    """The repositories below a folder, over HTTP or HTTPS; `with GitServer(folder) as server`.

    `password` asks for it, `status` fails every request so, `elsewhere` redirects, and while
    `hangs` is set, nothing is answered: afterwards who waits is hung up on. `seen` holds the
    Authorization headers that came.
    """

    def __init__(self, folder: Path, tls: ssl.SSLContext | None = None) -> None:
        self.folder = folder
        self.password = ""
        self.status = 0
        self.elsewhere = ""
        self.hangs = False
        self.seen: list[str] = []
        self.arrived = threading.Event()
        self.ended = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.git = self
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._scheme = "https" if tls else "http"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> "GitServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def url(self, name: str) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}/{name}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    git: GitServer

    def handle_error(self, *_: Any) -> None:
        """A client that hangs up is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        git = self.server.git
        given = self.headers.get("Authorization", "")
        git.seen.append(given)
        git.arrived.set()
        if git.hangs:
            while git.hangs and not git.ended.wait(0.02):
                pass
            self.close_connection = True
        elif git.elsewhere:
            self._answer(301, {"Location": git.elsewhere + self.path})
        elif git.status:
            self._answer(git.status, {})
        elif git.password and not self._is_right(given):
            self._answer(401, {"WWW-Authenticate": 'Basic realm="git"'})
        else:
            self._serve()

    do_POST = do_GET  # noqa: N815 - the base's name

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _is_right(self, given: str) -> bool:
        scheme, _, basic = given.partition(" ")
        return scheme == "Basic" and base64.b64decode(basic).decode().endswith(
            f":{self.server.git.password}"
        )

    def _serve(self) -> None:
        path, _, query = self.path.partition("?")
        variables = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.server.git.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "REMOTE_ADDR": "127.0.0.1",
        }
        run = subprocess.run(
            ["git", "http-backend"],
            input=self._body(),
            capture_output=True,
            env=NOBODYS | variables,
            check=False,
        )
        head, _, body = run.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode("latin-1").splitlines())
        self._answer(int(headers.pop("Status", "200").split()[0]), headers, body)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class SshServer:
    """An OpenSSH server on loopback; `client` is the environment in which `ssh` may go there.

    `known` says whether the client knows the server's key.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def missing() -> str:
        """Say what is missing for it here, or ""."""
        lacking = [name for name in (SSHD, "ssh", "ssh-keygen") if not shutil.which(name)]
        return f"{', '.join(lacking)} not installed" if lacking else ""

    def __enter__(self) -> "SshServer":
        for name in ("host", "user", "stranger"):
            key = self._folder / name
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        settings = self._folder / "sshd_config"
        settings.write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self._folder / 'host'}\n"
            f"AuthorizedKeysFile {self._folder / 'user.pub'}\nPidFile none\nStrictModes no\n"
            "UsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            "PermitRootLogin prohibit-password\nAcceptEnv GIT_PROTOCOL\n"
        )
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        self._process = subprocess.Popen(
            [SSHD, "-D", "-e", "-f", settings], stderr=subprocess.DEVNULL
        )
        wait_until(self._listens, within_s=10, every_s=0.05)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait()

    def url(self, repository: Path) -> str:
        return f"ssh://127.0.0.1:{self.port}{repository}"

    def client(self, name: str, *, key: str = "user", known: bool = True) -> dict[str, str]:
        """Return an environment whose `ssh` has only these settings, whoever runs the tests."""
        home = self._folder / name
        home.mkdir()
        hosts = home / "known_hosts"
        public = " ".join((self._folder / "host.pub").read_text().split()[:2])
        hosts.write_text(f"[127.0.0.1]:{self.port} {public}\n" if known else "")
        (home / "config").write_text(
            f"Host *\n  IdentityFile {self._folder / key}\n  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {hosts}\n  GlobalKnownHostsFile /dev/null\n"
        )
        script = home / "ssh"
        script.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {home / "config"} "$@"\n')
        script.chmod(0o755)
        return {"PATH": f"{home}:{os.environ['PATH']}", "HOME": str(home)}

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
