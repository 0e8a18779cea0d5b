"""What people and programs are told of a moment, word by word (pure).

Nothing of it names a person, and no secret is in it. Titles and messages are other people's text:
they are cleaned here, and can neither start a header nor steer a reader's terminal.
"""

import hmac
import json
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Final

from reconciler.reasons import hint_of
from specs.moments import BY_MAIL, NOTIFY, Notice
from specs.outbox import Row
from specs.texts import clean, printable

TOLD_IN_FULL: Final = 50
"""Notices that one mail spells out; more are counted."""

MAX_SUBJECT: Final = 120
MAX_TITLE: Final = 60
MAX_MESSAGE: Final = 2_000
"""Characters of a deployment's own sentence."""


def webhook_body(row: Row, page_url: str | None) -> bytes:
    """Return what a webhook is sent, in JSON."""
    notice = row.notice
    told = {
        "apiVersion": "ai4papi/v1",
        "kind": "Notice",
        "id": row.delivery,
        "event": notice.moment.value,
        "at": _instant(notice.at),
        "deployment": {
            "uid": notice.uid,
            "name": notice.name,
            "title": _title(notice),
            "vo": notice.vo,
            "generation": notice.generation,
        },
        "phase": notice.phase,
        "reason": notice.reason,
        "message": _message(notice),
        "hint": hint_of(notice.reason),
        "link": link_of(notice, page_url),
    }
    return json.dumps(told, ensure_ascii=False).encode()


def signature(secret: bytes, timestamp: int, body: bytes) -> str:
    """Return what a receiver compares: HMAC-SHA256 over `<timestamp>.<body>`, in hex.

    `timestamp` is in seconds since 1970; it is signed so that no old message can be sent again.
    """
    signed = f"{timestamp}.".encode() + body
    return f"sha256={hmac.digest(secret, signed, 'sha256').hex()}"


def link_of(notice: Notice, page_url: str | None) -> str | None:
    """Return where a browser shows the deployment, None where the site has no page."""
    return f"{page_url.rstrip('/')}/ui/u/{notice.uid}" if page_url else None


def letter(
    rows: Sequence[Row], *, sender: str, to: str, now: datetime, page_url: str | None
) -> EmailMessage:
    """Return one mail that tells all of `rows`, at least one, which are of one owner.

    Raises: ValueError where an address is none.
    """
    notices = [row.notice for row in rows]
    mail = EmailMessage(policy=SMTP)
    mail["From"], mail["To"], mail["Subject"] = sender, to, subject_of(notices)
    mail["Date"] = format_datetime(now)
    # The same rows have the same id, so that a mail that is sent again can be told.
    mail["Message-ID"] = f"<{rows[0].delivery}.{len(rows)}@{sender.rpartition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"
    # Whatever the server can do, these are lines of plain ASCII on the way.
    mail.set_content(_text(notices, page_url), cte="quoted-printable")
    return mail


def subject_of(notices: Sequence[Notice]) -> str:
    """Return a mail's subject: one printable line of at most `MAX_SUBJECT` characters."""
    if len(notices) == 1:
        one = notices[0]
        return printable(f"{_known_as(one)}: {_stand(one)}", MAX_SUBJECT)
    counts = Counter(notice.moment.value for notice in notices)
    told = ", ".join(f"{count} {word}" for word, count in counts.items())
    deployments = len({notice.uid for notice in notices})
    of = "1 deployment" if deployments == 1 else f"{deployments} deployments"
    return f"{of}: {told}"


def _text(notices: Sequence[Notice], page_url: str | None) -> str:
    parts = [_paragraph(notice, page_url) for notice in notices[:TOLD_IN_FULL]]
    if more := len(notices) - TOLD_IN_FULL:
        parts += [f"And {more} more."] if more > 0 else []
    parts.append(
        f"You get this because the annotation {NOTIFY}: {BY_MAIL} stands in these deployments."
        "\nTake it out, and no more is sent."
    )
    return "\n\n".join(parts) + "\n"


def _paragraph(notice: Notice, page_url: str | None) -> str:
    lines = [f"{_known_as(notice)} in {notice.vo}: {_stand(notice)}", f"  {_message(notice)}"]
    if hint := hint_of(notice.reason):
        lines.append(f"  What to do: {hint}")
    lines.append(f"  {_instant(notice.at)}, uid {notice.uid}")
    if link := link_of(notice, page_url):
        lines.append(f"  {link}")
    return "\n".join(lines)


def _known_as(notice: Notice) -> str:
    title = _title(notice)
    return f"{notice.name} ({title})" if title else notice.name


def _stand(notice: Notice) -> str:
    word = notice.moment.value
    return word if notice.reason == word else f"{word}, {notice.reason}"


def _title(notice: Notice) -> str:
    return printable(notice.title, MAX_TITLE)


def _message(notice: Notice) -> str:
    return printable(clean(notice.message).replace("\n", " "), MAX_MESSAGE)


def _instant(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")
