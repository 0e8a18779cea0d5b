"""Watching deployments: who is told what of a move, and its bytes (pure).

One `News` is shared by everybody who is told of it, so that an object is written out once. A
`Watch` is one watcher's state; only the thread of the event loop may touch it.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from api.sse import sse_event
from api.views import deployment_view
from specs.model import API_VERSION, KIND, Deployment, Phase, Reach
from specs.moves import Move, Opening
from specs.records import json_text

EventType = Literal["ADDED", "MODIFIED", "DELETED"]

MAX_PENDING: Final = 4096
"""Events that wait for a watcher to take them; who has more is let go and may go on by its id."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What somebody watches: records within reach, and of them those in that phase and so on."""

    reach: Reach
    vo: str | None = None
    name: str | None = None
    phase: Phase | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    def covers(self, deployment: Deployment) -> bool:
        """Whether it is one of them by what never changes of a record."""
        return (
            self.reach.covers(deployment.owner, deployment.vo)
            and self.vo in {None, deployment.vo}
            and self.name in {None, deployment.name}
        )

    def selects(self, deployment: Deployment) -> bool:
        """Whether it is one of them as it is now."""
        if self.phase is not None and deployment.status.phase is not self.phase:
            return False
        labels = deployment.labels
        return all(labels.get(key) == value for key, value in self.labels.items())


class News:
    """One move, and its bytes: the object once, and each event once."""

    __slots__ = ("_events", "_object", "move")

    def __init__(self, move: Move) -> None:
        self.move = move
        self._object = deployment_view(move.deployment).model_dump_json(
            by_alias=True, exclude_none=True
        )
        self._events: dict[tuple[EventType, bool], bytes] = {}

    def event(self, kind: EventType, *, resumable: bool = True) -> bytes:
        """Return the event of that type; `resumable`: whoever has seen it may go on from it."""
        known = self._events.get((kind, resumable))
        if known is None:
            text = f'{{"type":"{kind}","object":{self._object}}}'
            event_id = self.move.version if resumable else None
            known = self._events[kind, resumable] = sse_event(kind, text, event_id=event_id)
        return known


def bookmark(version: int, *, complete: bool = False) -> bytes:
    """Return the event that moves nothing but the position; `complete` ends what a watch begins
    with.
    """
    metadata: dict[str, object] = {"resourceVersion": str(version)}
    if complete:
        metadata["annotations"] = {"ai4papi/initial-events-end": "true"}
    text = json_text(
        {
            "type": "BOOKMARK",
            "object": {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata},
        }
    )
    return sse_event("BOOKMARK", text, event_id=version)


@dataclass(slots=True, eq=False)
class Watch:
    """One watcher: what it knows, and what waits to be sent to it.

    `wake` is called when there is something to take, or when it is `lost`: it took too little for
    too long, and is to be let go.
    """

    watched: Watched
    wake: Callable[[], None]
    lost: bool = False
    position: int = 0
    _known: dict[str, int] = field(default_factory=dict)
    _early: list[News] | None = field(default_factory=list)
    _pending: deque[bytes] = field(default_factory=deque)

    def open(self, opening: Opening, *, after: int | None) -> None:
        """Begin: tell what is there, or with `after` what changed since; then what came meanwhile.

        A DELETED may then name what the watcher never heard of: it was made and deleted since, or
        was not selected before either.
        """
        self.position = opening.position
        told = self._all(opening) if after is None else self._changed(opening, after)
        self._pending.extend(told)
        self._pending.append(bookmark(opening.position, complete=True))
        early, self._early = self._early or (), None
        for news in early:
            self._offer(news)

    def offer(self, news: News) -> None:
        """Take a move of the feed; they come in order, and may come again."""
        if not self.watched.covers(news.move.deployment):
            return
        if self._early is None:
            self._offer(news)
        else:
            self._early.append(news)
            self._bound(len(self._early))

    def take(self, at_most: int) -> bytes:
        """Return what waits to be sent, whole events of some `at_most` bytes; empty: nothing."""
        taken, size = [], 0
        while self._pending and size < at_most:
            taken.append(self._pending.popleft())
            size += len(taken[-1])
        return b"".join(taken)

    def _offer(self, news: News) -> None:
        version, deployment, gone = news.move
        if version <= max(self._known.get(deployment.uid, 0), self.position):
            return
        self.position = version
        kind = self._kind(deployment, version, gone=gone)
        if kind is not None:
            self._pending.append(news.event(kind))
            self._bound(len(self._pending))
            self.wake()

    def _kind(self, deployment: Deployment, version: int, *, gone: bool) -> EventType | None:
        known = deployment.uid in self._known
        if gone or not self.watched.selects(deployment):
            self._known.pop(deployment.uid, None)
            return "DELETED" if known else None
        self._known[deployment.uid] = version
        return "MODIFIED" if known else "ADDED"

    def _bound(self, waiting: int) -> None:
        if waiting > MAX_PENDING:
            self.lost = True
            self.wake()

    def _all(self, opening: Opening) -> Sequence[bytes]:
        chosen = [p.deployment for p in opening.present if self.watched.selects(p.deployment)]
        self._known = {record.uid: record.resource_version for record in chosen}
        # Without an id: who has seen half of a list can't go on from there.
        return [
            News(Move(record.resource_version, record)).event("ADDED", resumable=False)
            for record in chosen
        ]

    def _changed(self, opening: Opening, after: int) -> Sequence[bytes]:
        told: list[tuple[int, bytes]] = []
        for born, record in opening.present:
            version, selected = record.resource_version, self.watched.selects(record)
            if version > opening.position:
                # The feed tells it. Whether the watcher knows it by then hangs on what it was.
                if born <= after:
                    self._known[record.uid] = after
                continue
            if selected:
                self._known[record.uid] = version
            if version > after and (selected or born <= after):
                kind: EventType = "DELETED"
                if selected:
                    kind = "MODIFIED" if born <= after else "ADDED"
                told.append((version, News(Move(version, record)).event(kind)))
        for move in opening.departed:
            if move.version > opening.position:
                self._known[move.deployment.uid] = after
            else:
                told.append((move.version, News(move).event("DELETED")))
        return [event for _, event in sorted(told)]
