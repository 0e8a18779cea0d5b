"""The verbs about who you are: log in and out, your token, what you may and what you use."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.choices import Verb, ViewFormat
from api.cli.failures import Code, CommandFailed, Refused
from api.cli.options import Server, TokenFile, client_of, told

if TYPE_CHECKING:
    from api.cli.logins import Logins

verbs = typer.Typer()

Output = Annotated[ViewFormat, typer.Option("-o", "--output", help="What to print.")]


@verbs.command("login")
def login_verb(
    *,
    agent: Annotated[
        str | None, typer.Option(metavar="ACCOUNT", help="Ask the oidc-agent for this account.")
    ] = None,
    issuer: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Which provider, where the server takes several."),
    ] = None,
    client_id: Annotated[
        str | None,
        typer.Option("--client-id", metavar="ID", help="A public client with the device grant."),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keep the token in FILE; - is standard input."),
    ] = None,
    server: Server = None,
) -> None:
    """Log in: by oidc-agent where one is here, else by a code you confirm in a browser."""
    with told():
        from api.cli.access import find_server  # noqa: PLC0415
        from api.cli.login import How, log_in  # noqa: PLC0415

        if token_file is not None and (agent or issuer or client_id):
            raise CommandFailed(Code.USAGE, "--token-file goes with no other way to log in")
        if agent is not None and client_id is not None:
            raise CommandFailed(Code.USAGE, "--agent and --client-id are two ways: give one")
        how = How(agent=agent, issuer=issuer, client_id=client_id, token_file=token_file)
        log_in(find_server(server, environ=os.environ), _logins(), how)


@verbs.command("logout")
def logout_verb(*, server: Server = None) -> None:
    """Log out: have the tokens revoked, and forget them."""
    with told():
        from api.cli.access import find_server  # noqa: PLC0415
        from api.cli.login import log_out  # noqa: PLC0415

        log_out(find_server(server, environ=os.environ), _logins())


@verbs.command("token")
def token_verb(*, server: Server = None, token_file: TokenFile = None) -> None:
    """Print your token, for curl and other programs. It is you: let nobody see it."""
    with told():
        typer.echo(client_of(server, token_file).access.token)


@verbs.command("whoami")
def whoami_verb(
    *, output: Output = ViewFormat.TABLE, server: Server = None, token_file: TokenFile = None
) -> None:
    """Show who you are, what you may, what you use and how much you may use."""
    with told():
        from api.cli.session import Session  # noqa: PLC0415
        from api.cli.tokens import expiry_of  # noqa: PLC0415
        from api.cli.whoami import shown_caller  # noqa: PLC0415

        client = client_of(server, token_file)
        me, quota = client.whoami(), client.quota()
        bearer = client.access.bearer
        login = bearer.login if isinstance(bearer, Session) else None
        expires_at = expiry_of(client.access.token) if login is None else login.expires_at
        now = datetime.now(UTC)
        typer.echo(
            shown_caller(
                me,
                quota,
                access=client.access,
                expires_at=expires_at,
                login=login,
                form=output,
                now=now,
            )
        )


@verbs.command("can-i")
def can_i_verb(
    verb: Annotated[Verb, typer.Argument(help="What you would do.")],
    *,
    vo: Annotated[str | None, typer.Option(help="In this VO; without, in any.")] = None,
    output: Output = ViewFormat.TABLE,
    server: Server = None,
    token_file: TokenFile = None,
) -> None:
    """Say whether you may: exit code 0 yes, 1 no."""
    with told():
        from api.cli.whoami import verdict, where_allowed  # noqa: PLC0415

        try:
            vos = where_allowed(client_of(server, token_file).whoami(), verb, vo)
        except Refused as refusal:
            # A good token of somebody who has no role here is an answer.
            if refusal.status != 403:
                raise
            vos = []
        typer.echo(verdict(verb, vos, output))
        raise typer.Exit(Code.DONE if vos else Code.FAILED)


def _logins() -> "Logins":
    from api.cli.logins import Logins  # noqa: PLC0415
    from api.cli.private_file import config_folder  # noqa: PLC0415

    folder = config_folder(os.environ)
    if folder is None:
        raise CommandFailed(
            Code.USAGE, "there is no place to keep a login", hint="Set HOME or XDG_CONFIG_HOME."
        )
    return Logins(folder)
