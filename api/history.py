"""The use cases of the past and the present: timeline, revisions, trash, looking now.

Like `api.deployments`: knows the spec store, nothing of HTTP, and never talks to a cluster.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from api.auth import User
from api.deployments import ANY, NO_PLAN, Precondition
from api.schemas import ComparisonView
from specs.faults import Fault, InvalidSpec, NotFound
from specs.model import Deployment, Phase, Revision, TimelineEntry, Trashed
from specs.store import SpecStore

NO_COMPARISON: Final = ComparisonView(effect=NO_PLAN.effect)


@dataclass(frozen=True, slots=True)
class History:
    """What happened to everybody's deployments, seen through one user at a time.

    `compare` says in which fields what runs differs from a record; `source` is written into what
    is stored.
    """

    store: SpecStore
    compare: Callable[[Deployment], ComparisonView] = lambda _: NO_COMPARISON
    source: Mapping[str, str] = field(default_factory=dict)

    def events(
        self, user: User, name: str, *, vo: str | None = None, after: int, limit: int
    ) -> Sequence[TimelineEntry]:
        """Return what happened to one deployment after event number `after`, oldest first.

        Of one in the trash, too. Raises `NotFound`, also for other people's.
        """
        uid = self._find_or_trashed(user, name, vo=vo).uid
        return self.store.events(uid, after=after, limit=limit)

    def all_events(self, user: User, *, after: int, limit: int) -> Sequence[TimelineEntry]:
        """Return what happened to all of the user's deployments, oldest first."""
        return self.store.all_events(user.reach, after=after, limit=limit)

    def newest_events(
        self,
        user: User,
        *,
        uid: str | None = None,
        everybody: bool = False,
        before: int | None = None,
        limit: int,
    ) -> Sequence[TimelineEntry]:
        """Return what happened last before event number `before`, newest first.

        To one record, or to all of the user's, or of everybody's that they may see.
        Raises `Forbidden`.
        """
        reach = user.everybody() if everybody else user.reach
        return self.store.newest_events(reach, uid=uid, before=before, limit=limit)

    def revisions(self, user: User, name: str, *, vo: str | None = None) -> Sequence[Revision]:
        """Return the revisions of one deployment, newest first. Raises `NotFound`."""
        return self.store.history(self._find(user, name, vo=vo).uid)

    def rollback(
        self,
        user: User,
        name: str,
        body: object,
        *,
        vo: str | None = None,
        precondition: Precondition = ANY,
    ) -> Deployment:
        """Run an older generation, `{"generation": N}`, until a newer wish.

        Raises `NotFound`, also for the generation; `InvalidSpec`, `VersionConflict`.
        """
        generation = _generation_of(body)
        deployment = self._find(user, name, vo=vo)
        return self.store.rollback(
            deployment.uid,
            generation,
            actor=user.name,
            source=self.source,
            if_version=precondition.version_to_replace(deployment),
        )

    def look_now(self, user: User, name: str, *, vo: str | None = None) -> Deployment:
        """Have the reconciler look at a deployment, whatever it knows of it. Raises `NotFound`."""
        return self.store.touch(self._find(user, name, vo=vo).uid)

    def plan(self, user: User, name: str, *, vo: str | None = None) -> ComparisonView:
        """Compare what should run with what does. Raises `NotFound`."""
        deployment = self._find(user, name, vo=vo)
        if deployment.being_deleted:
            return ComparisonView(effect="stops", fits=True, message="it is being deleted")
        if deployment.target.suspend:
            stopped = deployment.status.phase is Phase.SUSPENDED
            effect: Literal["unchanged", "stops"] = "unchanged" if stopped else "stops"
            return ComparisonView(effect=effect, fits=True, message="it is suspended")
        return self.compare(deployment)

    def trash(self, user: User) -> Sequence[Trashed]:
        """Return the user's deleted deployments, the latest first."""
        return self.store.trash(user.reach)

    def undelete(self, user: User, name: str, *, vo: str | None = None) -> Deployment:
        """Take the latest deletion of that name back. Raises `NotFound`, `AlreadyExists`."""
        return self.store.undelete(
            user.reach, vo=vo, name=name, actor=user.name, source=self.source
        )

    def _find(self, user: User, name: str, *, vo: str | None) -> Deployment:
        return self.store.find(user.reach, vo=vo, name=name)

    def _find_or_trashed(self, user: User, name: str, *, vo: str | None) -> Deployment:
        try:
            return self._find(user, name, vo=vo)
        except NotFound:
            deleted = [t.deployment for t in self.store.trash(user.reach)]
            found = [d for d in deleted if d.name == name and vo in {None, d.vo}]
            if not found:
                raise
            return found[0]


def _generation_of(body: object) -> int:
    """Return N of `{"generation": N}`. Raises `InvalidSpec`."""
    allowed = '{"generation": N}, N a whole number from 1'
    if not isinstance(body, dict) or set(body) != {"generation"}:
        raise InvalidSpec([Fault("", "WrongType", f"the body is not {allowed}", allowed)])
    generation = body["generation"]
    # A bool is an int to Python, not to people.
    if type(generation) is not int or not 1 <= generation < 2**31:
        message = "is not a whole number from 1"
        raise InvalidSpec([Fault("/generation", "WrongType", message, allowed)])
    return generation
