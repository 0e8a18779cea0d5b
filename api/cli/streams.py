"""The verbs whose answer goes on: `logs`, and `get --watch`."""

import codecs
import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, NoReturn

import typer

from api.cli.client import Client, path_of
from api.cli.failures import NoAnswer, Refused
from api.cli.follow import sight_of
from api.cli.texts import harmless, printable, printable_json

CHUNK_BYTES: Final = 1 << 16

SILENCE_S: Final = 60.0
"""A watch says something every quarter of a minute; one that does not is a dead connection."""

PAUSE_S: Final = 2.0
"""How soon a watch that ended is opened again."""


class LogAsked(NamedTuple):
    """Which log, and how much of it."""

    name: str
    vo: str | None
    task: str | None
    stderr: bool
    tail: int
    follow: bool
    previous: bool


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event: its type, what it says, and the id to go on from."""

    kind: str
    told: Mapping[str, Any]
    event_id: str


def print_log(client: Client, asked: LogAsked) -> None:
    """Print a log: byte for byte into a pipe or a file, what is harmless on a terminal."""
    query = {
        "vo": asked.vo,
        "task": asked.task,
        "stream": "stderr" if asked.stderr else None,
        "tail": str(asked.tail),
        "follow": "true" if asked.follow else None,
        "previous": "true" if asked.previous else None,
    }
    path = f"{path_of(asked.name)}/logs"
    with client.stream(path, query=query, accept="text/plain") as response:
        pieces = iter(lambda: response.read1(CHUNK_BYTES), b"")
        if sys.stdout.isatty():
            for text in lines_of(pieces):
                typer.echo(harmless(text), nl=False)
        else:
            for piece in pieces:
                typer.echo(piece, nl=False)


def lines_of(pieces: Iterable[bytes]) -> Iterator[str]:
    """Yield whole lines of text, so that no escape sequence is shown in two harmless halves."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    pending = ""
    for piece in pieces:
        *lines, pending = (pending + decoder.decode(piece)).split("\n")
        yield from (f"{line}\n" for line in lines)
        # A line without an end, of which nobody waits for more.
        if len(pending) > CHUNK_BYTES:
            yield pending
            pending = ""
    if pending:
        yield pending


def watch_deployments(
    client: Client, name: str | None, *, vo: str | None, as_json: bool
) -> NoReturn:
    """Print what is there and what changes, a line for each, until it is interrupted.

    Raises: Refused; NoAnswer where the server does not answer at first.
    """
    path = "/v1/specs" if name is None else path_of(name)
    query = {"vo": vo, "watch": "true"}
    last_id = ""
    while True:
        try:
            with client.stream(
                path,
                query=query,
                accept="text/event-stream",
                silence_s=SILENCE_S,
                last_event_id=last_id,
            ) as response:
                for event in events_of(response):
                    last_id = event.event_id or last_id
                    if line := event_line(event, as_json=as_json):
                        typer.echo(line)
        except NoAnswer:
            if not last_id:
                raise
        except Refused as refusal:
            if not (last_id and refusal.passing):
                raise
        time.sleep(PAUSE_S)


def events_of(lines: Iterable[bytes]) -> Iterator[Event]:
    """Read server-sent events as this server writes them."""
    fields: dict[str, str] = {}
    for line in lines:
        text = line.decode("utf-8", "replace").rstrip("\n")
        if text:
            key, _, value = text.partition(": ")
            fields[key] = value
        elif fields:
            yield Event(fields.get("event", ""), json.loads(fields["data"]), fields.get("id", ""))
            fields = {}


def event_line(event: Event, *, as_json: bool) -> str:
    """Return an event as one line, "" for one that tells nothing to a person."""
    if event.kind == "BOOKMARK":
        return ""
    if as_json:
        return printable_json(json.dumps(event.told, ensure_ascii=False))
    thing = event.told["object"]
    if event.kind == "ERROR":
        return printable(f"{event.kind:<8}  {thing.get('detail', '')}")
    metadata, status = thing["metadata"], thing["status"]
    sight = sight_of({**status, "deletionTimestamp": metadata.get("deletionTimestamp")})
    line = f"{event.kind:<8}  {metadata['name']}  {sight.phase}  {sight.message}"
    return printable(line).rstrip()
