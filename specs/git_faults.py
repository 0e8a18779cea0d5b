"""What git's complaints mean, and what to do about them (pure).

Git's exit codes say little (128 for nearly everything), so its words are read, in the C locale.
Words of the server (`remote: …`) are text from outside: they are shown, but decide nothing about
the mirror or the machine.
"""

import re
from collections.abc import Iterable
from enum import Enum, auto
from typing import Final, NamedTuple

from specs.git_output import printable

MAX_WORDS: Final = 200

_CREDENTIALS: Final = re.compile(r"(\w+://)[^/@\s]+@")
_CONSOLATION: Final = re.compile(
    r"Please make sure you have the correct access rights|and the repository exists\.|hint: |"
    r"warning: |Warning: "
)


class Blame(Enum):
    """Whose fault it is, which is what decides about what is done next."""

    REMOTE = auto()
    """The repository, its server or the way there: tell people, try again later."""

    MIRROR = auto()
    """Our copy of it: make it anew."""

    MACHINE = auto()
    """This machine: tell people, try again later; a new copy would not help."""


class Meaning(NamedTuple):
    """Whose fault it is, and one sentence on what is wrong and what to do."""

    blame: Blame
    sentence: str


DAMAGED: Final = Meaning(
    Blame.MIRROR, "the mirror is damaged, also when made anew: check its disk and the repository"
)


def _sign(blame: Blame, words: str, sentence: str) -> tuple[re.Pattern[str], Meaning]:
    return re.compile(words), Meaning(blame, sentence)


_SIGNS: Final = (
    _sign(
        Blame.MACHINE,
        r"No space left on device|[Qq]uota exceeded",
        "the disk of the mirror is full: make room",
    ),
    _sign(
        Blame.MACHINE,
        r"Read-only file system|insufficient permission|"
        r"(?:unable to create|cannot (?:open|create|lock|mkdir)|could not open).*Permission denied",
        "the mirror's folder can't be written: let this user write there",
    ),
    _sign(
        Blame.MACHINE,
        r"[Oo]ut of memory|Cannot allocate memory",
        "this machine is out of memory: make room, or read less with `folder`",
    ),
    _sign(
        Blame.MACHINE,
        r"cannot run ssh|ssh: not found|ssh: No such file",
        "ssh is not installed: install an OpenSSH client",
    ),
    _sign(
        Blame.MACHINE,
        r"is not a git command|[Uu]nable to find remote helper",
        "this git does not speak that protocol: install one that does",
    ),
    _sign(
        Blame.REMOTE,
        r"terminal prompts disabled|Authentication failed|could not read (?:Username|Password)|"
        r"returned error: 401",
        "the server refused the credentials: put a token that may read it into `token_file`",
    ),
    _sign(
        Blame.REMOTE,
        r"returned error: 403",
        "the server forbids it (403): let the user of `token_file` read the repository",
    ),
    _sign(
        Blame.REMOTE,
        r"Permission denied \([\w,-]+\)|Too many authentication failures",
        "the server refused this user's SSH keys: give one that may read it to ssh, in ~/.ssh",
    ),
    _sign(
        Blame.REMOTE,
        r"Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED",
        "the host key of the server is unknown or another: check it, then put it into"
        " ~/.ssh/known_hosts",
    ),
    _sign(
        Blame.REMOTE,
        r"[Cc]ould not resolve host",
        "the server's name is not known: check `url` and the name service",
    ),
    _sign(
        Blame.REMOTE,
        r"Failed to connect|Connection (?:refused|timed out|reset|closed)|Operation timed out|"
        r"No route to host|Network is unreachable",
        "the server can't be reached: check `url`, the network and the server",
    ),
    _sign(
        Blame.REMOTE,
        r"certificate (?:verification|problem|subject)|server certificate|gnutls_handshake|"
        r"SSL_|SSL routines|TLS (?:connect|packet)",
        "no trusted TLS connection came about: check the server's certificate and name; for an"
        " authority of your own set GIT_SSL_CAINFO to its file",
    ),
    _sign(
        Blame.REMOTE,
        r"returned error: 30\d|unable to update url base from redirection",
        "the server sends us elsewhere, which is not followed: set `url` to the new address",
    ),
    _sign(
        Blame.REMOTE,
        r"repository '[^']*' not found|[Rr]epository not found|returned error: 404|"
        r"does not appear to be a git repository|could not be found|no such repository",
        "there is no such repository, or it is not shown to us: check `url` and the credentials",
    ),
    _sign(
        Blame.REMOTE,
        r"dubious ownership",
        "the repository belongs to another user of this machine, and git refuses those: change its"
        " owner, or read it through a server",
    ),
    _sign(
        Blame.REMOTE,
        r"Operation too slow",
        "the server sends next to nothing: it is tried again",
    ),
    _sign(
        Blame.REMOTE,
        r"[Cc]ouldn't find remote ref|not our ref|unadvertised object",
        "the branch, tag or commit is not there (any more): check `ref`",
    ),
    _sign(
        Blame.REMOTE,
        r"returned error: 429",
        "the server wants to be asked less often (429): raise `poll_s`",
    ),
    _sign(
        Blame.REMOTE,
        r"returned error: 5\d\d",
        "the server has a fault of its own: it is tried again",
    ),
    _sign(
        Blame.REMOTE,
        r"fsck error|error in (?:packed )?object|error: object [0-9a-f]+: ",
        "git finds objects in the repository malformed: see `git fsck` there",
    ),
    _sign(
        Blame.REMOTE,
        r"mismatched algorithms|hash algorithm",
        "the repository names objects by SHA-256, which is not read: use one with SHA-1",
    ),
    _sign(
        Blame.REMOTE,
        r"transport '[^']*' not allowed",
        "it leads to a transport that is not allowed: use https, ssh or a path",
    ),
    _sign(
        Blame.MIRROR,
        r"not a git repository: '|is corrupt|corrupt loose object|inflate: |does not match index|"
        r"[Bb]ad object|bad tree object|missing blob|invalid (?:sha1|object) pointer|"
        r"cannot be (?:accessed|mapped)|unable to (?:read|find) [0-9a-f]{7,}|reference broken|"
        r"object file .* is empty|bad config line|unresolved deltas|not a valid object|"
        r"did not send all necessary objects|[Cc]ould not read [0-9a-f]{7,}|"
        r"unable to parse object|index-pack died|bad pack header",
        DAMAGED.sentence,
    ),
    _sign(
        Blame.REMOTE,
        r"hung up unexpectedly|early EOF|RPC failed|Empty reply|unexpected disconnect|"
        r"not valid: is this a git repository|bad line length|protocol error|invalid index-pack",
        "the server broke off, or does not speak git: check `url` and the server",
    ),
)

_UNKNOWN: Final = Meaning(Blame.REMOTE, "git failed")


def meaning(words: str) -> Meaning:
    """Return what git's words mean; those that nobody thought of are the remote's fault."""
    return _find(words)[0]


def telling_line(words: str, secrets: Iterable[str]) -> str:
    """Return the line of git's words that says most, masked and short; "" where it said nothing."""
    return printable(masked(_find(words)[1], secrets), most=MAX_WORDS)


def masked(text: str, secrets: Iterable[str]) -> str:
    """Return a text without these secrets, and without credentials in URLs."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return _CREDENTIALS.sub(r"\1***@", text)


def _find(words: str) -> tuple[Meaning, str]:
    lines = [line for line in words.splitlines() if line.strip()]
    own = [line for line in lines if not line.startswith("remote:")]
    for pattern, found in _SIGNS:
        for line in lines if found.blame is Blame.REMOTE else own:
            if pattern.search(line):
                return found, line
    telling = [line for line in lines if not _CONSOLATION.match(line)]
    return _UNKNOWN, telling[-1] if telling else ""
