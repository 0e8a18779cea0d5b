"""Reads texts and choices from the command line without pydantic.

typer 0.29 builds a pydantic adapter for every option that has a value, which costs more than all
the rest of a short command. What is more than a text or a choice is left to typer.
"""

from collections.abc import Callable
from enum import Enum
from typing import Any, Final

import typer
from typer import core

READERS: Final = "build_runtime_param"
"""What typer calls to learn how an option's value is read; versions before have no such cost."""

Read = Callable[[Any], Any]


def read_values_plainly() -> None:
    """Have typer read texts and choices by `Reader`; once is enough."""
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
    """Reads the value of one option: texts and choices by itself, others as `others` do."""

    def __init__(self, described: Any, others: Callable[[Any], Any]) -> None:
        self._described = described
        self._others = others

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return what `value` means. Raises: typer.BadParameter."""
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        read = self._described.parameter_info.parser or _reader(self._described.annotation)
        if read is None:
            return self._others(self._described).coerce(value, param=param, ctx=ctx)
        try:
            return read(value)
        except ValueError as error:
            raise typer.BadParameter(str(error), ctx=ctx, param=param) from error


def _reader(annotation: Any) -> Read | None:
    if annotation is str:
        return str
    if annotation == list[str]:
        return list
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return _choice(annotation)
    return None


def _choice(words: type[Enum]) -> Read:
    def read(value: Any) -> Enum:
        try:
            return words(value)
        except ValueError as error:
            known = ", ".join(str(word.value) for word in words)
            raise ValueError(f"{value!r} is not one of {known}") from error

    return read
