"""Which server a command speaks to, and with which token."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from api.cli.failures import Code, CommandFailed
from api.cli.tokens import is_token
from specs.loopback import is_loopback

if TYPE_CHECKING:
    from api.cli.contexts import Contexts

DEFAULT_SERVER: Final = "http://127.0.0.1:8080"

LOCAL_TOKEN: Final = Path("var", "token")
"""Where a server in local mode leaves its user's token, from the folder it was started in."""

_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Server:
    """Where a server listens; `prefix` is the path in front of `/v1`, "" or `/…` without an end."""

    scheme: str
    host: str
    port: int
    prefix: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.prefix}"

    @property
    def on_this_machine(self) -> bool:
        """Whether the address can only be this machine's."""
        return is_loopback(self.host)


@dataclass(frozen=True, slots=True)
class Access:
    """A server, and what gives the token that it gets; an empty one is not sent.

    `server_from` and `token_from` say what named them, in words for people.
    """

    server: Server
    bearer: Callable[[], str] = field(repr=False)
    server_from: str = ""
    token_from: str = ""

    @property
    def token(self) -> str:
        """The token as it is now. Raises: CommandFailed where none can be had any more."""
        return self.bearer()


@dataclass(frozen=True, slots=True)
class Chosen:
    """The server that is meant, what named it, and its context's token file ("": none)."""

    server: Server
    origin: str
    token_file: str = ""


def find_access(
    server: str | None,
    token_file: Path | None,
    *,
    environ: Mapping[str, str],
    local_token: Path = LOCAL_TOKEN,
) -> Access:
    """Choose server and token: the option, the environment, a context, a login, the local ones.

    Raises: CommandFailed where there is none, or where a token would travel in the clear.
    """
    chosen = choose_server(server, environ=environ)
    bearer, token_from = _bearer(chosen, token_file, environ=environ, local_token=local_token)
    return Access(chosen.server, bearer, chosen.origin, token_from)


def find_server(server: str | None, *, environ: Mapping[str, str]) -> Server:
    """Return the server that `choose_server` chooses. Raises: CommandFailed."""
    return choose_server(server, environ=environ).server


def choose_server(said: str | None, *, environ: Mapping[str, str]) -> Chosen:
    """Choose the server: the option, the environment, the context in use, this machine's.

    `said` is an address or the name of a context. Raises: CommandFailed.
    """
    if said is not None and "://" in said:
        return Chosen(checked_server(said), "--server")
    if said is not None:
        return _of_context(said, "--server", environ)
    if address := environ.get("AI4PAPI_SERVER"):
        return Chosen(checked_server(address), "AI4PAPI_SERVER")
    if name := environ.get("AI4PAPI_CONTEXT"):
        return _of_context(name, "AI4PAPI_CONTEXT", environ)
    if (contexts := _contexts(environ)) and (name := contexts.current()):
        return _of_context(name, "", environ)
    return Chosen(checked_server(DEFAULT_SERVER), "this machine")


def _of_context(name: str, origin: str, environ: Mapping[str, str]) -> Chosen:
    contexts = _contexts(environ)
    if contexts is None:
        raise _no_server("it must start with http:// or https:// and name a host")
    context = contexts.named(name)
    words = f"context {name}" + (f", by {origin}" if origin else "")
    return Chosen(checked_server(context.server), words, context.token_file)


def _contexts(environ: Mapping[str, str]) -> "Contexts | None":
    from api.cli.contexts import Contexts  # noqa: PLC0415
    from api.cli.private_file import config_folder  # noqa: PLC0415

    folder = config_folder(environ)
    return Contexts(folder) if folder is not None else None


def checked_server(address: str) -> Server:
    """Return the server at `address`, which a token can be sent to. Raises: CommandFailed."""
    target = read_server(address)
    if target.scheme == "http" and not target.on_this_machine:
        raise CommandFailed(
            Code.USAGE,
            f"{target} would get your token in the clear: plain http is for this machine only",
            hint="Give the server's https address.",
            next_command=f"ai4papi get --server https://{target.host}",
        )
    return target


def read_server(address: str) -> Server:
    """Return the server at an http or https `address`. Raises: CommandFailed."""
    try:
        parts = urlsplit(address)
        port, host = parts.port, parts.hostname
    except ValueError as error:
        raise _no_server(str(error)) from error
    if parts.scheme not in _PORTS or not host:
        raise _no_server("it must start with http:// or https:// and name a host")
    if "@" in parts.netloc or parts.query or parts.fragment:
        # Not repeated: what stands before an @ is a secret.
        raise _no_server("no user, password, query or fragment may stand in it")
    if any(c <= " " or c == "\x7f" for c in address):
        raise _no_server("it holds a space or a control character")
    return Server(parts.scheme, host, port or _PORTS[parts.scheme], parts.path.rstrip("/"))


def _no_server(why: str) -> CommandFailed:
    return CommandFailed(
        Code.USAGE,
        f"the server's address can't be used: {why}",
        hint=f"It looks like {DEFAULT_SERVER} or https://api.example.org.",
    )


def _bearer(
    chosen: Chosen, token_file: Path | None, *, environ: Mapping[str, str], local_token: Path
) -> tuple[Callable[[], str], str]:
    server = chosen.server
    if token_file is not None:
        return _always(read_token(token_file)), "--token-file"
    if token := environ.get("AI4PAPI_TOKEN", "").strip():
        return _always(checked_token(token, "the token in AI4PAPI_TOKEN")), "AI4PAPI_TOKEN"
    if chosen.token_file:
        return _always(read_token(Path(chosen.token_file))), chosen.token_file
    if session := _session(server, environ):
        return session, "ai4papi login"
    # A local server's token is for this machine: no other server ever sees it.
    if server.on_this_machine and local_token.is_file():
        return _always(read_token(local_token)), str(local_token)
    where = f", and there is no {local_token} here" if server.on_this_machine else ""
    raise CommandFailed(
        Code.NOT_ALLOWED,
        f"not logged in to {server}, and neither --token-file nor AI4PAPI_TOKEN is given{where}",
        hint="A server in local mode names its token file when it starts.",
        next_command=f"ai4papi login --server {server}",
    )


def _session(server: Server, environ: Mapping[str, str]) -> Callable[[], str] | None:
    from api.cli.logins import Logins  # noqa: PLC0415
    from api.cli.private_file import config_folder  # noqa: PLC0415

    folder = config_folder(environ)
    if folder is None:
        return None
    logins = Logins(folder)
    login = logins.read(str(server))
    if login is None:
        return None
    from api.cli.session import Session  # noqa: PLC0415

    return Session(str(server), logins, login)


def _always(token: str) -> Callable[[], str]:
    return lambda: token


def read_token(path: Path) -> str:
    """Return the token in the file `path`. Raises: CommandFailed."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise CommandFailed(
            Code.USAGE, f"the token file {path} can't be read: {why}", hint="Name another file."
        ) from error
    return checked_token(text, f"the token in {path}")


def checked_token(token: str, name: str) -> str:
    """Return `token` where it can be one; `name` says which. Raises: CommandFailed."""
    if not is_token(token):
        raise CommandFailed(
            Code.NOT_ALLOWED,
            f"{name} is none: a token is one word of visible ASCII characters",
            hint="Put the token alone into it, without `Bearer`.",
        )
    return token
