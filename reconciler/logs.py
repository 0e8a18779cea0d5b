"""Log lines: a constant message with fields, as JSON where a machine reads, short where a person
does.

Whatever is written passes here, that of other libraries too: secrets are masked, lengths capped,
and a control character can neither start a new line nor steer a terminal.
"""

import json
import logging
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Final

MASK: Final = "***"

MOST_TEXT: Final = 2_000
"""Characters of a message or a field."""

MOST_TRACEBACK: Final = 20_000

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}

# Every pattern is anchored or bounded: hostile text costs no more than its length.
_CONFIDENTIAL: Final = (
    r"(?:passw|(?:\b|\\n)pass\b|passphrase|secret|token|credential|authorization|api_?key|device_code)"
    r"\w{0,40}"
)
_QUOTED: Final = r"""\\*"(?:[^"\\]|\\+[^"\\])*|\\*'(?:[^'\\]|\\+[^'\\])*"""
_PLAIN: Final = r"""[^\s&,;})\]"'\\]+"""

_MASKS: Final = (
    # `Authorization: Bearer …`, however it is quoted.
    (re.compile(r"\b(bearer)[\s:]+[^\s\"'\\]+", re.IGNORECASE), rf"\1 {MASK}"),
    (re.compile(r"\b(basic)\s+[A-Za-z0-9+/=]{8,}", re.IGNORECASE), rf"\1 {MASK}"),
    # A JWT or JWE, whose header begins with {" in base64url, and what only looks like one.
    (re.compile(r"(?<![\w-])eyJ[\w-]{6,}(?:\.[\w-]*){1,4}"), MASK),
    (re.compile(r"(?<![\w.-])[\w-]{16,}\.[\w-]{16,}\.[\w-]{16,}(?![\w.-])"), MASK),
    # postgresql://user:password@host
    (re.compile(r"(://[^\s/:@'\"]{0,256}):[^\s@'\"]{1,512}@"), rf"\1:{MASK}@"),
    # password=…, "rclone_password": "…", ?access_token=…, X-Nomad-Token: …
    (
        re.compile(
            rf"({_CONFIDENTIAL}\\*[\"']?\s{{0,3}}[:=]\s{{0,3}})(?:{_QUOTED}|{_PLAIN})", re.I
        ),
        rf"\1{MASK}",
    ),
)
_NAMES_SECRET: Final = re.compile(_CONFIDENTIAL, re.IGNORECASE)

_HARMLESS: Final = re.compile(
    r"(?!.*(?:bearer|basic))[\w/{} -]{0,200}|[0-9a-f.:]{0,45}", re.ASCII | re.IGNORECASE
)
"""What no pattern above matches: words without a dot, a colon or an equals sign, and addresses."""

_about: ContextVar[Mapping[str, object]] = ContextVar("about", default=MappingProxyType({}))


@contextmanager
def about(**fields: object) -> Iterator[None]:
    """Put `fields` on every log line of this thread or task until the block ends."""
    token = _about.set({**_about.get(), **fields})
    try:
        yield
    finally:
        _about.reset(token)


def request_id() -> str | None:
    """Return the id of what is at work here: the request, else the deployment; None: nothing."""
    fields = _about.get()
    found = fields.get("request_id") or fields.get("uid")
    return None if found is None else str(found)


class JsonLines(logging.Formatter):
    """One JSON object per line; control characters in values can't start a new one."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        at = datetime.fromtimestamp(record.created, UTC)
        line = {
            "at": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": safe(_message(record)),
            **{name: _said(name, value) for name, value in fields_of(record).items()},
        }
        if record.exc_info:
            line["error"] = safe(self.formatException(record.exc_info), at_most=MOST_TRACEBACK)
        return json.dumps(line, default=str)


class ShortLines(logging.Formatter):
    """Time, level, message and fields, for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line for people, with the traceback below it if there is one."""
        at = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        fields = {name: _said(name, value) for name, value in fields_of(record).items()}
        told = [f"{key}={value!r}" for key, value in fields.items() if value is not None]
        message = printable(safe(_message(record)))
        line = " ".join([at, record.levelname.lower().ljust(7), message, *told])
        if not record.exc_info:
            return line
        # Set in: no line of an error's text looks like an event of its own.
        error = safe(self.formatException(record.exc_info), at_most=MOST_TRACEBACK)
        return "\n    ".join([line, *map(printable, error.split("\n"))])


def safe(text: str, *, at_most: int = MOST_TEXT) -> str:
    """Return `text` with its secrets masked, cut after `at_most` characters."""
    if _HARMLESS.fullmatch(text):
        return text
    # Cut first: no pattern sees a megabyte, and each masks a secret that was cut in two.
    short = text if len(text) <= at_most else text[:at_most] + "…"
    for pattern, mask in _MASKS:
        short = pattern.sub(mask, short)
    return short


def printable(text: str) -> str:
    """Return `text` with each character that steers a terminal written as its escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """Return what the line is about and the fields that the caller gave in `extra`."""
    given = {key: value for key, value in record.__dict__.items() if key not in _STANDARD}
    return {**_about.get(), **given}


def _message(record: logging.LogRecord) -> str:
    # Where the two do not fit, logging itself would print message and arguments as they are.
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):
        return str(record.msg)


def _said(name: str, value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if _names_secret(name):
        return MASK
    return safe(str(value))


@lru_cache(maxsize=256)
def _names_secret(name: str) -> bool:
    return _NAMES_SECRET.search(name) is not None


def start_logging(level: int = logging.INFO) -> None:
    """Send every log line to standard error, once, in the form that fits what reads it."""
    door = logging.StreamHandler(sys.stderr)
    door.setFormatter(ShortLines() if sys.stderr.isatty() else JsonLines())
    logging.basicConfig(level=level, handlers=[door], force=True)
    for chatty in ("apscheduler", "alembic", "watchfiles"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # uvicorn, started by its own command, brings handlers that would go round the door.
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
