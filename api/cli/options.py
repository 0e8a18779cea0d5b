"""What the verbs share: their options, the way to the server, and how a failure is told."""

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from api.cli.failures import Code, CommandFailed
from api.cli.texts import is_name, seconds_of

if TYPE_CHECKING:
    from api.cli.client import Client


def checked_name(text: str | None) -> str | None:
    """Return a deployment's name as it was given. Raises: typer.BadParameter."""
    if text is not None and not is_name(text):
        raise typer.BadParameter(f"{text!r} is no name: 1 to 63 of a-z, 0-9 and -")
    return text


def known_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return what a shell can complete a deployment's name with."""
    from api.cli.completing import names_starting  # noqa: PLC0415

    return names_starting(ctx, incomplete)


def _seconds(text: str | float) -> float:
    try:
        return seconds_of(str(text))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _checked_owner(text: str | None) -> str | None:
    if text is not None and (not text or text == "*"):
        raise typer.BadParameter(f"{text!r} names nobody; `get --all-owners` shows everybody's")
    return text


Name = Annotated[
    str,
    typer.Argument(
        help="The deployment's name.", callback=checked_name, autocompletion=known_names
    ),
]
Server = Annotated[
    str | None,
    typer.Option(
        "--server",
        "--context",
        metavar="URL|NAME",
        help="The server's address or a context's name, or AI4PAPI_SERVER, AI4PAPI_CONTEXT.",
    ),
]
TokenFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Holds the token, or AI4PAPI_TOKEN does.")
]
Vo = Annotated[str | None, typer.Option(help="The VO, where the name is taken in several.")]
Owner = Annotated[
    str | None,
    typer.Option(
        metavar="SUB",
        help="Somebody else's, for operators and auditors of the VO: their `sub` at your own"
        " provider, or ISS#SUB.",
        callback=_checked_owner,
    ),
]
Wait = Annotated[bool, typer.Option("--wait", help="Wait, and show what happens.")]
Yes = Annotated[bool, typer.Option("-y", "--yes", help="Ask nothing.")]
TakeOver = Annotated[
    bool,
    typer.Option("--take-over", help="Also where a spec file declares it: it is yours then."),
]
Timeout = Annotated[
    float,
    typer.Option(
        parser=_seconds, metavar="DURATION", show_default="10m", help="How long: 90s, 10m, 2h."
    ),
]
TEN_MINUTES_S: Final = 600.0


def client_of(server: str | None, token_file: Path | None, *, owner: str | None = None) -> "Client":
    """Return the way to the server that the options or the environment name, to `owner`'s there."""
    from api.cli.access import find_access  # noqa: PLC0415
    from api.cli.client import Client  # noqa: PLC0415

    return Client(find_access(server, token_file, environ=os.environ), owner=owner)


def again(command: str, *, owner: str | None) -> str:
    """Return a command as it is to be typed for the same owner."""
    return command if owner is None else f"{command} --owner {shlex.quote(owner)}"


def ask(question: str, *, next_command: str) -> None:
    """Go on only where a person says yes. Raises: CommandFailed."""
    if not sys.stdin.isatty():
        raise CommandFailed(
            Code.USAGE, "there is nobody to ask whether to go on", next_command=next_command
        )
    typer.echo(f"{question} [y/N] ", nl=False, err=True)
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise CommandFailed(Code.FAILED, "nothing was changed")


@contextmanager
def told() -> Iterator[None]:
    """Turn a failure into its lines on standard error and its exit code."""
    try:
        yield
    except CommandFailed as failure:
        typer.echo("\n".join(failure.lines()), err=True)
        raise typer.Exit(failure.code) from None
    except KeyboardInterrupt:
        typer.echo("interrupted: what was sent goes on without you", err=True)
        raise typer.Exit(Code.INTERRUPTED) from None
