"""The wiring: from settings to a store, a cluster and a loop that are ready to start."""

import random
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Final, TypeVar

from reconciler.alive import StoreProbe
from reconciler.capacity import NodeRoom
from reconciler.catalog.refresh import asked_catalogs
from reconciler.catalog.sources import catalog_refreshes_of, registry_of
from reconciler.cluster.protocol import Cluster, LogKind
from reconciler.cluster.session import Heard, unheard
from reconciler.controller import Controller, Rhythm
from reconciler.devices import GpuModel, joined
from reconciler.diff import FieldChange
from reconciler.errors import ClusterError
from reconciler.gauges import Gauges
from reconciler.jobs import JobRef, Verdict
from reconciler.log_tails import TAIL_BYTES, LogTails, tasks_of
from reconciler.measures import Measures
from reconciler.mirror import Mirror
from reconciler.nomad_section import TargetSettings
from reconciler.notify import senders_of, subscriptions_of
from reconciler.passes import Asked
from reconciler.replica import Replica
from reconciler.settings import Settings, SettingsFault
from reconciler.sources import WishChanges
from reconciler.spec_files import spec_files_of
from reconciler.state import LoopState, loop_state
from reconciler.target import Target
from specs.faults import SealBroken
from specs.model import Deployment
from specs.private import beside_store
from specs.program import own_version
from specs.quota import Quotas
from specs.sealing import Seal, made_once
from specs.shards import SHARDS, SITE
from specs.store import SpecStore, utc_now
from specs.trees import SourceUnavailable

T = TypeVar("T")

DEAF_S: Final = 300.0
"""No stream that is read is silent for so long: Nomad says something every 30 s."""


class Runtime:
    """One process's store, clusters and loop."""

    def __init__(
        self,
        settings: Settings,
        store: SpecStore,
        clusters: Sequence[Cluster],
        measures: Measures | None = None,
    ) -> None:
        """`clusters` are those of `settings.targets`, in that order."""
        self.settings = settings
        self.store = store
        self.measures = measures or Measures()
        store.tell_durations(self.measures.stored)
        leases = store.leases(own_version()) if settings.reconcile else None
        self.replica = Replica(leases, self._take_up)
        self._own = store.fenced(leases) if leases else store
        """The store as the loop writes to it: only what is this replica's work."""
        self.targets = tuple(
            Target(
                chosen,
                cluster,
                self._own,
                settings,
                is_ours=self._belongs_to(chosen.name),
                replica=self.replica,
                measures=self.measures,
            )
            for chosen, cluster in zip(settings.targets, clusters, strict=True)
        )
        self._target_of = {vo: target for target in self.targets for vo in target.namespaces}
        self.spec_files = spec_files_of(settings, self._own, random.random)
        self.catalogues = catalog_refreshes_of(settings, self._own, random.random)
        self._site_taken_up = False
        self.wishes = WishChanges(store, lambda vo: self.target_of(vo).queue, position=0)
        self.registry = registry_of(settings.exchange)
        self.senders = senders_of(settings, store, random.random) if settings.reconcile else []
        self._controller: Controller | None = None
        self.measures.registry.register(self._gauges())
        self.probe = StoreProbe(store.newest_version, clock=time.monotonic)

    def start(self) -> None:
        """Start the loop, unless this process is an API replica only."""
        self.store.listen()
        if not self.settings.reconcile:
            return
        self.wishes.position = self.store.newest_version()
        self.replica.begin()
        for spec_files in self.spec_files:
            spec_files.only_while(self._does_site)
        for catalogue in self.catalogues:
            catalogue.only_while(self._does_site)
        for sender in self.senders:
            sender.only_while(self._does_site)
        if self._does_site():
            self.read_local_catalogues()
        self._controller = Controller(
            targets=self.targets,
            sources=(
                self.wishes,
                self.replica,
                LogTails(self._own, self._read_end, tasks_of, self.replica.does),
                *self.spec_files,
                *([self._asked_spec_files()] if self.spec_files else ()),
                *self.catalogues,
                asked_catalogs(self.store, self.catalogues),
                *self.senders,
            ),
            polls=[
                *((source.poll_s, source.wake) for source in self.spec_files),
                *((catalogue.poll_s, catalogue.wake) for catalogue in self.catalogues),
            ],
            clean_up=self.clean_up,
            rhythm=Rhythm(self.settings.workers, self.settings.resync_s, self.settings.audit_s),
        )
        self._controller.start()

    def read_local_catalogues(self) -> None:
        """Read folders with modules that were never read before anything is admitted.

        What a spec takes of its module is recorded then, and stays.
        """
        read = {state.source for state in self.store.catalog_states()}
        for catalogue in self.catalogues:
            if catalogue.source.kind == "folder" and catalogue.source.id not in read:
                with suppress(SourceUnavailable):
                    catalogue.run_once()

    def stop(self) -> None:
        """Stop the loop and close the store."""
        if self._controller is not None:
            self._controller.stop()
            for target in self.targets:
                target.guard.keep_up()
            self.replica.leave()
        self.registry.close()
        self.store.close()

    def clean_up(self) -> int:
        """Forget what the trash and the timeline have kept for long enough; return how much."""
        if not self.replica.does_site():
            return 0
        now = utc_now()
        return self._own.clean_up(
            trash_before=now - timedelta(days=self.settings.deletions.trash_days),
            events_before=now - timedelta(days=self.settings.events.days),
        )

    @property
    def title(self) -> str:
        """What people are told they talk to."""
        if len(self.targets) == 1:
            return self.targets[0].cluster.title
        return ", ".join(f"{target.cluster.title} ({target.name})" for target in self.targets)

    def target_of(self, vo: str) -> Target:
        """Return the cluster that a VO's deployments belong to.

        The first one has those of VOs that the settings no longer name.
        """
        return self._target_of.get(vo, self.targets[0])

    def orphans(self) -> Sequence[JobRef]:
        """Return the jobs that carry our marker and have no record, in all clusters.

        Raises: ClusterUnavailable while one of them is out of sight.
        """
        return [ref for target in self.targets for ref in target.orphans()]

    def gpu_models(self) -> Sequence[GpuModel] | None:
        """Return the models of the site's GPUs with how many are free; None: nobody here knows.

        Clusters that are out of sight are left out.
        """
        known = self._of_clusters_in_sight(Mirror.gpu_models)
        return joined(known) if known else None

    def rooms(self) -> Sequence[NodeRoom] | None:
        """Return what the nodes have and what is taken of it; None: nobody here knows.

        Clusters that are out of sight are left out.
        """
        known = self._of_clusters_in_sight(Mirror.rooms)
        return [room for rooms in known for room in rooms] if known else None

    def _of_clusters_in_sight(self, ask: Callable[[Mirror, str], Sequence[T]]) -> list[Sequence[T]]:
        known: list[Sequence[T]] = []
        for target in self.targets:
            with suppress(ClusterError):
                known.append(ask(target.mirror, self.settings.gpu.device))
        return known

    def loop_state(self) -> LoopState | None:
        """Return how the loop stands; None where this process runs none."""
        if self._controller is None:
            return None
        sights = [(one.name, one.mirror, one.queue.state()) for one in self.targets]
        return loop_state(sights, self._controller.faults())

    def preview(self, deployment: Deployment) -> Verdict:
        """Ask the scheduler what applying `deployment` would do now; nothing is changed.

        Raises: ClusterError.
        """
        return self.target_of(deployment.vo).preview(deployment)

    def compare(self, deployment: Deployment) -> tuple[Verdict, Sequence[FieldChange]]:
        """Ask the scheduler what writing the wanted job would do, and find where the live differs.

        Raises: ClusterError.
        """
        return self.target_of(deployment.vo).compare(deployment)

    def _take_up(self, parts: frozenset[int]) -> None:
        if SITE in parts:
            self._take_up_site()
        for target in self.targets:
            target.take_up(parts)

    def _take_up_site(self) -> None:
        self._own.forget_sources(but=[source.sync.source.id for source in self.spec_files])
        if not self._site_taken_up:
            for source in self.spec_files:
                source.sync.begin()
        self._own.forget_catalogs(but=[catalogue.source.id for catalogue in self.catalogues])
        self._own.outbox.forget_others([sender.destination for sender in self.senders])
        self._site_taken_up = True

    def _does_site(self) -> bool:
        return self._site_taken_up and self.replica.does_site()

    def read_log(
        self,
        deployment: Deployment,
        allocation_id: str,
        *,
        task: str,
        kind: LogKind,
        tail_bytes: int,
        follow: bool,
        stop: threading.Event,
    ) -> Generator[bytes, None, None]:
        """Read the end of a log of the deployment's, as `Cluster.read_log` does."""
        where = deployment.status.nomad
        return self.target_of(deployment.vo).cluster.read_log(
            JobRef(where.namespace, where.job_id),
            allocation_id,
            task=task,
            kind=kind,
            tail_bytes=tail_bytes,
            follow=follow,
            stop=stop,
        )

    def _read_end(
        self, deployment: Deployment, allocation_id: str, *, task: str, kind: LogKind
    ) -> bytes:
        pieces = self.read_log(
            deployment,
            allocation_id,
            task=task,
            kind=kind,
            tail_bytes=TAIL_BYTES,
            follow=False,
            stop=threading.Event(),
        )
        return b"".join(pieces)

    def _silence(self) -> str:
        # The stream's own reader ends it after `SILENCE_S`: beyond, the reader itself hangs.
        silent_s = self.measures.silent_s() or 0
        if silent_s < DEAF_S or not all(target.mirror.connected for target in self.targets):
            return ""
        return f"nothing was read from Nomad's event stream for {silent_s:.0f} s"

    def _gauges(self) -> Gauges:
        return Gauges(
            store=self.store,
            mirrors=[target.mirror for target in self.targets],
            queues=[target.queue.state for target in self.targets],
            measures=self.measures,
            cluster=self.settings.cluster,
            now=utc_now,
            position=lambda: self.wishes.position if self._controller else None,
            shards=self._shards,
            orphans=lambda: sum(target.resync.orphans.told for target in self.targets),
            trouble=lambda: "; ".join(
                target.guard.trouble for target in self.targets if target.guard.trouble
            ),
        )

    def _shards(self) -> int:
        standing = self.replica.standing()
        if standing is not None:
            return len(standing.terms)
        return SHARDS if self._controller is not None else 0

    def _asked_spec_files(self) -> Asked:
        wakes = {source.sync.source.id: source.wake for source in self.spec_files}
        return Asked(self.store.source_asks, wakes, rung=self.store.source_asked)

    def _belongs_to(self, name: str) -> Callable[[str], bool]:
        return lambda vo: self.target_of(vo).name == name

    def faults(self) -> Sequence[str]:
        """Say why this process should be restarted; empty when it is alive."""
        found = [self.probe.stuck()]
        if self._controller is not None:
            found += [*self._controller.faults(), self._silence()]
        return [fault for fault in found if fault]

    def unready(self) -> Sequence[str]:
        """Say why nothing can be served now; empty where the store answers and is whole."""
        return [trouble for trouble in (self.probe.trouble(), self.store.broken) if trouble]

    def ready(self) -> bool:
        """Whether the loop, where this process runs one, has a cluster before its eyes."""
        return self._controller is None or any(one.mirror.connected for one in self.targets)


def open_runtime(settings: Settings) -> Runtime:
    """Open the store, bring its schema up to date, and prepare the loop. Nothing runs yet.

    Raises: SettingsFault; NewerStore.
    """
    store = open_store(settings)
    try:
        store.migrate()
    except SealBroken as error:
        raise SettingsFault(f"AI4PAPI_SECRET_KEY: {error}") from error
    measures = Measures()
    clusters = [open_cluster(settings, one, measures.called) for one in settings.targets]
    return Runtime(settings, store, clusters, measures)


def open_store(settings: Settings) -> SpecStore:
    """Open the spec store with the site's quotas and keys. Its tables may not be there yet."""
    quotas = settings.quotas
    keys = site_keys(settings)
    return SpecStore(
        settings.store_url,
        quotas=Quotas(
            user=quotas.user, vo=quotas.vo, over=quotas.over, classes=settings.priorities
        ),
        seal=Seal(keys) if keys else None,
        subscriptions=subscriptions_of(settings.notifications),
    )


def site_keys(settings: Settings) -> Sequence[str]:
    """Return the keys of this site, the one that seals first; none where there are none.

    Raises: SettingsFault.
    """
    return settings.secret_keys or _keys_beside(settings)


def _keys_beside(settings: Settings) -> Sequence[str]:
    # Local mode makes one; whoever works on that store beside its server needs the same.
    path = beside_store(settings.store_url, "secret.key")
    if settings.auth_mode != "local" and not path.is_file():
        return ()
    try:
        return made_once(path)
    except PermissionError as error:
        raise SettingsFault(str(error)) from error


def open_cluster(settings: Settings, target: TargetSettings, heard: Heard = unheard) -> Cluster:
    """Open one of the clusters that `settings` name. Nothing is called yet: it may be down.

    `heard` is told of each call to a real one.
    """
    namespaces = sorted(set(target.namespaces.values()))
    if settings.cluster == "simulated":
        from reconciler.cluster.simulator.cluster import open_simulated  # noqa: PLC0415

        return open_simulated(namespaces)
    from reconciler.cluster.nomad import NomadCluster  # noqa: PLC0415

    return NomadCluster(target.nomad, namespaces, heard=heard)
