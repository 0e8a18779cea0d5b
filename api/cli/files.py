"""The verbs about spec files: what they would change, and live deployments as files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.choices import DiffFormat, Layout
from api.cli.failures import Code, CommandFailed
from api.cli.options import Owner, Server, TokenFile, Vo, checked_name, client_of, told

if TYPE_CHECKING:
    from api.cli.comparing import Comparison

verbs = typer.Typer()


def _checked_names(names: list[str] | None) -> list[str]:
    for name in names or []:
        checked_name(name)
    return names or []


@verbs.command("diff")
def diff_verb(
    file: Annotated[
        str,
        typer.Option(
            "-f", "--file", metavar="PATH", help="A spec file or a folder; - is standard input."
        ),
    ],
    *,
    layout: Annotated[
        Layout, typer.Option(help="What says whose a document is: itself, or VO/OWNER/NAME.yaml.")
    ] = Layout.DOCUMENT,
    source: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="The source that these are all files of: what it has and they have not is shown"
            " as deleted.",
        ),
    ] = None,
    output: Annotated[
        DiffFormat,
        typer.Option("-o", "--output", help="What to print; github is a comment's body."),
    ] = DiffFormat.TEXT,
    server: Server = None,
    token_file: TokenFile = None,
) -> None:
    """Compare what spec files say with what the server has; nothing is changed.

    Exit codes: 0 no difference, 1 different, 2 not compared, 5 not logged in or forbidden.
    """
    with told(), _compared():
        from api.cli.comparing import compare_files  # noqa: PLC0415

        client = client_of(server, token_file)
        comparison = compare_files(client, file, layout=layout, source=source)
        _show(comparison, output)
        if comparison.code is not Code.DONE:
            raise typer.Exit(comparison.code)


@verbs.command("export")
def export_verb(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Which; or --all.", callback=_checked_names),
    ] = None,
    *,
    all_: Annotated[bool, typer.Option("--all", help="All of yours, or of the owner's.")] = False,
    all_owners: Annotated[
        bool,
        typer.Option("--all-owners", help="Everybody's, for operators and auditors of their VOs."),
    ] = False,
    folder: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output-dir", metavar="DIR", help="Where to; without, standard output."
        ),
    ] = None,
    layout: Annotated[
        Layout, typer.Option(help="Files in DIR: NAME.yaml, or VO/OWNER/NAME.yaml.")
    ] = Layout.DOCUMENT,
    force: Annotated[bool, typer.Option("--force", help="Replace files that differ.")] = False,
    vo: Vo = None,
    owner: Owner = None,
    server: Server = None,
    token_file: TokenFile = None,
) -> None:
    """Write deployments as spec files that apply to no change; secrets stay on the server.

    Editors complete and check them by the first line.
    """
    if bool(names) == (all_ or all_owners):
        raise typer.BadParameter("name deployments, or take --all or --all-owners")
    if all_owners and owner is not None:
        raise typer.BadParameter("--all-owners does not go with --owner")
    with told():
        from api.cli.client import EVERYBODY  # noqa: PLC0415
        from api.cli.export import exported, living, write_files  # noqa: PLC0415

        client = client_of(server, token_file, owner=EVERYBODY if all_owners else owner)
        views = [client.get(name, vo=vo) for name in names] if names else client.list(vo=vo)
        files = exported(
            living(views),
            server=str(client.access.server),
            layout=layout,
            owner=client.owner is not None,
        )
        if not files:
            typer.echo("There are no deployments.", err=True)
        elif folder is None:
            typer.echo("---\n".join(one.text for one in files), nl=False)
        elif failures := write_files(files, folder, force=force):
            raise typer.Exit(failures[0].code)


@contextmanager
def _compared() -> Iterator[None]:
    """Whatever keeps a comparison from being made must not look like a difference."""
    try:
        yield
    except CommandFailed as failure:
        if failure.code is not Code.NOT_ALLOWED:
            failure.code = Code.USAGE
        raise


def _show(comparison: "Comparison", form: DiffFormat) -> None:
    from dataclasses import asdict  # noqa: PLC0415

    from api.cli.paint import show_diff  # noqa: PLC0415
    from api.cli.show import json_text  # noqa: PLC0415
    from specs.report import as_junit, as_lines, as_markdown, as_summary, counts  # noqa: PLC0415

    findings = comparison.findings
    match form:
        case DiffFormat.TEXT:
            show_diff([*as_lines(findings), as_summary(findings)])
        case DiffFormat.JSON:
            told_ = [asdict(finding) for finding in findings]
            typer.echo(json_text({"summary": counts(findings), "findings": told_}))
        case DiffFormat.GITHUB:
            typer.echo(as_markdown(findings, title="Spec files"), nl=False)
        case DiffFormat.JUNIT:
            typer.echo(as_junit(findings, title="ai4papi diff"), nl=False)
