"""Taking over what the platform before this one started: finds the jobs, and writes the records.

Nothing is written to Nomad: a job is ours from the moment that its record is in the store, and runs
on as it is. Which jobs qualify is said by `reconciler.adoption`.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

from reconciler.adoption import Found, examine, is_theirs, may_be_theirs
from reconciler.cluster.protocol import Cluster
from reconciler.render import Site
from specs.faults import AlreadyExists, InvalidSpec
from specs.store import SpecStore


@dataclass(frozen=True, slots=True)
class Takeover:
    """What taking over needs; `issuers` are the providers whose subject an owner may be."""

    cluster: Cluster
    store: SpecStore
    site: Site
    issuers: tuple[str, ...]

    def find(
        self, *, ids: Collection[str] = (), owner: str | None = None, namespace: str | None = None
    ) -> list[Found]:
        """Return the jobs of theirs that no record has, by namespace and id; none is touched.

        `ids` empty and the others None: of all. Raises: ClusterError.
        """
        found = []
        for job in self.cluster.list_foreign_jobs().items:
            chosen = not ids or job.ref.id in ids
            chosen = chosen and owner in (None, job.meta.get("owner"))
            chosen = chosen and namespace in (None, job.ref.namespace)
            if not chosen or not may_be_theirs(job) or self.store.get(job.ref.id) is not None:
                continue
            live = self.cluster.read_job(job.ref)
            if live is not None and is_theirs(live):
                found.append(examine(live, self.site, self.issuers))
        return sorted(found, key=lambda one: one.ref)

    def take(self, found: Found, *, actor: str) -> Found:
        """Write the record of a job that was found; return it, with why not where it was refused.

        Raises: ClusterError.
        """
        live = self.cluster.read_job(found.ref)
        now = examine(live, self.site, self.issuers) if live is not None else None
        if now is None or now.index != found.index or now.record is None:
            return replace(found, record=None, why_not="it changed since it was shown: look again")
        try:
            record = self.store.adopt(now.record, now.secrets, actor=actor)
        except AlreadyExists as error:
            return replace(found, record=None, why_not=str(error))
        except InvalidSpec as error:
            return replace(found, record=None, why_not="; ".join(f.message for f in error.faults))
        return replace(found, record=record)
