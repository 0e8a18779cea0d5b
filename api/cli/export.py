"""`ai4papi export`: live specs as files that apply to no change."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import typer

from api.cli.failures import Code, CommandFailed
from api.cli.texts import is_name, printable
from specs.writing import editor_line, manifest_of_view, manifest_text
from specs.yaml_text import MAX_BYTES

View = Mapping[str, Any]

LEFT_ALONE: Final = "!$&'()+,;=@"
"""What a part of a path may hold beside letters, digits and `_.-~`; the rest is `%XX`."""


@dataclass(frozen=True, slots=True)
class Exported:
    """One deployment as a file: its path below the folder, and what stands in it."""

    path: str
    text: str


def living(views: Iterable[View]) -> Iterator[View]:
    """Yield those that are not being deleted, and say which are."""
    for view in views:
        if view["metadata"].get("deletionTimestamp"):
            name = view["metadata"]["name"]
            typer.echo(printable(f"deployment {name} is being deleted: left out"), err=True)
        else:
            yield view


def exported(views: Iterable[View], *, server: str, layout: str, owner: bool) -> list[Exported]:
    """Return the files, by path; `owner`: each says whose it is.

    Raises: CommandFailed where two deployments would be one file, or one is too large for any.
    """
    found: dict[str, Exported] = {}
    for view in views:
        text = editor_line(server) + manifest_text(manifest_of_view(view, owner=owner))
        one = Exported(_path(view["metadata"], layout), text)
        if len(text.encode()) > MAX_BYTES:
            message = f"{one.path} would have more than the {MAX_BYTES} bytes of a spec file"
            raise CommandFailed(Code.FAILED, message)
        twin = found.setdefault(one.path.casefold(), one)
        if twin is not one:
            raise CommandFailed(
                Code.FAILED,
                f"two deployments would be in one file, {one.path}",
                hint="--layout path has a folder for each VO and owner; or name one with --vo or"
                " --owner.",
            )
    return sorted(found.values(), key=lambda one: one.path)


def write_files(files: Sequence[Exported], folder: Path, *, force: bool) -> list[CommandFailed]:
    """Write what is not there yet, and say of each file what became of it.

    One that differs is replaced with `force` only. Raises: CommandFailed where nothing can be
    written.
    """
    failures: list[CommandFailed] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        root = folder.resolve()
        for one in files:
            word = _write(one, root, force=force)
            if word:
                typer.echo(printable(f"{folder / one.path} {word}"))
            else:
                failures.append(_told(_differs(folder / one.path)))
    except OSError as error:
        message = f"{error.filename or folder} can't be written: {error.strerror}"
        raise CommandFailed(Code.FAILED, message) from error
    return failures


def _write(one: Exported, root: Path, *, force: bool) -> str:
    """Write one file whole or not at all; return what became of it, "": it differs and stays."""
    target = root / one.path
    for above in list(Path(one.path).parents)[:-1]:
        if (root / above).is_symlink():
            message = f"{root / above} is a symbolic link: nothing is written through it"
            raise CommandFailed(Code.FAILED, message)
    target.parent.mkdir(parents=True, exist_ok=True)
    there = target.is_symlink() or target.exists()
    if there and _is_same(target, one.text.encode()):
        return "unchanged"
    if there and not force:
        return ""
    _replace(target, one.text.encode())
    return "replaced" if there else "written"


def _is_same(target: Path, content: bytes) -> bool:
    if not target.is_file() or target.stat().st_size != len(content):
        return False
    return target.read_bytes() == content


def _replace(target: Path, content: bytes) -> None:
    # A hidden name: whoever reads the folder meanwhile passes it over.
    half = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with half.open("xb") as opened:
            opened.write(content)
        half.replace(target)
    finally:
        half.unlink(missing_ok=True)


def _differs(path: Path) -> CommandFailed:
    return CommandFailed(
        Code.CONFLICT,
        f"{path} is there and differs: it stays as it is",
        hint="--force replaces it.",
    )


def _told(failure: CommandFailed) -> CommandFailed:
    typer.echo("\n".join(failure.lines()), err=True)
    return failure


def _path(metadata: View, layout: str) -> str:
    name = metadata["name"]
    if not is_name(name):
        raise CommandFailed(Code.FAILED, f"{name!r:.80} is no name of a deployment")
    if layout == "document":
        return f"{name}.yaml"
    return f"{_part(metadata['vo'])}/{_part(metadata['owner']['sub'])}/{name}.yaml"


def _part(text: object) -> str:
    """Return a text as one part of a path: visible, no way up, and the same on every system."""
    if not isinstance(text, str) or not text:
        raise CommandFailed(Code.FAILED, f"{text!r:.80} can't be a folder's name")
    part = quote(text, safe=LEFT_ALONE, errors="backslashreplace")
    # Neither hidden nor an option of some program, and no dot at the end, which Windows drops.
    if part[0] in ".-":
        part = f"%{ord(part[0]):02X}{part[1:]}"
    return f"{part[:-1]}%2E" if part.endswith(".") else part
