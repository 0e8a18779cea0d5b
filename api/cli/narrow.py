"""Builds of all the verbs only the one that is called: the others cost as much as the request."""

from collections.abc import Mapping, Sequence
from copy import copy

from typer import Typer
from typer.core import TyperGroup
from typer.main import get_group

from api.cli.app import COMPLETE_VARIABLE


def group_of(app: Typer, arguments: Sequence[str], environ: Mapping[str, str]) -> TyperGroup:
    """Return what runs `arguments`: with one verb where that is the first of them, else with all.

    All are needed where a shell asks for them, and to say which one somebody may have meant.
    """
    if arguments and COMPLETE_VARIABLE not in environ:
        narrowed = _only(app, arguments[0])
        if narrowed.registered_commands or narrowed.registered_groups:
            return get_group(narrowed)
    return get_group(app)


def _only(app: Typer, verb: str) -> Typer:
    narrowed = copy(app)
    nameless = [group.typer_instance for group in app.registered_groups if not group.name]
    commands = [*app.registered_commands]
    commands += [each for part in nameless if part for each in part.registered_commands]
    narrowed.registered_commands = [each for each in commands if each.name == verb]
    narrowed.registered_groups = [each for each in app.registered_groups if each.name == verb]
    return narrowed
