"""Keeps the store's catalogue up with its sources: each in a thread of its own.

A source is read at the start, a little before what was read gets too old, when its folder changes,
when the store is asked for it, and again after a failure, ever later. What is known stays until a
whole read went well, so a source that is down changes nothing but its age.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from reconciler.passes import Asked, Passes
from specs.catalog.reads import CatalogReader
from specs.catalog.states import CatalogState
from specs.faults import StoreUnavailable
from specs.store import SpecStore
from specs.trees import SourceUnavailable

log = logging.getLogger(__name__)

EARLY: Final = 0.8
"""The part of `cache_s` after which a source is read anew. The timer's jitter is a tenth of it."""

_TOLD: Final = 5
"""Notes of one read that the log has; there may be thousands."""


@dataclass(frozen=True, slots=True)
class CatalogSource:
    """A source as its reads need it; the lowest `rank` wins a name that several sources have."""

    id: str
    kind: str
    url: str
    rank: int


class CatalogRefresh:
    """One source: reads it until it is stopped, first at once, then whenever it is woken.

    `make_reader` gets a question to ask during a long read: whether to give up. `watched` is the
    folder that tells of changes.
    """

    def __init__(
        self,
        source: CatalogSource,
        make_reader: Callable[[Callable[[], bool]], CatalogReader],
        store: SpecStore,
        *,
        cache_s: float,
        now: Callable[[], datetime],
        random: Callable[[], float],
        watched: Path | None = None,
    ) -> None:
        self.source = source
        self.name = f"catalogue {source.id}"
        self.poll_s = cache_s * EARLY
        self._passes = Passes(
            self.name, self.run_once, longest_s=self.poll_s, random=random, watched=watched
        )
        self._reader = make_reader(self._passes.stopped)
        self._store = store
        self._cache_s = cache_s
        self._now = now

    def only_while(self, may: Callable[[], bool]) -> None:
        """Read only while `may` says yes."""
        self._passes.only_while(may)

    def wake(self) -> None:
        """Have the source read now, or once more after the read that is under way."""
        self._passes.wake()

    def run(self, stop: threading.Event) -> None:
        """Read whenever there is a reason to, until `stop` is set."""
        self._passes.run(stop)

    def run_once(self) -> None:
        """Read the source once, and store what it holds and how it stands.

        Raises: SourceUnavailable, once the store knows of it; StoreUnavailable.
        """
        known = self._store.catalog_known(self.source.id)
        begun_at = self._now()
        try:
            read = self._reader.read(known)
        except SourceUnavailable as error:
            if not self._passes.stopped():
                self._tell(self._state().model_copy(update={"error": str(error)}))
            raise
        self._store.put_catalog(self.source.id, read, rank=self.source.rank)
        modules = len(read.modules) + len(read.same)
        # The store finds faults too, in what documents say.
        faults = modules - len(self._store.catalog_known(self.source.id))
        self._tell(
            CatalogState(
                source=self.source.id,
                kind=self.source.kind,
                url=self.source.url,
                read_at=begun_at,
                expires_at=begun_at + timedelta(seconds=self._cache_s),
                modules=modules,
                faults=faults,
            )
        )
        told = {"source": self.source.id, "read": len(read.modules), "same": len(read.same)}
        log.info("catalogue read", extra={**told, "faults": faults})
        for note in read.notes[:_TOLD]:
            log.warning("catalogue note", extra={"source": self.source.id, "note": note})

    def _state(self) -> CatalogState:
        """Return how the source stands in the store."""
        states = {state.source: state for state in self._store.catalog_states()}
        fresh = CatalogState(source=self.source.id, kind=self.source.kind, url=self.source.url)
        return states.get(self.source.id, fresh)

    def _tell(self, state: CatalogState) -> None:
        try:
            self._store.put_catalog_state(self.source.id, state)
        except StoreUnavailable as error:
            log.warning("state not stored", extra={"source": self.name, "error": str(error)})


def asked_catalogs(store: SpecStore, refreshes: Sequence[CatalogRefresh]) -> Asked:
    """Return what wakes every source when the store is asked, in whichever process."""
    wakes = {refresh.source.id: refresh.wake for refresh in refreshes}
    return Asked(lambda: dict.fromkeys(wakes, store.catalog_asks()), wakes, name="asked catalogue")
