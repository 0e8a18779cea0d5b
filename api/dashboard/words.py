"""What pages say of records: state, resources, age, links (pure)."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from api.views import is_ready
from specs.model import Deployment, Phase, TimelineEntry
from specs.provenance import declared_in
from specs.texts import clean

_STEERING: Final = re.compile(r"\x1b(?:\[[0-?]{0,64}[ -/]{0,8}[@-~]|[@-Z\\-_])")
"""What a terminal takes for a command: colours, and moves of the cursor (ECMA-48)."""

SOON: Final = timedelta(days=2)
"""What ends within this is worth a word in the list."""


class Badge(NamedTuple):
    """A state in three ways, so that none of them is needed alone: icon, tone of colour, word."""

    icon: str
    tone: str
    word: str


BADGES: Final[Mapping[str, Badge]] = {
    Phase.ACCEPTED: Badge("dots", "wait", "Accepted"),
    Phase.QUEUED: Badge("hourglass", "wait", "Queued"),
    Phase.STARTING: Badge("half", "busy", "Starting"),
    Phase.RUNNING: Badge("disc", "good", "Running"),
    Phase.DEGRADED: Badge("triangle", "warn", "Degraded"),
    Phase.FAILED: Badge("cross", "bad", "Failed"),
    Phase.COMPLETE: Badge("check", "done", "Complete"),
    Phase.SUSPENDED: Badge("pause", "off", "Suspended"),
    Phase.HELD: Badge("hand", "warn", "Held"),
    Phase.DELETING: Badge("bin", "off", "Deleting"),
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A door of a deployment; `url` is "" until it may be opened."""

    name: str
    url: str


def badge_of(deployment: Deployment) -> Badge:
    """Return the state of a deployment."""
    if deployment.being_deleted:
        return BADGES[Phase.DELETING]
    return BADGES[deployment.status.phase]


def sentence_of(deployment: Deployment) -> str:
    """Say in one sentence how a deployment is."""
    if deployment.being_deleted:
        return "it is being deleted; its job is stopped first"
    if deployment.deletion_held:
        return f"its deletion is held: {deployment.deletion_held}"
    if deployment.source_fault:
        return deployment.source_fault
    return deployment.status.message or "nobody has looked at it yet"


def endpoints_of(deployment: Deployment) -> Sequence[Endpoint]:
    """Return the doors of a deployment, to be opened once it is ready."""
    ready = is_ready(deployment)
    return [
        Endpoint(name, safe_link(url) if ready else "")
        for name, url in deployment.status.endpoints.items()
    ]


def safe_link(url: object) -> str:
    """Return `url` where a page may link to it: http or https, with a host; else ""."""
    if not isinstance(url, str) or any(char <= " " or char == "\\" for char in url):
        return ""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return url if parts.scheme in {"http", "https"} and parts.hostname else ""


def resources_of(deployment: Deployment) -> str:
    """Say what a deployment asks for."""
    asked = deployment.target.hardware
    gpus = f"{asked.gpu_num} {asked.gpu_type or 'GPU'}" if asked.gpu_num else ""
    return " · ".join(filter(None, [gpus, f"{asked.cpu_num} CPU", size(asked.ram)]))


def file_of(deployment: Deployment) -> str:
    """Return where the file stands that declares it, "" where people do."""
    return declared_in(deployment.source)


def ends_soon(deployment: Deployment, now: datetime) -> str:
    """Say when a deployment ends, where that is soon."""
    at = deployment.expires_at
    if at is None or at <= now or at - now > SOON:
        return ""
    return f"ends in {span(at - now)}"


def plain(text: str) -> str:
    """Return a log's text without what would steer a terminal; newlines and tabs stay."""
    return clean(_STEERING.sub("", text))


def size(mb: float) -> str:
    """Return an amount of memory in a unit that people read, 1,000 to the next."""
    for factor, unit in ((1_000_000, "TB"), (1_000, "GB")):
        if mb >= factor:
            return f"{mb / factor:.1f}".removesuffix(".0") + f" {unit}"
    return f"{mb:.0f} MB"


def span(time: timedelta) -> str:
    """Return a length of time in its largest unit."""
    seconds = max(0, int(time.total_seconds()))
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def ago(at: datetime, now: datetime) -> str:
    """Say how long ago an instant was, or in how long it will be."""
    return f"in {span(at - now)}" if at > now else span(now - at)


def stamp(at: datetime) -> str:
    """Return an instant as people and machines read it, in UTC."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


_ITEMS: Final = {
    "deployments": "Deployments",
    "cpu_num": "CPUs",
    "gpu_num": "GPUs",
    "ram": "Memory",
    "disk": "Disk",
}


def item_word(item: str) -> str:
    """Return the word for an item of a quota."""
    return _ITEMS.get(item) or item.replace("gpu_num:", "GPUs: ")


class Share(NamedTuple):
    """How much of something is used; `percent` None: it has no limit."""

    item: str
    used: str
    limit: str
    percent: int | None


def shares_of(used: Mapping[str, int], limits: Mapping[str, int]) -> Sequence[Share]:
    """Return what is used of each item, limited ones with how much of the limit that is."""
    items = [*(item for item in _ITEMS if item in used), *sorted(used.keys() - _ITEMS.keys())]
    return [_share(item, used[item], limits.get(item)) for item in items]


def _share(item: str, used: int, limit: int | None) -> Share:
    show = size if item in {"ram", "disk"} else str
    if limit is None:
        return Share(item, show(used), "", None)
    return Share(item, show(used), show(limit), percent(used, limit))


def percent(part: float, whole: float) -> int:
    """Return how much of the whole a part is, in whole percents from 0 to 100."""
    if whole <= 0:
        return 100 if part > 0 else 0
    return max(0, min(100, round(100 * part / whole)))


class Lane(NamedTuple):
    """A stretch of time in one phase, in thousandths of the whole."""

    badge: Badge
    begin: int
    width: int
    began_at: datetime
    lasted: str


def lanes_of(entries: Iterable[TimelineEntry], *, since: datetime, now: datetime) -> Sequence[Lane]:
    """Return the phases that a deployment went through, oldest first, from its `entries`.

    Entries may come in any order; what came before the first of them is left out.
    """
    moves = sorted((e.at, e.number, e.event.to_phase) for e in entries if e.event.to_phase)
    moves = [move for move in moves if move[2] in BADGES]
    if not moves:
        return ()
    begin = max(since, moves[0][0])
    whole = max(0.001, (now - begin).total_seconds())
    ends = [*(at for at, _, _ in moves[1:]), now]
    lanes = []
    for (at, _, phase), end in zip(moves, ends, strict=True):
        left = round(1000 * max(0.0, (at - begin).total_seconds()) / whole)
        right = round(1000 * max(0.0, (end - begin).total_seconds()) / whole)
        if right > left or at == moves[-1][0]:
            lanes.append(Lane(BADGES[phase], left, max(right - left, 4), at, span(end - at)))
    return lanes


@dataclass(frozen=True, slots=True)
class OwnerUse:
    """What the deployments of one person in one VO ask for."""

    name: str
    vo: str
    deployments: int
    cpus: int
    gpus: int
    memory_mb: int


def use_by_owner(deployments: Iterable[Deployment]) -> Sequence[OwnerUse]:
    """Return what is asked for by person and VO, most GPUs and then CPUs first.

    What is suspended or has ended asks for nothing.
    """
    found: dict[tuple[object, str], OwnerUse] = {}
    for d in deployments:
        key = (d.owner, d.vo)
        known = found.get(key, OwnerUse(d.owner_name, d.vo, 0, 0, 0, 0))
        asked = d.target.hardware
        counts = int(d.status.phase not in {Phase.SUSPENDED, Phase.COMPLETE, Phase.FAILED})
        found[key] = OwnerUse(
            known.name,
            known.vo,
            known.deployments + 1,
            known.cpus + counts * asked.cpu_num,
            known.gpus + counts * asked.gpu_num,
            known.memory_mb + counts * asked.ram,
        )
    return sorted(found.values(), key=lambda use: (-use.gpus, -use.cpus, use.name, use.vo))
