"""The words that options choose from (pure; imported at every start, so nothing heavy here)."""

from enum import StrEnum


class Goal(StrEnum):
    """What a command waits for."""

    READY = "Ready"
    DELETED = "Deleted"


class Format(StrEnum):
    """How `get` prints."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


class ListFormat(StrEnum):
    """How the other lists print."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


class ViewFormat(StrEnum):
    """How one thing prints."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


class ReportFormat(StrEnum):
    """How `adopt` and `doctor` print."""

    TABLE = "table"
    JSON = "json"


class Verb(StrEnum):
    """What `can-i` is asked about."""

    CREATE = "create"
    EDIT_CATALOGUE = "edit-catalogue"
    SEE_ALL = "see-all"
    OPERATE = "operate"


class DiffFormat(StrEnum):
    """How `diff` prints."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"
    JUNIT = "junit"


class Layout(StrEnum):
    """What tells whose a spec file is: the document, or the path `VO/OWNER/NAME.yaml`."""

    DOCUMENT = "document"
    PATH = "path"


class Shell(StrEnum):
    """What `completion` is printed for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"
