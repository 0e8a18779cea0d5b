"""The verbs about modules: found by words and tags, shown, turned into a spec file, explained."""

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from api.cli.choices import ListFormat, ViewFormat
from api.cli.failures import Code, CommandFailed
from api.cli.options import Server, TokenFile, client_of, told

if TYPE_CHECKING:
    from api.cli.client import Client

FIND = "find"


class FindByDefault(TyperGroup):
    """Takes words that are no verb for what is looked for."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the verb in front that was left out."""
        verbs = {*self.commands, *self.get_help_option_names(ctx)}
        return super().parse_args(ctx, args if args and args[0] in verbs else [FIND, *args])


verbs = typer.Typer(
    cls=FindByDefault,
    help="Find modules of the marketplace (all the WORDS must be there), show one.",
    epilog="`ai4papi modules WORD` is short for `ai4papi modules find WORD`.",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Module = Annotated[str, typer.Argument(metavar="MODULE", help="As `ai4papi modules` has it.")]


@verbs.command(FIND)
def find_verb(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[WORDS]...", help="In name, title, summary or tags."),
    ] = None,
    *,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", help="Only those with this tag; may be repeated.")
    ] = None,
    output: Annotated[
        ListFormat, typer.Option("-o", "--output", help="What to print.")
    ] = ListFormat.TABLE,
    server: Server = None,
) -> None:
    """List the modules with all the words and tags; needs no token."""
    with told():
        from api.cli.listing import MODULES, listed  # noqa: PLC0415

        found = anonymous(server).modules(words or [], tags=tag or [])
        if found or output in {ListFormat.JSON, ListFormat.YAML}:
            typer.echo(listed(found, MODULES, output, name="name", now=datetime.now(UTC)))
        else:
            typer.echo("There are no such modules.", err=True)


@verbs.command("show")
def show_verb(
    module: Module,
    *,
    output: Annotated[
        ViewFormat, typer.Option("-o", "--output", help="What to print.")
    ] = ViewFormat.TABLE,
    server: Server = None,
) -> None:
    """Show all that is known of a module; needs no token."""
    with told():
        from api.cli.module_texts import shown_module  # noqa: PLC0415

        typer.echo(shown_module(anonymous(server).module(module), output))


def new_verb(
    module: Module,
    *,
    vo: Annotated[str | None, typer.Option(help="The VO that it is to run in.")] = None,
    server: Server = None,
    token_file: TokenFile = None,
) -> None:
    """Print a spec file for a module, with a comment on each field.

    `ai4papi new MODULE > spec.yaml`, and it can be applied as it is. With a token your VOs and what
    you may have there are in it.
    """
    with told():
        from api.cli.module_texts import spec_file  # noqa: PLC0415

        client = _known_or_anonymous(server, token_file)
        metadata = client.module(module)
        form = client.form(module, vo=vo)
        typer.echo(spec_file(metadata, form, server=str(client.access.server)), nl=False)


def explain_verb(
    path: Annotated[
        str,
        typer.Argument(
            metavar="[PATH]", help="Such as spec.hardware or hardware.gpu_num; without, the file."
        ),
    ] = "",
    *,
    module: Annotated[
        str | None,
        typer.Option(metavar="MODULE", help="With the defaults and options of this module."),
    ] = None,
    output: Annotated[
        ViewFormat, typer.Option("-o", "--output", help="What to print.")
    ] = ViewFormat.TABLE,
    server: Server = None,
) -> None:
    """Say what a field of a spec file is, its default and what it may be; needs no token."""
    with told():
        from api.cli.explaining import explained  # noqa: PLC0415

        client = anonymous(server)
        form = None
        if module is not None:
            client.module(module)  # of one that is not known the form is the site's own
            form = client.form(module)
        typer.echo(explained(client.schema(), form, path, output))


def anonymous(server: str | None) -> "Client":
    """Return the way to the server, without a token. Raises: CommandFailed."""
    from api.cli.access import Access, find_server  # noqa: PLC0415
    from api.cli.client import Client  # noqa: PLC0415

    return Client(Access(find_server(server, environ=os.environ), lambda: ""))


def _known_or_anonymous(server: str | None, token_file: Any) -> "Client":
    try:
        return client_of(server, token_file)
    except CommandFailed as failure:
        if failure.code is not Code.NOT_ALLOWED or token_file is not None:
            raise
        return anonymous(server)
