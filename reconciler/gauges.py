"""What is read when Prometheus asks: how the queue, the mirror and the store stand.

Costs a few questions to the store, at most once in `KEPT_S`; Nomad is never called.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from reconciler.measures import PREFIX, Measures
from reconciler.mirror import Mirror
from reconciler.queue import QueueState, together
from specs.catalog.states import CatalogState
from specs.faults import StoreUnavailable
from specs.model import Phase
from specs.program import own_version
from specs.source_reports import SourceReport

KEPT_S: Final = 5.0
"""How long an answer of the store is shown again: scrapers may be several."""


class Counted(Protocol):
    """What is asked of the spec store."""

    def phases(self) -> Mapping[str, int]:
        """Return how many deployments are in each phase."""
        ...

    def newest_wish(self) -> int:
        """Return the position at the end of the feed of wishes."""
        ...

    def source_reports(self) -> Mapping[str, SourceReport]:
        """Return what was last found in each source of spec files."""
        ...

    def catalog_states(self) -> Sequence[CatalogState]:
        """Return how each source of modules stands."""
        ...


@dataclass(frozen=True, slots=True)
class Stood:
    """How the store stood when it was asked."""

    phases: Mapping[str, int]
    newest_wish: int
    sources: Mapping[str, SourceReport]
    catalogues: Sequence[CatalogState]


@dataclass(slots=True, eq=False)
class Gauges(Collector):
    """The collector of one process; `mirrors` and `queues` are those of its clusters.

    `position` is how far its feed of wishes was read (None: this process reads none), `shards` how
    many shares of the deployments it works on, `orphans` how many jobs have no record.
    """

    store: Counted
    mirrors: Sequence[Mirror]
    queues: Sequence[Callable[[], QueueState]]
    measures: Measures
    cluster: str
    now: Callable[[], datetime]
    position: Callable[[], int | None] = lambda: None
    shards: Callable[[], int] = lambda: 0
    orphans: Callable[[], int] = lambda: 0
    trouble: Callable[[], str] = lambda: ""
    _kept: tuple[float, Stood] | None = field(default=None, init=False)
    _asking: threading.Lock = field(default_factory=threading.Lock, init=False)

    def describe(self) -> list[Metric]:
        """Return nothing: names are fixed, and nobody is to be asked before the first scrape."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield every gauge; those of the store are left out while it does not answer."""
        build = [((own_version(), self.cluster), 1)]
        yield _labelled("build_info", "What runs here.", ("version", "cluster"), build)
        yield from self._loop()
        stood = None
        with suppress(StoreUnavailable):
            stood = self._stood()
        yield _gauge("store_up", "Whether the spec store answers.", int(stood is not None))
        if stood is not None:
            yield from self._stored(stood)

    def _loop(self) -> Iterator[Metric]:
        state = together(queue() for queue in self.queues)
        yield _labelled(
            "queue_depth",
            "Deployments that wait for a look, are looked at, or are to come.",
            ("state",),
            [
                (("waiting",), state.waiting),
                (("working",), state.working),
                (("delayed",), state.delayed),
            ],
        )
        yield _gauge("queue_oldest_seconds", "For how long the oldest has waited.", state.oldest_s)
        yield _gauge(
            "shards", "Shares of the deployments that this process works on.", self.shards()
        )
        yield _gauge("orphan_jobs", "Jobs with our marker and no record.", self.orphans())
        told = "Of how many clusters lists and event stream are in place."
        connected = sum(mirror.connected for mirror in self.mirrors)
        yield _gauge("nomad_stream_connected", told, connected)
        yield _gauge("nomad_clusters", "Clusters of this site.", len(self.mirrors))
        silent_s = self.measures.silent_s()
        if silent_s is not None:
            yield _gauge(
                "nomad_stream_silent_seconds", "Since the last message of the stream.", silent_s
            )
        yield _labelled(
            "mirror_objects",
            "What is known of Nomad.",
            ("kind",),
            [((kind,), count) for kind, count in self._sizes().items()],
        )
        told = "0: the spec store is older than it was, and nothing is written to Nomad."
        yield _gauge("store_recognised", told, int(not self.trouble()))

    def _sizes(self) -> Mapping[str, int]:
        sizes: Counter[str] = Counter()
        for mirror in self.mirrors:
            sizes.update(mirror.sizes())
        return sizes

    def _stored(self, stood: Stood) -> Iterator[Metric]:
        phases = [((phase.value,), stood.phases.get(phase.value, 0)) for phase in Phase]
        yield _labelled("deployments", "Deployments by phase.", ("phase",), phases)
        position = self.position()
        if position is not None:
            told = "How far the end of the feed of wishes is ahead of what was read of it."
            yield _gauge("feed_lag", told, max(0, stood.newest_wish - position))
        yield from self._sources(list(stood.sources.values()))
        yield from self._catalogues(stood.catalogues)

    def _sources(self, reports: Sequence[SourceReport]) -> Iterator[Metric]:
        yield _gauge("spec_sources", "Sources of spec files.", len(reports))
        faults = sum(len(report.faults) + report.more_faults for report in reports)
        yield _gauge("spec_source_faults", "Faults in spec files.", faults)
        unread = sum(bool(report.error) for report in reports)
        yield _gauge("spec_sources_failing", "Sources that can't be read now.", unread)
        since = min((r.behind_since for r in reports if r.behind_since), default=None)
        lag_s = (self.now() - since).total_seconds() if since else 0
        yield _gauge("spec_source_lag_seconds", "How long the store lags behind a source.", lag_s)

    def _catalogues(self, states: Sequence[CatalogState]) -> Iterator[Metric]:
        reads = [state.read_at for state in states if state.read_at is not None]
        yield _gauge("catalogue_sources", "Sources of modules.", len(states))
        unread = sum(bool(state.error) for state in states)
        yield _gauge("catalogue_sources_failing", "Sources that can't be read now.", unread)
        if reads:
            age_s = (self.now() - min(reads)).total_seconds()
            yield _gauge("catalogue_age_seconds", "Since the oldest source was read.", age_s)

    def _stood(self) -> Stood:
        with self._asking:
            now_s = time.monotonic()
            if self._kept is None or now_s - self._kept[0] > KEPT_S:
                stood = Stood(
                    self.store.phases(),
                    self.store.newest_wish(),
                    self.store.source_reports(),
                    self.store.catalog_states(),
                )
                self._kept = (now_s, stood)
            return self._kept[1]


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{PREFIX}_{name}", text, value=value)


def _labelled(
    name: str, text: str, labels: tuple[str, ...], values: Sequence[tuple[Sequence[str], float]]
) -> Metric:
    family = GaugeMetricFamily(f"{PREFIX}_{name}", text, labels=labels)
    for of, value in values:
        family.add_metric(of, value)
    return family
