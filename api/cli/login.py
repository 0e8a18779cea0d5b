"""`ai4papi login` and `logout`: how a token is come by, and how it ends."""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from api.cli.access import Access, Server, checked_token, read_token
from api.cli.agent import agent_is_here, ask_agent
from api.cli.client import Client
from api.cli.failures import Code, CommandFailed, Refused
from api.cli.logins import Login, Logins
from api.cli.provider import DeviceCode, await_device, discover, https_url, revoke, start_device
from api.cli.session import Session
from api.cli.texts import duration, printable
from api.cli.tokens import MAX_TOKEN, expiry_of


@dataclass(frozen=True, slots=True)
class How:
    """What the person said about how to log in; None: nothing."""

    agent: str | None = None
    issuer: str | None = None
    client_id: str | None = None
    token_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Doors:
    """How a server lets people in, as it says itself; `local`: with the token of its machine."""

    local: bool
    issuers: Sequence[str]
    scopes: Sequence[str]
    client_id: str | None


def log_in(server: Server, logins: Logins, how: How) -> None:
    """Get a token for `server`, keep it, and say who it is. Raises: CommandFailed."""
    doors = read_doors(Client(Access(server, lambda: "")).auth_config(), server)
    login = _local(server, how) if doors.local else _log_in(doors, how, server)
    with logins.locked():
        logins.write(str(server), login)
    try:
        me = Client(Access(server, Session(str(server), logins, login))).whoami()
    except Refused as refusal:
        if refusal.status == 401:
            with logins.locked():
                logins.write(str(server), None)
        raise
    vos = ", ".join(str(vo["name"]) for vo in me["vos"]) or "no VO"
    typer.echo(printable(f"logged in to {server} as {me['name']} ({vos})"))


def log_out(server: Server, logins: Logins) -> None:
    """Forget the login at `server`, and have its tokens revoked.

    Raises: CommandFailed where the provider could not be told; it is forgotten all the same.
    """
    with logins.locked():
        login = logins.read(str(server))
        if login is None:
            typer.echo(f"you were not logged in to {server}")
            return
        logins.write(str(server), None)
    told = False
    if login.source == "provider":
        try:
            told = revoke(login)
        except CommandFailed as failure:
            raise CommandFailed(
                Code.FAILED,
                f"logged out of {server} here, but the tokens could not be revoked:"
                f" {failure.message}",
                hint=f"They end by themselves, or in your account at {login.issuer}.",
            ) from failure
    typer.echo(f"logged out of {server}{'; the tokens are revoked' if told else ''}")
    if login.source == "agent":
        typer.echo("The oidc-agent still has the account: oidc-add --remove ends that.", err=True)


def read_doors(told: Any, server: Server) -> Doors:
    """Return what `GET /v1/auth/config` said. Raises: CommandFailed where it is something else."""
    if isinstance(told, Mapping):
        lists = {key: told.get(key) for key in ("issuers", "scopes")}
        client_id = told.get("clientID")
        texts = all(
            isinstance(each, list) and all(isinstance(text, str) for text in each)
            for each in lists.values()
        )
        if texts and told.get("mode") in {"local", "oidc"} and isinstance(client_id, str | None):
            return Doors(told["mode"] == "local", told["issuers"], told["scopes"], client_id)
    raise CommandFailed(
        Code.FAILED,
        f"{server} does not say how to log in",
        hint="Is it an ai4papi server? Name it with --server or AI4PAPI_SERVER.",
    )


def _local(server: Server, how: How) -> Login:
    if how.token_file is None:
        raise CommandFailed(
            Code.USAGE,
            f"{server} is in local mode: it takes the token of its own machine and no other",
            hint="It named the file when it started; in the folder of that, no login is needed.",
            next_command=f"ai4papi login --server {server} --token-file FILE",
        )
    return _given(how.token_file)


def _log_in(doors: Doors, how: How, server: Server) -> Login:
    if how.token_file is not None:
        return _given(how.token_file)
    issuer = _issuer(doors, how.issuer, server)
    if how.agent is not None or (how.client_id is None and agent_is_here()):
        try:
            return _by_agent(issuer, how.agent or "")
        except CommandFailed:
            # Nobody asked for the agent by name, and there is another way.
            if how.agent is not None or doors.client_id is None:
                raise
    client_id = how.client_id or doors.client_id
    if client_id is None:
        raise CommandFailed(
            Code.USAGE,
            f"{server} names no client to log in with at {issuer}",
            hint="Use an oidc-agent (--agent), a client of yours (--client-id), or a token"
            " from standard input.",
            next_command=f"oidc-token egi-checkin | ai4papi login --server {server} --token-file -",
        )
    return _by_device(issuer, client_id, doors.scopes)


def _issuer(doors: Doors, wanted: str | None, server: Server) -> str:
    if not doors.issuers:
        raise CommandFailed(Code.FAILED, f"{server} names no identity provider")
    if wanted is not None and wanted not in doors.issuers:
        known = ", ".join(doors.issuers)
        raise CommandFailed(
            Code.USAGE, f"{server} does not take tokens of {wanted}; it takes those of {known}"
        )
    return https_url(wanted or doors.issuers[0], "the issuer")


def _given(file: Path) -> Login:
    if str(file) == "-":
        line = sys.stdin.readline(MAX_TOKEN + 2)
        token = checked_token(line.strip(), "the token on standard input")
    else:
        token = read_token(file)
    return Login("given", access_token=token, expires_at=expiry_of(token))


def _by_agent(issuer: str, account: str) -> Login:
    ask_agent(issuer, account)
    return Login("agent", issuer=issuer, account=account)


def _by_device(issuer: str, client_id: str, scopes: Sequence[str]) -> Login:
    provider = discover(issuer)
    code = start_device(provider, client_id, scopes)
    for line in instructions(code):
        typer.echo(printable(line), err=True)
    return await_device(
        provider, client_id, code, clock=time.monotonic, now=time.time, sleep=time.sleep
    )


def instructions(code: DeviceCode) -> list[str]:
    """Return what a person has to do, line by line."""
    return [
        f"Open {code.address_with_code or code.address}",
        f"in a browser on any machine, and confirm the code {code.user_code}",
        f"(waiting for {duration(code.expires_in_s)}; Ctrl-C ends it)",
    ]
