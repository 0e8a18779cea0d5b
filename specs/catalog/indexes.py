"""Lists of modules, as marketplaces keep them, and where each module's metadata stands (pure).

Two forms are read: the early one, a YAML list of repositories (`- module: URL`, or the URL alone),
and today's, a `.gitmodules` file, in which a module may name its branch. A module is called as the
last part of its repository's path.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import quote, urlsplit

from specs.texts import printable, shown
from specs.userconf import is_module
from specs.yaml_text import YamlFault, read_yaml

MAX_INDEX_BYTES: Final = 1_000_000
MAX_MODULES: Final = 5_000
_TOO_MANY: Final = f"it lists more than {MAX_MODULES:,} modules"

BRANCHES: Final = ("main", "master")
"""Tried in this order where a module names no branch."""

RAW: Final = {
    "github.com": "https://raw.githubusercontent.com/{path}/{branch}/{file}",
    "gitlab.com": "https://gitlab.com/{path}/-/raw/{branch}/{file}",
}
"""Where a file of a repository is had from, by the repository's host."""

_FIELDS: Final = ("{path}", "{branch}", "{file}")
_PART: Final = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
_PATH: Final = re.compile(rf"{_PART}(?:/{_PART}){{1,7}}", re.ASCII)
_BRANCH: Final = re.compile(r"(?!.*(?:\.\.|//|/\.|\.lock(?:/|$)))[A-Za-z0-9_][\w./+-]{0,199}", re.A)
_HOST: Final = re.compile(r"[A-Za-z0-9.-]{1,253}(?::[0-9]{1,5})?", re.ASCII)
_SCP: Final = re.compile(r"[A-Za-z0-9_-]{1,32}@([A-Za-z0-9.-]{1,253}):(?!/)(.+)", re.ASCII)
_SECTION: Final = re.compile(r'\[submodule "((?:[^"\\]|\\["\\]){1,255})"\]')
_SETTING: Final = re.compile(r"([A-Za-z][A-Za-z0-9-]{0,63})\s*=\s*(.*)", re.ASCII)


class BadIndex(ValueError):
    """The list as a whole can't be read. `str()` says why, and where."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A module of a list. `branch` is "" where none is named; `fault` says why it can't be read."""

    name: str
    host: str = ""
    path: str = ""
    branch: str = ""
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Index:
    """The modules by name, each once, and in `unnamed` what stands there and names none."""

    entries: Sequence[Entry]
    unnamed: Sequence[str] = ()


def read_modules_yml(text: str) -> Index:
    """Read the early form. Raises: BadIndex."""
    try:
        tree: Any = read_yaml(text, max_bytes=MAX_INDEX_BYTES).tree
    except YamlFault as fault:
        raise BadIndex(str(fault)) from fault
    if not isinstance(tree, list):
        raise BadIndex(f"it must be a list of modules, not {shown(tree)}")
    return _index((f"entry {at}", _address(item), "") for at, item in enumerate(tree, start=1))


def read_gitmodules(text: str) -> Index:
    """Read today's form: git's own syntax as `git submodule add` writes it. Raises: BadIndex."""
    sections: dict[str, dict[str, str]] = {}
    into: dict[str, str] | None = None
    odd: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if not stripped or stripped[0] in "#;":
            continue
        setting = _SETTING.fullmatch(stripped)
        if section := _SECTION.fullmatch(stripped):
            into = sections.setdefault(section[1], {})
        elif setting and into is not None:
            into[setting[1].lower()] = _unquoted(setting[2])
        else:
            into = None
            odd.append(
                f'line {number}: {shown(stripped)} is neither [submodule "NAME"] nor KEY = VALUE'
            )
        if len(sections) + len(odd) > MAX_MODULES:
            raise BadIndex(_TOO_MANY)
    index = _index(
        (f"submodule {shown(name)}", section.get("url"), section.get("branch", ""))
        for name, section in sections.items()
    )
    return replace(index, unnamed=(*odd, *index.unnamed))


def raw_urls(entry: Entry, file: str, templates: Mapping[str, str]) -> Sequence[tuple[str, str]]:
    """Return the branches and addresses where `file` of the module may be, the likeliest first.

    `templates` say by the repository's host where its files are had from; see `template_fault`.

    Raises: ValueError: no template is for that host.
    """
    template = templates.get(entry.host)
    if template is None:
        raise ValueError(
            f"nothing is known of how files are had from {shown(entry.host)}: its operator must add"
            " it to exchange.raw"
        )
    branches = (entry.branch,) if entry.branch else BRANCHES
    return [
        (
            branch,
            template.replace("{path}", quote(entry.path))
            .replace("{branch}", quote(branch))
            .replace("{file}", quote(file)),
        )
        for branch in branches
    ]


def template_fault(template: str) -> str:
    """Say what is wrong with a template of raw addresses, or "" where nothing is."""
    if any(template.count(one) != 1 for one in _FIELDS):
        return f"must hold each of {', '.join(_FIELDS)} once"
    plain = template
    for one in _FIELDS:
        plain = plain.replace(one, "")
    if not re.fullmatch(r"https?://[A-Za-z0-9.:\[\]-]+/[!-~]*", template, re.ASCII):
        return "must be an address whose host is written out"
    return "must hold no other { or }" if "{" in plain or "}" in plain else ""


def _index(found: Iterable[tuple[str, str | None, str]]) -> Index:
    """Return the modules of a list, from where each stands, its address and its branch."""
    entries: dict[str, Entry] = {}
    unnamed: list[str] = []
    for count, (place, address, branch) in enumerate(found, start=1):
        if count > MAX_MODULES:
            raise BadIndex(_TOO_MANY)
        entry = _entry(address, branch)
        if not is_module(entry.name):
            unnamed.append(f"{place}: {entry.fault or f'{shown(entry.name)} is no module name'}")
            continue
        before = entries.setdefault(entry.name, entry)
        if entry != before:
            twice = "two different repositories of that name are listed: take one out"
            entries[entry.name] = Entry(entry.name, fault=twice)
    if not entries:
        # Rather a cut-off list than a catalogue that was emptied: what is known of it stays.
        raise BadIndex("it lists no module")
    return Index(sorted(entries.values(), key=lambda one: one.name), unnamed)


def _entry(address: str | None, branch: str) -> Entry:
    if address is None:
        return Entry("", fault="it must be an address, or a mapping {module: ADDRESS}")
    host, path = _host_and_path(address)
    name = path.rpartition("/")[2]
    if not _HOST.fullmatch(host):
        return Entry(name, fault="its address is none of https://HOST/PATH or user@HOST:PATH")
    if not _PATH.fullmatch(path):
        return Entry(name, fault=f"{printable(path, 100)!r} is no path of a repository")
    # Git: `.` is the branch that the list itself is on, which its reader does not know.
    branch = "" if branch == "." else branch
    if branch and not _BRANCH.fullmatch(branch):
        return Entry(name, fault=f"{shown(branch)} is no name of a branch")
    return Entry(name, host.lower(), path, branch)


def _host_and_path(address: str) -> tuple[str, str]:
    """Return host and path of a repository, without `.git`; "" for what can't be told.

    The host has the user and password that an address may hold: it is not to be shown unchecked.
    """
    if (scp := _SCP.fullmatch(address)) and "://" not in address:
        host, path = scp[1], scp[2]
    else:
        try:
            parts = urlsplit(address)
        except ValueError:
            return "", ""
        path = parts.path
        bare = parts.scheme in {"https", "http"} and not parts.query and not parts.fragment
        host = parts.netloc if bare else ""
    return host, path.strip("/").removesuffix(".git").strip("/")


def _address(item: object) -> str | None:
    if isinstance(item, Mapping):
        item = item.get("module")
    return item if isinstance(item, str) else None


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) >= 2 and value[0] == value[-1] == '"' else value
