"""The modules of the marketplace: found by words and tags, read, and changed by editors.

Works on what the store keeps of the catalogue and never fetches. The lists are the hot path: their
JSON is made once for each version of the catalogue and kept as bytes.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from threading import Lock
from time import monotonic
from typing import Any, Final

from api.auth import Role, User
from specs.catalog.metadata import shown as shown_metadata
from specs.catalog.shelf import Catalog as Modules
from specs.catalog.shelf import OverlayVersion, Stored
from specs.catalog.states import CatalogState
from specs.faults import Forbidden, NotFound, VersionConflict
from specs.store import SpecStore
from specs.texts import near, shown

LOOK_S: Final = 1.0
"""How long a look at the store is good for: a change elsewhere is seen that much later."""


class UnknownModule(NotFound):
    """The catalogue has no module of that name."""


EDITORS: Final = frozenset({Role.EDITOR})


@dataclass(frozen=True, slots=True)
class Freshness:
    """When something was read, and until when that is good; `failing`: its source can't be read."""

    read_at: datetime | None = None
    expires_at: datetime | None = None
    failing: bool = False

    def age_s(self, now: datetime) -> int:
        """Return for how many whole seconds it has been known."""
        return 0 if self.read_at is None else max(0, int((now - self.read_at).total_seconds()))

    def stale(self, now: datetime) -> bool:
        """Whether its time is over and no newer state can be had."""
        return self.failing and (self.expires_at is None or now >= self.expires_at)


@dataclass(frozen=True, slots=True)
class Document:
    """An answer, ready to be sent."""

    body: bytes
    etag: str
    fresh: Freshness


@dataclass(frozen=True)
class Sight:
    """The catalogue as it was looked at, with the answers that are made of it."""

    catalog: Modules
    states: Mapping[str, CatalogState]
    _documents: dict[str, Document] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def names(self) -> Document:
        """The names of all modules, sorted."""
        return self._list(names_of(self.catalog.modules.values()))

    @cached_property
    def summaries(self) -> Document:
        """Name, title, summary and keywords of all modules, sorted by name."""
        return self._list(summaries_of(self.catalog.modules.values()))

    @cached_property
    def fresh(self) -> Freshness:
        """The age of the oldest source, and the soonest end."""
        states = self.states.values()
        return Freshness(
            read_at=min((s.read_at for s in states if s.read_at), default=None),
            expires_at=min((s.expires_at for s in states if s.expires_at), default=None),
            failing=any(state.error for state in states),
        )

    @cached_property
    def _words(self) -> Mapping[str, tuple[str, frozenset[str]]]:
        """Of each module what words are looked for in, and its tags."""
        return {m.name: _words_of(m) for m in self.catalog.modules.values()}

    def found(self, words: Sequence[str], tags: Sequence[str]) -> Sequence[Stored]:
        """Return the modules with all the words, anywhere, and all the tags among their keywords.

        Letters count alike in upper and lower case.
        """
        words, wanted = [w.casefold() for w in words], {tag.casefold() for tag in tags}
        return [
            module
            for name, module in self.catalog.modules.items()
            for text, keywords in (self._words[name],)
            if wanted <= keywords and all(word in text for word in words)
        ]

    def chosen_names(self, words: Sequence[str], tags: Sequence[str]) -> Document:
        """Return the names of those that are found."""
        return self._list(names_of(self.found(words, tags)))

    def chosen_summaries(self, words: Sequence[str], tags: Sequence[str]) -> Document:
        """Return the summaries of those that are found."""
        return self._list(summaries_of(self.found(words, tags)))

    def module(self, name: str) -> Stored:
        """Return a module. Raises: UnknownModule."""
        module = self.catalog.modules.get(name)
        if module is None:
            hint = near(name, self.catalog.modules)
            raise UnknownModule(f"no module {shown(name)}{hint and '; ' + hint}")
        return module

    def metadata(self, name: str) -> Document:
        """Return all that is known of a module, and of a malformed one why. Raises: UnknownModule.

        One with a fault is answered all the same, so that its people see what to correct.
        """
        document = self._documents.get(name)
        if document is None:
            module = self.module(name)
            body, fresh = json_bytes(whole(module)), self._fresh_of(module)
            document = self._documents[name] = Document(body, etag_of(module), fresh)
        return document

    def _fresh_of(self, module: Stored) -> Freshness:
        state = self.states.get(module.source)
        if state is None:
            return Freshness(module.read_at)
        return Freshness(state.read_at, state.expires_at, failing=bool(state.error))

    def _list(self, items: Sequence[object]) -> Document:
        body = json_bytes(items)
        return Document(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"', self.fresh)


class Catalog:
    """The use cases."""

    def __init__(
        self,
        store: SpecStore,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.now = now
        self._store = store
        self._clock = clock
        self._lock = Lock()
        self._sight: Sight | None = None
        self._good_until = 0.0

    def known(self) -> Sight | None:
        """Return the catalogue without waiting, or None where that takes a look at the store."""
        return self._sight if self._clock() < self._good_until else None

    def look(self) -> Sight:
        """Return the catalogue as it is now; may wait for the store. Raises: StoreUnavailable."""
        with self._lock:
            return self.known() or self._look()

    def put(
        self,
        user: User,
        name: str,
        fields: object,
        *,
        expected: Callable[[str], bool] | None = None,
    ) -> Stored:
        """Lay an editor's fields over what the source says, in place of any laid before.

        `expected` judges the ETag of the module as it stands, None: any will do.
        Raises: Forbidden; UnknownModule; InvalidSpec; VersionConflict.
        """
        vo = _editor_vo(user)
        version = self._version_to_replace(name, expected)
        changed = self._store.put_overlay(name, fields, author=user.name, vo=vo, if_version=version)
        self._look_again()
        return changed

    def restore(
        self, user: User, name: str, *, expected: Callable[[str], bool] | None = None
    ) -> Stored:
        """Take an editor's fields off again; return the module as its source has it.

        Raises: Forbidden; UnknownModule; VersionConflict.
        """
        vo = _editor_vo(user)
        version = self._version_to_replace(name, expected)
        restored = self._store.delete_overlay(name, author=user.name, vo=vo, if_version=version)
        self._look_again()
        return restored

    def versions(self, user: User, name: str) -> Sequence[OverlayVersion]:
        """Return what editors set, newest first. Raises: Forbidden; UnknownModule."""
        _editor_vo(user)
        versions = self._store.overlay_versions(name)
        if not versions:
            self.look().module(name)
        return versions

    def _version_to_replace(self, name: str, expected: Callable[[str], bool] | None) -> int | None:
        module = self._look_again().module(name)
        if expected is None:
            return None
        if not expected(etag_of(module)):
            raise VersionConflict(f"{name} has moved: its ETag is {etag_of(module)} now")
        return module.overlay_version

    def _look_again(self) -> Sight:
        """Look whatever is known: who writes must see the newest, and so must who reads after."""
        with self._lock:
            return self._look()

    def _look(self) -> Sight:
        # The time counts from before the look: what is written meanwhile is seen by the next.
        began = self._clock()
        catalog = self._store.catalog()
        states = {state.source: state for state in self._store.catalog_states()}
        sight = self._sight
        if sight is None or sight.catalog.version != catalog.version or sight.states != states:
            sight = self._sight = Sight(catalog, states)
        self._good_until = began + LOOK_S
        return sight


def names_of(modules: Collection[Stored]) -> Sequence[str]:
    """Return the names of modules, sorted."""
    return sorted(module.name for module in modules)


def summaries_of(modules: Collection[Stored]) -> Sequence[dict[str, Any]]:
    """Return the summaries of modules, sorted by name."""
    return [summary_of(module) for module in sorted(modules, key=lambda module: module.name)]


def summary_of(module: Stored) -> dict[str, Any]:
    """Return the short form of a module; `fault` is there alone where something is wrong with it.

    One of which nothing good was ever read is known by its name.
    """
    known = module.metadata
    return {
        "name": module.name,
        "title": known.title if known else module.name,
        "summary": known.summary if known else "",
        "keywords": list(known.keywords) if known else [],
    } | _fault_of(module)


def whole(module: Stored) -> dict[str, Any]:
    """Return all that is known of a module, and what is wrong with it now."""
    known = shown_metadata(module.metadata) if module.metadata else {"name": module.name}
    known.pop("fault", None)  # ours alone: a document may have a field of that name
    return known | _fault_of(module)


def _fault_of(module: Stored) -> dict[str, Any]:
    return {"fault": module.fault} if module.fault else {}


def etag_of(module: Stored) -> str:
    """Return the strong ETag of a module as it is now."""
    return f'"{module.version}"'


def json_bytes(value: object) -> bytes:
    """Return a value as JSON in UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _words_of(module: Stored) -> tuple[str, frozenset[str]]:
    summary = summary_of(module)
    keywords = [str(word).casefold() for word in summary["keywords"]]
    # Between the parts stands what no word can hold, so that none is found across them.
    parts = [module.name, summary["title"], summary["summary"], *keywords]
    return "\n".join(parts).casefold(), frozenset(keywords)


def _editor_vo(user: User) -> str:
    vos = user.vos_as(EDITORS)
    if not vos:
        raise Forbidden("the catalogue is changed by who is editor of one of their VOs")
    return vos[0]
