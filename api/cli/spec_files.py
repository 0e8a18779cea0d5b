"""Reads the spec files that a command is given: a file, standard input, or a folder of them."""

import sys
from collections.abc import Iterator
from pathlib import Path

from api.cli.failures import Code, CommandFailed
from api.cli.manifests import STDIN, shown_name
from specs.files import FileRead, Rules, read_file, unread
from specs.trees import SourceUnavailable
from specs.walk import opened, walk


def read_spec_files(file: str, rules: Rules) -> list[FileRead]:
    """Return what each file declares, by path, which in a folder is the one below it.

    What can't be read is told in its place. Raises: CommandFailed where there is nothing to read.
    """
    if file != STDIN and Path(file).is_dir():
        return list(_read_folder(Path(file), rules))
    if rules.layout == "path":
        message = f"{shown_name(file)} is no folder, and --layout path needs the one above the VOs"
        raise CommandFailed(Code.USAGE, message)
    try:
        content = sys.stdin.buffer.read() if file == STDIN else Path(file).read_bytes()
    except OSError as error:
        raise CommandFailed(Code.USAGE, f"{file} can't be read: {error.strerror}") from error
    return [read_file(shown_name(file), content, rules)]


def _read_folder(root: Path, rules: Rules) -> Iterator[FileRead]:
    try:
        with opened(root) as fd:
            found = walk(fd, lambda _path, _stamp: True)
    except SourceUnavailable as error:
        raise CommandFailed(Code.USAGE, str(error)) from error
    if not found.present:
        raise CommandFailed(
            Code.USAGE,
            f"{root} holds no spec file",
            hint="Their names end in .yaml, .yml or .json, and nothing in the path begins with a .",
        )
    for path in sorted(found.present):
        if path in found.contents:
            yield read_file(path, found.contents[path], rules)
        else:
            yield unread(path, found.faults.get(path, "was written to while it was read"))
