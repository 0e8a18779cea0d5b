"""What `apply --wait`, `wait` and `delete --wait` share: follow one, and say how it ended."""

import typer

from api.cli.choices import Goal
from api.cli.client import Answer, Client
from api.cli.failures import Code, CommandFailed
from api.cli.follow import Ending, follow
from api.cli.options import again
from api.cli.progress import progress
from api.cli.show import endpoint_lines
from api.cli.texts import printable


def wait_for(
    client: Client,
    name: str,
    goal: Goal,
    *,
    timeout_s: float,
    vo: str | None = None,
    uid: str | None = None,
    may_rest: bool = False,
) -> None:
    """Wait and print what happens, at the end the endpoints.

    Raises: CommandFailed with ENDED_BADLY, POLICY (held) or TIMED_OUT, or as the first look does.
    """

    def look(etag: str | None, wait_s: int) -> Answer:
        return client.status(name, vo=vo, goal=goal, etag=etag, wait_s=wait_s)

    with progress(name) as tell:
        ending = follow(look, goal, timeout_s=timeout_s, tell=tell, uid=uid, may_rest=may_rest)
    if ending.code is not Code.DONE:
        raise _failure(name, goal, ending, owner=client.owner)
    typer.echo(printable(f"deployment {name} {ending.words}"))
    for line in endpoint_lines(ending.status["endpoints"] if ending.status else {}):
        typer.echo(line)


def _failure(name: str, goal: Goal, ending: Ending, *, owner: str | None) -> CommandFailed:
    if ending.code is Code.TIMED_OUT:
        hint, command = "It goes on without you.", f"ai4papi wait {name} --for {goal} --timeout 1h"
    else:
        hint = str((ending.status or {}).get("hint", ""))
        command = f"ai4papi get {name} -o yaml"
    message = f"deployment {name} {ending.words}"
    return CommandFailed(ending.code, message, hint=hint, next_command=again(command, owner=owner))
