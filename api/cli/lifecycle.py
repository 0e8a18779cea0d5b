"""The verbs about a deployment's past, and those that stop, start and go back.

A verb that ends running work asks first.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.choices import Goal, ListFormat
from api.cli.failures import Code, CommandFailed
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

if TYPE_CHECKING:
    from api.cli.client import Client

verbs = typer.Typer()

Output = Annotated[ListFormat, typer.Option("-o", "--output", help="What to print.")]


@verbs.command("history")
def history_verb(
    name: Name,
    *,
    output: Output = ListFormat.TABLE,
    vo: Vo = None,
    owner: Owner = None,
    server: Server = None,
    token_file: TokenFile = None,
) -> None:
    """Show who changed what, newest first."""
    with told():
        from api.cli.listing import HISTORY, listed  # noqa: PLC0415

        revisions = client_of(server, token_file, owner=owner).history(name, vo=vo)
        typer.echo(listed(revisions, HISTORY, output, name="generation", now=datetime.now(UTC)))


@verbs.command("events")
def events_verb(
    name: Annotated[
        str | None,
        typer.Argument(
            help="One deployment; without, all of yours.",
            callback=checked_name,
            autocompletion=known_names,
        ),
    ] = None,
    *,
    output: Output = ListFormat.TABLE,
    vo: Vo = None,
    owner: Owner = None,
    server: Server = None,
    token_file: TokenFile = None,
) -> None:
    """Show what happened, oldest first."""
    with told():
        from api.cli.listing import EVENTS, listed  # noqa: PLC0415

        if name is None and vo is not None:
            raise CommandFailed(Code.USAGE, "--vo goes with a name")
        events = list(client_of(server, token_file, owner=owner).events(name, vo=vo))
        if events or output in {ListFormat.JSON, ListFormat.YAML}:
            typer.echo(listed(events, EVENTS, output, name="number", now=datetime.now(UTC)))
        else:
            typer.echo("Nothing has happened yet.", err=True)


@verbs.command("logs")
def logs_verb(
    name: Name,
    *,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Go on with what is written, until it ends.")
    ] = False,
    tail: Annotated[
        int, typer.Option(min=0, max=10_000, help="How many of the last lines.")
    ] = 1000,
    task: Annotated[str | None, typer.Option(help="A task of its job; without, its own.")] = None,
    stderr: Annotated[
        bool, typer.Option("--stderr", help="What was written to standard error.")
    ] = False,
    previous: Annotated[
        bool, typer.Option("--previous", help="Of the run before the present one.")
    ] = False,
    vo: Vo = None,
    owner: Owner = None,
    server: Server = None,
    token_file: TokenFile = None,
) -> None:
    """Print what a deployment has written, of what runs or else of what ran last."""
    with told():
        from api.cli.streams import LogAsked, print_log  # noqa: PLC0415

        asked = LogAsked(
            name, vo=vo, task=task, stderr=stderr, tail=tail, follow=follow, previous=previous
        )
        print_log(client_of(server, token_file, owner=owner), asked)


@verbs.command("plan")
def plan_verb(
    name: Name,
    *,
    output: Output = ListFormat.TABLE,
    vo: Vo = None,
    owner: Owner = None,
    server: Server = None,
    token_file: TokenFile = None,
) -> None:
    """Compare what should run with what runs."""
    with told():
        from api.cli.listing import planned  # noqa: PLC0415
        from api.cli.paint import EFFECTS, show  # noqa: PLC0415

        plan = client_of(server, token_file, owner=owner).plan(name, vo=vo)
        head, *fields = planned(name, plan, output).splitlines() or [""]
        colour = EFFECTS.get(plan["effect"], "") if output is ListFormat.TABLE else ""
        show([(head, colour), *((line, "") for line in fields)])


@verbs.command("rollback")
def rollback_verb(
    name: Name,
    *,
    to: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="The generation, as `history` has it.",
            show_default="the one before the last change of what runs",
        ),
    ] = None,
    yes: Yes = False,
    wait: Wait = False,
    timeout: Timeout = TEN_MINUTES_S,
    vo: Vo = None,
    owner: Owner = None,
    server: Server = None,
    token_file: TokenFile = None,
) -> None:
    """Run an older generation, until the spec is changed."""
    with told():
        client = client_of(server, token_file, owner=owner)
        generation = _before(client, name, vo) if to is None else to
        if not yes:
            ask(
                f"Run generation {generation} of deployment {name} in place of its spec?",
                next_command=again(f"ai4papi rollback {name} --to {generation} -y", owner=owner),
            )
        view = client.rollback(name, generation, vo=vo)
        typer.echo(f"deployment {name} rolled back to generation {generation}")
        if wait:
            _wait(client, view, timeout)


@verbs.command("suspend")
def suspend_verb(
    name: Name,
    *,
    yes: Yes = False,
    wait: Wait = False,
    timeout: Timeout = TEN_MINUTES_S,
    take_over: TakeOver = False,
    vo: Vo = None,
    owner: Owner = None,
    server: Server = None,
    token_file: TokenFile = None,
) -> None:
    """Stop the work and free what it holds; spec and history stay."""
    with told():
        client = client_of(server, token_file, owner=owner)
        if not yes:
            ask(
                f"Stop the work of deployment {name}?",
                next_command=again(f"ai4papi suspend {name} -y", owner=owner),
            )
        view = client.patch(name, {"spec": {"suspend": True}}, vo=vo, take_over=take_over)
        typer.echo(f"deployment {name} suspended")
        if wait:
            _wait(client, view, timeout)


@verbs.command("resume")
def resume_verb(
    name: Name,
    *,
    wait: Wait = False,
    timeout: Timeout = TEN_MINUTES_S,
    vo: Vo = None,
    owner: Owner = None,
    server: Server = None,
    token_file: TokenFile = None,
) -> None:
    """Start the work of a suspended deployment again."""
    with told():
        client = client_of(server, token_file, owner=owner)
        view = client.patch(name, {"spec": {"suspend": False}}, vo=vo)
        typer.echo(f"deployment {name} resumed")
        if wait:
            _wait(client, view, timeout)


@verbs.command("restart")
def restart_verb(
    name: Name,
    *,
    yes: Yes = False,
    wait: Wait = False,
    timeout: Timeout = TEN_MINUTES_S,
    vo: Vo = None,
    owner: Owner = None,
    server: Server = None,
    token_file: TokenFile = None,
) -> None:
    """Restart the running work once, where it is."""
    with told():
        client = client_of(server, token_file, owner=owner)
        if not yes:
            ask(
                f"Restart the work of deployment {name}?",
                next_command=again(f"ai4papi restart {name} -y", owner=owner),
            )
        counter = client.get(name, vo=vo)["spec"]["restart"] + 1
        view = client.patch(name, {"spec": {"restart": counter}}, vo=vo)
        typer.echo(f"deployment {name} restarts")
        if wait:
            _wait(client, view, timeout)


@verbs.command("undelete")
def undelete_verb(
    name: Name,
    *,
    wait: Wait = False,
    timeout: Timeout = TEN_MINUTES_S,
    vo: Vo = None,
    owner: Owner = None,
    server: Server = None,
    token_file: TokenFile = None,
) -> None:
    """Take a deletion back."""
    with told():
        client = client_of(server, token_file, owner=owner)
        view = client.undelete(name, vo=vo)
        typer.echo(f"deployment {name} undeleted")
        if wait:
            _wait(client, view, timeout)


@verbs.command("trash")
def trash_verb(
    *,
    output: Output = ListFormat.TABLE,
    owner: Owner = None,
    server: Server = None,
    token_file: TokenFile = None,
) -> None:
    """Show what you deleted and can still have back."""
    with told():
        from api.cli.listing import TRASH, listed  # noqa: PLC0415

        deleted = client_of(server, token_file, owner=owner).trash()
        if deleted or output in {ListFormat.JSON, ListFormat.YAML}:
            typer.echo(listed(deleted, TRASH, output, name="name", now=datetime.now(UTC)))
        else:
            typer.echo("The trash is empty.", err=True)


def _before(client: "Client", name: str, vo: str | None) -> int:
    from api.cli.listing import generation_before  # noqa: PLC0415

    generation = generation_before(client.history(name, vo=vo))
    if generation is None:
        raise CommandFailed(
            Code.NOT_FOUND,
            f"deployment {name} has no generation before that runs anything else",
            next_command=again(f"ai4papi history {name}", owner=client.owner),
        )
    return generation


def _wait(client: "Client", view: Mapping[str, Any], timeout_s: float) -> None:
    from api.cli.waiting import wait_for  # noqa: PLC0415

    metadata = view["metadata"]
    wait_for(
        client,
        metadata["name"],
        Goal.READY,
        timeout_s=timeout_s,
        vo=metadata["vo"],
        uid=metadata["uid"],
        may_rest=view["spec"]["suspend"],
    )
