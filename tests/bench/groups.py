"""The groups of figures, each a module of this package with a function `measure`."""

import importlib
from typing import Final, NamedTuple

from tests.bench.figures import Figure
from tests.bench.place import Place


class Group(NamedTuple):
    """A module of this package with a function `measure`, and what it measures."""

    module: str
    what: str


DEFAULT: Final = {
    "converge": Group("converge", "500 and 2,000 new specs to registered jobs, a second"),
    "passes": Group("passes", "full passes with nothing to do, and what they ask of Nomad"),
    "latency": Group("latency", "from a POST, or a stop by hand, to the registered job"),
    "reads": Group("reads", "GET status and GET /deployments of 10,000, a second"),
    "watchers": Group("watchers", "1,000 open watchers: how late they hear, what they cost"),
    "many": Group("hundred_thousand", "100,000 deployments on the simulator"),
    "startup": Group("startup", "`ai4papi --help` and `ai4papi get`, as whole processes"),
}
MORE: Final = {
    "git": Group("commits", "what is declared in git, from the push to the jobs"),
    "catalogue": Group("catalogue", "a catalogue of 500 modules: read cold, served warm"),
    "door": Group("doors", "what checking a known token costs a request"),
}
GROUPS: Final = {**DEFAULT, **MORE}


def measured_by(group: Group, place: Place) -> list[Figure]:
    """Return what a group measures; the whole work of a process of its own."""
    figures: list[Figure] = importlib.import_module(f"tests.bench.{group.module}").measure(place)
    return figures
