"""The use cases: what a known user may do with deployments, whichever face they come through.

Knows the spec store and the rules of a wish; knows nothing of HTTP and never talks to a cluster.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

from api.auth import User
from api.schemas import PlanView
from specs.faults import (
    AlreadyExists,
    Fault,
    Forbidden,
    InvalidSpec,
    NotFound,
    QuotaExceeded,
    VersionConflict,
)
from specs.metadata import is_name
from specs.model import SECRET_SET, Deployment, Phase, Reach
from specs.moments import BY_MAIL, NOTIFY
from specs.priorities import PriorityClasses, usable_classes
from specs.provenance import refuse_declared
from specs.quota import excess_faults, excess_in_words
from specs.reading import Page
from specs.revisions import runs_the_same, says_the_same
from specs.shapes import mapping_at
from specs.store import SpecStore
from specs.userconf import FieldKey, UserConf, Value
from specs.values import default_values
from specs.wish import (
    Wish,
    manifest_of,
    patched_manifest,
    recorded_defaults,
    wish_of_conf,
    wish_of_manifest,
)

PATCH_ATTEMPTS: Final = 10
"""How often a patch without a version is redone when the record moves under it."""

NO_PLAN: Final = PlanView(effect="unknown")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a write left behind; `plan` is there on a dry run, which leaves nothing."""

    deployment: Deployment
    created: bool
    plan: PlanView | None = None


@dataclass(frozen=True, slots=True)
class Precondition:
    """What must hold for a write: the versions that may be replaced, or that nothing is there.

    `versions` None accepts any, an empty set any that exists.
    """

    versions: frozenset[int] | None = None
    must_not_exist: bool = False

    def version_to_replace(self, current: Deployment | None) -> int | None:
        """Return the version that the store must still hold, None for any.

        Raises `VersionConflict` where the record is not what the caller expects.
        """
        if self.must_not_exist and current is not None:
            raise VersionConflict(f"{current.name} exists already")
        if self.versions is None:
            return None
        if current is None:
            raise VersionConflict("there is nothing yet; send no If-Match to create it")
        if self.versions and current.resource_version not in self.versions:
            raise VersionConflict(f"{current.name} is at version {current.resource_version}")
        return current.resource_version if self.versions else None


ANY: Final = Precondition()


@dataclass(frozen=True, slots=True)
class Deployments:
    """The deployments of everybody, seen through one user at a time.

    `preview` says what applying a record would do now; `source` is written into what is stored.
    """

    store: SpecStore
    conf: UserConf
    priorities: PriorityClasses = field(default_factory=dict)
    preview: Callable[[Deployment], PlanView] = lambda _: NO_PLAN
    source: Mapping[str, str] = field(default_factory=dict)
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    new_uid: Callable[[], str] = lambda: str(uuid4())

    def find(self, user: User, name: str, *, vo: str | None = None) -> Deployment:
        """Return one deployment of the user by name. Raises `NotFound`, also for other people's."""
        return self.store.find(user.reach, vo=vo, name=name)

    def find_uid(self, user: User, uid: str) -> Deployment:
        """Return one deployment of the user by uid. Raises `NotFound`, also for other people's."""
        return self.store.find_uid(user.reach, uid=uid)

    def page(
        self,
        user: User,
        *,
        everybody: bool = False,
        vo: str | None = None,
        phase: Phase | None = None,
        labels: Mapping[str, str] | None = None,
        limit: int = 500,
        continue_: str | None = None,
    ) -> Page:
        """Return one page of the user's deployments, or of everybody's that they may see.

        Newest first. Raises `Forbidden`.
        """
        reach = user.everybody() if everybody else user.reach
        refuse_other_vo(reach, vo)
        return self.store.page(
            reach,
            vo=vo,
            phase=phase,
            labels=labels or {},
            limit=limit,
            continue_=continue_,
        )

    def all(self, user: User) -> Iterator[Deployment]:
        """Yield all deployments of the user, newest first."""
        page = self.page(user)
        yield from page.items
        while page.continue_:
            page = self.page(user, continue_=page.continue_)
            yield from page.items

    def create(
        self, user: User, body: object, *, key: str | None = None, dry_run: bool = False
    ) -> Outcome:
        """Store a manifest under a name that is free or that holds the very same wish.

        `key` is an idempotency key: sent again, it answers with what the first one made.
        Raises `InvalidSpec`, `AlreadyExists`.
        """
        wish = self._wish(user, body, before=self._named(user, body))
        if dry_run:
            return self._tried(user, wish, may_replace=False)
        return self._created(user, wish, key=key)

    def create_from_conf(self, user: User, conf: object, *, key: str | None = None) -> Deployment:
        """Store the seed's `{general, hardware, storage}` under a name made here."""
        name = f"deployment-{self.new_uid().replace('-', '')[:12]}"
        wish = wish_of_conf(conf, self.conf, vos=user.vos, name=name)
        return self._created(user, wish, key=key).deployment

    def apply(
        self,
        user: User,
        name: str,
        body: object,
        *,
        vo: str | None = None,
        precondition: Precondition = ANY,
        dry_run: bool = False,
        take_over: bool = False,
    ) -> Outcome:
        """Create or replace a deployment by manifest.

        What a spec file declares is changed with `take_over` only.
        Raises `InvalidSpec`, `VersionConflict`, `ManagedBySource`.
        """
        body = _in_vo(body, vo)
        current = self._current(user, name, body)
        if current is None and user.acts_for_another and not dry_run:
            raise NotFound(f"no deployment {name!r}: only its owner can declare a new one")
        wish = self._wish(user, body, kept=current)
        _refuse_renaming(wish, name=name)
        version = precondition.version_to_replace(current)
        if dry_run:
            return self._tried(user, wish, may_replace=True, take_over=take_over)
        deployment, created = self.store.put(
            wish,
            owner=user.owner,
            owner_name=current.owner_name if current and user.acts_for_another else user.name,
            actor=user.name,
            source=self.source,
            if_version=version,
            must_not_exist=precondition.must_not_exist,
            take_over=take_over,
        )
        self._keep_contact(user, deployment)
        return Outcome(deployment, created)

    def patch(
        self,
        user: User,
        name: str,
        patch: object,
        *,
        vo: str | None = None,
        precondition: Precondition = ANY,
        dry_run: bool = False,
        take_over: bool = False,
    ) -> Outcome:
        """Change parts of a deployment by merge patch (RFC 7396).

        Raises as `apply` does, and `NotFound`.
        """
        if not isinstance(patch, dict):
            raise InvalidSpec([Fault("", "WrongType", "a merge patch is an object", "an object")])
        for attempt in range(1, PATCH_ATTEMPTS + 1):
            current = self.find(user, name, vo=vo)
            wanted = precondition.version_to_replace(current)
            body = patched_manifest(manifest_of(current), patch, defaults=self._defaults(current))
            read = Precondition(frozenset({wanted or current.resource_version}))
            try:
                return self.apply(
                    user,
                    name,
                    body,
                    vo=current.vo,
                    precondition=read,
                    dry_run=dry_run,
                    take_over=take_over,
                )
            except VersionConflict:
                # The reconciler's status moved the version: merge into what is there now.
                if wanted is not None or attempt == PATCH_ATTEMPTS:
                    raise
        raise AssertionError  # the last attempt returns or raises

    def delete(
        self,
        user: User,
        name: str,
        *,
        vo: str | None = None,
        precondition: Precondition = ANY,
        dry_run: bool = False,
        take_over: bool = False,
    ) -> Outcome:
        """Ask for the end of a deployment; asked again, it is the same.

        What a spec file declares goes with `take_over` only.
        Raises `NotFound`, `VersionConflict`, `ManagedBySource`.
        """
        deployment = self.find(user, name, vo=vo)
        version = precondition.version_to_replace(deployment)
        if dry_run:
            if not take_over:
                refuse_declared(deployment)
            return Outcome(deployment, created=False, plan=PlanView(effect="stops", fits=True))
        return Outcome(
            self.store.request_deletion(
                deployment.uid,
                actor=user.name,
                source=self.source,
                if_version=version,
                take_over=take_over,
            ),
            created=False,
        )

    def delete_uid(self, user: User, uid: str) -> None:
        """Ask for the end of a deployment by uid. Raises `NotFound`."""
        uid = self.find_uid(user, uid).uid
        self.store.request_deletion(uid, actor=user.name, source=self.source)

    def _wish(
        self,
        user: User,
        body: object,
        *,
        kept: Deployment | None = None,
        before: Deployment | None = None,
    ) -> Wish:
        """Return the wish; a request that repeats `before` is not read by a newer catalogue."""

        def defaults(module: str) -> Mapping[FieldKey, Value]:
            recorded = recorded_defaults(before, module)
            return self.store.catalog().defaults(module) if recorded is None else recorded

        return wish_of_manifest(
            body,
            self.conf,
            vos=user.vos,
            classes=usable_classes(self.priorities, user.roles),
            kept=kept,
            modules=defaults,
        )

    def _named(self, user: User, body: object) -> Deployment | None:
        """Return the record that a manifest with a module would be created over, if it is clear."""
        name, vo = mapping_at(body, "metadata").get("name"), _said_vo(body)
        if not mapping_at(body, "spec").get("module") or not is_name(name):
            return None
        try:
            return self.find(user, str(name), vo=vo if vo in user.vos else None)
        except (NotFound, InvalidSpec):
            return None

    def _defaults(self, current: Deployment) -> Mapping[FieldKey, Value]:
        """Return what the record has where nobody chose otherwise."""
        set_by_module = recorded_defaults(current, current.spec.module) or {}
        return default_values(self.conf.in_vo(current.vo), set_by_module)

    def _created(self, user: User, wish: Wish, *, key: str | None) -> Outcome:
        deployment, created = self.store.create(
            wish,
            owner=user.owner,
            owner_name=user.name,
            actor=user.name,
            source=self.source,
            idempotency_key=key,
        )
        self._keep_contact(user, deployment)
        return Outcome(deployment, created)

    def _keep_contact(self, user: User, deployment: Deployment) -> None:
        """Remember where an owner is reached who asks to be told of a deployment."""
        asked = deployment.annotations.get(NOTIFY) == BY_MAIL
        if asked and user.email and user.owner == deployment.owner and self.store.sends_mail:
            self.store.contacts.keep(user.owner, user.email)

    def _current(self, user: User, name: str, body: object) -> Deployment | None:
        """Return the record that a manifest speaks of, or None where there is none yet."""
        try:
            return self.find(user, name, vo=_said_vo(body))
        except NotFound:
            return None

    def _tried(
        self, user: User, wish: Wish, *, may_replace: bool, take_over: bool = False
    ) -> Outcome:
        """Return what storing the wish would leave, without storing it."""
        try:
            current = self.find(user, wish.name, vo=wish.vo)
        except NotFound:
            fresh = self._fresh(user, wish)
            return Outcome(fresh, created=True, plan=self._foreseen(fresh))
        if current.being_deleted:
            raise AlreadyExists(f"{wish.name} is being deleted; try again when it is gone")
        if not self._differs(wish, current):
            metadata = replace(current, labels=wish.labels, annotations=wish.annotations)
            return Outcome(metadata, created=False, plan=PlanView(effect="unchanged", fits=True))
        if not may_replace:
            raise AlreadyExists(f"{wish.name} exists with another spec")
        if not take_over and not says_the_same(current, wish):
            refuse_declared(current)
        changed = replace(
            current,
            spec=wish.spec,
            generation=current.generation + 1,
            pin=current.pin if runs_the_same(current.spec, wish.spec) else None,
            labels=wish.labels,
            annotations=wish.annotations,
        )
        return Outcome(changed, created=False, plan=self._foreseen(changed))

    def _foreseen(self, record: Deployment) -> PlanView:
        """Return what writing the record would do. Raises `QuotaExceeded` where it would."""
        excess = self.store.over_quota(record)
        if not excess:
            return self.preview(record)
        if self.store.quotas.over == "refuse" or any(one.hopeless for one in excess):
            raise QuotaExceeded(excess_faults(excess))
        plan = self.preview(record)
        return plan.model_copy(update={"fits": False, "message": excess_in_words(excess)})

    def _differs(self, wish: Wish, current: Deployment) -> bool:
        if wish.spec != current.spec:
            return True
        stored = self.store.secrets(current.uid)
        wanted = {k: stored.get(k) if v == SECRET_SET else v for k, v in wish.secrets.items()}
        return wanted != dict(stored)

    def _fresh(self, user: User, wish: Wish) -> Deployment:
        return Deployment(
            uid=self.new_uid(),
            owner=user.owner,
            owner_name=user.name,
            vo=wish.vo,
            name=wish.name,
            spec=wish.spec,
            generation=1,
            secrets_generation=1 if wish.secrets else 0,
            resource_version=0,
            created_at=self.now(),
            labels=wish.labels,
            annotations=wish.annotations,
            source=self.source,
        )


def refuse_other_vo(reach: Reach, vo: str | None) -> None:
    """Raise `Forbidden` where `vo` is none of those within reach."""
    if vo is not None and vo not in reach.vos:
        raise Forbidden(f"{vo[:60]!a} is not one of your VOs: {', '.join(sorted(reach.vos))}")


def _said_vo(body: object) -> str | None:
    """Return the VO that a manifest names in either of the two places; nothing is checked."""
    for path in (("metadata", "vo"), ("spec", "general", "virtual_organization")):
        value = body
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, str) and value:
            return value
    return None


def _in_vo(body: object, vo: str | None) -> Any:
    """Return the manifest with the VO of the request's address. Raises `InvalidSpec` on two."""
    metadata = body.get("metadata") if isinstance(body, dict) else None
    if vo is None or not isinstance(body, dict) or not isinstance(metadata, dict):
        return body
    if metadata.get("vo", vo) != vo:
        message = f"is not the VO of the address, {vo!r}"
        raise InvalidSpec([Fault("/metadata/vo", "Mismatch", message, vo)])
    return body | {"metadata": metadata | {"vo": vo}}


def _refuse_renaming(wish: Wish, *, name: str) -> None:
    if wish.name != name:
        message = f"{wish.name!r} is not the name in the address; a name never changes"
        raise InvalidSpec([Fault("/metadata/name", "Mismatch", message, name)])
