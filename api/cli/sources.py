"""`ai4papi sources`: where spec files come from, for operators."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer

from api.cli.choices import ListFormat
from api.cli.failures import Code
from api.cli.options import Server, TokenFile, Yes, ask, client_of, told

verbs = typer.Typer(
    help="Sources of spec files: list them, read one now, confirm held deletions.",
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

HELD_SHOWN: Final = 20
"""Held deletions that are told one by one; `-o json` has them all."""

SourceId = Annotated[str, typer.Argument(metavar="ID", help="As `ai4papi sources` has it.")]


@verbs.callback()
def list_verb(
    context: typer.Context,
    *,
    output: Annotated[
        ListFormat, typer.Option("-o", "--output", help="What to print.")
    ] = ListFormat.TABLE,
    server: Server = None,
    token_file: TokenFile = None,
) -> None:
    """List the sources of spec files: the version wanted and applied, faults, held deletions.

    Exit code 1 where one can't be read, has a fault, or waits for a person.
    """
    if context.invoked_subcommand is not None:
        return
    with told():
        from api.cli.listing import SOURCES, listed  # noqa: PLC0415
        from api.cli.texts import printable  # noqa: PLC0415

        items = client_of(server, token_file).sources()
        now = datetime.now(UTC)
        typer.echo(listed(items, SOURCES, output, name="id", now=now))
        troubles = [line for item in items for line in troubles_of(item)]
        for line in troubles:
            typer.echo(printable(line), err=True)
        if troubles:
            raise typer.Exit(Code.FAILED)


@verbs.command("sync")
def sync_verb(source: SourceId, *, server: Server = None, token_file: TokenFile = None) -> None:
    """Have a source read now, rather than when it is time."""
    with told():
        client_of(server, token_file).sync_source(source)
        typer.echo(f"source {source} is read now")


@verbs.command("confirm")
def confirm_verb(
    source: SourceId, *, yes: Yes = False, server: Server = None, token_file: TokenFile = None
) -> None:
    """Let the deletions of a source through that wait for a person's yes."""
    with told():
        client = client_of(server, token_file)
        if not yes:
            names = [
                held["name"]
                for item in client.sources()
                if item["id"] == source
                for held in item["held"]
            ]
            ask(
                f"Delete {len(names)} deployments that {source} no longer has"
                f" ({', '.join(names[:10])}{', …' if len(names) > 10 else ''})?",
                next_command=f"ai4papi sources confirm {source} -y",
            )
        typer.echo(f"{client.confirm_deletions(source)} deployments are being deleted")


def troubles_of(item: Any) -> Sequence[str]:
    """Return what is wrong with a source, a line each."""
    faults = [
        f"{f['file']}:{f['line']}:{f['column']}{f['pointer'] and ' '}{f['pointer']}: {f['message']}"
        for f in item["faults"]
    ]
    held = [
        f"held: {one['name']} of {one['owner']}: {one['message']}"
        for one in item["held"][:HELD_SHOWN]
    ]
    held += [f"held: {len(item['held'])} in all"] if len(item["held"]) > HELD_SHOWN else []
    more = [f"and {item['moreFaults']} more faults"] if item["moreFaults"] else []
    waits = [f"nothing is deleted now: {item['waits']}"] if item["waits"] else []
    error = [item["error"]] if item["error"] else []
    return [f"{item['id']}: {line}" for line in (*error, *waits, *faults, *more, *held)]
