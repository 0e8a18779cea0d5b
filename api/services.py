"""What the HTTP face needs from the rest of the house, as one value that the wiring fills in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from api.auth import Authenticator
from api.operations import OrphanView
from api.schemas import ComparisonView, PlanView
from specs.model import Deployment
from specs.priorities import PriorityClasses
from specs.store import SpecStore
from specs.userconf import UserConf


@dataclass(frozen=True, slots=True)
class Services:
    """The parts behind the routes.

    `preview` says what applying a record would do now, `compare` also in which fields what runs
    differs from it; both answer while the cluster is down. `orphans` are jobs of ours that no
    record knows; raises `ClusterSilent`. `faults` is empty while the reconciler does its work,
    `ready` whether requests can be served. `trash_for` is how long a deleted spec is kept.
    `priorities` are the classes that a spec may ask for.
    `local_only` refuses requests to an address of another than this machine's loopback.
    """

    store: SpecStore
    conf: UserConf
    auth: Authenticator
    preview: Callable[[Deployment], PlanView]
    compare: Callable[[Deployment], ComparisonView]
    orphans: Callable[[], Sequence[OrphanView]]
    faults: Callable[[], Sequence[str]]
    ready: Callable[[], bool]
    cluster_title: str
    trash_for: timedelta
    priorities: PriorityClasses = field(default_factory=dict)
    max_body_bytes: int = 1_000_000
    local_only: bool = False
