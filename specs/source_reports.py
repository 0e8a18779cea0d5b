"""What the store keeps of each source of spec files: what its last read found, and who asked.

The process that reads a source writes its report; every process shows it.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Final, Literal

from sqlalchemy import Connection, bindparam, delete, select, text, update

from specs.model import Shown
from specs.schema import sources

FAULTS_KEPT: Final = 200
"""Faults of one source that are told one by one."""

# One statement for both databases; SQLAlchemy has it only per dialect.
WRITE_REPORT: Final = text(
    "INSERT INTO sources (id, report, asked) VALUES (:id, :report, 0)"
    " ON CONFLICT (id) DO UPDATE SET report = excluded.report"
)
REPORTS: Final = select(sources.c.id, sources.c.report).order_by(sources.c.id)
ASKED: Final = select(sources.c.id, sources.c.asked)
ASK: Final = (
    update(sources).where(sources.c.id == bindparam("of_id")).values(asked=sources.c.asked + 1)
)


class FaultReport(Shown):
    """One thing that is wrong with a spec file; `pointer` leads into the document."""

    file: str
    line: int
    column: int
    pointer: str = ""
    message: str
    allowed: str = ""


class SourceReport(Shown):
    """What is known of a source. `url` has no credential in it; `root` is a folder below it.

    `wanted` is the version that was seen last, `applied` the one that was taken in last: a commit,
    or a digest of a folder; both are read at `read_at`. `behind_since` is when the store began to
    lag behind the source (None: it does not), `error` why the source can't be read, `waits` why
    nothing that is absent is deleted. `more_faults` are those that are not among `faults`.
    """

    kind: Literal["folder", "git"]
    url: str
    ref: str = ""
    root: str = ""
    layout: str = "document"
    wanted: str = ""
    applied: str = ""
    applied_at: datetime | None = None
    read_at: datetime | None = None
    behind_since: datetime | None = None
    error: str = ""
    waits: str = ""
    files: int = 0
    faults: tuple[FaultReport, ...] = ()
    more_faults: int = 0


def fetch_reports(connection: Connection) -> dict[str, SourceReport]:
    """Return the report of every source that the site has, by id."""
    return {
        row.id: SourceReport.model_validate_json(row.report) for row in connection.execute(REPORTS)
    }


def write_report(connection: Connection, source: str, report: SourceReport) -> None:
    """Replace the report of a source."""
    row = {"id": source, "report": report.model_dump_json(by_alias=True)}
    connection.execute(WRITE_REPORT, row)


def forget_others(connection: Connection, known: Collection[str]) -> None:
    """Forget the reports of all other sources: the site no longer has them."""
    connection.execute(delete(sources).where(sources.c.id.not_in(known)))


def fetch_asked(connection: Connection) -> Mapping[str, int]:
    """Return by source how often somebody asked for a read."""
    return {row.id: row.asked for row in connection.execute(ASKED)}


def ask(connection: Connection, source: str) -> bool:
    """Ask for a read of a source; tell whether there is such a source."""
    return connection.execute(ASK, {"of_id": source}).rowcount == 1
