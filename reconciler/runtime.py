"""The wiring: from settings to a store, a cluster and a loop that are ready to start."""

import random
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta

from reconciler.apply import Hands
from reconciler.catalog.refresh import asked_catalogs
from reconciler.catalog.sources import catalog_refreshes_of, registry_of
from reconciler.cluster.protocol import Cluster
from reconciler.controller import Controller, Rhythm
from reconciler.devices import GpuModel
from reconciler.diff import FieldChange, with_live_counts
from reconciler.drift import NO_JOB, found_in
from reconciler.endpoints import Endpoints
from reconciler.errors import ClusterError, ClusterForbidden, JobRejected
from reconciler.guard import StoreGuard
from reconciler.jobs import JobRef, Json, Verdict
from reconciler.loop import Reconciler
from reconciler.mirror import Mirror
from reconciler.orphans import Orphans, orphans_among
from reconciler.passes import Asked
from reconciler.queue import WorkQueue
from reconciler.render import Site, TemplateFault, Wanted, check_template, render
from reconciler.settings import Settings, SettingsFault
from reconciler.sources import Audit, ClusterChanges, Resync, WishChanges
from reconciler.spec_files import spec_files_of
from reconciler.steps import Rules
from reconciler.waiting import WaitingForRoom
from specs.faults import SealBroken
from specs.model import Deployment
from specs.private import beside_store
from specs.quota import Quotas
from specs.sealing import Seal, made_once
from specs.store import SpecStore, utc_now
from specs.trees import SourceUnavailable


@dataclass(slots=True)
class Template:
    """`etc/job.nomad`, parsed by the cluster at first use and then kept: Nomad may be down at
    start."""

    cluster: Cluster
    hcl: str
    _parsed: Json | None = field(default=None, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __call__(self) -> Json:
        """Return the template as Nomad's job JSON.

        Raises: ClusterUnavailable; ClusterForbidden where the template itself is at fault.
        """
        with self._lock:
            if self._parsed is None:
                try:
                    parsed = self.cluster.parse_job(self.hcl)
                    check_template(parsed)
                except (JobRejected, TemplateFault) as error:
                    raise ClusterForbidden(f"etc/job.nomad: {error}") from error
                self._parsed = parsed
            return self._parsed


class Runtime:
    """One process's store, cluster and loop."""

    def __init__(self, settings: Settings, store: SpecStore, cluster: Cluster) -> None:
        self.settings = settings
        self.store = store
        self.cluster = cluster
        self.mirror = Mirror()
        self.queue: WorkQueue[str] = WorkQueue(clock=time.monotonic, random=random.random)
        self.waiting = WaitingForRoom(clock=time.monotonic)
        namespaces = dict(settings.namespaces)
        self.guard = StoreGuard(cluster, store, min(namespaces.values(), default="default"))
        store_id = store.identity().store_id
        self.template = Template(cluster, settings.job_template)
        self.reconciler = Reconciler(
            store=store,
            hands=Hands(cluster, self.mirror, store),
            template=self.template,
            site=replace(site_of(settings), store_id=store_id),
            endpoints=Endpoints(settings.endpoints.scheme, settings.endpoints.domain),
            now=utc_now,
            rules=lambda: Rules(
                drift=settings.drift, gpu_model=settings.gpu.model, frozen=self.guard.trouble
            ),
            waiting=self.waiting,
        )
        self.resync = Resync(
            cluster,
            self.mirror,
            store,
            self.queue,
            namespaces,
            guard=self.guard,
            orphans=Orphans(cluster, store_id, store.deleted, settings.orphans),
            now=utc_now,
        )
        self.cluster_changes = ClusterChanges(
            cluster,
            self.mirror,
            store,
            self.queue,
            namespaces,
            random=random.random,
            now=utc_now,
            waiting=self.waiting,
            guard=self.guard,
        )
        self.spec_files = spec_files_of(settings, store, random.random)
        self.catalogues = catalog_refreshes_of(settings, store, random.random)
        self.registry = registry_of(settings.exchange)
        self._controller: Controller | None = None

    def start(self) -> None:
        """Start the loop, unless this process is an API replica only."""
        if not self.settings.reconcile:
            return
        self.store.forget_sources(but=[source.sync.source.id for source in self.spec_files])
        for source in self.spec_files:
            source.sync.begin()
        self.store.forget_catalogs(but=[catalogue.source.id for catalogue in self.catalogues])
        self.read_local_catalogues()
        self._controller = Controller(
            queue=self.queue,
            reconcile=self.reconciler.reconcile,
            sources=(
                WishChanges(self.store, self.queue, position=self.store.newest_version()),
                self.cluster_changes,
                *self.spec_files,
                *([self._asked_spec_files()] if self.spec_files else ()),
                *self.catalogues,
                asked_catalogs(self.store, self.catalogues),
            ),
            polls=[
                *((source.poll_s, source.wake) for source in self.spec_files),
                *((catalogue.poll_s, catalogue.wake) for catalogue in self.catalogues),
            ],
            resync=self.resync,
            audit=Audit(self.mirror, self.store, self.queue, self.reconciler.audits, random.random),
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
            self.guard.keep_up()
        self.registry.close()
        self.store.close()

    def clean_up(self) -> int:
        """Forget what the trash and the timeline have kept for long enough; return how much."""
        now = utc_now()
        return self.store.clean_up(
            trash_before=now - timedelta(days=self.settings.deletions.trash_days),
            events_before=now - timedelta(days=self.settings.events.days),
        )

    def orphans(self) -> Sequence[JobRef]:
        """Return the jobs that carry our marker and have no record.

        Raises: ClusterUnavailable while Nomad is out of sight.
        """
        jobs = [job for job, _ in self.mirror.indexes().values()]
        return [job.ref for job in orphans_among(jobs, self.store.heads())]

    def gpu_models(self) -> Sequence[GpuModel] | None:
        """Return the models of the site's GPUs with how many are free; None: nobody here knows."""
        try:
            return self.mirror.gpu_models(self.settings.gpu.device)
        except ClusterError:
            return None

    def preview(self, deployment: Deployment) -> Verdict:
        """Ask the scheduler what applying `deployment` would do now; nothing is changed.

        Raises: ClusterError.
        """
        fresh = replace(deployment, generation=deployment.generation + 1)
        wanted = render(fresh, self.template(), self.reconciler.site)
        live = self.cluster.read_job(wanted.ref) if wanted.own else None
        return self._verdict(wanted, wanted.job, live)

    def compare(self, deployment: Deployment) -> tuple[Verdict, Sequence[FieldChange]]:
        """Ask the scheduler what writing the wanted job would do, and find where the live differs.

        A count that the job hands over to others is theirs. Nothing is changed.
        Raises: ClusterError.
        """
        wanted = render(deployment, self.template(), self.reconciler.site)
        live = self.cluster.read_job(wanted.ref)
        if live is None:
            return self._verdict(wanted, wanted.job, live), (NO_JOB,)
        job = with_live_counts(wanted.job, live)
        drift = found_in(live, job)
        return self._verdict(wanted, job, live), drift.changes if drift else ()

    def _asked_spec_files(self) -> Asked:
        wakes = {source.sync.source.id: source.wake for source in self.spec_files}
        return Asked(self.store.source_asks, wakes, rung=self.store.source_asked)

    def _verdict(self, wanted: Wanted, job: Json, live: Json | None) -> Verdict:
        if wanted.own is None:
            return self.cluster.plan_job(job)
        if live is None or live["Stop"]:
            return self.cluster.plan_job(wanted.own.job)
        # A job that was taken over stays as it is, whatever of it is known.
        return Verdict("none", live["JobModifyIndex"])

    def faults(self) -> Sequence[str]:
        """Say why this process should be restarted; empty when it is alive."""
        return self._controller.faults() if self._controller else ()

    def ready(self) -> bool:
        """Whether the loop, where this process runs one, has the cluster before its eyes."""
        return self._controller is None or self.mirror.connected


def site_of(settings: Settings) -> Site:
    """Return the operator's choices that rendering depends on."""
    return Site(
        namespaces=dict(settings.namespaces),
        gpu_device=settings.gpu.device,
        gpu_model=settings.gpu.model,
        mhz_per_cpu=settings.cpu.mhz_per_cpu if settings.cpu.unit == "mhz" else None,
        priorities={name: known.priority for name, known in settings.priorities.items()},
    )


def open_runtime(settings: Settings) -> Runtime:
    """Open the store, bring its schema up to date, and prepare the loop. Nothing runs yet.

    Raises: SettingsFault; NewerStore.
    """
    store = open_store(settings)
    try:
        store.migrate()
    except SealBroken as error:
        raise SettingsFault(f"AI4PAPI_SECRET_KEY: {error}") from error
    return Runtime(settings, store, open_cluster(settings))


def open_store(settings: Settings) -> SpecStore:
    """Open the spec store with the site's quotas and keys. Its tables may not be there yet."""
    quotas = settings.quotas
    keys = settings.secret_keys or _keys_beside(settings)
    return SpecStore(
        settings.store_url,
        quotas=Quotas(
            user=quotas.user, vo=quotas.vo, over=quotas.over, classes=settings.priorities
        ),
        seal=Seal(keys) if keys else None,
    )


def _keys_beside(settings: Settings) -> Sequence[str]:
    # Local mode makes one; whoever works on that store beside its server needs the same.
    path = beside_store(settings.store_url, "secret.key")
    if settings.auth_mode != "local" and not path.is_file():
        return ()
    try:
        return made_once(path)
    except PermissionError as error:
        raise SettingsFault(str(error)) from error


def open_cluster(settings: Settings) -> Cluster:
    """Open the cluster that `settings` name. Nothing is called yet: it may be down."""
    namespaces = sorted(set(settings.namespaces.values()))
    if settings.cluster == "simulated":
        from reconciler.cluster.simulator.cluster import open_simulated  # noqa: PLC0415

        return open_simulated(namespaces)
    from reconciler.cluster.nomad import NomadCluster  # noqa: PLC0415

    return NomadCluster(settings.nomad, namespaces)
