"""The verbs about contexts: which servers have a name here, and which one is in use."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.choices import ListFormat
from api.cli.failures import Code, CommandFailed
from api.cli.options import told

if TYPE_CHECKING:
    from api.cli.contexts import Contexts

verbs = typer.Typer(
    help="Give servers names, and say which one is meant where none is named.",
    epilog="Which server a command speaks to: --server (an address, or a context's name),"
    " AI4PAPI_SERVER, AI4PAPI_CONTEXT, the context in use, this machine's.",
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
)


def _checked(name: str) -> str:
    from api.cli.contexts import NAME  # noqa: PLC0415

    if not NAME.fullmatch(name):
        raise typer.BadParameter(f"{name!r} is no name: letters, digits, and . _ - between them")
    return name


Name = Annotated[str, typer.Argument(help="The context's name.", callback=_checked)]


@verbs.command("list")
def list_verb(
    *,
    output: Annotated[
        ListFormat, typer.Option("-o", "--output", help="What to print.")
    ] = ListFormat.TABLE,
) -> None:
    """Show the contexts and which one is in use."""
    with told():
        from api.cli.listing import CONTEXTS, listed  # noqa: PLC0415

        contexts = _contexts()
        current = contexts.current()
        items = [
            {
                "name": name,
                "current": name == current,
                "server": each.server,
                "tokenFile": each.token_file,
            }
            for name, each in contexts.all().items()
        ]
        if items or output in {ListFormat.JSON, ListFormat.YAML}:
            typer.echo(listed(items, CONTEXTS, output, name="name", now=datetime.now(UTC)))
        else:
            typer.echo("There are none. Next: ai4papi context set NAME --server URL", err=True)


@verbs.command("use")
def use_verb(name: Name) -> None:
    """Have commands speak to this server where none is named."""
    with told():
        contexts = _contexts()
        with contexts.locked():
            contexts.named(name)
            contexts.write(contexts.all(), name)
        typer.echo(f"context {name} is in use")


@verbs.command("set")
def set_verb(
    name: Name,
    *,
    server: Annotated[str, typer.Option(metavar="URL", help="The server's address.")],
    token_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Holds the token; without, `ai4papi login` gets one."),
    ] = None,
) -> None:
    """Give a server a name, or a name another server; the first one is in use at once."""
    with told():
        from api.cli.access import checked_server, read_token  # noqa: PLC0415
        from api.cli.contexts import Context  # noqa: PLC0415

        address = str(checked_server(server))
        if token_file is not None:
            read_token(token_file)
        context = Context(address, str(token_file.absolute()) if token_file else "")
        contexts = _contexts()
        with contexts.locked():
            current = contexts.current() or name
            contexts.write({**contexts.all(), name: context}, current)
        typer.echo(f"context {name} is {address}{' and in use' if current == name else ''}")


@verbs.command("delete")
def delete_verb(name: Name) -> None:
    """Forget a context; the login at its server stays."""
    with told():
        contexts = _contexts()
        with contexts.locked():
            contexts.named(name)
            left = {key: each for key, each in contexts.all().items() if key != name}
            current = contexts.current()
            contexts.write(left, None if current == name else current)
        typer.echo(f"context {name} deleted")


def _contexts() -> "Contexts":
    from api.cli.contexts import Contexts  # noqa: PLC0415
    from api.cli.private_file import config_folder  # noqa: PLC0415

    folder = config_folder(os.environ)
    if folder is None:
        raise CommandFailed(
            Code.USAGE, "there is no place to keep contexts", hint="Set HOME or XDG_CONFIG_HOME."
        )
    return Contexts(folder)
