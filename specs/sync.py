"""One source of spec files, kept up with: what it says is brought into the store, pass by pass.

read -> understand (pure) -> judge (pure) -> take in -> report

A pass reads a whole tree or nothing. What it costs grows with what changed: a file is understood
and judged again only where its content is another, or where something of it is not as it says.
What can't be read, or can't be told, never counts as gone.
"""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Literal

from specs.faults import Fault, InvalidSpec, NotFound
from specs.files import Declared, FileFault, FileRead, Rules, fault_of, read_file, unread
from specs.intake import Intake, SourcedWish, SourceRead, take_in
from specs.model import Deployment, Reach
from specs.priorities import PriorityClasses, usable_classes
from specs.provenance import same_document
from specs.pruning import DeletionBudget, Place
from specs.source_reports import FAULTS_KEPT, FaultReport, SourceReport
from specs.store import SpecStore
from specs.trees import File, SourceUnavailable, Tree, TreeReader
from specs.userconf import UserConf
from specs.wish import Wish, wish_of_manifest

ASKS_AS: Final = "user"
"""The role in which a file asks for a priority class: a file has no more rights than its owner."""

SETTLING: Final = "something in it is still being written"


@dataclass(frozen=True, slots=True)
class SpecSource:
    """One source as the operator set it; `url` is shown to people, so no credential is in it."""

    id: str
    kind: Literal["folder", "git"]
    url: str
    rules: Rules
    ref: str = ""
    root: str = ""


@dataclass(frozen=True, slots=True)
class Site:
    """What of the site a wish is judged by, and how much a source may delete."""

    conf: UserConf
    priorities: PriorityClasses
    budget: DeletionBudget


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass did. `again_s` says when to look again, None: when something changes.

    `wishes` are what it looked at, `same` is what it read and had taken before. `waits` says why
    nothing that is absent is deleted ("": it is).
    """

    version: str
    intake: Intake
    wishes: Sequence[SourcedWish]
    same: Sequence[Declared]
    faults: Sequence[FileFault]
    waits: str
    again_s: float | None

    @property
    def settled(self) -> bool:
        """Whether the store is now as the source says, all of it."""
        return not (self.faults or self.waits or self.intake.held)


@dataclass(slots=True)
class _Known:
    """A file as it was understood last; not `settled`: it is to be understood anew.

    `hopeless` are those of the `refused` places that no other state of the store would make good.
    """

    blob: str
    origin: Mapping[str, str]
    places: Mapping[Place, int]
    faults: Sequence[FileFault]
    readable: bool
    settled: bool = False
    refused: dict[Place, Sequence[FileFault]] = field(default_factory=dict)
    hopeless: AbstractSet[Place] = frozenset()


class Sync:
    """What is known of one source between its passes. One thread at a time."""

    def __init__(
        self,
        source: SpecSource,
        reader: TreeReader,
        store: SpecStore,
        site: Site,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self.source = source
        self._reader = reader
        self._store = store
        self._site = site
        self._now = now
        self._files: dict[str, _Known] = {}
        self.report = SourceReport(
            kind=source.kind,
            url=source.url,
            ref=source.ref,
            root=source.root,
            layout=source.rules.layout,
        )

    def begin(self) -> None:
        """Make the source known to all: what is declared in it is not for people to change."""
        before = self._store.source_reports().get(self.source.id)
        if before is not None:
            kept = ("wanted", "applied", "applied_at", "read_at", "behind_since", "error")
            self.report = self.report.model_copy(
                update={name: getattr(before, name) for name in kept}
            )
        self._store.put_source_report(self.source.id, self.report)

    def run_once(
        self, *, dry_run: bool = False, progress: Callable[[int, int], None] = lambda *_: None
    ) -> Pass:
        """Read the source and bring the store up to it. Safe to repeat, and to cut off anywhere.

        `progress` is told how many wishes of how many were looked at. A dry run writes nothing.

        Raises:
            SourceUnavailable: nothing is known of the source now, and nothing was written.
            StoreUnavailable: some wishes may be in; the next pass does the rest.
        """
        owned = self._store.owned_places(self.source.id)
        tree = self._read(owned, dry_run=dry_run)
        declared = self._understand(tree)
        # What was taken once is not judged again: new defaults of the site restart nothing.
        origins = {place: self._provenance(one) for place, one in declared.items()}
        fresh = {
            place: one
            for place, one in declared.items()
            if not same_document(owned.get(place, {}), origins[place])
        }
        twice, waits = self._twice(), self._waits(tree)
        wishes, hopeless = self._judge({p: d for p, d in fresh.items() if p not in twice}, origins)
        refused = hopeless | self._told_twice(twice)
        still = self._refused_before() | refused
        faulty = self._spoilt(owned) | {place: _sentence(told) for place, told in still.items()}
        read = SourceRead(
            self.source.id,
            complete=not waits,
            wishes=wishes,
            kept={place for file in self._files.values() for place in file.places},
            faulty=faulty,
            version=tree.version,
        )
        total = len(wishes)
        intake = take_in(
            self._store,
            read,
            self._site.budget,
            dry_run=dry_run,
            progress=lambda number: progress(number, total),
        )
        refused |= {
            refusal.wish.place: self._placed(fresh[refusal.wish.place], refusal.faults)
            for refusal in intake.faults
        }
        self._note(declared, refused, hopeless.keys(), settled=not dry_run)
        done = Pass(
            version=tree.version,
            intake=intake,
            wishes=wishes,
            same=[one for place, one in declared.items() if place not in fresh],
            faults=list(self._faults()),
            waits=waits,
            again_s=tree.again_s,
        )
        if not dry_run:
            self._tell(done, files=len(tree.files))
        return done

    def _read(self, owned: Mapping[Place, Mapping[str, str]], *, dry_run: bool) -> Tree:
        for file in self._files.values():
            # What people took over or deleted meanwhile is to be asked about again.
            file.settled = file.settled and file.places.keys() <= owned.keys() | file.hopeless
        known = {path: file.blob for path, file in self._files.items() if file.settled}
        try:
            return self._reader.read(known)
        except SourceUnavailable as error:
            if not dry_run:
                since = self.report.behind_since or self._now()
                self._put_report(error=str(error), behind_since=since)
            raise

    def _understand(self, tree: Tree) -> dict[Place, Declared]:
        """Take note of every file of the tree; return what is declared in those read anew."""
        before, self._files = self._files, {}
        fresh: dict[Place, Declared] = {}
        for file in tree.files:
            known = before.get(file.path)
            if file.content is None and not file.fault and known and known.blob == file.blob:
                self._files[file.path] = known
                continue
            found = self._found_in(file)
            told = [*found.faults, *_twice_in_one(found.declared)]
            self._files[file.path] = _Known(
                # What was not read is not known, be its blob the same the next time.
                blob="" if file.content is None else file.blob,
                origin=file.origin,
                places={declared.place: declared.line for declared in found.declared},
                faults=[self._rooted(fault) for fault in told],
                readable=found.readable,
            )
            for declared in found.declared:
                fresh.setdefault(declared.place, declared)
        return fresh

    def _found_in(self, file: File) -> FileRead:
        if file.content is None:
            return unread(file.path, file.fault or "it was not read: look again")
        return read_file(file.path, file.content, self.source.rules)

    def _twice(self) -> dict[Place, list[str]]:
        """Return the places that several files declare, with the paths of these."""
        counts = Counter(place for file in self._files.values() for place in file.places)
        return {
            place: sorted(path for path, file in self._files.items() if place in file.places)
            for place, count in counts.items()
            if count > 1
        }

    def _judge(
        self, fresh: Mapping[Place, Declared], origins: Mapping[Place, Mapping[str, str]]
    ) -> tuple[list[SourcedWish], dict[Place, Sequence[FileFault]]]:
        """Return the wishes, and the faults of those that are none as they stand."""
        wishes: list[SourcedWish] = []
        refused: dict[Place, Sequence[FileFault]] = {}
        for place, declared in fresh.items():
            try:
                wish = self._wish(declared)
            except InvalidSpec as error:
                refused[place] = self._placed(declared, error.faults)
            else:
                wishes.append(SourcedWish(place.owner, place.owner.sub, wish, origins[place]))
        return wishes, refused

    def _told_twice(self, twice: Mapping[Place, Sequence[str]]) -> dict[Place, Sequence[FileFault]]:
        refused: dict[Place, Sequence[FileFault]] = {}
        for place, paths in twice.items():
            where = ", ".join(map(self._at, paths))
            message = f"{place.name!r} in {place.vo} is declared twice, in {where}"
            fault = Fault("/metadata/name", "Twice", message, "one of them")
            refused[place] = [
                _fault_at(self._at(path), self._files[path].places[place], fault) for path in paths
            ]
        return refused

    def _refused_before(self) -> dict[Place, Sequence[FileFault]]:
        """Return the faults of documents that were not read anew: those stand as they did."""
        return {p: told for file in self._files.values() for p, told in file.refused.items()}

    def _spoilt(self, owned: Mapping[Place, Mapping[str, str]]) -> dict[Place, str]:
        """Return what was declared in files that can't be read now, with the words for people."""
        listed = {place for file in self._files.values() for place in file.places}
        unreadable = {
            self._at(path): file for path, file in self._files.items() if not file.readable
        }
        return {
            place: _sentence(unreadable[path].faults)
            for place, kept in owned.items()
            if (path := kept.get("path", "")) in unreadable and place not in listed
        }

    def _wish(self, declared: Declared) -> Wish:
        vo = declared.place.vo
        classes = usable_classes(self._site.priorities, {vo: (ASKS_AS,)})
        return wish_of_manifest(
            declared.manifest,
            self._site.conf,
            vos=(vo,),
            classes=classes,
            kept=self._kept(declared.place),
            modules=lambda name: self._store.catalog().defaults(name),
        )

    def _kept(self, place: Place) -> Deployment | None:
        try:
            return self._store.find(
                Reach(place.owner, frozenset({place.vo})), vo=place.vo, name=place.name
            )
        except NotFound:
            return None

    def _provenance(self, declared: Declared) -> dict[str, str]:
        origin = self._files[declared.path].origin
        manifest = json.dumps(declared.manifest, sort_keys=True, separators=(",", ":"))
        return {
            "type": self.source.kind,
            "id": self.source.id,
            "repo": self.source.url,
            "path": self._at(declared.path),
            "line": str(declared.line),
            "digest": self._store.fingerprint(manifest),
            **{key: origin[key] for key in ("commit", "author") if key in origin},
        }

    def _note(
        self,
        declared: Mapping[Place, Declared],
        refused: Mapping[Place, Sequence[FileFault]],
        hopeless: Collection[Place],
        *,
        settled: bool,
    ) -> None:
        for file in self._files.values():
            for place in file.places.keys() & (declared.keys() | refused.keys()):
                file.refused.pop(place, None)
                if place in refused:
                    file.refused[place] = refused[place]
            # A refusal of the store's may pass; one of the words is so until these change.
            read_anew = file.places.keys() & declared.keys()
            file.hopeless = (file.hopeless - read_anew) | (file.places.keys() & set(hopeless))
            file.settled = settled and file.refused.keys() <= file.hopeless

    def _faults(self) -> Iterator[FileFault]:
        for path in sorted(self._files):
            file = self._files[path]
            refused = (fault for told in file.refused.values() for fault in told)
            told = [*file.faults, *(fault for fault in refused if fault.path == self._at(path))]
            yield from sorted(told, key=lambda fault: (fault.line, fault.column))

    def _waits(self, tree: Tree) -> str:
        """Say why what is absent may still be there, or ""."""
        if not tree.settled:
            return tree.doubt or SETTLING
        unreadable = sorted(path for path, file in self._files.items() if not file.readable)
        if not unreadable:
            return ""
        more = f" and {len(unreadable) - 1} more" if len(unreadable) > 1 else ""
        return f"{self._at(unreadable[0])}{more} can't be read: what is missing may stand there"

    def _at(self, path: str) -> str:
        """Return a path of the tree as it is in the whole repository."""
        return f"{self.source.root}/{path}" if self.source.root else path

    def _rooted(self, fault: FileFault) -> FileFault:
        return replace(fault, path=self._at(fault.path))

    def _placed(self, declared: Declared, faults: Sequence[Fault]) -> list[FileFault]:
        return [self._rooted(fault_of(declared, fault)) for fault in faults]

    def _tell(self, done: Pass, *, files: int) -> None:
        faults = done.faults[:FAULTS_KEPT]
        fresh = done.version != self.report.applied
        self._put_report(
            wanted=done.version,
            applied=done.version,
            applied_at=self._now() if fresh else self.report.applied_at,
            read_at=self._now(),
            behind_since=None,
            error="",
            waits=done.waits,
            files=files,
            faults=tuple(map(_reported, faults)),
            more_faults=len(done.faults) - len(faults),
        )

    def _put_report(self, **changes: Any) -> None:
        self.report = self.report.model_copy(update=changes)
        self._store.put_source_report(self.source.id, self.report)


def _twice_in_one(declared: Sequence[Declared]) -> Iterator[FileFault]:
    seen: set[Place] = set()
    for one in declared:
        if one.place in seen:
            message = f"{one.place.name!r} stands twice in this file: only the first is taken"
            yield fault_of(one, Fault("/metadata/name", "Twice", message, "another name"))
        seen.add(one.place)


def _sentence(faults: Sequence[FileFault]) -> str:
    more = len(faults) - 1
    return f"{faults[0]}" + (f" (and {more} more)" if more else "")


def _fault_at(path: str, line: int, fault: Fault) -> FileFault:
    return FileFault(path, line, 1, fault.pointer, fault.code, fault.message, fault.allowed)


def _reported(fault: FileFault) -> FaultReport:
    return FaultReport(
        file=fault.path,
        line=fault.line,
        column=fault.column,
        pointer=fault.pointer,
        message=fault.message,
        allowed=fault.allowed,
    )
