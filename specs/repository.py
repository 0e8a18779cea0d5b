"""A git repository as a place with spec files, as settings name it (pure)."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from specs.texts import control, no_text, shown

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})

_SCP: Final = re.compile(r"\w[\w.-]*@\w[\w.-]*:(?![:-]|//).+", re.ASCII)
_USER: Final = re.compile(r"\w[\w.@+-]*", re.ASCII)
_COMMIT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
# What `git check-ref-format` allows, but for names that only git itself makes.
_REF: Final = re.compile(
    r"(?![-./])(?!.*(?:\.\.|@\{|//|/\.|\.lock(?:/|$)))[^\x00-\x20\x7f~^:?*\[\\]+(?<![./])"
)


@dataclass(frozen=True, slots=True)
class Repository:
    """What is to be read. No credential is in it, so it can be shown and logged.

    `url` is https://, http://, ssh://, user@host:path, file:// or an absolute path. `ref` is a
    branch, a tag (where a branch has the same name, the branch is meant) or a full commit id.
    `folder` narrows to what is below that folder of the repository. `token_file` holds the token or
    password for https, and is read anew at each call; `user` goes with it: GitHub and GitLab accept
    any user beside an access token, a deploy token wants its own.

    Raises: ValueError; the message says which of them is wrong.
    """

    url: str
    ref: str = "main"
    folder: str = ""
    token_file: Path | None = None
    user: str = "x-access-token"

    def __post_init__(self) -> None:
        fault = (
            _url_fault(self.url)
            or _ref_fault(self.ref)
            or _folder_fault(self.root)
            or self._credentials_fault()
        )
        if fault:
            raise ValueError(fault)

    @property
    def protocol(self) -> str:
        """Git's name of the way to the repository: https, http, ssh or file."""
        return _protocol(self.url)

    @property
    def root(self) -> str:
        """The folder without slashes around it."""
        return self.folder.strip("/")

    @property
    def commit(self) -> str:
        """The commit that `ref` pins, or "" where it names a branch or a tag."""
        return self.ref if _COMMIT.fullmatch(self.ref) else ""

    @property
    def names(self) -> tuple[str, ...]:
        """The full names that `ref` may stand for, the likeliest first; none for a commit id."""
        if self.commit:
            return ()
        if self.ref == "HEAD" or self.ref.startswith("refs/"):
            return (self.ref,)
        return (f"refs/heads/{self.ref}", f"refs/tags/{self.ref}")

    def __str__(self) -> str:
        return f"{self.url} at {shown(self.ref)}"

    def _credentials_fault(self) -> str:
        if self.token_file is None:
            return ""
        if not _USER.fullmatch(self.user):
            return f"the user {shown(self.user)} is no user name: letters, digits and . _ @ + -"
        if self.protocol == "http" and urlsplit(self.url).hostname in LOOPBACK:
            return ""
        if self.protocol != "https":
            return "a token goes over https only: use an https:// URL, or drop `token_file`"
        return ""


def _protocol(url: str) -> str:
    scheme, there, _ = url.partition("://")
    if there and scheme in {"https", "http", "ssh", "file"}:
        return scheme
    if url.startswith("/"):
        return "file"
    return "ssh" if not there and _SCP.fullmatch(url) else ""


def _url_fault(url: str) -> str:
    if no_text(url) or control(url) or " " in url:
        return "the URL of the repository holds a blank or an unprintable character"
    protocol = _protocol(url)
    if not protocol:
        # What it is can't be told, so what of it is a credential can't either: it is not shown.
        return (
            "this is no URL of a repository: use https://, http://, ssh://, file://, user@host:path"
            " or an absolute path"
        )
    if "://" not in url:
        return ""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "the URL of the repository has no valid host or port"
    if parts.password is not None or (parts.username and protocol != "ssh"):
        return "the URL of the repository holds a user or password: use `token_file` and `user`"
    if parts.query or parts.fragment:
        return "the URL of the repository holds `?` or `#`: give the address that git clones"
    if protocol != "file" and not re.match(r"[\w:]", parts.hostname or "", re.ASCII):
        return "the URL of the repository names no host"
    return ""


def _ref_fault(ref: str) -> str:
    if _REF.fullmatch(ref) and not no_text(ref):
        return ""
    return f"{shown(ref)} is no name of a branch or tag and no commit id"


def _folder_fault(folder: str) -> str:
    parts = folder.split("/") if folder else []
    if no_text(folder) or control(folder) or any(part in {"", ".", ".."} for part in parts):
        return f"{shown(folder)} is no folder of a repository: write it as a/b, without . and .."
    return ""
