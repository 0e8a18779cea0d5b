"""`ai4papi doctor`: what is wrong here, said before somebody has to find out."""

import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import typer

from api.cli.choices import ReportFormat
from api.cli.failures import Code, CommandFailed
from api.cli.options import client_of
from api.cli.show import json_text
from api.cli.texts import printable
from reconciler.checkup import Check, check_site
from specs.program import own_version


def doctor(form: ReportFormat, *, site: bool, server: str | None, token_file: Path | None) -> None:
    """Check the way to a server, or with `site` what a server would meet on this machine.

    Raises: CommandFailed where a check failed.
    """
    checks = []
    for check in check_site(os.environ) if site else check_client(server, token_file):
        checks.append(check)
        if form is ReportFormat.TABLE:
            typer.echo(printable(f"{check.verdict:<8} {check.name}: {check.message}"))
            if check.hint and check.verdict != "ok":
                typer.echo(f"         next: {printable(check.hint)}")
    if form is ReportFormat.JSON:
        typer.echo(json_text([asdict(check) for check in checks]))
    failed = [check.name for check in checks if check.verdict == "failed"]
    if failed:
        raise CommandFailed(Code.FAILED, f"not well: {', '.join(failed)}")


def check_client(server: str | None, token_file: Path | None) -> Iterator[Check]:
    """Yield how the server, its version and the token are."""
    try:
        client = client_of(server, token_file)
        root = client.ask("GET", "/", query={}).body
    except CommandFailed as failure:
        yield Check("server", "failed", failure.message, failure.hint or failure.next_command)
        return
    yield Check("server", "ok", f"{root['name']} {root['version']}, cluster: {root['cluster']}")
    yield version_check(str(root["version"]), own_version())
    for name in ("livez", "readyz"):
        try:
            client.ask("GET", f"/{name}", query={})
        except CommandFailed as failure:
            told = "; ".join([failure.message, *(str(cause) for cause in failure.causes)])
            yield Check(name, "warning", told, "the operator's log says more")
        else:
            yield Check(name, "ok", "well")
    try:
        me = client.ask("GET", "/v1/whoami", query={}).body
    except CommandFailed as failure:
        yield Check("token", "failed", failure.message, failure.hint or "ai4papi login")
    else:
        yield Check("token", "ok", f"you are {me['name'] or me['sub']}")


def version_check(served: str, own: str) -> Check:
    """Judge two versions: the same first two numbers understand each other."""
    if served.split(".")[:2] == own.split(".")[:2]:
        return Check("version", "ok", f"{own} here, {served} there")
    told = f"{own} here, {served} there"
    return Check("version", "warning", told, "install the server's version of ai4papi")
