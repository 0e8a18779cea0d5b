"""Server-sent events as bytes (pure): https://html.spec.whatwg.org/multipage/server-sent-events."""

from typing import Final

MEDIA_TYPE: Final = "text/event-stream"

HEADERS: Final = {
    "Cache-Control": "no-store",
    # Proxies of the nginx family hold answers back until they have enough of them.
    "X-Accel-Buffering": "no",
}


def sse_event(kind: str, text: str, *, event_id: int | str | None = None) -> bytes:
    """Return one event whose data is `text`; `event_id` is what a client resumes from."""
    lines = [f"event: {kind}"]
    if event_id is not None:
        lines.append(f"id: {event_id}")
    lines += [f"data: {line}" for line in text.split("\n")]
    return ("\n".join(lines) + "\n\n").encode("utf-8", "backslashreplace")
