"""The verbs of `ai4papi` and their options; each verb imports its work when it is run."""

import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from api.cli import context_verbs, files, identity, lifecycle, modules, sources
from api.cli.choices import Format, Goal, ReportFormat, Shell
from api.cli.options import (
    TEN_MINUTES_S,
    Name,
    Owner,
    Server,
    TakeOver,
    Timeout,
    TokenFile,
    Vo,
    Wait,
    Yes,
    again,
    ask,
    checked_name,
    client_of,
    known_names,
    told,
)
from api.cli.overview import PAGE
from api.cli.values import read_values_plainly

COMPLETE_VARIABLE: Final = "_AI4PAPI_COMPLETE"
"""Set by a shell that asks what a word can be completed with."""

read_values_plainly()
if COMPLETE_VARIABLE in os.environ:
    from typer._completion_classes import completion_init

    completion_init()


class Verbs(TyperGroup):
    """All the verbs, with one page about them."""

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """Write the page."""
        formatter.write(PAGE)


app = typer.Typer(
    name="ai4papi",
    cls=Verbs,
    help="Declare AI deployments, and have them kept running on Nomad.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,  # rich would double the time to the first line
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command("apply")
def apply_verb(
    file: Annotated[
        str, typer.Option("-f", "--file", metavar="FILE", help="YAML or JSON; - is standard input.")
    ],
    *,
    wait: Wait = False,
    timeout: Timeout = TEN_MINUTES_S,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing, say what would.")
    ] = False,
    yes: Yes = False,
    take_over: TakeOver = False,
    owner: Owner = None,
    server: Server = None,
    token_file: TokenFile = None,
) -> None:
    """Make deployments what the manifests in FILE say.

    On a terminal it says first what would happen, and asks.
    """
    if wait and dry_run:
        raise typer.BadParameter("--wait has nothing to wait for with --dry-run")
    with told():
        from api.cli.apply import apply_file, wait_for_all  # noqa: PLC0415

        until = time.monotonic() + timeout
        client = client_of(server, token_file, owner=owner)
        asking = not (yes or dry_run) and sys.stdin.isatty() and sys.stdout.isatty()
        applied, failures = apply_file(
            client, file, dry_run=dry_run, take_over=take_over, asking=asking
        )
        if wait:
            failures += wait_for_all(client, applied, until=until)
        if failures:
            raise typer.Exit(failures[0].code)


@app.command("get")
def get_verb(
    name: Annotated[
        str | None,
        typer.Argument(
            help="One deployment; without, all of yours.",
            callback=checked_name,
            autocompletion=known_names,
        ),
    ] = None,
    *,
    output: Annotated[Format, typer.Option("-o", "--output", help="What to print.")] = Format.TABLE,
    vo: Vo = None,
    owner: Owner = None,
    all_owners: Annotated[
        bool,
        typer.Option("--all-owners", help="Everybody's, for operators and auditors of their VOs."),
    ] = False,
    watch: Annotated[
        bool, typer.Option("-w", "--watch", help="Go on with what changes, a line for each.")
    ] = False,
    server: Server = None,
    token_file: TokenFile = None,
) -> None:
    """Show deployments, where they stand and why."""
    if watch and output not in {Format.TABLE, Format.JSON}:
        raise typer.BadParameter("--watch prints a table or, with -o json, a JSON line for each")
    if all_owners and (name is not None or owner is not None):
        raise typer.BadParameter("--all-owners goes with neither a name nor --owner")
    with told():
        from api.cli.client import EVERYBODY  # noqa: PLC0415
        from api.cli.show import shown  # noqa: PLC0415

        client = client_of(server, token_file, owner=EVERYBODY if all_owners else owner)
        if watch:
            from api.cli.streams import watch_deployments  # noqa: PLC0415

            watch_deployments(client, name, vo=vo, as_json=output is Format.JSON)
        alone = name is not None
        views = [client.get(name, vo=vo)] if name is not None else list(client.list(vo=vo))
        if views or output in {Format.JSON, Format.YAML}:
            now = datetime.now(UTC)
            typer.echo(shown(views, output, alone=alone, now=now, owners=all_owners))
        elif client.owner is None:
            typer.echo("You have no deployments. Next: ai4papi apply -f FILE", err=True)
        else:
            typer.echo("There are no deployments.", err=True)


@app.command("wait")
def wait_verb(
    name: Name,
    *,
    goal: Annotated[Goal, typer.Option("--for", help="What to wait for.")],
    timeout: Timeout = TEN_MINUTES_S,
    vo: Vo = None,
    owner: Owner = None,
    server: Server = None,
    token_file: TokenFile = None,
) -> None:
    """Wait until a deployment is ready, or gone."""
    with told():
        from api.cli.waiting import wait_for  # noqa: PLC0415

        wait_for(client_of(server, token_file, owner=owner), name, goal, timeout_s=timeout, vo=vo)


@app.command("open")
def open_verb(
    name: Name,
    *,
    endpoint: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Which; without, the service of its spec."),
    ] = None,
    vo: Vo = None,
    owner: Owner = None,
    server: Server = None,
    token_file: TokenFile = None,
) -> None:
    """Open an endpoint of a deployment in a browser, and print its address."""
    with told():
        import webbrowser  # noqa: PLC0415

        from api.cli.show import chosen_endpoint  # noqa: PLC0415

        client = client_of(server, token_file, owner=owner)
        url = chosen_endpoint(client.get(name, vo=vo), endpoint)
        typer.echo(url)
        if sys.stdout.isatty():
            webbrowser.open(url)


@app.command("delete")
def delete_verb(
    name: Name,
    *,
    wait: Wait = False,
    timeout: Timeout = TEN_MINUTES_S,
    yes: Yes = False,
    take_over: TakeOver = False,
    vo: Vo = None,
    owner: Owner = None,
    server: Server = None,
    token_file: TokenFile = None,
) -> None:
    """End a deployment: its job, then its record."""
    with told():
        from api.cli.waiting import wait_for  # noqa: PLC0415

        client = client_of(server, token_file, owner=owner)
        if not yes:
            ask(
                f"Delete deployment {name} and stop its work?",
                next_command=again(f"ai4papi delete {name} -y", owner=owner),
            )
        metadata = client.delete(name, vo=vo, take_over=take_over)["metadata"]
        typer.echo(f"deployment {name} is being deleted")
        if wait:
            uid = metadata["uid"]
            wait_for(client, name, Goal.DELETED, timeout_s=timeout, vo=metadata["vo"], uid=uid)


@app.command(
    "schema",
    epilog="VS Code (with its YAML extension) and other editors complete and check a file that"
    " starts with the line # yaml-language-server: $schema=URL/v1/schema/deployment.json, where"
    " URL is the server's address.",
)
def schema_verb(*, server: Server = None) -> None:
    """Print the JSON Schema of a spec file, for editors and CI; needs no token."""
    with told():
        from api.cli.access import Access, find_server  # noqa: PLC0415
        from api.cli.client import Client  # noqa: PLC0415
        from api.cli.show import json_text  # noqa: PLC0415

        client = Client(Access(find_server(server, environ=os.environ), lambda: ""))
        typer.echo(json_text(client.schema()))


@app.command("completion")
def completion_verb(
    shell: Annotated[Shell, typer.Argument(help="Your shell.")],
) -> None:
    """Print what makes a shell complete verbs, options and names.

    `eval "$(ai4papi completion bash)"` in ~/.bashrc; fish: `ai4papi completion fish | source`.
    """
    from typer._completion_shared import get_completion_script  # noqa: PLC0415

    script = get_completion_script(
        prog_name="ai4papi", complete_var=COMPLETE_VARIABLE, shell=shell.value
    )
    typer.echo(script)


app.add_typer(files.verbs)
app.add_typer(sources.verbs, name="sources")
app.add_typer(modules.verbs, name="modules")
app.command("new")(modules.new_verb)
app.command("explain")(modules.explain_verb)
app.add_typer(lifecycle.verbs)
app.add_typer(identity.verbs)
app.add_typer(context_verbs.verbs, name="context")


@app.command("run")
def run_verb(
    host: Annotated[str | None, typer.Option(help="Address to listen on; HOST.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port; PORT.")] = None,
    ssl_keyfile: Annotated[Path | None, typer.Option(exists=True, dir_okay=False)] = None,
    ssl_certfile: Annotated[Path | None, typer.Option(exists=True, dir_okay=False)] = None,
) -> None:
    """Run the server: the API and the loop behind it."""
    from api.serve import run  # noqa: PLC0415

    run(host=host, port=port, ssl_keyfile=ssl_keyfile, ssl_certfile=ssl_certfile)


@app.command("reconcile")
def reconcile_verb(
    files: Annotated[
        Path | None,
        typer.Option(
            "-f",
            "--files",
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="Take the spec files in DIR in first.",
        ),
    ] = None,
    *,
    once: Annotated[bool, typer.Option("--once", help="One pass, as always.")] = False,  # noqa: ARG001
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing, say what would.")
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="For CI: JUnit XML (.xml) or Markdown (.md)."),
    ] = None,
) -> None:
    """Run one pass of the loop on this machine's store, and say what it did.

    Exit codes: 0 settled, 1 something is not, and it is named, 2 usage.
    """
    from reconciler.__main__ import main  # noqa: PLC0415

    arguments = ["--once", *(("--files", str(files)) if files else ())]
    arguments += ["--dry-run"] if dry_run else []
    arguments += ["--report", str(report)] if report else []
    raise typer.Exit(main(arguments))


@app.command("doctor")
def doctor_verb(
    *,
    site: Annotated[
        bool,
        typer.Option("--site", help="Check what a server with this environment would meet."),
    ] = False,
    output: Annotated[
        ReportFormat, typer.Option("-o", "--output", help="What to print.")
    ] = ReportFormat.TABLE,
    server: Server = None,
    token_file: TokenFile = None,
) -> None:
    """Say what is wrong with the way to the server, or with --site with the server's machine."""
    with told():
        from api.cli.doctor import doctor  # noqa: PLC0415

        doctor(output, site=site, server=server, token_file=token_file)


@app.command("backup")
def backup_verb(
    file: Annotated[Path, typer.Argument(help="A new file for the copy.")],
) -> None:
    """Copy this machine's store into FILE, while the server runs."""
    with told():
        from api.cli.keeping import back_up_store  # noqa: PLC0415

        back_up_store(file)


@app.command("restore")
def restore_verb(
    file: Annotated[Path, typer.Argument(help="What `ai4papi backup` made.")], *, yes: Yes = False
) -> None:
    """Put FILE in the place of this machine's store; the server must be stopped."""
    with told():
        from api.cli.keeping import restore_store  # noqa: PLC0415

        restore_store(file, yes=yes)


@app.command("adopt")
def adopt_verb(
    job_id: Annotated[
        list[str] | None, typer.Argument(metavar="[JOB_ID]...", help="These jobs; without, all.")
    ] = None,
    *,
    owner: Annotated[
        str | None, typer.Option(metavar="SUB", help="Only jobs of this owner, as Meta has it.")
    ] = None,
    namespace: Annotated[str | None, typer.Option(help="Only jobs of this namespace.")] = None,
    issuer: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Whose subjects the owners are, where auth.OP has many."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing, say what would.")
    ] = False,
    output: Annotated[
        ReportFormat, typer.Option("-o", "--output", help="What to print.")
    ] = ReportFormat.TABLE,
    yes: Yes = False,
) -> None:
    """Take over jobs that the platform before this one started; none of them restarts."""
    with told():
        from api.cli.adopt import Chosen, adopt  # noqa: PLC0415

        chosen = Chosen(job_id or (), owner, namespace, issuer)
        adopt(chosen, output, dry_run=dry_run, yes=yes)


@app.command("simulate")
def simulate_verb(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port.")] = 4646,
) -> None:
    """Serve a simulated Nomad to try things on."""
    from reconciler.cluster.simulator.__main__ import main  # noqa: PLC0415

    raise typer.Exit(main(["--host", host, "--port", str(port)]))
