"""`ai4papi backup` and `ai4papi restore`: a copy of this machine's store, and the way back."""

import os
from pathlib import Path

import typer

from api.cli.failures import Code, CommandFailed
from api.cli.options import ask
from reconciler.settings import SettingsFault, load_settings
from specs.backup import BackupRefused, Copy, back_up, examine, restore


def back_up_store(file: Path) -> None:
    """Copy the store to `file` and say what is in it. Raises: CommandFailed."""
    try:
        copy = back_up(_store_url(), file)
    except BackupRefused as refused:
        raise CommandFailed(Code.FAILED, str(refused)) from refused
    typer.echo(f"{file}: {_told(copy)}")
    if copy.secrets:
        typer.echo(
            f"its {copy.secrets} secrets are sealed: keep the key too, and apart from this file"
            " (AI4PAPI_SECRET_KEY_FILE, else secret.key beside the store)",
            err=True,
        )


def restore_store(file: Path, *, yes: bool) -> None:
    """Put `file` in the place of the store where a person says yes. Raises: CommandFailed."""
    url = _store_url()
    try:
        if not yes:
            question = f"Put {file} ({_told(examine(file))}) in the place of the store?"
            ask(question, next_command=f"ai4papi restore {file} -y")
        copy = restore(url, file)
    except BackupRefused as refused:
        raise CommandFailed(Code.FAILED, str(refused)) from refused
    typer.echo(f"restored: {_told(copy)}")
    typer.echo(
        "Nomad remembers how far the store had come: where this one is older, nothing is written"
        " to Nomad until you say that it is the right one. Next: start the server, look at"
        " `ai4papi get --all-owners`, then `python -m reconciler --accept-store`",
        err=True,
    )


def _store_url() -> str:
    try:
        return load_settings(os.environ).store_url
    except SettingsFault as fault:
        raise CommandFailed(Code.USAGE, str(fault)) from fault


def _told(copy: Copy) -> str:
    return f"store {copy.store_id} at write {copy.durable}, {copy.deployments} deployments"
