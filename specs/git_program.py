"""Runs the `git` program with nothing of this machine's settings, within time and memory.

Every run is a process group of its own, and is killed as one: a hung server leaves nothing behind.
Credentials travel in the environment, which other users of the machine can't read.
"""

import os
import selectors
import signal
import subprocess
import tempfile
from base64 import b64encode
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Final
from urllib.parse import urlsplit

from specs.git_faults import DAMAGED, Blame, Meaning, masked, meaning, telling_line
from specs.git_output import read_version

LEAST_VERSION: Final = (2, 32)
"""The first that lets the environment replace the user's settings (GIT_CONFIG_GLOBAL)."""

MAX_OUTPUT: Final = 64 * 1024 * 1024
MAX_STDERR: Final = 64 * 1024

_TICK_S: Final = 0.2
_CHUNK: Final = 256 * 1024

_KEPT: Final = (
    "HOME",
    "PATH",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "SSH_AUTH_SOCK",
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
)
"""What of the outer environment git needs: keys and known hosts, proxies, an own authority."""

_VARIABLES: Final = {
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_LITERAL_PATHSPECS": "1",
    # A shared connection of the user's would outlive us and hold our pipes open.
    "GIT_SSH_COMMAND": "ssh -a -x -o BatchMode=yes -o ControlMaster=no -o ControlPath=none",
}

_SETTINGS: Final = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "core.askPass": "",
    "credential.helper": "",
    "transfer.fsckObjects": "true",
    # A fetch keeps its pack: few files, whose growth can be watched.
    "fetch.unpackLimit": "1",
    "gc.auto": "0",
    "maintenance.auto": "false",
    # Larger blobs are none of ours: git need not hold them in memory.
    "core.bigFileThreshold": "1m",
    "protocol.version": "2",
    "http.followRedirects": "false",
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "30",
}


class GitTrouble(Exception):
    """Git could not do what was asked. `str()` says what is wrong and what to do, no secret."""


class GitFailed(GitTrouble):
    """Git ended with a fault of its own; `blame` says whose it is."""

    def __init__(self, found: Meaning, line: str) -> None:
        self.blame = found.blame
        super().__init__(f"{found.sentence} (git: {line})" if line else found.sentence)


class TimeUp(GitTrouble):
    """The time for it is over."""


@dataclass(frozen=True, slots=True)
class Login:
    """A user and their token or password; `repr` shows neither."""

    user: str
    token: str

    def __repr__(self) -> str:
        return "Login(***)"

    @property
    def basic(self) -> str:
        """The value of the header, without its scheme."""
        return b64encode(f"{self.user}:{self.token}".encode()).decode()


def environment(
    outside: Mapping[str, str], *, protocol: str, url: str = "", login: Login | None = None
) -> dict[str, str]:
    """Return all that git is told: one protocol is allowed, the login goes to the URL's host."""
    settings = dict(_SETTINGS)
    if login is not None:
        parts = urlsplit(url)
        header = f"http.{parts.scheme}://{parts.netloc}/.extraHeader"
        settings[header] = f"Authorization: Basic {login.basic}"
    told = {name: outside[name] for name in _KEPT if name in outside}
    told |= _VARIABLES | {"GIT_ALLOW_PROTOCOL": protocol, "GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings.items()):
        told |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return told


class Git:
    """The program, for the calls of one read; all of them end at `deadline` at the latest."""

    def __init__(
        self,
        told: Mapping[str, str],
        *,
        deadline: float,
        clock: Callable[[], float],
        stopped: Callable[[], bool],
        secrets: tuple[str, ...] = (),
    ) -> None:
        self._told = told
        self._deadline = deadline
        self._clock = clock
        self._stopped = stopped
        self._secrets = secrets

    def run(
        self,
        *arguments: str,
        local: bool = False,
        stdin: bytes = b"",
        take: Callable[[bytes], bool] | None = None,
        watch: Callable[[], None] = lambda: None,
        within_s: float | None = None,
    ) -> bytes:
        """Run git and return what it printed, at most `MAX_OUTPUT` bytes.

        A `local` run touches nothing but the mirror, so a fault is never the remote's. `take` gets
        the output instead, in parts, and returns whether more is wanted. `watch` is called several
        times a second, and ends the run by what it raises.

        Raises: GitTrouble, OSError.
        """
        kept = bytearray()
        process = self._start(arguments, stdin)
        until = self._deadline if within_s is None else self._clock() + within_s
        try:
            words = self._follow(
                process, take or _keep_in(kept), watch, until=min(until, self._deadline)
            )
        finally:
            _end(process)
        if words is not None and process.returncode:
            found = meaning(words)
            if local and found.blame is Blame.REMOTE:
                found = DAMAGED
            raise GitFailed(found, telling_line(words, self._secrets))
        return bytes(kept)

    def check_version(self) -> None:
        """Raises: GitTrouble; git is not there or too old."""
        printed = masked(self.run("version").decode("utf-8", "replace"), self._secrets)
        version = read_version(printed)
        if version is None or version < LEAST_VERSION:
            least = ".".join(map(str, LEAST_VERSION))
            raise GitTrouble(f"{printed.strip()!r} is too old: install git {least} or later")

    def _start(self, arguments: tuple[str, ...], stdin: bytes) -> subprocess.Popen[bytes]:
        with tempfile.TemporaryFile() as given:
            given.write(stdin)
            given.seek(0)
            try:
                return subprocess.Popen(  # noqa: S603 - no shell, and `--end-of-options` before outer text
                    ["git", *arguments],  # noqa: S607 - PATH says which git
                    stdin=given,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    # No repository around the working folder may add settings.
                    cwd="/",
                    env=dict(self._told),
                    start_new_session=True,
                )
            except (FileNotFoundError, PermissionError) as error:
                least = ".".join(map(str, LEAST_VERSION))
                raise GitTrouble(f"git is not on PATH: install git {least} or later") from error

    def _follow(
        self,
        process: subprocess.Popen[bytes],
        take: Callable[[bytes], bool],
        watch: Callable[[], None],
        *,
        until: float,
    ) -> str | None:
        """Read until git ends, and return its words; None where `take` wants no more."""
        words = bytearray()
        with selectors.DefaultSelector() as ready:
            ready.register(_pipe(process.stdout), selectors.EVENT_READ, take)
            ready.register(_pipe(process.stderr), selectors.EVENT_READ, _keep_last_in(words))
            while ready.get_map():
                self._check_time(until)
                watch()
                for key, _ in ready.select(_TICK_S):
                    chunk = os.read(key.fd, _CHUNK)
                    if not chunk:
                        ready.unregister(key.fileobj)
                    elif not key.data(chunk):
                        return None
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, until - self._clock()))
        self._check_time(until)
        return words.decode("utf-8", "replace")

    def _check_time(self, until: float) -> None:
        if self._stopped():
            raise GitTrouble("it was cut short, because the service stops")
        if self._clock() >= until:
            raise TimeUp("the time for it is over: the server hangs, or there is too much to read")


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None  # noqa: S101 - all were asked for
    return pipe


def _keep_in(kept: bytearray) -> Callable[[bytes], bool]:
    def keep(chunk: bytes) -> bool:
        if len(kept) + len(chunk) > MAX_OUTPUT:
            raise GitTrouble(
                f"the repository lists or holds more than {MAX_OUTPUT} bytes to read:"
                " narrow it with `folder`"
            )
        kept.extend(chunk)
        return True

    return keep


def _keep_last_in(words: bytearray) -> Callable[[bytes], bool]:
    def keep(chunk: bytes) -> bool:
        words.extend(chunk)
        del words[:-MAX_STDERR]
        return True

    return keep


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()
    for pipe in (process.stdout, process.stderr):
        _pipe(pipe).close()
