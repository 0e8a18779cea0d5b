"""How a command can end, and what it then says to the person who typed it (pure)."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from api.cli.texts import printable


class Code(IntEnum):
    """Exit codes that scripts branch on."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 4
    NOT_ALLOWED = 5
    CONFLICT = 6
    POLICY = 7
    ENDED_BADLY = 8
    TIMED_OUT = 124
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that is wrong: where in the document, and where that stands in the file."""

    pointer: str
    message: str
    allowed: str = ""
    place: str = ""

    def __str__(self) -> str:
        where = f"{self.place} {self.pointer or '/'}".strip()
        said = self.allowed in self.message
        return f"{where}: {self.message}" + ("" if said else f" (allowed: {self.allowed})")


class CommandFailed(Exception):
    """The command did not do what was asked.

    `message` says what was wrong, each of `causes` one thing in detail, `hint` what would help and
    `next_command` what to type.
    """

    def __init__(
        self,
        code: Code,
        message: str,
        *,
        causes: tuple[Cause, ...] = (),
        hint: str = "",
        next_command: str = "",
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.causes = causes
        self.hint = hint
        self.next_command = next_command

    def lines(self) -> list[str]:
        """Return what to print, line by line."""
        lines = [f"error: {self.message}", *(f"  {cause}" for cause in self.causes)]
        if self.hint:
            lines.append(f"hint: {self.hint}")
        if self.next_command:
            lines.append(f"next: {self.next_command}")
        return [printable(line) for line in lines]


class NoAnswer(CommandFailed):
    """The server could not be asked. Whether it did what was asked is not known."""


class Refused(CommandFailed):
    """The server answered, and said no. `reason` is its stable word, "" where it gave none."""

    def __init__(self, code: Code, message: str, *, status: int, reason: str, **said: Any) -> None:
        super().__init__(code, message, **said)
        self.status = status
        self.reason = reason

    @property
    def passing(self) -> bool:
        """Whether the same question may well be answered in a moment."""
        return self.status == 429 or self.status >= 500

    @property
    def about_document(self) -> bool:
        """Whether another document sent to the same server may well be accepted."""
        return self.status in {409, 412, 413, 422}


CODES: Final[Mapping[int, Code]] = {
    401: Code.NOT_ALLOWED,
    403: Code.NOT_ALLOWED,
    404: Code.NOT_FOUND,
    409: Code.CONFLICT,
    412: Code.CONFLICT,
}

NO_MODULE: Final = "NoSuchModule"

NEXT: Final[Mapping[int, str]] = {
    401: "ai4papi login",
    404: "ai4papi get",
    409: "ai4papi get -o yaml",
    412: "ai4papi get -o yaml",
}


def refused(status: int, problem: object, *, server: str) -> Refused:
    """Return the failure that an answer of 400 or more tells of; `problem` is its decoded body."""
    if not isinstance(problem, dict) or not isinstance(problem.get("reason"), str):
        return Refused(
            CODES[status] if status in {401, 403} else Code.FAILED,
            f"{server} answered {status} without saying why",
            status=status,
            reason="",
            hint="Is it an ai4papi server? Name it with --server or AI4PAPI_SERVER.",
        )
    code = _code(status, problem["reason"])
    causes = tuple(_cause(c) for c in problem.get("causes") or () if isinstance(c, dict))
    title, detail = str(problem.get("title", "")), str(problem.get("detail", ""))
    # With causes, the detail is the same in one long line.
    message = title if causes else ": ".join(filter(None, (title, detail)))
    if status >= 500:
        message += f" (request {problem.get('requestId')})"
    return Refused(
        code,
        message,
        status=status,
        reason=problem["reason"],
        causes=causes,
        hint=str(problem.get("hint") or ""),
        next_command=_next(status, problem["reason"]) if code in CODES.values() else "",
    )


def _next(status: int, reason: str) -> str:
    return "ai4papi modules" if reason == NO_MODULE else NEXT.get(status, "")


def _cause(told: Mapping[str, Any]) -> Cause:
    return Cause(*(str(told.get(key) or "") for key in ("pointer", "message", "allowed")))


def _code(status: int, reason: str) -> Code:
    if reason.startswith(("Quota", "Policy")):
        return Code.POLICY
    # A path that the server does not know says nothing about the deployment.
    if status == 404 and reason not in {"NotFound", "NoLog", NO_MODULE}:
        return Code.FAILED
    return CODES.get(status, Code.FAILED)
