"""Log lines: a constant message with fields, as JSON where a machine reads, short where a person
does."""

import json
import logging
import sys
from datetime import UTC, datetime

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """One JSON object per line; control characters in values can't start a new one."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        at = datetime.fromtimestamp(record.created, UTC)
        line = {
            "at": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **fields_of(record),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class ShortLines(logging.Formatter):
    """Time, level, message and fields, for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line for people, with the traceback below it if there is one."""
        at = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        told = [f"{key}={value!r}" for key, value in fields_of(record).items() if value is not None]
        line = " ".join([at, record.levelname.lower().ljust(7), record.getMessage(), *told])
        return line + ("\n" + self.formatException(record.exc_info) if record.exc_info else "")


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """Return the fields that the caller gave in `extra`."""
    return {key: value for key, value in record.__dict__.items() if key not in _STANDARD}


def start_logging(level: int = logging.INFO) -> None:
    """Send every log line to standard error, once, in the form that fits what reads it."""
    door = logging.StreamHandler(sys.stderr)
    door.setFormatter(ShortLines() if sys.stderr.isatty() else JsonLines())
    logging.basicConfig(level=level, handlers=[door], force=True)
    for chatty in ("apscheduler", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
