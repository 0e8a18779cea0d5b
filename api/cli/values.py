"""Reads texts, choices, whole numbers and paths from the command line without pydantic.

typer 0.29 builds a pydantic adapter for every option that has a value, which costs more than all
the rest of a short command. What is more than these, such as a file that must be there, is left to
typer.
"""

import re
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any, Final

import typer
from typer import core

READERS: Final = "build_runtime_param"
"""What typer calls to learn how an option's value is read; versions before have no such cost."""

_WHOLE: Final = re.compile("[+-]?[0-9]{1,18}", re.ASCII)

Read = Callable[[Any], Any]


def read_values_plainly() -> None:
    """Have typer read them by `Reader`; once is enough."""
    built = getattr(core, READERS, None)
    if built is not None and not isinstance(built, _Readers):
        setattr(core, READERS, _Readers(built))


class _Readers:
    """Gives the reader of an option."""

    def __init__(self, others: Callable[[Any], Any]) -> None:
        self._others = others

    def __call__(self, described: Any) -> Any:
        return Reader(described, self._others)


class Reader:
    """Reads the value of one option by itself where it can, others as `others` do."""

    def __init__(self, described: Any, others: Callable[[Any], Any]) -> None:
        self._described = described
        self._others = others

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return what `value` means. Raises: typer.BadParameter."""
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        about = self._described.parameter_info
        read = about.parser or _reader(self._described.annotation, about)
        if read is None:
            return self._others(self._described).coerce(value, param=param, ctx=ctx)
        try:
            return read(value)
        except ValueError as error:
            raise typer.BadParameter(str(error), ctx=ctx, param=param) from error


def _reader(annotation: Any, about: Any) -> Read | None:
    if annotation is str:
        return str
    if annotation == list[str]:
        return list
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return _choice(annotation)
    if annotation is int and not about.clamp:
        return _whole(about.min, about.max)
    if annotation is Path and not (about.exists or about.resolve_path or about.allow_dash):
        return Path
    return None


def _whole(least: float | None, most: float | None) -> Read:
    def read(value: Any) -> int:
        if not _WHOLE.fullmatch(str(value)):
            raise ValueError(f"{value!r} is not a whole number")
        number = int(value)
        if least is not None and number < least:
            raise ValueError(f"{number} is less than {least}")
        if most is not None and number > most:
            raise ValueError(f"{number} is more than {most}")
        return number

    return read


def _choice(words: type[Enum]) -> Read:
    def read(value: Any) -> Enum:
        try:
            return words(value)
        except ValueError as error:
            known = ", ".join(str(word.value) for word in words)
            raise ValueError(f"{value!r} is not one of {known}") from error

    return read
